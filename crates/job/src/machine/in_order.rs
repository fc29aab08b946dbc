//! Chunks that come in any order and go on in theirs.

use std::collections::BTreeMap;

/// Holds chunks back until those before them have come.
#[derive(Debug)]
pub struct InOrder<T> {
    next: usize,
    early: BTreeMap<usize, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { next: 0, early: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// Takes chunk `index` in and gives those that can go on.
    pub fn insert(&mut self, index: usize, chunk: T) -> Vec<T> {
        self.early.insert(index, chunk);
        let mut released = Vec::new();
        while let Some(chunk) = self.early.remove(&self.next) {
            released.push(chunk);
            self.next += 1;
        }
        released
    }

    /// Chunks that went on.
    pub fn released(&self) -> usize {
        self.next
    }

    /// Chunks that came.
    pub fn arrived(&self) -> usize {
        self.next + self.early.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_waits_for_those_before_it() {
        let mut chunks = InOrder::default();
        assert!(chunks.insert(1, 'b').is_empty());
        assert_eq!(chunks.insert(0, 'a'), ['a', 'b']);
        assert_eq!((chunks.released(), chunks.arrived()), (2, 2));
    }
}
