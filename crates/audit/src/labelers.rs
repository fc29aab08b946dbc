//! Agreement between arms: whether labelers, or ways to ask one, find the same.

use crate::arm::Arm;
use crate::sample::numbered;
use rlaif_stats::{Estimate, Share, bootstrap, cohen_kappa, coincidences, krippendorff_alpha};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Agreement among all arms of one task, people aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelers {
    /// The task.
    pub task: String,
    /// Each two of them.
    pub pairs: Vec<PairOfArms>,
    /// Krippendorff's alpha over all of them, nominal; a tie is a missing rating.
    pub alpha: Option<Estimate>,
}

/// Two arms on the pairs that both decided: scored, and no tie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairOfArms {
    /// Number of the first arm in the audit.
    pub first: usize,
    /// Number of the second.
    pub second: usize,
    /// How often both prefer the same response.
    pub agreement: Share,
    /// Cohen's kappa, which takes off what two arms that lean to A as often as these would share.
    pub kappa: Option<Estimate>,
}

/// What an arm prefers, by pair: group and whether A.
type Choices<'a> = BTreeMap<&'a str, (&'a str, bool)>;

impl Labelers {
    /// One for each task that several arms judged.
    pub(crate) fn of(arms: &[Arm], seed: u64) -> Vec<Self> {
        let mut by_task: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, arm) in arms.iter().enumerate() {
            by_task.entry(&arm.task).or_default().push(number);
        }
        let several = by_task.into_iter().filter(|(_, numbers)| numbers.len() > 1);
        several.map(|(task, numbers)| Self::of_task(task, arms, &numbers, seed)).collect()
    }

    fn of_task(task: &str, arms: &[Arm], numbers: &[usize], seed: u64) -> Self {
        let choices: Vec<Choices> = numbers.iter().map(|number| choices(&arms[*number])).collect();
        let mut pairs = Vec::new();
        for (i, first) in numbers.iter().enumerate() {
            for (j, second) in numbers.iter().enumerate().skip(i + 1) {
                let both = both(&choices[i], &choices[j]);
                pairs.push(PairOfArms {
                    first: *first,
                    second: *second,
                    agreement: Share::of_conditions(both.iter().map(|(g, a, b)| (*g, a == b))),
                    kappa: kappa(&both, seed),
                });
            }
        }
        Self { task: task.to_owned(), pairs, alpha: alpha(&choices, seed) }
    }
}

fn choices(arm: &Arm) -> Choices<'_> {
    let decided = arm.observations.iter().filter_map(|o| {
        let prefers_a = o.answer.as_ref().ok()?.prefers_a()?;
        Some((o.id.as_str(), (o.group.as_str(), prefers_a)))
    });
    decided.collect()
}

/// Group and both choices of each pair that both decided.
fn both(first: &Choices, second: &Choices) -> Vec<(usize, bool, bool)> {
    let numbers = groups_of([first, second]);
    let common = first.iter().filter_map(|(id, (group, a))| {
        let (_, b) = second.get(id)?;
        Some((numbers[group], *a, *b))
    });
    common.collect()
}

fn groups_of<'a: 'b, 'b>(
    choices: impl IntoIterator<Item = &'b Choices<'a>>,
) -> BTreeMap<&'a str, usize> {
    numbered(choices.into_iter().flat_map(|choices| choices.values().map(|(group, _)| *group)))
}

fn kappa(both: &[(usize, bool, bool)], seed: u64) -> Option<Estimate> {
    // Cells of the table: first and second prefer B and B, B and A, A and B, A and A.
    let cells = both.iter().map(|(group, a, b)| {
        let mut cells = [0.0; 4];
        cells[2 * usize::from(*a) + usize::from(*b)] = 1.0;
        (*group, cells)
    });
    bootstrap(cells, seed, |[bb, ba, ab, aa]| cohen_kappa(&[[*bb, *ba], [*ab, *aa]]))
}

fn alpha(choices: &[Choices], seed: u64) -> Option<Estimate> {
    let numbers = groups_of(choices);
    // For each pair its group and how many prefer B and A.
    let mut units: BTreeMap<&str, (usize, [usize; 2])> = BTreeMap::new();
    for (id, (group, prefers_a)) in choices.iter().flatten() {
        units.entry(id).or_insert((numbers[group], [0; 2])).1[usize::from(*prefers_a)] += 1;
    }
    let terms = units.into_values().map(|(group, ratings)| {
        let [[bb, ba], [ab, aa]] = coincidences(ratings);
        (group, [bb, ba, ab, aa])
    });
    bootstrap(terms, seed, |[bb, ba, ab, aa]| krippendorff_alpha(&[[*bb, *ba], [*ab, *aa]]))
}
