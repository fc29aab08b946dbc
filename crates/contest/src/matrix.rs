//! All arms against all.

use crate::{Contest, HeadToHead};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How outcomes become numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Preferences no further than this from one half are ties.
    pub tie_band: f64,
}

/// The pairwise win rates of all arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// In the order in which they were named.
    pub arms: Vec<String>,
    /// Each pair that met once, seen from the arm whose name comes first.
    pub head_to_heads: Vec<HeadToHead>,
}

/// An arm's place among all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The arm.
    pub arm: String,
    /// Mean of its win rates, each opponent counted once; none where no contest of it was judged.
    pub mean_win_rate: Option<f64>,
    /// Opponents behind that.
    pub opponents: usize,
}

impl Matrix {
    /// Of contests in any order and orientation.
    pub fn of(arms: &[String], contests: &[Contest], options: Options) -> Self {
        let mut pairs: BTreeMap<(String, String), Vec<Contest>> = BTreeMap::new();
        for contest in contests {
            let contest = contest.clone().canonical();
            let pair = (contest.first.clone(), contest.second.clone());
            pairs.entry(pair).or_default().push(contest);
        }
        let head_to_head = |((first, second), mut contests): ((String, String), Vec<Contest>)| {
            // Sums depend on their order in the last bit.
            contests.sort_by_key(|contest| contest.prompt);
            HeadToHead::of(&first, &second, &contests, options)
        };
        let head_to_heads = pairs.into_iter().map(head_to_head).collect();
        Self { arms: arms.to_vec(), head_to_heads }
    }

    /// `first` against `second`; none where they never met.
    pub fn get(&self, first: &str, second: &str) -> Option<HeadToHead> {
        self.head_to_heads.iter().find_map(|pair| {
            match (pair.first.as_str(), pair.second.as_str()) {
                (a, b) if (a, b) == (first, second) => Some(pair.clone()),
                (a, b) if (a, b) == (second, first) => Some(pair.mirrored()),
                _ => None,
            }
        })
    }

    /// The arms, best first; those that were never judged last.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |arm: &String| {
            let won = |other: &String| self.get(arm, other)?.win_rate;
            let rates: Vec<f64> =
                self.arms.iter().filter_map(won).map(|estimate| estimate.value).collect();
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let mean_win_rate = (!rates.is_empty()).then_some(mean);
            Standing { arm: arm.clone(), mean_win_rate, opponents: rates.len() }
        };
        let mut standings: Vec<Standing> = self.arms.iter().map(standing).collect();
        let place = |standing: &Standing| standing.mean_win_rate.unwrap_or(-1.0);
        standings.sort_by(|a, b| place(b).total_cmp(&place(a)));
        standings
    }
}
