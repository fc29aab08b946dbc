//! What can go wrong with a model, and how to mend it.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is damaged, truncated, or not what its name says.
    #[error("{path} is not a usable model file: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file is fine, but asks for something this crate does not do.
    #[error("{path}: {what} is not supported", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        what: String,
    },
    /// A weight the architecture needs is not in the file.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Its HF name.
        name: String,
    },
    /// A weight has another shape than the configuration says.
    #[error("tensor {name} has shape {found:?} where the configuration says {expected:?}")]
    WrongShape {
        /// Its HF name.
        name: String,
        /// From the configuration.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// No such model.
    #[error("no model at {spec:?}: {hint}")]
    UnknownModel {
        /// What was asked for.
        spec: String,
        /// How to get one.
        hint: String,
    },
    /// The chat template does not parse, or refuses the conversation.
    #[error("chat template: {0}")]
    ChatTemplate(String),
    /// A sequence does not fit the model.
    #[error("the prompt has {tokens} tokens but the model's context holds {context}")]
    PromptTooLong {
        /// Tokens of the sequence.
        tokens: usize,
        /// Tokens the model can see.
        context: usize,
    },
    /// A request that no model could answer.
    #[error("{0}")]
    BadRequest(String),
    /// The device is not there or cannot be used.
    #[error("device {device}: {what}")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why not.
        what: String,
    },
    /// The engine broke while answering.
    #[error("the engine failed: {0}")]
    EngineFailed(String),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.into() }
    }
}
