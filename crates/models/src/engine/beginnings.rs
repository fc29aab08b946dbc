//! Beginnings that calls have in common, such as a template's preamble and exemplars: their keys and values
//! stay in the cache from one call to the next.
//!
//! A beginning is always computed alone, so that its bits, and with them a call's, do not depend on what was
//! asked before.

use super::rows::Rows;
use super::slots::Slots;
use super::{EngineModel, EngineOptions};
use std::ops::Range;

/// Of the cache's rows this part may be kept between calls.
const SHARE: usize = 8;

/// The beginnings that are kept.
#[derive(Default)]
pub(super) struct Beginnings {
    /// The one used last comes last.
    kept: Vec<Begun>,
}

/// A beginning whose keys and values are in the cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun {
    tokens: Vec<u32>,
    /// Its rows of the cache.
    pub(super) slots: Range<usize>,
}

impl Begun {
    /// Its length in tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

impl Beginnings {
    /// Rows of the cache that are kept.
    pub(super) fn rows(&self) -> usize {
        self.kept.iter().map(Begun::len).sum()
    }

    /// The first `len` of `tokens`, kept or computed now; none where that is too long to be kept.
    pub(super) fn get(
        &mut self,
        model: &EngineModel,
        slots: &mut Slots,
        options: &EngineOptions,
        tokens: &[u32],
    ) -> Begun {
        let room = options.max_kv_tokens / SHARE;
        if tokens.is_empty() || tokens.len() > room {
            return Begun::default();
        }
        if let Some(place) = self.kept.iter().position(|begun| begun.tokens == tokens) {
            let begun = self.kept.remove(place);
            self.kept.push(begun.clone());
            return begun;
        }
        while self.rows() + tokens.len() > room {
            slots.release(self.kept.remove(0).slots);
        }
        let begun = Begun { tokens: tokens.to_vec(), slots: slots.take(tokens.len()) };
        let first = begun.slots.start;
        for (piece, tokens) in tokens.chunks(options.max_batch_tokens).enumerate() {
            let position = piece * options.max_batch_tokens;
            let (mut rows, seen) = (Rows::default(), first..first + position + tokens.len());
            rows.push(tokens, position, first + position, std::iter::once(seen));
            rows.run(model, slots);
        }
        // Not before it is computed: a failure must not leave it among what is known.
        self.kept.push(begun.clone());
        begun
    }
}
