//! Rows of the key-value cache: which are free, and growing it when none are.

use crate::kv_cache::KvCache;
use std::ops::Range;

/// A key-value cache and the rows of it that are in use.
pub(super) struct Slots {
    pub(super) cache: KvCache,
    capacity: usize,
    /// Free ranges, ascending, never adjacent.
    free: Vec<Range<usize>>,
}

impl Slots {
    /// All rows of `cache`, free.
    pub(super) fn new(cache: KvCache, capacity: usize) -> Self {
        let free = std::iter::once(0..capacity).collect();
        Self { cache, capacity, free }
    }

    /// Rows in use.
    pub(super) fn used(&self) -> usize {
        self.capacity - self.free.iter().map(ExactSizeIterator::len).sum::<usize>()
    }

    /// Takes `len` adjacent rows, the first that fit; the cache grows where none do.
    pub(super) fn take(&mut self, len: usize) -> Range<usize> {
        let place = match self.free.iter().position(|range| range.len() >= len) {
            Some(place) => place,
            None => {
                self.grow(len);
                self.free.len() - 1
            }
        };
        let range = &mut self.free[place];
        let taken = range.start..range.start + len;
        range.start += len;
        if range.start == range.end {
            self.free.remove(place);
        }
        taken
    }

    /// Gives rows back.
    pub(super) fn release(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let place = self.free.partition_point(|free| free.start < range.start);
        self.free.insert(place, range);
        if place + 1 < self.free.len() && self.free[place].end == self.free[place + 1].start {
            self.free[place].end = self.free.remove(place + 1).end;
        }
        if place > 0 && self.free[place - 1].end == self.free[place].start {
            self.free[place - 1].end = self.free.remove(place).end;
        }
    }

    /// At least doubles the cache, so that `len` rows are free at its end.
    fn grow(&mut self, len: usize) {
        let capacity = (2 * self.capacity).max(self.capacity + len);
        self.cache.grow(capacity - self.capacity);
        let added = self.capacity..capacity;
        self.capacity = capacity;
        self.release(added);
    }
}
