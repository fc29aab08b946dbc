//! The choice among a policy's versions (paper section 3).
//!
//! Every so many steps the policy answers held-out prompts that no evaluation has, and what trains it says what that
//! is worth. The best so far are kept as candidates. After the last step the evaluation's judge compares each with
//! the start; the one that wins most often is saved as the job's policy.
//!
//! As with other measurements, the next step waits for a validation.

use super::judge::{Due, in_chunk};
use super::policy::items;
use super::{Effect, Inputs, Machine, StageProgress, plain};
use crate::mixture::{RewardPart, mix};
use crate::selection::{SelectionSummary, ValidatedVersion};
use crate::work::{Generate, JudgeContests, ModelRef, Respond, Rollout, SavePolicy, Work};
use crate::{
    Contest, Error, EvaluationRecord, Job, SelectionConfig, TaskId, Verdict, WinRate, seed_for,
    shuffled, win_rate,
};
use rlaif_types::{Judgement, Prompt};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;

/// The choice, as far as it is made.
pub(super) struct Selecting {
    config: SelectionConfig,
    steps: usize,
    chunk_size: usize,
    prompts: Vec<Prompt>,
    /// What each response's reward is the sum of.
    parts: Vec<RewardPart>,
    /// Template of the evaluation's headline.
    judge: String,
    /// Of the resamples behind intervals.
    seed: u64,
    /// Of the validation that is open.
    responses: BTreeMap<usize, Vec<Rollout>>,
    /// By chunk and part.
    given: BTreeMap<(usize, usize), Vec<Judgement<f64>>>,
    /// All versions that were validated.
    versions: Vec<ValidatedVersion>,
    /// Artifacts of the best so far, and of the version that is being validated, by step.
    candidates: BTreeMap<usize, String>,
    /// By step and chunk.
    waiting: BTreeMap<(usize, usize), Vec<Contest>>,
    judged: BTreeMap<(usize, usize), Vec<EvaluationRecord>>,
    /// Steps of the version that won.
    chosen: Option<usize>,
    /// Artifact folder where it was saved.
    saved: Option<String>,
    unscorable: usize,
    note: String,
}

/// The prompts that a selection goes by, drawn by the job's seed, and those that are left for evaluation.
pub(crate) fn split(job: &Job, heldout: &[Prompt]) -> (Vec<Prompt>, Vec<Prompt>) {
    let Some(config) = &job.rl.selection else { return (Vec::new(), heldout.to_vec()) };
    let order = shuffled(heldout.len(), job.seed, "selection prompts", 0);
    let mut chosen: Vec<usize> = order.into_iter().take(config.prompts).collect();
    chosen.sort_unstable();
    let of = |taken: bool| {
        let numbered = heldout.iter().enumerate();
        let part = numbered.filter(|(i, _)| chosen.binary_search(i).is_ok() == taken);
        part.map(|(_, prompt)| prompt.clone()).collect()
    };
    (of(true), of(false))
}

impl Selecting {
    pub(super) fn new(
        job: &Job,
        config: &SelectionConfig,
        prompts: Vec<Prompt>,
        inputs: &Inputs,
    ) -> Self {
        Self {
            config: *config,
            steps: job.rl.steps,
            chunk_size: job.chunk_size,
            prompts,
            parts: job.rl.reward_parts(),
            judge: inputs.evaluation_templates.first().map_or("", |t| t.name.as_str()).to_owned(),
            seed: seed_for(job.seed, "win rate", 0),
            responses: BTreeMap::new(),
            given: BTreeMap::new(),
            versions: Vec::new(),
            candidates: BTreeMap::new(),
            waiting: BTreeMap::new(),
            judged: BTreeMap::new(),
            chosen: None,
            saved: None,
            unscorable: 0,
            note: String::new(),
        }
    }

    /// Whether the version after `step` steps is one to choose from: every so many, and the last.
    pub(super) fn is_candidate(&self, step: usize) -> bool {
        step > 0 && (step.is_multiple_of(self.config.every) || step == self.steps)
    }

    /// Whether nothing is to be validated before the step after `step`.
    pub(super) fn is_validated(&self, step: usize) -> bool {
        !self.is_candidate(step) || self.versions.iter().any(|version| version.step == step)
    }

    /// Artifact folder of the policy that was chosen.
    pub(super) fn saved(&self) -> Option<&str> {
        self.saved.as_deref()
    }

    fn chunks(&self) -> usize {
        self.prompts.len().div_ceil(self.chunk_size)
    }

    fn of_chunk(&self, chunk: usize) -> Range<usize> {
        let first = chunk * self.chunk_size;
        first..(first + self.chunk_size).min(self.prompts.len())
    }

    /// A version is there, and is kept until it is known not to be among the best.
    pub(super) fn offered(&mut self, step: usize, artifact: String) {
        self.candidates.insert(step, artifact);
    }

