//! Questions that several of a batch ask: each is asked once, and everybody gets the answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::hash::Hash;

/// The distinct questions of a batch in which many may ask the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    firsts: Vec<usize>,
    question_of: Vec<usize>,
}

impl Distinct {
    /// Finds who asks the same. Questions keep the order of their first askers.
    pub fn of<K: Eq + Hash>(askers: &[K]) -> Self {
        let mut known = HashMap::new();
        let mut firsts = Vec::new();
        let question_of = askers
            .iter()
            .enumerate()
            .map(|(asker, id)| match known.entry(id) {
                Occupied(question) => *question.get(),
                Vacant(new) => {
                    firsts.push(asker);
                    *new.insert(firsts.len() - 1)
                }
            })
            .collect();
        Self { firsts, question_of }
    }

    /// The first asker of each question: those are to be asked.
    pub fn firsts(&self) -> &[usize] {
        &self.firsts
    }

    /// Hands the answer of each question to all its askers.
    ///
    /// # Panics
    /// When there is not one answer for each of [`Distinct::firsts`].
    pub fn spread<T: Clone>(&self, answers: &[T]) -> Vec<T> {
        assert_eq!(answers.len(), self.firsts.len(), "one answer for each distinct question");
        self.question_of.iter().map(|question| answers[*question].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentHash, LabelId};

    #[test]
    fn who_asks_the_same_is_asked_once_and_answered_alike() {
        let id = |text: &str| LabelId(ContentHash::of(text));
        let distinct = Distinct::of(&[id("x"), id("y"), id("x"), id("z"), id("y")]);
        assert_eq!(distinct.firsts(), [0, 1, 3]);
        assert_eq!(distinct.spread(&["X", "Y", "Z"]), ["X", "Y", "X", "Z", "Y"]);
    }
}
