//! Whether a worker has the memory for what it is asked to train.

use super::{Limit, Place, Trainer, readable, total};
use crate::Failure;
use rlaif_models::DeviceName;
use rlaif_types::Precision;

/// The memory that a worker trains in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Where it is.
    pub device: DeviceName,
    /// What models compute in there.
    pub precision: Precision,
    /// The same, with the replicas that take part in training there.
    pub place: Place,
    /// How much of it may be taken; what there is in all where nobody says.
    pub max: Option<Limit>,
}

impl Room {
    /// Refuses to train what takes more memory than there is, whoever else has some of it at the moment.
    ///
    /// # Errors
    /// A passing one: a worker that has more may take the work over.
    pub fn check(&self, trainer: Trainer) -> Result<(), Failure> {
        let has = match self.max {
            Some(Limit::Any) => None,
            Some(Limit::Bytes(bytes)) => Some(bytes),
            None => total(self.device),
        };
        let stage = Trainer { precision: self.precision, ..trainer }.peak(self.place);
        match has {
            Some(has) if stage.bytes() > has => Err(Failure::Retry(format!(
                "training takes about {} of memory on {}, {}, and this worker has {}: give it more, or the job adapters \
                 ([lora]), rl.gradient_checkpointing or fewer rl.micro_batch_tokens; worker.max_memory = \"any\" lets \
                 it try",
                readable(stage.bytes()),
                self.device,
                stage.describe(),
                readable(has)
            ))),
            _ => Ok(()),
        }
    }
}
