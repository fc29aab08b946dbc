//! The rows of one ragged pass: which tokens, where in their sequences, and what each may attend to.

use super::slots::Slots;
use super::{EngineModel, key_ranges};
use crate::kernels::Span;
use crate::kv_cache::SlotRun;
use crate::transformer::Pass;
use burn::tensor::Tensor;
use std::ops::Range;

/// Rows of a pass, gathered run by run.
#[derive(Default)]
pub(super) struct Rows {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    spans: Vec<Span>,
    runs: Vec<SlotRun>,
}

impl Rows {
    /// Rows gathered so far.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Adds adjacent tokens of one sequence, the first at `position`, whose keys and values go into
    /// the cache from `slot` on. They see `keys`, their own among them, which come last.
    pub(super) fn push(
        &mut self,
        tokens: &[u32],
        position: usize,
        slot: usize,
        keys: impl Iterator<Item = Range<usize>>,
    ) {
        let rows = self.len()..self.len() + tokens.len();
        self.tokens.extend(tokens);
        self.positions.extend(position..position + tokens.len());
        self.runs.push(SlotRun { rows: rows.clone(), slot });
        self.spans.push(Span { queries: rows, keys: key_ranges(keys) });
    }

    /// Hidden states of the rows, in order: `[rows, hidden]`.
    pub(super) fn run(self, model: &EngineModel, slots: &mut Slots) -> Tensor<2> {
        let pass = Pass { tokens: &self.tokens, positions: &self.positions, spans: self.spans };
        model.backbone.run(pass, Some((&mut slots.cache, &self.runs)))
    }
}
