//! Splitting a batch into pieces that fit the memory.

use std::ops::Range;

/// Consecutive pieces of at most `max_tokens` (at least one item each).
pub fn micro_batches(lengths: &[usize], max_tokens: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (index, length) in lengths.iter().enumerate() {
        if tokens + length > max_tokens && index > start {
            pieces.push(start..index);
            (start, tokens) = (index, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        pieces.push(start..lengths.len());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_unless_one_item_alone_does_not() {
        assert_eq!(micro_batches(&[3, 3, 9, 1, 1], 6), [0..2, 2..3, 3..5]);
        assert!(micro_batches(&[], 6).is_empty());
    }
}
