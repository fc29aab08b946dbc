//! The trained policy against its start, chunk by chunk.

use super::in_order::InOrder;
use super::judge::{Due, in_chunk};
use super::{Effect, Inputs, Machine, StageProgress, plain};
use crate::work::{Generate, JudgeContests, ModelRef, Respond, Work};
use crate::{Contest, EvaluationRecord, Job, TaskId, Verdict, WinRate, seed_for, win_rate};
use rlaif_types::Judgement;
use std::collections::BTreeMap;

/// Evaluation.
pub(super) struct Evaluation {
    contests: usize,
    chunk_size: usize,
    templates: Vec<String>,
    /// Of the resamples behind intervals.
    seed: u64,
    /// Responded to and not yet judged.
    waiting: BTreeMap<usize, Vec<Contest>>,
    judged: InOrder<Vec<EvaluationRecord>>,
    records: Vec<EvaluationRecord>,
}

impl Evaluation {
    pub(super) fn new(job: &Job, inputs: &Inputs) -> Self {
        Self {
            contests: inputs.heldout.len() * job.evaluate.samples_per_prompt,
            chunk_size: job.chunk_size,
            templates: inputs.evaluation_templates.iter().map(|t| t.name.clone()).collect(),
            seed: seed_for(job.seed, "win rate", 0),
            waiting: BTreeMap::new(),
            judged: InOrder::default(),
            records: Vec::new(),
        }
    }

    fn chunks(&self) -> usize {
        self.contests.div_ceil(self.chunk_size)
    }

    pub(super) fn candidates(
        &self,
        machine: &Machine,
        start: &ModelRef,
        room: usize,
    ) -> Vec<(TaskId, Work)> {
        let judge = self.waiting.iter().map(|(chunk, contests)| {
            let judge = JudgeContests {
                model: machine.judge_model(),
                templates: machine.inputs.evaluation_templates.clone(),
                contests: contests.clone(),
            };
            (TaskId::Judge(*chunk), Work::Judge(judge))
        });
        let unanswered = (0..self.chunks()).filter(|chunk| {
            let task = TaskId::Respond(*chunk);
            !machine.applied.contains(&task) && !machine.handed_out.contains(&task)
        });
        let room_to_respond = room.saturating_sub(self.waiting.len());
        let respond = unanswered.take(room_to_respond).map(|chunk| {
            (TaskId::Respond(chunk), Work::Respond(self.respond(machine, start, chunk)))
        });
        judge.take(room).chain(respond).collect()
    }

    fn respond(&self, machine: &Machine, start: &ModelRef, chunk: usize) -> Respond {
        let job = &machine.job;
        let first = chunk * self.chunk_size;
        let numbers = first..(first + self.chunk_size).min(self.contests);
        let per_prompt = job.evaluate.samples_per_prompt;
        let prompts = numbers.map(|n| machine.inputs.heldout[n / per_prompt].clone()).collect();
        let trained = machine.current_policy(start);
        Respond {
            trained: Generate {
                policy: machine.policy_of(trained),
                sampling: job.sampling.clone(),
                seed: job.seed,
                first,
                prompts,
            },
            start: machine.policy_of(start.clone()),
            strip_trailing_junk: job.evaluate.strip_trailing_junk,
        }
    }

    /// What a task is to be answered with; none where it is not open.
    pub(super) fn due(&self, task: TaskId) -> Option<Due> {
        match task {
            TaskId::Respond(chunk) => {
                in_chunk(self.contests, self.chunk_size, chunk).map(Due::Contests)
            }
            TaskId::Judge(chunk) => Some(Due::Evaluations(self.waiting.get(&chunk)?.len())),
            _ => None,
        }
    }

    /// Whether every template has a verdict on each contest; without them there is no win rate.
    pub(super) fn has_all_verdicts(&self, records: &[EvaluationRecord]) -> bool {
        let names = || self.templates.iter();
        records.iter().all(|record| names().all(|name| record.verdicts.contains_key(name)))
    }

    pub(super) fn responded(&mut self, chunk: usize, contests: Vec<Contest>) {
        self.waiting.insert(chunk, contests);
    }

    pub(super) fn judged(&mut self, chunk: usize, records: Vec<EvaluationRecord>) -> Vec<Effect> {
        self.waiting.remove(&chunk);
        let released: Vec<EvaluationRecord> =
            self.judged.insert(chunk, records).into_iter().flatten().collect();
        let appended = released.iter().map(plain).collect();
        self.records.extend(released);
        let mut effects = vec![Effect::Append { file: "evaluation.jsonl", records: appended }];
        if let Some(win_rates) = self.win_rates() {
            effects.push(Effect::Finished { stage: "evaluate", summary: plain(&win_rates) });
        }
        effects
    }

    /// One for each template, once all is judged.
    pub(super) fn win_rates(&self) -> Option<Vec<WinRate>> {
        if self.judged.released() < self.chunks() {
            return None;
        }
        let contests: Vec<Contest> = self.records.iter().map(|r| r.contest.clone()).collect();
        let of_template = |name: &String| {
            let verdicts: Option<Vec<Judgement<Verdict>>> =
                self.records.iter().map(|r| Some(r.verdicts.get(name)?.into())).collect();
            Some(win_rate(name, &contests, &verdicts?, self.seed))
        };
        self.templates.iter().map(of_template).collect()
    }

    pub(super) fn progress(&self) -> StageProgress {
        let done = (self.judged.arrived() * self.chunk_size).min(self.contests);
        StageProgress::new("evaluate", done, self.contests)
    }
}
