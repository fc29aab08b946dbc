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

    /// The thing under `key` that `is_it`, made if it is not there; one that is not it is dropped
    /// first.
    pub(crate) fn get_or_make<E>(
        &mut self,
        key: K,
        is_it: impl Fn(&V) -> bool,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let known = self.entries.iter().position(|(known, _)| *known == key);
        let entry = known.map(|at| self.entries.remove(at)).filter(|(_, value)| is_it(value));
        let entry = match entry {
            Some(entry) => entry,
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
            let value = lru.get_or_make(
                key,
                |_| true,
                || {
                    made.push(key);
                    Ok::<_, Infallible>(key.to_uppercase())
                },
            );
            assert_eq!(value, Ok(key.to_uppercase()));
        }
        assert_eq!(made, ["a", "b", "c", "b"]);
    }

    #[test]
    fn what_is_no_longer_it_is_made_anew() {
        let mut lru = Lru::new(2);
        for version in [1, 1, 2] {
            let value = lru.get_or_make("a", |v| *v == version, || Ok::<_, Infallible>(version));
            assert_eq!(value, Ok(version));
        }
        assert_eq!(lru.entries, [("a", 2)]);
    }
}
