//! Answers that outlive the asking: what an endpoint was paid for is not asked for again because another
//! question of the same item failed, or because the process was killed.

use crate::engine::{Accounted, Effort, Identity, Question, Reading};
use rlaif_types::{ContentHash, Hasher, canonical_json};
use serde_json::json;

/// Keeps answers to single questions, by [`Question::id`].
pub trait Memory {
    /// Whether it keeps anything: else questions need no identity.
    fn remembers(&self) -> bool {
        true
    }

    /// The answers that are known, in the order of `ids`, with what they took as far as nobody has accounted
    /// for it.
    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Accounted<Reading>>>;

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

    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Accounted<Reading>>> {
        vec![None; ids.len()]
    }

    fn keep(&mut self, _: &[(ContentHash, &Reading, Effort)]) {}
}

impl Question {
    /// What identifies it, asked of `engine`: all that its answer depends on.
    pub fn id(&self, engine: &Identity) -> ContentHash {
        let thought = self
            .thought
            .as_ref()
            .map(|t| json!([t.max_tokens, t.temperature, t.top_k, t.seed, t.stop, t.ending]));
        let mut hasher = Hasher::new();
        hasher.field(engine.hash.as_str()).field(&self.shown).field(&self.begun);
        hasher.field(canonical_json(&json!([self.layout, self.verdicts.as_ref(), thought])));
        hasher.finish()
    }
}
