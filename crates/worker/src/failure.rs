//! Which failures a retry can mend.

use rlaif_artifacts as artifacts;
use rlaif_clerk as clerk;
use rlaif_data as data;
use rlaif_judge as judge;
use rlaif_models as models;
use std::io;

/// Why an attempt gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It never will: the job must be mended. The message says what, where and how.
    Impossible(String),
    /// Another attempt may.
    Retry(String),
    /// Something that the work needs is away, and passes by itself: the artifact store, an endpoint.
    Away(String),
    /// Nobody waits for the result any more.
    Stopped,
}

impl Failure {
    /// What no retry can mend.
    pub fn impossible(what: impl Into<String>) -> Self {
        Self::Impossible(what.into())
    }

    /// What it says.
    pub fn into_message(self) -> String {
        match self {
            Self::Impossible(why) | Self::Retry(why) | Self::Away(why) => why,
            Self::Stopped => "nobody waits for its result any more".to_owned(),
        }
    }

    fn of_file(error: &io::Error, message: String) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Impossible(message),
            _ => Self::Retry(message),
        }
    }
}

impl From<models::Error> for Failure {
    fn from(error: models::Error) -> Self {
        let message = error.to_string();
        match error {
            models::Error::Io { source, .. } => Self::of_file(&source, message),
            // Another worker may have the device, and an engine that broke is replaced.
            models::Error::Device { .. } | models::Error::EngineFailed(_) => Self::Retry(message),
            _ => Self::Impossible(message),
        }
    }
}

/// Named models are pulled before a job begins; one that is not there is the job's mistake.
impl From<rlaif_hub::Error> for Failure {
    fn from(error: rlaif_hub::Error) -> Self {
        Self::Impossible(error.to_string())
    }
}

impl From<judge::Error> for Failure {
    fn from(error: judge::Error) -> Self {
        match error {
            judge::Error::Model(error) => error.into(),
            error => Self::Impossible(error.to_string()),
        }
    }
}

impl From<clerk::Error> for Failure {
    fn from(error: clerk::Error) -> Self {
        match error {
            clerk::Error::Judge(error) => error.into(),
            // A disk may have room again.
            clerk::Error::Ledger(error) => Self::Retry(error.to_string()),
            error => Self::Impossible(error.to_string()),
        }
    }
}

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Self {
        let message = error.to_string();
        match error {
            data::Error::Io { source, .. } => Self::of_file(&source, message),
            data::Error::Line { .. } => Self::Impossible(message),
        }
    }
}

impl From<artifacts::Error> for Failure {
    fn from(error: artifacts::Error) -> Self {
        let message = error.to_string();
        match &error {
            error if error.is_passing() => Self::Away(message),
            artifacts::Error::BadUrl { .. }
            | artifacts::Error::BadName { .. }
            | artifacts::Error::TooLarge { .. } => Self::Impossible(message),
            // A missing one too: work that was overtaken asks for versions that are no longer kept,
            // and must not end a job that is well.
            _ => Self::Retry(message),
        }
    }
}
