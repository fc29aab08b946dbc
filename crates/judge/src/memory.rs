//! Answers that outlive the asking: what an endpoint was paid for is not asked for again because another
//! question of the same item failed, because the process was killed, or because another label is to be made
//! of it.

use crate::engine::{Effort, Identity, Question, Reading};
use rlaif_types::{ContentHash, Hasher, canonical_json};
use serde_json::json;

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The answer.
    pub reading: Reading,
    /// What it took when it was asked for.
    pub took: Effort,
    /// Whether somebody has accounted for that.
    pub accounted: bool,
}

/// Keeps answers to single questions, by [`Question::id`].
pub trait Memory {
    /// Whether it keeps anything: else questions need no identity.
    fn remembers(&self) -> bool {
        true
    }

    /// The answers that are known, in the order of `ids`. What one took and nobody has accounted for is told
    /// of here, and from now on is the asker's to account for.
    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>>;

    /// Takes in answers, as soon as they are there.
    fn keep(&mut self, answers: &[(ContentHash, &Reading, Effort)]);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forgetful;

impl Memory for Forgetful {
    fn remembers(&self) -> bool {
        false
    }

    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>> {
        vec![None; ids.len()]
    }

    fn keep(&mut self, _: &[(ContentHash, &Reading, Effort)]) {}
}

impl Question {
    /// What identifies it, asked of `engine`: all that its answer depends on, and nothing else. What becomes
    /// of the answer, such as a clamp, is no part of it, nor is a seed of which nothing is drawn.
    pub fn id(&self, engine: &Identity) -> ContentHash {
        let thought = self.thought.as_ref().map(|t| {
            let draws = (t.temperature > 0.0).then_some((t.top_k, t.seed));
            let (top_k, seed) = draws.unzip();
            json!([t.max_tokens, t.temperature, top_k, seed, t.stop, t.ending])
        });
        let mut hasher = Hasher::new();
        hasher.field(engine.hash.as_str()).field(&self.shown).field(&self.begun);
        hasher.field(canonical_json(&json!([self.layout, self.verdicts.as_ref(), thought])));
        hasher.finish()
    }
}
