//! What a run tells whoever is watching.

/// Listens to a run.
pub trait Progress: Sync {
    /// A stage begins (or goes on at `done` of `total`).
    fn begin(&self, stage: &str, done: usize, total: usize);
    /// `count` more are done; `note` is the latest figure of interest.
    fn advance(&self, count: usize, note: &str);
    /// The stage is complete.
    fn end(&self);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _stage: &str, _done: usize, _total: usize) {}
    fn advance(&self, _count: usize, _note: &str) {}
    fn end(&self) {}
}
