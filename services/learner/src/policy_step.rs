//! One step of reinforcement learning.
//!
//! A step needs the trainer after the step before it. The learner that made that step still has it;
//! any other takes the job's newest checkpoint and repeats the steps since, from the same episodes
//! and therefore to the same bits.

use crate::preferences::preference_pairs;
use crate::versions;
use rlaif_job::{
    LeftOut, Lessons, Manifest, ModelRef, PolicyStep, SavePolicy, Stepped, Training, WorkItem,
    WorkResult, batch_of_step, figures_of_interest,
};
use rlaif_models::CausalLm;
use rlaif_rl::{Halt, PolicyMetrics, PolicyTrainer, PreferencePair, Setup};
use rlaif_service::metrics::names;
use rlaif_types::{Episode, PolicyLearning};
use rlaif_worker::memory::{Trainer, optimizers};
use rlaif_worker::{
    Advance, Dialogue, Failure, JobResources, Loaded, Progress, load_state, save_model, state_name,
    step_record, tell_left_out, trainable, version_name,
};
use std::sync::{Mutex, PoisonError};

/// A trainer in memory.
pub(crate) struct Held {
    job: String,
    training: Training,
    learning: PolicyLearning,
    start: Loaded<CausalLm>,
    trainer: PolicyTrainer,
    /// Given preferences; empty where the policy learns from rollouts.
    pairs: Vec<PreferencePair>,
    /// Those that it does not learn from.
    left_out: LeftOut,
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
    let steps = work.step.saturating_sub(work.checkpoint);
    if steps == 0 || matches!(&work.lessons, Lessons::Rollouts(batches) if batches.len() != steps) {
        return Err(Failure::impossible(format!(
            "policy step {} from checkpoint {} does not go with what it is to learn from: {:?}",
            work.step, work.checkpoint, work.lessons
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
        progress.goes_on()?;
        trainer.step_on(job, work)?;
        tell(progress, item, work, trainer.step, "repeating steps since the checkpoint");
    }
    progress.goes_on()?;
    let metrics = trainer.step_on(job, work)?;
    let stepped = trainer.publish(job, item, work, &metrics)?;
    progress.measured(&stepped.metrics);
    tell(progress, item, work, work.step, &figures_of_interest(&stepped.metrics));
    if work.step < work.steps {
        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(trainer);
    }
    Ok(WorkResult::Stepped(stepped))
}

/// Saves the version that a job chose as its policy.
pub(crate) fn save_policy(job: &JobResources, work: &SavePolicy) -> Result<WorkResult, Failure> {
    save_version(job, &work.policy.model, Manifest::POLICY)?;
    if let ModelRef::Version { lora: Some(_), parameters, .. } = &work.policy.model {
        job.artifacts.put(Manifest::ADAPTER, job.artifacts.get(parameters)?)?;
    }
    Ok(WorkResult::Saved(Manifest::POLICY.to_owned()))
}

/// Saves a version of a policy as a model, the artifact folder `name`.
fn save_version(job: &JobResources, version: &ModelRef, name: &str) -> Result<(), Failure> {
    let Loaded { model, checkpoint } = job.language_model(version)?;
    save_model(&job.artifacts, name, |folder| model.save(folder, &checkpoint))
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
            && self.learning == work.learning
    }

    /// The trainer as the checkpoint has it.
    fn at_checkpoint(
        job: &JobResources,
        item: &WorkItem,
        work: &PolicyStep,
    ) -> Result<Self, Failure> {
        let training = &work.training;
        let start = job.language_model(&training.start.model)?;
        let networks = optimizers(work.learning.algorithm.clone());
        let network = &start.checkpoint.config;
        let trainer = Trainer::of("while the policy learns", training, network, networks);
        job.check_memory(Trainer { average: work.learning.ema_decay.is_some(), ..trainer })?;
        let model = start.model.clone();
        let model = model.with_gradient_checkpointing(training.gradient_checkpointing);
        let setup = Setup {
            start: &model,
            replicas: &job.replicas(&model),
            trainable: &trainable(training.lora.as_ref()),
            learning: &work.learning,
            micro_batch_tokens: training.micro_batch_tokens,
            seed: training.seed,
        };
        let mut trainer = setup.trainer();
        let (pairs, left_out) = match &work.lessons {
            Lessons::Rollouts(_) => (Vec::new(), LeftOut::default()),
            Lessons::Preferences { file, labels, .. } => {
                let dialogue = Dialogue::of(&start.checkpoint, training.start.chat)?;
                preference_pairs(job, &dialogue, file, *labels)?
            }
        };
        tell_left_out(item.task.stage(), &left_out);
        if work.checkpoint > 0 {
            let name = state_name(work.checkpoint);
            let loaded = trainer.load(&load_state(&job.artifacts, &name)?);
            loaded.map_err(|e| Failure::impossible(format!("{name}: {e}")))?;
        }
        Ok(Self {
            job: item.job.clone(),
            training: training.clone(),
            learning: work.learning.clone(),
            start,
            trainer,
            pairs,
            left_out,
            step: work.checkpoint,
        })
    }

    /// Makes the next step, on its own batch.
    fn step_on(&mut self, job: &JobResources, work: &PolicyStep) -> Result<PolicyMetrics, Failure> {
        let mut drawn_before = 0;
        let made = match (&mut self.trainer, &work.lessons) {
            (PolicyTrainer::Online(trainer), Lessons::Rollouts(batches)) => {
                let name = &batches[self.step - work.checkpoint];
                let episodes: Vec<Episode> = serde_json::from_slice(&job.artifacts.get(name)?)
                    .map_err(|e| {
                        Failure::impossible(format!("{name} is no batch of episodes: {e}"))
                    })?;
                // Older ones take no part in the step.
                let most = self.learning.algorithm.max_off_policy_steps();
                let ages = episodes.iter().map(|episode| episode.off_policy_steps);
                drawn_before = ages.filter(|age| *age <= most).max().unwrap_or(0);
                trainer.step(&episodes)
            }
            (PolicyTrainer::Offline(trainer), Lessons::Preferences { batch_size, .. }) => {
                let (all, seed) = (&self.pairs, self.training.seed);
                let batch =
                    batch_of_step(all.len(), *batch_size, self.step, seed, "preference order");
                let batch: Vec<PreferencePair> =
                    batch.into_iter().map(|i| all[i].clone()).collect();
                trainer.step(&batch)
            }
            _ => {
                let kind = self.learning.algorithm.kind();
                let what = format!("{kind} does not learn from what it is given");
                return Err(Failure::impossible(what));
            }
        };
        let metrics = made.map_err(|halt| self.stopped(job, drawn_before, &halt))?;
        self.step += 1;
        Ok(metrics)
    }

    /// Training cannot go on: why, and the policy that there is to go on from.
    ///
    /// A policy is known to be good once a step on what it drew has passed. So a step that fails speaks against the
    /// version that drew for it, `drawn_before` steps before the newest, and against all since; the one before that
    /// is the last good one.
    fn stopped(&self, job: &JobResources, drawn_before: usize, halt: &Halt) -> Failure {
        let what = format!("policy step {}: {halt}", self.step + 1);
        if let Halt::NothingToLearn(_) = halt {
            return Failure::impossible(what);
        }
        let kept = match (self.step, self.step.saturating_sub(drawn_before + 1)) {
            (0, _) => "no step was made before it".to_owned(),
            (_, 0) => "the last good policy is the one that training began with".to_owned(),
            (_, good) => match self.keep_last_good(job, good) {
                Ok(()) => {
                    format!(
                        "the last good policy, after step {good}, is kept in {}",
                        Manifest::LAST_GOOD
                    )
                }
                Err(passing @ (Failure::Away(_) | Failure::Stopped)) => return passing,
                Err(failure) => format!(
                    "the last good policy, after step {good}, could not be kept: {}",
                    failure.into_message()
                ),
            },
        };
        Failure::impossible(format!("{what}; {kept}"))
    }

    /// Saves the version of step `good` as a model: what a user can train on from, with other settings.
    fn keep_last_good(&self, job: &JobResources, good: usize) -> Result<(), Failure> {
        let version = ModelRef::Version {
            start: Box::new(self.training.start.model.clone()),
            lora: self.training.lora.clone(),
            parameters: version_name(good),
        };
        save_version(job, &version, Manifest::LAST_GOOD)
    }

    /// Makes the step's outcome known: the final model, the new version, the state to go on from.
    /// Each is whole once it is there, so a retry after a death in between does them again.
    fn publish(
        &self,
        job: &JobResources,
        item: &WorkItem,
        work: &PolicyStep,
        metrics: &PolicyMetrics,
    ) -> Result<Stepped, Failure> {
        let last = self.step == work.steps;
        let leaves_model = last && !work.candidate;
        let checkpointed = last || self.step.is_multiple_of(self.training.checkpoint_every);
        if leaves_model {
            let (model, checkpoint) = (self.trainer.trained().merged(), &self.start.checkpoint);
            save_model(&job.artifacts, Manifest::POLICY, |folder| model.save(folder, checkpoint))?;
            if self.training.lora.is_some() {
                let trained = self.trainer.trained();
                versions::put(&job.artifacts, Manifest::ADAPTER.to_owned(), trained)?;
            }
        }
        let candidate = work
            .candidate
            .then(|| versions::keep_candidate(&job.artifacts, self.step, self.trainer.trained()));
        let parameters = versions::publish(&job.artifacts, self.step, self.trainer.policy())?;
        if checkpointed {
            let state = self.trainer.save().to_bytes();
            job.artifacts.put(&state_name(self.step), state)?;
        }
        // The next steps' rollouts may still be drawn with these.
        versions::forget_old(&job.artifacts, self.learning.algorithm.max_off_policy_steps() + 2);
        Ok(Stepped {
            metrics: step_record(item.task.stage(), self.step, metrics),
            parameters,
            checkpointed,
            model: leaves_model.then(|| Manifest::POLICY.to_owned()),
            candidate: candidate.transpose()?,
            left_out: self.left_out.clone(),
        })
    }
}
