//! Which keys each query of a ragged batch sees.

use std::ops::Range;

/// Consecutive queries of one sequence (or one node of a prefix tree) and the keys they attend to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Rows of the query matrix.
    pub queries: Range<usize>,
    /// Rows of the key and value matrices, in order of position: first the prefix, which every
    /// query sees whole, and last the queries' own rows, which they see causally. Prefixes shared
    /// by several spans are simply named by each.
    pub keys: Vec<Range<usize>>,
}

impl Span {
    /// Number of keys in all ranges.
    pub fn num_keys(&self) -> usize {
        self.keys.iter().map(ExactSizeIterator::len).sum()
    }

    /// How many keys the first query sees besides itself: the length of the prefix.
    pub fn prefix(&self) -> usize {
        self.num_keys() - self.queries.len()
    }
}

/// Attention over a ragged batch: head shapes and one [`Span`] for each run of queries.
///
/// Query rows that no span names give zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionPlan {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; each serves `num_heads / num_kv_heads` query heads.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// The runs of queries.
    pub spans: Vec<Span>,
}

impl AttentionPlan {
    /// Scores are multiplied by `1 / sqrt(head_dim)`.
    pub fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Width of a query row.
    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of a key or value row.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Query heads that share one key head.
    pub fn group(&self) -> usize {
        self.num_heads / self.num_kv_heads
    }
}
