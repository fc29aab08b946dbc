//! What stops a run.

/// An error of a run. Finished work is in the run folder, and `--resume` goes on from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job, its data or its folder.
    #[error(transparent)]
    Job(#[from] rlaif_job::Error),
    /// A template.
    #[error(transparent)]
    Template(#[from] rlaif_template::Error),
    /// A model that is not on disk.
    #[error(transparent)]
    Hub(#[from] rlaif_hub::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] rlaif_models::Error),
    /// The labeler.
    #[error(transparent)]
    Judge(#[from] rlaif_judge::Error),
    /// A saved training state.
    #[error("{0}; delete the run folder's state/ to train this stage from its start")]
    State(#[from] rlaif_rl::StateError),
}

impl From<rlaif_data::Error> for Error {
    fn from(error: rlaif_data::Error) -> Self {
        Self::Job(error.into())
    }
}
