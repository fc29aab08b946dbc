//! What a result changes in the machine, and what follows from it: one function for each kind of result.

use super::{Effect, Labeling, Machine, Measuring, Selecting, plain, with_left_out};
use crate::work::{CheckedModel, ModelRef, Rollout, SampledPair, Stepped, Trained, WorkResult};
use crate::{Contest, Error, EvaluationRecord, LabelRecord, RewardSummary, TaskId};
use rlaif_types::Judgement;
use serde_json::{Value, json};

impl Machine {
    /// Takes in what a task came to.
    ///
    /// # Errors
    /// When it is of another kind than the task asks for, or the job cannot go on.
    pub(super) fn apply(&mut self, task: TaskId, result: WorkResult) -> Result<Vec<Effect>, Error> {
        match (task, result) {
            (_, WorkResult::Impossible(what)) => Err(Error::Stage { stage: task.stage(), what }),
            (_, WorkResult::Checked(model)) => self.looked_over(task, model),
            (TaskId::FineTune, WorkResult::FineTuned(trained)) => Ok(self.fine_tuned(trained)),
            (_, WorkResult::Pairs(pairs)) => self.sampled(task, pairs),
            (_, WorkResult::Labels(labels)) => self.labelled(task, labels),
            (TaskId::Reward, WorkResult::RewardTrained { trained, summary }) => {
                Ok(self.reward_trained(trained, summary))
            }
            (_, WorkResult::Rollouts(rollouts)) => self.rolled_out(task, rollouts),
            (_, WorkResult::Rewards(rewards)) => self.scored(task, rewards),
            (TaskId::Step(step), WorkResult::Stepped(stepped)) => self.stepped(step, stepped),
            (TaskId::SavePolicy, WorkResult::Saved(model)) => {
                self.selection_mut(task)?.was_saved(model)
            }
            (_, WorkResult::Contests(contests)) => self.contested(task, contests),
            (_, WorkResult::Evaluations(records)) => self.judged(task, records),
            _ => Err(wrong_kind(task)),
        }
    }

    fn looked_over(&mut self, task: TaskId, model: CheckedModel) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::CheckPolicy => {
                self.policy = Some(model);
                if self.job.sft.is_none() {
                    self.start = Some(self.named_policy().model);
                }
            }
            TaskId::CheckLabeler => self.labeler = Some(model),
            TaskId::CheckJudge => self.judge = Some(model),
            // Its hash comes with the reward model.
            TaskId::CheckReward => {}
            _ => return Err(wrong_kind(task)),
        }
        Ok(Vec::new())
    }

    fn fine_tuned(&mut self, trained: Trained) -> Vec<Effect> {
        self.start = Some(ModelRef::Saved(trained.model.clone()));
        finished_training("sft", trained, |t| json!({"demonstrations": t.examples}))
    }

    fn sampled(&mut self, task: TaskId, pairs: Vec<SampledPair>) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::Sample(chunk) => Ok(self.labeling_mut(task)?.sampled(chunk, pairs)),
            TaskId::Staleness { chunk, .. } => {
                self.staleness_mut(task)?.sampled(chunk, pairs);
                Ok(Vec::new())
            }
            _ => Err(wrong_kind(task)),
        }
    }

    fn labelled(&mut self, task: TaskId, labels: Vec<LabelRecord>) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::Label(chunk) => self.labeling_mut(task)?.labelled(chunk, labels),
            TaskId::Staleness { step, chunk, .. } => {
                self.staleness_mut(task)?.labelled(step, chunk, labels)
            }
            _ => Err(wrong_kind(task)),
        }
    }

    fn reward_trained(&mut self, trained: Trained, summary: RewardSummary) -> Vec<Effect> {
        let summary_json = plain(&summary);
        self.reward = Some((trained.clone(), summary));
        finished_training("reward", trained, |_| summary_json)
    }

    fn rolled_out(&mut self, task: TaskId, rollouts: Vec<Rollout>) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::Demonstrate(chunk) => {
                let demonstrating = self.demonstrating.as_mut().ok_or_else(|| wrong_kind(task))?;
                return Ok(demonstrating.answered(&self.inputs.prompts, chunk, &rollouts));
            }
            TaskId::Rollout { step, chunk } => self.training.rolled_out(step, chunk, rollouts)?,
            TaskId::Validate { chunk, .. } => self.selection_mut(task)?.responded(chunk, rollouts),
            _ => return Err(wrong_kind(task)),
        }
        Ok(Vec::new())
    }

    fn scored(&mut self, task: TaskId, rewards: Vec<Judgement<f64>>) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::Score { step, chunk, part } => {
                self.training.scored(&self.job, step, (chunk, part), rewards)
            }
            TaskId::Staleness { step, chunk, .. } => {
                self.staleness_mut(task)?.scored(step, chunk, rewards)
            }
            TaskId::ValidateScore { step, chunk, part } => {
                Ok(self.selection_mut(task)?.scored(step, (chunk, part), rewards))
            }
            _ => Err(wrong_kind(task)),
        }
    }

    fn stepped(&mut self, step: usize, stepped: Stepped) -> Result<Vec<Effect>, Error> {
        let candidate = stepped.candidate.clone();
        let effects = self.training.stepped(&self.job, &self.inputs, step, stepped)?;
        if let (Some(selection), Some(artifact)) = (&mut self.selection, candidate) {
            selection.offered(step + 1, artifact);
        }
        Ok(effects)
    }

    fn contested(&mut self, task: TaskId, contests: Vec<Contest>) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::Challenge { step, chunk } => {
                self.selection_mut(task)?.challenged(step, chunk, contests);
            }
            TaskId::Respond(chunk) => self.evaluation.responded(chunk, contests),
            _ => return Err(wrong_kind(task)),
        }
        Ok(Vec::new())
    }

    fn judged(
        &mut self,
        task: TaskId,
        records: Vec<EvaluationRecord>,
    ) -> Result<Vec<Effect>, Error> {
        match task {
            TaskId::JudgeCandidate { step, chunk } => {
                self.selection_mut(task)?.judged(step, chunk, records);
                Ok(Vec::new())
            }
            TaskId::Judge(chunk) => Ok(self.evaluation.judged(chunk, records)),
            _ => Err(wrong_kind(task)),
        }
    }

    fn labeling_mut(&mut self, task: TaskId) -> Result<&mut Labeling, Error> {
        self.labeling.as_mut().ok_or_else(|| wrong_kind(task))
    }

    fn staleness_mut(&mut self, task: TaskId) -> Result<&mut Measuring, Error> {
        self.staleness.as_mut().ok_or_else(|| wrong_kind(task))
    }

    fn selection_mut(&mut self, task: TaskId) -> Result<&mut Selecting, Error> {
        self.selection.as_mut().ok_or_else(|| wrong_kind(task))
    }
}

/// The records of a stage that is one long task.
fn finished_training(
    stage: &'static str,
    trained: Trained,
    summary: impl FnOnce(&Trained) -> Value,
) -> Vec<Effect> {
    let summary = with_left_out(summary(&trained), &trained.left_out);
    vec![
        Effect::Append { file: "metrics.jsonl", records: trained.metrics },
        Effect::Finished { stage, summary },
    ]
}

fn wrong_kind(task: TaskId) -> Error {
    Error::WrongAnswer { task, what: "another task's result".to_owned() }
}
