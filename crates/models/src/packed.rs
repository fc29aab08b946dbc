//! Ragged batches: sequences laid end to end, never padded.

use crate::kernels::Span;
use std::ops::Range;

/// Sequences laid end to end, one row a token. Linear layers run on all rows at once; attention
/// stays within each sequence.
#[derive(Debug, Clone, Default)]
pub struct PackedBatch {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<usize>,
    spans: Vec<Range<usize>>,
}

impl PackedBatch {
    /// Packs `sequences` in order. Empty ones take no row.
    pub fn from_sequences(sequences: &[Vec<u32>]) -> Self {
        let mut batch = Self::default();
        for sequence in sequences {
            let start = batch.tokens.len();
            batch.tokens.extend(sequence);
            batch.positions.extend(0..sequence.len());
            batch.spans.push(start..batch.tokens.len());
        }
        batch
    }

    /// The rows of each sequence.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// All tokens of all sequences.
    pub fn num_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Attention within each sequence.
    pub(crate) fn attention_spans(&self) -> Vec<Span> {
        self.spans
            .iter()
            .filter(|rows| !rows.is_empty())
            .map(|rows| Span { queries: rows.clone(), keys: vec![rows.clone()] })
            .collect()
    }
}
