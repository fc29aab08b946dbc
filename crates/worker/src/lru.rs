//! A few things kept by key, the one not used for longest making room.

/// Things by key, least recently used first.
pub(crate) struct Lru<K, V> {
    capacity: usize,
    entries: Vec<(K, V)>,
}

impl<K: PartialEq, V: Clone> Lru<K, V> {
    /// Keeps at most `capacity` things, and at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: Vec::new() }
    }

    /// The thing under `key`, made if it is not there.
    pub(crate) fn get_or_make<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let entry = match self.entries.iter().position(|(known, _)| *known == key) {
            Some(at) => self.entries.remove(at),
            None => {
                // Before the new one is made: both may not fit in memory.
                let surplus = (self.entries.len() + 1).saturating_sub(self.capacity);
                self.entries.drain(..surplus);
                (key, make()?)
            }
        };
        let value = entry.1.clone();
        self.entries.push(entry);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn the_one_not_used_for_longest_makes_room() {
        let mut lru = Lru::new(2);
        let mut made = Vec::new();
        for key in ["a", "b", "a", "c", "a", "b"] {
            let value = lru.get_or_make(key, || {
                made.push(key);
                Ok::<_, Infallible>(key.to_uppercase())
            });
            assert_eq!(value, Ok(key.to_uppercase()));
        }
        assert_eq!(made, ["a", "b", "c", "b"]);
    }
}
