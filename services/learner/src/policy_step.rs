//! One step of reinforcement learning.
//!
//! A step needs the trainer after the step before it. The learner that made that step still has it;
//! any other takes the job's newest checkpoint and repeats the steps since, from the same episodes
//! and therefore to the same bits.

use crate::versions;
use rlaif_job::{Manifest, PolicyStep, Stepped, Training, WorkItem, WorkResult};
use rlaif_models::{CausalLm, ScalarModel};
use rlaif_rl::{Reinforce, ReinforceMetrics};
use rlaif_service::metrics::names;
use rlaif_types::{Episode, ReinforceConfig};
use rlaif_worker::{
    Advance, Failure, JobResources, Loaded, Progress, load_state, save_model, step_record,
    trainable,
};
use std::sync::{Mutex, PoisonError};

/// A trainer in memory.
pub(crate) struct Held {
    job: String,
    training: Training,
    reinforce: ReinforceConfig,
    start: Loaded<CausalLm>,
    trainer: Reinforce,
    /// The step it made last; 0 before the first.
    step: usize,
}

pub(crate) fn policy_step(
    held: &Mutex<Option<Held>>,
    job: &JobResources,
    item: &WorkItem,
    work: &PolicyStep,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    if work.step <= work.checkpoint || work.batches.len() != work.step - work.checkpoint {
        return Err(Failure::impossible(format!(
            "policy step {} from checkpoint {} comes with {} batches",
            work.step,
            work.checkpoint,
            work.batches.len()
        )));
    }
    let _span = tracing::info_span!("train policy", { names::STEP } = work.step).entered();
    // Taken out: a trainer that fails half-way is not gone on with.
    let taken = held.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut trainer = match taken.filter(|held| held.can_make(item, work)) {
        Some(held) => held,
        None => Held::at_checkpoint(job, item, work)?,
    };
    while trainer.step + 1 < work.step {
        trainer.step_on(job, work)?;
        tell(progress, item, work, trainer.step, "repeating steps since the checkpoint");
    }
    let metrics = trainer.step_on(job, work)?;
    let stepped = trainer.publish(job, item, work, &metrics)?;
    progress.measured(&stepped.metrics);
    let note = format!("reward {:.3} KL {:.2}", metrics.reward, metrics.kl);
    tell(progress, item, work, work.step, &note);
    if work.step < work.steps {
        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(trainer);
    }
    Ok(WorkResult::Stepped(stepped))
}

fn tell(progress: &dyn Progress, item: &WorkItem, work: &PolicyStep, done: usize, note: &str) {
    let stage = item.task.stage();
    progress.advance(&Advance { stage, done, total: work.steps, note });
}

impl Held {
    /// True when the trainer has just made the step before.
    fn can_make(&self, item: &WorkItem, work: &PolicyStep) -> bool {
        self.step + 1 == work.step
            && self.job == item.job
            && self.training == work.training
            && self.reinforce == work.reinforce
    }

    /// The trainer as the checkpoint has it.
    fn at_checkpoint(
        job: &JobResources,
        item: &WorkItem,
        work: &PolicyStep,
    ) -> Result<Self, Failure> {
        let training = &work.training;
        let start = job.language_model(&training.start.model)?;
        let what = trainable(training.lora.as_ref());
        let mut trainer = Reinforce::new(
            start.model.trainable(&what),
            ScalarModel::zero(start.model.clone()).trainable(&what),
            start.model.clone(),
            work.reinforce.clone(),
            training.micro_batch_tokens,
        );
        if work.checkpoint > 0 {
            let name = versions::state_name(work.checkpoint);
            let loaded = trainer.load(&load_state(&job.artifacts, &name)?);
            loaded.map_err(|e| Failure::impossible(format!("{name}: {e}")))?;
        }
        Ok(Self {
            job: item.job.clone(),
            training: training.clone(),
            reinforce: work.reinforce.clone(),
            start,
            trainer,
            step: work.checkpoint,
        })
    }

    /// Makes the next step, on its own batch.
    fn step_on(
        &mut self,
        job: &JobResources,
        work: &PolicyStep,
    ) -> Result<ReinforceMetrics, Failure> {
        let name = &work.batches[self.step - work.checkpoint];
        let episodes: Vec<Episode> = serde_json::from_slice(&job.artifacts.get(name)?)
            .map_err(|e| Failure::impossible(format!("{name} is no batch of episodes: {e}")))?;
        let metrics = self.trainer.step(&episodes).ok_or_else(|| {
            let reason = episodes.iter().find_map(|e| e.reward.as_ref().err());
            Failure::impossible(format!(
                "policy step {}: not one rollout is fit to learn from; the first: {}",
                self.step + 1,
                reason.map_or("an empty response or too old".into(), ToString::to_string)
            ))
        })?;
        self.step += 1;
        Ok(metrics)
    }

    /// Makes the step's outcome known: the final model, the new version, the state to go on from.
    /// Each is whole once it is there, so a retry after a death in between does them again.
    fn publish(
        &self,
        job: &JobResources,
        item: &WorkItem,
        work: &PolicyStep,
        metrics: &ReinforceMetrics,
    ) -> Result<Stepped, Failure> {
        let last = self.step == work.steps;
        let checkpointed = last || self.step.is_multiple_of(self.training.checkpoint_every);
        if last {
            let (model, checkpoint) = (self.trainer.policy.merged(), &self.start.checkpoint);
            save_model(&job.artifacts, Manifest::POLICY, |folder| model.save(folder, checkpoint))?;
        }
        let parameters = versions::publish(&job.artifacts, self.step, &self.trainer.policy)?;
        if checkpointed {
            let state = self.trainer.save().to_bytes();
            job.artifacts.put(&versions::state_name(self.step), state)?;
        }
        // The next steps' rollouts may still be drawn with these.
        versions::forget_old(&job.artifacts, self.reinforce.max_off_policy_steps + 2);
        Ok(Stepped {
            metrics: step_record(item.task.stage(), self.step, metrics),
            parameters,
            checkpointed,
            model: last.then(|| Manifest::POLICY.to_owned()),
        })
    }
}
