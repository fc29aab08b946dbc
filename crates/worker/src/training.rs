//! Training that takes long and survives its worker.
//!
//! Every few steps the trainer's state and the metrics so far are saved as artifacts. The metrics
//! go first: a state that is there has its metrics beside it, and records of steps after it are cut
//! off, for they will be made again.

use crate::{Advance, Failure, Progress, spans};
use rlaif_artifacts::{BlockingArtifacts, Error as ArtifactError};
use rlaif_data::Reader;
use rlaif_job::LeftOut;
use rlaif_models::Trainable;
use rlaif_rl::{Halt, RewardTrainer, SftTrainer, StateError, TrainerState};
use rlaif_types::LoraConfig;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::Path;

/// Counter in a saved state.
const STEPS_DONE: &str = "steps_done";

/// A trainer whose state can be saved and gone on from, exactly.
pub trait Resumable {
    /// Everything a later [`Resumable::load`] needs.
    fn save(&self) -> TrainerState;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another model or method.
    fn load(&mut self, state: &TrainerState) -> Result<(), StateError>;
}

macro_rules! resumable {
    ($($trainer:ty),+) => {
        $(impl Resumable for $trainer {
            fn save(&self) -> TrainerState {
                <$trainer>::save(self)
            }
            fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
                <$trainer>::load(self, state)
            }
        })+
    };
}

resumable!(SftTrainer, RewardTrainer);

/// A stage's training, all its steps in one piece of work.
pub struct LongTraining<'a> {
    /// The stage.
    pub stage: &'a str,
    /// Steps in all.
    pub steps: usize,
    /// Steps between saved states.
    pub checkpoint_every: usize,
    /// Where states are kept.
    pub artifacts: &'a BlockingArtifacts,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl LongTraining<'_> {
    /// Makes the steps that a saved state does not have yet; `step` makes one, from 0, and returns
    /// what it measured and a note for people. Returns the records of all steps.
    ///
    /// # Errors
    /// When training cannot go on or is told to stop, which leaves the newest saved state as it is, or
    /// when states cannot be read or saved.
    pub fn run<T: Resumable, M: Serialize>(
        &self,
        trainer: &mut T,
        step: impl FnMut(&mut T, usize) -> Result<(M, String), Halt>,
    ) -> Result<Vec<Value>, Failure> {
        self.run_until(trainer, step, |_| false)
    }

    /// As [`LongTraining::run`], but ends early where the records so far are `enough`. Nothing else may
    /// decide that, so that a retry ends where the first attempt would have.
    ///
    /// # Errors
    /// As [`LongTraining::run`].
    pub fn run_until<T: Resumable, M: Serialize>(
        &self,
        trainer: &mut T,
        mut step: impl FnMut(&mut T, usize) -> Result<(M, String), Halt>,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, Failure> {
        let _span = spans::training(self.stage, self.steps).entered();
        let mut records = self.resume(trainer)?;
        let advance = |done, note: &str| {
            let total = self.steps;
            self.progress.advance(&Advance { stage: self.stage, done, total, note });
        };
        advance(records.len(), "");
        for index in records.len()..self.steps {
            if enough(&records) {
                break;
            }
            self.progress.goes_on()?;
            let (measured, note) =
                step(trainer, index).map_err(|halt| self.stopped(index, &halt))?;
            let record = step_record(self.stage, index + 1, &measured);
            self.progress.measured(&record);
            records.push(record);
            let is_last = index + 1 == self.steps || enough(&records);
            if (index + 1) % self.checkpoint_every == 0 || is_last {
                self.save(trainer, &records)?;
            }
            advance(index + 1, &note);
        }
        Ok(records)
    }

    /// A step computes with the weights of all steps before it, so what it finds wrong may be wrong in a state that
    /// was saved just then; an older one is good.
    fn stopped(&self, index: usize, halt: &Halt) -> Failure {
        let (saved, name) =
            (index / self.checkpoint_every * self.checkpoint_every, self.state_name());
        let kept = match saved {
            0 => "no state was saved before it".to_owned(),
            _ if saved == index => {
                format!("the state that is kept, {name}, is the one from which it came to that")
            }
            _ => format!("the last good state is {name}, after step {saved}"),
        };
        Failure::impossible(format!("{} step {}: {halt}; {kept}", self.stage, index + 1))
    }

    /// Removes the saved state, once what it was for is done.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self) -> Result<(), Failure> {
        self.artifacts.delete(&self.state_name())?;
        Ok(self.artifacts.delete(&self.metrics_name())?)
    }

    /// Puts `trainer` where the saved state is and returns the records up to there; none without a
    /// state.
    fn resume(&self, trainer: &mut impl Resumable) -> Result<Vec<Value>, Failure> {
        let Some(state) = found(self.artifacts.get(&self.state_name()))? else {
            return Ok(Vec::new());
        };
        let Some(metrics) = found(self.artifacts.get(&self.metrics_name()))? else {
            return Ok(Vec::new());
        };
        let metrics = Reader::new(self.metrics_name(), Cursor::new(metrics));
        let mut records = metrics.read_all(|record| Ok(Value::Object(record)))?;
        let state_name = self.state_name();
        let unusable = unusable(&state_name);
        let state = TrainerState::from_bytes(state).map_err(&unusable)?;
        let done = state.number(STEPS_DONE).map_err(&unusable)? as usize;
        if records.len() < done {
            // Two workers took turns at overwriting; neither record is complete.
            return Ok(Vec::new());
        }
        trainer.load(&state).map_err(&unusable)?;
        records.truncate(done);
        Ok(records)
    }

    fn save(&self, trainer: &impl Resumable, records: &[Value]) -> Result<(), Failure> {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        self.artifacts.put(&self.metrics_name(), lines)?;
        let mut state = trainer.save();
        state.put_number(STEPS_DONE, records.len() as u64);
        Ok(self.artifacts.put(&self.state_name(), state.to_bytes())?)
    }

    fn state_name(&self) -> String {
        format!("state/{}.safetensors", self.stage)
    }

    fn metrics_name(&self) -> String {
        format!("state/{}.jsonl", self.stage)
    }
}