    /// What is still to be done to validate the version after `step` steps. Asked is the candidate itself: where
    /// the job keeps an average of the weights, that is another model than the policy that learns.
    pub(super) fn validation(
        &self,
        machine: &Machine,
        start: &ModelRef,
        step: usize,
    ) -> Vec<(TaskId, Work)> {
        let open = self.candidates.get(&step).filter(|_| !self.is_validated(step));
        let Some(artifact) = open else { return Vec::new() };
        let candidate = machine.version_of(start, artifact);
        let of_chunk = |chunk| match self.responses.get(&chunk) {
            None => {
                let respond = self.generate(machine, &candidate, "validation", chunk);
                vec![(TaskId::Validate { step, chunk }, Work::Rollout(respond))]
            }
            Some(responses) => {
                let prompts = &self.prompts[self.of_chunk(chunk)];
                let open =
                    (0..self.parts.len()).filter(|part| !self.given.contains_key(&(chunk, *part)));
                let score = |part| {
                    let task = TaskId::ValidateScore { step, chunk, part };
                    (task, machine.training.score(machine, part, items(prompts, responses)))
                };
                open.map(score).collect()
            }
        };
        (0..self.chunks()).flat_map(of_chunk).collect()
    }

    /// Every version has the same prompts and the same seeds.
    fn generate(
        &self,
        machine: &Machine,
        policy: &ModelRef,
        purpose: &str,
        chunk: usize,
    ) -> Generate {
        let (job, numbers) = (&machine.job, self.of_chunk(chunk));
        Generate {
            policy: machine.policy_of(policy.clone()),
            sampling: job.sampling.clone(),
            seed: seed_for(job.seed, purpose, 0),
            first: numbers.start,
            prompts: self.prompts[numbers].to_vec(),
        }
    }

    /// What a task is to be answered with; none where it is not open.
    pub(super) fn due(&self, task: TaskId) -> Option<Due> {
        let prompts = |chunk| in_chunk(self.prompts.len(), self.chunk_size, chunk);
        match task {
            TaskId::Validate { step, chunk } if !self.is_validated(step) => {
                prompts(chunk).map(Due::Rollouts)
            }
            TaskId::ValidateScore { step, chunk, part }
                if !self.is_validated(step) && part < self.parts.len() =>
            {
                Some(Due::Rewards(self.responses.get(&chunk)?.len()))
            }
            TaskId::Challenge { step, chunk } if self.candidates.contains_key(&step) => {
                prompts(chunk).map(Due::Contests)
            }
            TaskId::JudgeCandidate { step, chunk } => {
                Some(Due::Evaluations(self.waiting.get(&(step, chunk))?.len()))
            }
            TaskId::SavePolicy => self.chosen.map(|_| Due::Saved),
            _ => None,
        }
    }

    pub(super) fn responded(&mut self, chunk: usize, responses: Vec<Rollout>) {
        self.responses.insert(chunk, responses);
    }

    /// The last chunk's rewards end the validation. A version that is not among the best goes.
    pub(super) fn scored(
        &mut self,
        step: usize,
        (chunk, part): (usize, usize),
        rewards: Vec<Judgement<f64>>,
    ) -> Vec<Effect> {
        self.given.insert((chunk, part), rewards);
        if self.given.len() < self.chunks() * self.parts.len() {
            return Vec::new();
        }
        let given = std::mem::take(&mut self.given);
        self.responses.clear();
        let mixed = (0..self.chunks()).flat_map(|chunk| {
            let of_part = |part| given.get(&(chunk, part)).map_or(&[][..], Vec::as_slice);
            mix(&self.parts, &(0..self.parts.len()).map(of_part).collect::<Vec<_>>())
        });
        let mixed: Vec<Judgement<f64>> = mixed.collect();
        let judged: Vec<f64> = mixed.iter().flatten().copied().collect();
        let reward = (!judged.is_empty()).then(|| judged.iter().sum::<f64>() / judged.len() as f64);
        let unscorable = mixed.len() - judged.len();
        self.unscorable += unscorable;
        self.note = reward.map_or_else(String::new, |r| format!("validation reward {r:.3}"));
        self.versions.push(ValidatedVersion { step, reward, unscorable, win_rate: None });
        let mut metrics = json!({"stage": "selection", "step": step, "unscorable": unscorable});
        if let Some(reward) = reward {
            metrics["reward"] = json!(reward);
        }
        let mut effects = vec![Effect::Append { file: "metrics.jsonl", records: vec![metrics] }];
        let best = self.best();
        self.candidates.retain(|step, artifact| {
            let stays = best.contains(step);
            if !stays {
                effects.push(Effect::Delete { artifact: artifact.clone() });
            }
            stays
        });
        effects
    }

    /// Steps of the versions with the highest rewards so far.
    fn best(&self) -> Vec<usize> {
        let mut versions: Vec<&ValidatedVersion> = self.versions.iter().collect();
        versions.sort_by(|a, b| a.by_reward(b));
        versions.iter().take(self.config.candidates).map(|version| version.step).collect()
    }

