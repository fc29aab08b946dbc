//! What can be wrong with a template, or with a template for a model.

/// An error of this crate. A single item that cannot be judged is not one: it is `Unscorable`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such template.
    #[error("no template {name:?}: expected a .toml file or one of {known}")]
    UnknownTemplate {
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
    Template {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The template asks for another kind of judgement than the caller.
    #[error("template {name} is for {found}, but {wanted} was asked for")]
    WrongKind {
        /// Which.
        name: String,
        /// The template's kind.
        found: &'static str,
        /// What the caller needs.
        wanted: &'static str,
    },
    /// The model cannot answer at all.
    #[error(transparent)]
    Model(#[from] rlaif_models::Error),
}
