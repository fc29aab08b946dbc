//! What can be wrong with a template, or with a template for a model.

/// An error of this crate. A single item that cannot be judged is not one: it is `Unscorable`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template that cannot be used, or not with this model.
    #[error(transparent)]
    Template(#[from] rlaif_template::Error),
    /// A panel that could never, or always, decide.
    #[error(
        "a quorum of {quorum} for a panel of {members}: it must be from 1 to the number of labelers"
    )]
    Quorum {
        /// Labelers needed for a label.
        quorum: usize,
        /// Labelers that there are.
        members: usize,
    },
    /// The template cannot be asked in this way.
    #[error("template {name} cannot be asked so: {what}")]
    Asking {
        /// Which.
        name: String,
        /// All that is wrong, by setting.
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