    /// What is still to be done after the last step: contests of the candidates with the start, and then
    /// the winner saved.
    pub(super) fn contests(&self, machine: &Machine, start: &ModelRef) -> Vec<(TaskId, Work)> {
        if let Some(artifact) = self.chosen.and_then(|step| self.candidates.get(&step)) {
            let policy = machine.policy_of(machine.version_of(start, artifact));
            return vec![(TaskId::SavePolicy, Work::SavePolicy(SavePolicy { policy }))];
        }
        let each = self.candidates.iter();
        let each = each.flat_map(|(step, at)| (0..self.chunks()).map(move |c| (*step, at, c)));
        let open = each.filter(|(step, _, chunk)| !self.judged.contains_key(&(*step, *chunk)));
        let contest = |(step, artifact, chunk): (usize, &String, usize)| {
            if let Some(contests) = self.waiting.get(&(step, chunk)) {
                let templates = machine.inputs.evaluation_templates.iter().take(1);
                let judge = JudgeContests {
                    model: machine.judge_model(),
                    templates: templates.cloned().collect(),
                    contests: contests.clone(),
                };
                return (TaskId::JudgeCandidate { step, chunk }, Work::Judge(judge));
            }
            let candidate = machine.version_of(start, artifact);
            let respond = Respond {
                trained: self.generate(machine, &candidate, "selection", chunk),
                start: machine.policy_of(start.clone()),
                strip_trailing_junk: machine.job.evaluate.strip_trailing_junk,
            };
            (TaskId::Challenge { step, chunk }, Work::Respond(respond))
        };
        open.map(contest).collect()
    }

    pub(super) fn challenged(&mut self, step: usize, chunk: usize, contests: Vec<Contest>) {
        self.waiting.insert((step, chunk), contests);
    }

    /// The last verdicts say who is chosen.
    pub(super) fn judged(&mut self, step: usize, chunk: usize, records: Vec<EvaluationRecord>) {
        self.waiting.remove(&(step, chunk));
        self.judged.insert((step, chunk), records);
        if self.judged.len() < self.candidates.len() * self.chunks() {
            return;
        }
        let rates: Vec<(usize, WinRate)> =
            self.candidates.keys().map(|step| (*step, self.win_rate_of(*step))).collect();
        for (step, rate) in rates {
            self.unscorable += rate.unscorable;
            if let Some(version) = self.versions.iter_mut().find(|v| v.step == step) {
                version.win_rate = Some(rate);
            }
        }
        let contenders = self.versions.iter().filter(|version| version.win_rate.is_some());
        let chosen = contenders.min_by(|a, b| a.by_win_rate(b));
        self.chosen = chosen.map(|version| version.step);
        self.note = self.chosen.map_or_else(String::new, |step| format!("step {step} chosen"));
    }

    fn win_rate_of(&self, step: usize) -> WinRate {
        let records = self.judged.range((step, 0)..(step + 1, 0)).flat_map(|(_, records)| records);
        let judged =
            records.filter_map(|r| Some((r.contest.clone(), r.verdicts.get(&self.judge)?)));
        let (contests, verdicts): (Vec<Contest>, Vec<Judgement<Verdict>>) =
            judged.map(|(contest, verdict)| (contest, verdict.into())).unzip();
        win_rate(&self.judge, &contests, &verdicts, self.seed)
    }

    /// The winner is saved: the other candidates are not needed any more.
    pub(super) fn was_saved(&mut self, model: String) -> Result<Vec<Effect>, Error> {
        let none = || Error::Stage { stage: "selection", what: "nothing was chosen yet".into() };
        let summary = self.summary().ok_or_else(none)?;
        self.saved = Some(model);
        let records = |(step, records): (&(usize, usize), &Vec<EvaluationRecord>)| {
            let of_step = |record: &EvaluationRecord| {
                let mut record = plain(record);
                record["step"] = json!(step.0);
                record
            };
            records.iter().map(of_step).collect::<Vec<_>>()
        };
        let records = self.judged.iter().flat_map(records).collect();
        let mut effects = vec![Effect::Append { file: "selection.jsonl", records }];
        let done_with = self.candidates.values().cloned();
        effects.extend(done_with.map(|artifact| Effect::Delete { artifact }));
        effects.push(Effect::Finished { stage: "selection", summary: plain(&summary) });
        Ok(effects)
    }

    /// How the choice came about, once it is made.
    pub(super) fn summary(&self) -> Option<SelectionSummary> {
        let SelectionConfig { every, candidates, .. } = self.config;
        Some(SelectionSummary {
            rule: format!(
                "every {every} steps the mean reward on held-out prompts; of the {candidates} highest, \
                 the one with the highest win rate over the start by {}",
                self.judge
            ),
            prompts: self.prompts.len(),
            versions: self.versions.clone(),
            chosen: self.chosen?,
        })
    }

    pub(super) fn progress(&self) -> StageProgress {
        let all = (0..=self.steps).filter(|step| self.is_candidate(*step)).count();
        let contenders = all.min(self.config.candidates);
        let compared = self.judged.len() / self.chunks().max(1);
        let done = self.versions.len() + compared + usize::from(self.saved.is_some());
        let (note, unscorable) = (self.note.clone(), self.unscorable);
        let total = all + contenders + 1;
        StageProgress { note, unscorable, ..StageProgress::new("selection", done, total) }
    }
}
