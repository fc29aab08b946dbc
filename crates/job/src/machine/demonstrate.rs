//! The labeler's own answers to the training prompts, chunk by chunk, to fine-tune on: the control that a
//! policy trained on the labeler's judgement has to beat (Sharma et al. 2024, arXiv 2402.12366).

use super::in_order::InOrder;
use super::judge::{Due, in_chunk};
use super::{Effect, Machine, StageProgress};
use crate::TaskId;
use crate::work::{Generate, Policy, Rollout, Work};
use rlaif_types::Prompt;
use serde_json::{Value, json};

/// File of the run folder, and artifact, of the answers.
pub(super) const FILE: &str = "demonstrations.jsonl";

/// The labeler answers each training prompt once.
pub(super) struct Demonstrating {
    prompts: usize,
    chunk_size: usize,
    answered: InOrder<Vec<Value>>,
}

impl Demonstrating {
    pub(super) fn new(prompts: usize, chunk_size: usize) -> Self {
        Self { prompts, chunk_size, answered: InOrder::default() }
    }

    fn chunks(&self) -> usize {
        self.prompts.div_ceil(self.chunk_size)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.answered.released() == self.chunks()
    }

    pub(super) fn candidates(&self, machine: &Machine, room: usize) -> Vec<(TaskId, Work)> {
        let chunks = machine.inputs.prompts.chunks(self.chunk_size).enumerate();
        let tasks = chunks.map(|(chunk, prompts)| {
            let first = chunk * self.chunk_size;
            (TaskId::Demonstrate(chunk), Work::Rollout(answers(machine, first, prompts)))
        });
        let open = tasks.filter(|(task, _)| {
            !machine.applied.contains(task) && !machine.handed_out.contains(task)
        });
        open.take(room).collect()
    }

    /// What a chunk is to be answered with; none where there is no such chunk.
    pub(super) fn due(&self, chunk: usize) -> Option<Due> {
        in_chunk(self.prompts, self.chunk_size, chunk).map(Due::Rollouts)
    }

    pub(super) fn answered(
        &mut self,
        prompts: &[Prompt],
        chunk: usize,
        rollouts: &[Rollout],
    ) -> Vec<Effect> {
        let prompts = prompts.iter().skip(chunk * self.chunk_size);
        let records = prompts.zip(rollouts).map(demonstration).collect();
        let records: Vec<Value> =
            self.answered.insert(chunk, records).into_iter().flatten().collect();
        let mut effects = vec![Effect::Append { file: FILE, records }];
        if self.is_complete() {
            effects.push(Effect::Publish { file: FILE });
            let summary = json!({"demonstrations": self.prompts});
            effects.push(Effect::Finished { stage: "demonstrate", summary });
        }
        effects
    }

    pub(super) fn progress(&self) -> StageProgress {
        let done = (self.answered.arrived() * self.chunk_size).min(self.prompts);
        StageProgress::new("demonstrate", done, self.prompts)
    }
}

/// An answer as it is learned; one that was cut off says so, since it has no end to learn.
fn demonstration((prompt, rollout): (&Prompt, &Rollout)) -> Value {
    let mut record = json!({"prompt": prompt, "completion": rollout.text});
    if !rollout.finish.is_stop() {
        record["finish"] = json!(rollout.finish);
    }
    record
}

/// As the policy is asked, so that the policy learns to answer what it will be asked.
fn answers(machine: &Machine, first: usize, prompts: &[Prompt]) -> Generate {
    let job = &machine.job;
    let policy = Policy { model: machine.labeler_model(), chat: job.policy.chat };
    let (sampling, seed, prompts) = (job.sampling.clone(), job.seed, prompts.to_vec());
    Generate { policy, sampling, seed, first, prompts }
}
