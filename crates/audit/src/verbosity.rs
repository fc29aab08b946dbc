//! Verbosity bias: whether length wins more often with the labeler than with people (2310.10076).

use crate::sample::{Scored, beside_people};
use rlaif_stats::{Estimate, Logistic, Share, bootstrap, bootstrap_mean, logistic_regression};
use serde::{Deserialize, Serialize};

/// How preference goes with length, over scored pairs of different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verbosity {
    /// How often the labeler prefers the longer response.
    pub prefers_longer: Share,
    /// Log-odds of preferring A on the log of the length ratio `ln(len_a / len_b)`: the slope is
    /// what a response e times as long gains, its interval over groups. Pairs of equal length are in it.
    pub by_length: Option<Logistic>,
    /// The same beside people, over the pairs that they judged.
    pub beside_people: BesidePeople,
}

/// Labeler and people on the same pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BesidePeople {
    /// How often the labeler prefers the longer response.
    pub labeler_prefers_longer: Share,
    /// How often people do.
    pub people_prefer_longer: Share,
    /// The first minus the second, with a paired bootstrap interval.
    pub excess: Option<Estimate>,
    /// Agreement where people prefer the longer response minus agreement where they prefer the
    /// shorter one: Saito et al.'s directional accuracy parity. 0 is fair.
    pub accuracy_gap: Option<Estimate>,
    /// People's preference on the log of the length ratio.
    pub people_by_length: Option<Logistic>,
}

impl Verbosity {
    pub(crate) fn of(scored: &[Scored<'_>], seed: u64) -> Self {
        let longer = scored.iter().filter_map(|s| Some((s.group, s.labeler(s.a_is_longer()?))));
        let by_length: Vec<(usize, f64, f64)> = scored
            .iter()
            .filter_map(|s| Some((s.group, s.labeler(true), s.log_length_ratio()?)))
            .collect();
        Self {
            prefers_longer: Share::of_outcomes(longer),
            by_length: logistic_regression(&by_length),
            beside_people: BesidePeople::of(scored, seed),
        }
    }
}

impl BesidePeople {
    fn of(scored: &[Scored<'_>], seed: u64) -> Self {
        let people = beside_people(scored);
        let by_length: Vec<(usize, f64, f64)> = people
            .iter()
            .filter_map(|(s, human)| {
                Some((s.group, f64::from(u8::from(human.prefers_a)), s.log_length_ratio()?))
            })
            .collect();
        // Group; whether the labeler, and people, prefer the longer response.
        let longer: Vec<(usize, f64, f64)> = people
            .iter()
            .filter_map(|(s, human)| {
                let a_is_longer = s.a_is_longer()?;
                let people = f64::from(u8::from(human.prefers_a == a_is_longer));
                Some((s.group, s.labeler(a_is_longer), people))
            })
            .collect();
        let excess = longer.iter().map(|(group, labeler, people)| (*group, labeler - people));
        // Agreements and pairs where people prefer the longer, then where they do not.
        let by_side = longer.iter().map(|(group, labeler, people)| {
            (*group, [labeler * people, *people, (1.0 - labeler) * (1.0 - people), 1.0 - people])
        });
        Self {
            labeler_prefers_longer: Share::of_outcomes(longer.iter().map(|(g, l, _)| (*g, *l))),
            people_prefer_longer: Share::of_outcomes(longer.iter().map(|(g, _, p)| (*g, *p))),
            excess: bootstrap_mean(excess, seed),
            accuracy_gap: bootstrap(by_side, seed, |[long, longs, short, shorts]| {
                (*longs > 0.0 && *shorts > 0.0).then(|| long / longs - short / shorts)
            }),
            people_by_length: logistic_regression(&by_length),
        }
    }
}
