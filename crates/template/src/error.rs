//! What can be wrong with a template.

/// An error of a template.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such template.
    #[error("no template {name:?}: expected a .toml file or one of {known}")]
    Unknown {
        /// As asked for.
        name: String,
        /// Built-in names.
        known: String,
    },
    /// A template file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A template that says something senseless.
    #[error("template {name}: {what}")]
    Invalid {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
    },
}
