//! Pairs sampled and labelled, chunk by chunk; a chunk is labelled as soon as it is sampled.

use super::in_order::InOrder;
use super::judge::{Due, in_chunk};
use super::{Effect, Machine, StageProgress, plain};
use crate::label_record::add_finishes;
use crate::work::{Generate, Label, ModelRef, SampledPair, Work};
use crate::{Error, LabelRecord, RewardModelConfig, TaskId, shuffled};
use rlaif_data::{Record, preference_record, put_finishes};
use rlaif_types::Prompt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Sampling and labeling.
pub(super) struct Labeling {
    pairs: usize,
    chunk_size: usize,
    /// Sampled and not yet labelled.
    waiting: BTreeMap<usize, Vec<SampledPair>>,
    sampled: InOrder<Vec<Value>>,
    labelled: InOrder<Vec<LabelRecord>>,
    preferences: usize,
}

impl Labeling {
    pub(super) fn new(config: &RewardModelConfig, chunk_size: usize) -> Self {
        Self {
            pairs: config.pairs,
            chunk_size,
            waiting: BTreeMap::new(),
            sampled: InOrder::default(),
            labelled: InOrder::default(),
            preferences: 0,
        }
    }

    fn chunks(&self) -> usize {
        self.pairs.div_ceil(self.chunk_size)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.labelled.released() == self.chunks()
    }

    /// Labels first: they empty memory, samples fill it.
    pub(super) fn candidates(
        &self,
        machine: &Machine,
        start: &ModelRef,
        room: usize,
    ) -> Vec<(TaskId, Work)> {
        let labels = self.waiting.iter().map(|(chunk, sampled)| {
            let labeler = machine.labeler_asked();
            let pairs = sampled.iter().map(|sampled| sampled.pair.clone()).collect();
            (TaskId::Label(*chunk), Work::Label(Label { labeler, pairs }))
        });
        let unsampled = (0..self.chunks())
            .map(TaskId::Sample)
            .filter(|task| !machine.applied.contains(task) && !machine.handed_out.contains(task));
        let room_to_sample = room.saturating_sub(self.waiting.len());
        let samples = unsampled.take(room_to_sample).map(|task| {
            let TaskId::Sample(chunk) = task else { unreachable!("made two lines above") };
            (task, Work::SamplePairs(self.sample(machine, start, chunk)))
        });
        labels.take(room).chain(samples).collect()
    }

    fn sample(&self, machine: &Machine, start: &ModelRef, chunk: usize) -> Generate {
        let job = &machine.job;
        let first = chunk * self.chunk_size;
        let numbers = first..(first + self.chunk_size).min(self.pairs);
        let prompts = prompts_in_epochs(&machine.inputs.prompts, numbers, job.seed);
        Generate {
            policy: machine.policy_of(start.clone()),
            sampling: job.sampling.clone(),
            seed: job.seed,
            first,
            prompts,
        }
    }

    /// What a task is to be answered with; none where it is not open.
    pub(super) fn due(&self, task: TaskId) -> Option<Due> {
        match task {
            TaskId::Sample(chunk) => in_chunk(self.pairs, self.chunk_size, chunk).map(Due::Pairs),
            TaskId::Label(chunk) => Some(Due::Labels(self.waiting.get(&chunk)?.len())),
            _ => None,
        }
    }

    pub(super) fn sampled(&mut self, chunk: usize, pairs: Vec<SampledPair>) -> Vec<Effect> {
        let records = pairs.iter().map(plain).collect();
        self.waiting.insert(chunk, pairs);
        let records: Vec<Value> =
            self.sampled.insert(chunk, records).into_iter().flatten().collect();
        let mut effects = vec![Effect::Append { file: "pairs.jsonl", records }];
        if self.sampled.released() == self.chunks() {
            effects
                .push(Effect::Finished { stage: "sample", summary: json!({"pairs": self.pairs}) });
        }
        effects
    }

    pub(super) fn labelled(
        &mut self,
        chunk: usize,
        mut labels: Vec<LabelRecord>,
    ) -> Result<Vec<Effect>, Error> {
        let last = self.labelled.arrived() + 1 == self.chunks();
        let scorable = labels.iter().filter(|label| label.comparison.is_some()).count();
        if last && self.preferences + scorable == 0 {
            let what = "not one pair could be labelled; see labels.jsonl for the reasons, mend the labeler \
                        or the template, then resume the job: all are asked again";
            return Err(Error::Fruitless { stage: "label", what: what.to_owned() });
        }
        self.preferences += scorable;
        add_finishes(&mut labels, &self.waiting.remove(&chunk).unwrap_or_default());
        let labels: Vec<LabelRecord> =
            self.labelled.insert(chunk, labels).into_iter().flatten().collect();
        let preferences = labels.iter().filter_map(preference).collect();
        let mut effects = vec![
            Effect::Append { file: "labels.jsonl", records: labels.iter().map(plain).collect() },
            Effect::Append { file: "preferences.jsonl", records: preferences },
        ];
        if self.is_complete() {
            effects.push(Effect::Publish { file: "labels.jsonl" });
            let summary = json!({"labels": self.pairs, "preferences": self.preferences});
            effects.push(Effect::Finished { stage: "label", summary });
        }
        Ok(effects)
    }

    pub(super) fn progress(&self) -> [StageProgress; 2] {
        let of = |stage: &str, arrived: usize| {
            StageProgress::new(stage, (arrived * self.chunk_size).min(self.pairs), self.pairs)
        };
        [of("sample", self.sampled.arrived()), of("label", self.labelled.arrived())]
    }
}

/// The label in TRL's format; none where the pair is unscorable.
fn preference(record: &LabelRecord) -> Option<Value> {
    let label = record.comparison.as_ref()?.label;
    let mut preference = preference_record(&Record::new(), &record.pair, None, label);
    put_finishes(&mut preference, [record.finish_a, record.finish_b]);
    preference.insert("label_id".into(), json!(record.label_id));
    Some(Value::Object(preference))
}

/// Prompts of the pairs of these numbers: shuffled epochs, one after the other.
fn prompts_in_epochs(
    prompts: &[Prompt],
    numbers: std::ops::Range<usize>,
    seed: u64,
) -> Vec<Prompt> {
    let mut order = (usize::MAX, Vec::new());
    numbers
        .map(|number| {
            let epoch = number / prompts.len();
            if order.0 != epoch {
                order = (epoch, shuffled(prompts.len(), seed, "pair prompts", epoch as u64));
            }
            prompts[order.1[number % prompts.len()]].clone()
        })
        .collect()
}
