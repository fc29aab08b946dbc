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
    /// Rows before each span that it attends to as well; empty where it begins a sequence.
    prefixes: Vec<Range<usize>>,
}

impl PackedBatch {
    /// Packs `sequences` in order. Empty ones take no row.
    pub fn from_sequences(sequences: &[Vec<u32>]) -> Self {
        let mut batch = Self::default();
        for sequence in sequences {
            batch.push(sequence, 0..0);
        }
        batch
    }

    /// Packs pairs of sequences, what the two of a pair begin with once for both. Each pair has three
    /// spans: the beginning, which may be empty, and what each goes on with, which is at least its last
    /// token.
    ///
    /// # Panics
    /// When a sequence is empty: it has no last token.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Self {
        let mut batch = Self::default();
        for (a, b) in pairs {
            assert!(!a.is_empty() && !b.is_empty(), "an empty sequence was paired");
            let shared = shared_prefix(a, b);
            let prefix = batch.push(&a[..shared], 0..0);
            batch.push(&a[shared..], prefix.clone());
            batch.push(&b[shared..], prefix);
        }
        batch
    }

    /// Adds rows that go on after `prefix`; returns where they are.
    fn push(&mut self, tokens: &[u32], prefix: Range<usize>) -> Range<usize> {
        let start = self.tokens.len();
        self.tokens.extend(tokens);
        self.positions.extend(prefix.len()..prefix.len() + tokens.len());
        let rows = start..self.tokens.len();
        self.spans.push(rows.clone());
        self.prefixes.push(prefix);
        rows
    }

    /// The rows of each sequence, or of each part of a pair.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// All tokens of all sequences.
    pub fn num_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Attention within each sequence.
    pub(crate) fn attention_spans(&self) -> Vec<Span> {
        let spans = self.spans.iter().zip(&self.prefixes).filter(|(rows, _)| !rows.is_empty());
        let span = |(rows, prefix): (&Range<usize>, &Range<usize>)| Span {
            queries: rows.clone(),
            keys: [prefix, rows].into_iter().filter(|keys| !keys.is_empty()).cloned().collect(),
        };
        spans.map(span).collect()
    }
}

/// How many tokens both begin with, the last of neither among them.
pub fn shared_prefix(a: &[u32], b: &[u32]) -> usize {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    equal.min(a.len().min(b.len()).saturating_sub(1))
}
