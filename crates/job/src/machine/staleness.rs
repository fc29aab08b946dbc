//! The reward model held against the labeler every few steps, on pairs of the policy's responses to held-out
//! prompts.
//!
//! A measurement belongs to a number of steps made. The next step waits for it, and nothing else does: so what it
//! leaves stands in its place in the files however long the labeler takes, and the version that it draws with is
//! still there. Rollouts of the next step are drawn meanwhile.

use super::judge::{Due, in_chunk};
use super::{Effect, Machine, StageProgress, plain};
use crate::label_record::add_finishes;
use crate::staleness::{Staleness, StalenessRecord};
use crate::task_id::Measure;
use crate::work::{Generate, Label, ModelRef, SampledPair, Score, Work};
use crate::{Error, Job, LabelRecord, StalenessConfig, TaskId, seed_for};
use rlaif_types::{Item, Judgement, Pair, Prompt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All measurements of a job.
pub(super) struct Measuring {
    config: StalenessConfig,
    steps: usize,
    chunk_size: usize,
    /// Steps made at the newest whole measurement.
    measured: Option<usize>,
    /// What has come of the one that is open.
    chunks: BTreeMap<usize, Chunk>,
    /// Whole measurements.
    done: usize,
    unscorable: usize,
    note: String,
}

/// What has come of some pairs.
struct Chunk {
    pairs: Vec<SampledPair>,
    labels: Option<Vec<LabelRecord>>,
    /// Two for each pair.
    rewards: Option<Vec<Judgement<f64>>>,
}

impl Measuring {
    pub(super) fn new(job: &Job, config: &StalenessConfig) -> Self {
        Self {
            config: *config,
            steps: job.rl.steps,
            chunk_size: job.chunk_size,
            measured: None,
            chunks: BTreeMap::new(),
            done: 0,
            unscorable: 0,
            note: String::new(),
        }
    }

    /// At the start, every so many steps, and at the end.
    fn is_due(&self, step: usize) -> bool {
        step.is_multiple_of(self.config.every) || step == self.steps
    }

    /// Whether nothing is to be measured before the step after `step`.
    pub(super) fn is_done(&self, step: usize) -> bool {
        !self.is_due(step) || self.measured == Some(step)
    }

    /// What is still to be done for the measurement after `step` steps.
    pub(super) fn candidates(
        &self,
        machine: &Machine,
        policy: &ModelRef,
        step: usize,
    ) -> Vec<(TaskId, Work)> {
        if self.is_done(step) {
            return Vec::new();
        }
        let chunks = 0..self.config.pairs.div_ceil(self.chunk_size);
        chunks.flat_map(|chunk| self.of_chunk(machine, policy, step, chunk)).collect()
    }

    fn of_chunk(
        &self,
        machine: &Machine,
        policy: &ModelRef,
        step: usize,
        chunk: usize,
    ) -> Vec<(TaskId, Work)> {
        let task = |part| TaskId::Staleness { step, chunk, part };
        let Some(come) = self.chunks.get(&chunk) else {
            let sample = self.sample(machine, policy, chunk);
            return vec![(task(Measure::Sample), Work::SamplePairs(sample))];
        };
        let mut open = Vec::new();
        if come.labels.is_none() {
            let pairs = come.pairs.iter().map(|sampled| sampled.pair.clone()).collect();
            let label = Label { labeler: machine.labeler_asked(), pairs };
            open.push((task(Measure::Label), Work::Label(label)));
        }
        if let (None, Some((trained, summary))) = (&come.rewards, &machine.reward) {
            let score = Score {
                reward_model: machine.policy_of(ModelRef::Saved(trained.model.clone())),
                mean: summary.mean,
                std: summary.std,
                items: come.pairs.iter().flat_map(|sampled| items(&sampled.pair)).collect(),
            };
            open.push((task(Measure::Score), Work::Score(score)));
        }
        open
    }

    /// Every measurement has the same prompts and the same seeds, so that what changes is the policy.
    fn sample(&self, machine: &Machine, policy: &ModelRef, chunk: usize) -> Generate {
        let (job, heldout) = (&machine.job, &machine.inputs.heldout);
        let first = chunk * self.chunk_size;
        let numbers = first..(first + self.chunk_size).min(self.config.pairs);
        let prompts: Vec<Prompt> = numbers.map(|n| heldout[n % heldout.len()].clone()).collect();
        Generate {
            policy: machine.policy_of(policy.clone()),
            sampling: job.sampling.clone(),
            seed: seed_for(job.seed, "staleness", 0),
            first,
            prompts,
        }
    }

    /// What a part is to be answered with; none where it is not open.
    pub(super) fn due(&self, step: usize, chunk: usize, part: Measure) -> Option<Due> {
        if self.is_done(step) {
            return None;
        }
        let pairs = in_chunk(self.config.pairs, self.chunk_size, chunk)?;
        let sampled = || self.chunks.contains_key(&chunk);
        match part {
            Measure::Sample => Some(Due::Pairs(pairs)),
            Measure::Label => sampled().then_some(Due::Labels(pairs)),
            Measure::Score => sampled().then_some(Due::Rewards(2 * pairs)),
        }
    }

    pub(super) fn sampled(&mut self, chunk: usize, pairs: Vec<SampledPair>) {
        self.chunks.insert(chunk, Chunk { pairs, labels: None, rewards: None });
    }

    pub(super) fn labelled(
        &mut self,
        step: usize,
        chunk: usize,
        mut labels: Vec<LabelRecord>,
    ) -> Result<Vec<Effect>, Error> {
        let come = self.chunk(step, chunk)?;
        add_finishes(&mut labels, &come.pairs);
        come.labels = Some(labels);
        Ok(self.close(step))
    }

    pub(super) fn scored(
        &mut self,
        step: usize,
        chunk: usize,
        rewards: Vec<Judgement<f64>>,
    ) -> Result<Vec<Effect>, Error> {
        self.chunk(step, chunk)?.rewards = Some(rewards);
        Ok(self.close(step))
    }

    fn chunk(&mut self, step: usize, chunk: usize) -> Result<&mut Chunk, Error> {
        let what = format!("pairs {chunk} of the measurement after step {step} come out of turn");
        let out_of_turn = || Error::Stage { stage: "staleness", what };
        self.chunks.get_mut(&chunk).ok_or_else(out_of_turn)
    }

    /// The measurement's records, once both have judged all its pairs.
    fn close(&mut self, step: usize) -> Vec<Effect> {
        let is_whole = |chunk: &Chunk| chunk.labels.is_some() && chunk.rewards.is_some();
        let chunks = self.config.pairs.div_ceil(self.chunk_size);
        if self.chunks.len() < chunks || !self.chunks.values().all(is_whole) {
            return Vec::new();
        }
        let mut records = Vec::new();
        for chunk in std::mem::take(&mut self.chunks).into_values() {
            let (labels, rewards) = (chunk.labels.into_iter(), chunk.rewards.unwrap_or_default());
            let pairs = labels.flatten().zip(rewards.chunks(2));
            records.extend(pairs.map(|(label, both)| StalenessRecord::new(step, label, both)));
        }
        let found = Staleness::of(&records);
        self.measured = Some(step);
        self.done += 1;
        self.unscorable += found.unscorable;
        self.note = found.agreement.map_or_else(String::new, |a| format!("agreement {a:.2}"));
        let mut metrics = json!({"stage": "staleness", "step": step});
        if let (Some(metrics), Value::Object(found)) = (metrics.as_object_mut(), plain(&found)) {
            metrics.extend(found);
        }
        let records = records.iter().map(plain).collect();
        let mut effects = vec![
            Effect::Append { file: "metrics.jsonl", records: vec![metrics] },
            Effect::Append { file: "staleness.jsonl", records },
        ];
        if step == self.steps {
            let summary = json!({"measurements": self.done});
            effects.push(Effect::Finished { stage: "staleness", summary });
        }
        effects
    }

    pub(super) fn progress(&self) -> StageProgress {
        let total = (0..=self.steps).filter(|step| self.is_due(*step)).count();
        let (note, unscorable) = (self.note.clone(), self.unscorable);
        StageProgress { note, unscorable, ..StageProgress::new("staleness", self.done, total) }
    }
}

fn items(pair: &Pair) -> [Item; 2] {
    [&pair.response_a, &pair.response_b]
        .map(|response| Item { prompt: pair.prompt.clone(), response: response.clone() })
}