fn found<T>(got: Result<T, ArtifactError>) -> Result<Option<T>, Failure> {
    match got {
        Ok(there) => Ok(Some(there)),
        Err(ArtifactError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unusable(name: &str) -> impl Fn(StateError) -> Failure + '_ {
    move |e| Failure::impossible(format!("{name}: {e}; delete it to train from the start"))
}

/// The state saved as the artifact `name`.
///
/// # Errors
/// When there is none, or it is no state.
pub fn load_state(artifacts: &BlockingArtifacts, name: &str) -> Result<TrainerState, Failure> {
    let bytes = artifacts.get(name)?;
    TrainerState::from_bytes(bytes).map_err(unusable(name))
}

/// One line of `metrics.jsonl`: stage, step from 1, and what was measured.
pub fn step_record(stage: &str, step: usize, measured: &impl Serialize) -> Value {
    let measured = serde_json::to_value(measured).expect("metrics are numbers");
    let mut record = json!({"stage": stage, "step": step});
    if let (Some(record), Value::Object(measured)) = (record.as_object_mut(), measured) {
        record.extend(measured);
    }
    record
}

/// Says in the log what a stage does not learn from.
pub fn tell_left_out(stage: &str, left_out: &LeftOut) {
    if !left_out.is_empty() {
        tracing::warn!(stage, %left_out, "examples are left out of training");
    }
}

/// What is trained: adapters where the job has them, else everything.
pub fn trainable(lora: Option<&LoraConfig>) -> Trainable {
    lora.cloned().map_or(Trainable::Full, Trainable::Lora)
}

/// Stores a model as the artifact folder `name`; `write` writes it into a local one.
///
/// # Errors
/// When writing or storing fails.
pub fn save_model(
    artifacts: &BlockingArtifacts,
    name: &str,
    write: impl FnOnce(&Path) -> Result<(), rlaif_models::Error>,
) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()
        .map_err(|e| Failure::Retry(format!("no temporary folder for {name}: {e}")))?;
    let folder = scratch.path().join("model");
    write(&folder)?;
    Ok(artifacts.save_folder(&folder, name)?)
}
