//! The scored pairs of an arm, as the metrics see them.

use crate::arm::{Answer, Arm, Human, Observation};
use std::collections::BTreeMap;

/// One pair that could be judged.
#[derive(Clone, Copy)]
pub(crate) struct Scored<'a> {
    pub observation: &'a Observation,
    pub answer: &'a Answer,
    /// Cluster of the bootstrap.
    pub group: usize,
}

impl Scored<'_> {
    /// 1 where the labeler prefers the side, 0 where it prefers the other, a tie between.
    pub fn labeler(&self, a: bool) -> f64 {
        let vote = self.answer.label.vote();
        if a { vote.value() } else { vote.swapped().value() }
    }

    /// Whether A is longer; none where both are equally long.
    pub fn a_is_longer(&self) -> Option<bool> {
        let (a, b) = (self.observation.len_a, self.observation.len_b);
        (a != b).then_some(a > b)
    }

    /// The natural logarithm of `len_a / len_b`; none beside an empty response.
    pub fn log_length_ratio(&self) -> Option<f64> {
        let (a, b) = (self.observation.len_a, self.observation.len_b);
        (a > 0 && b > 0).then(|| (a as f64).ln() - (b as f64).ln())
    }
}

/// All scored pairs of the arm. Groups are numbered in the order of their names, so that nothing
/// depends on the order of the file.
pub(crate) fn scored(arm: &Arm) -> Vec<Scored<'_>> {
    let groups = groups(&arm.observations);
    let scored = arm.observations.iter().filter_map(|observation| {
        let answer = observation.answer.as_ref().ok()?;
        Some(Scored { observation, answer, group: groups[observation.group.as_str()] })
    });
    scored.collect()
}

/// A number for each group.
pub(crate) fn groups(observations: &[Observation]) -> BTreeMap<&str, usize> {
    numbered(observations.iter().map(|o| o.group.as_str()))
}

/// A number for each name, in their order.
pub(crate) fn numbered<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut numbers: BTreeMap<&str, usize> = names.into_iter().map(|name| (name, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(number, place)| *place = number);
    numbers
}

/// Those of them that people judged too.
pub(crate) fn beside_people<'a>(scored: &[Scored<'a>]) -> Vec<(Scored<'a>, Human)> {
    scored.iter().filter_map(|s| Some((*s, s.observation.human?))).collect()
}
