//! Everything that is said of one pair of arms.

use crate::matrix::Options;
use crate::{Contest, Verdict};
use rlaif_stats::{
    Estimate, Interval, LengthCorrected, LengthRegressor, SizedPreference, binomial_two_sided,
    bootstrap_mean, length_controlled_win_rate, length_corrected_win_rate,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One arm against another, seen from the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadToHead {
    /// The arm whose wins these are.
    pub first: String,
    /// The other.
    pub second: String,
    /// Contests judged; all rates are of these.
    pub judged: usize,
    /// Contests that could not be judged, which are in no rate.
    pub unscorable: usize,
    /// Contests that the first arm won.
    pub wins: usize,
    /// Contests that it lost.
    pub losses: usize,
    /// The others, each half a win.
    pub ties: usize,
    /// Share of contests won, with a bootstrap over prompts; none where nothing was judged.
    pub win_rate: Option<Estimate>,
    /// Exact two-sided binomial p-value of as many wins as losses, ties left out (the sign test).
    /// None where several contests are of one prompt: they are not independent.
    pub p_value: Option<f64>,
    /// Mean probability that the first arm's response is better.
    pub preference: Option<f64>,
    /// Win rate where both are equally long, by a regression on the logarithm of the ratio of lengths.
    pub length_corrected: Option<LengthCorrected>,
    /// The same by the paper's regression, on the ratio of the first arm's lengths to the second's. None, like the
    /// next, in files that were written before it was there.
    pub length_corrected_by_ratio: Option<LengthCorrected>,
    /// The second arm's win rate by the ratio of its lengths to the first's: another than 1 minus the first arm's.
    pub second_length_corrected_by_ratio: Option<LengthCorrected>,
    /// Mean preference where both are equally long, by AlpacaEval's regression on their difference.
    pub length_controlled: Option<LengthCorrected>,
}

impl HeadToHead {
    /// Of contests between `first` and `second`, in this orientation and in the order of prompts.
    pub(crate) fn of(first: &str, second: &str, contests: &[Contest], options: Options) -> Self {
        let judged: Vec<(&Contest, Verdict)> =
            contests.iter().filter_map(|contest| Some((contest, contest.verdict?))).collect();
        let outcome = |verdict: &Verdict| verdict.outcome(options.tie_band);
        let outcomes = || judged.iter().map(|(contest, verdict)| (contest, outcome(verdict)));
        let count = |wanted: f64| outcomes().filter(|(_, outcome)| *outcome == wanted).count();
        let (wins, losses, ties) = (count(1.0), count(0.0), count(0.5));
        let prompts: BTreeSet<usize> = judged.iter().map(|(contest, _)| contest.prompt).collect();
        let is_independent = prompts.len() == judged.len() && !judged.is_empty();
        let p_value = || binomial_two_sided(wins as u64, (wins + losses) as u64);
        let clustered = outcomes().map(|(contest, outcome)| (contest.prompt, outcome));
        let preferences = judged.iter().map(|(_, verdict)| verdict.preference).sum::<f64>();
        let won_by_length =
            || outcomes().map(|(contest, outcome)| (contest.prompt, sized(contest, outcome)));
        let lost_by_length = won_by_length().map(|(prompt, won)| (prompt, won.exchanged()));
        let preferred = judged
            .iter()
            .map(|(contest, verdict)| (contest.prompt, sized(contest, verdict.preference)));
        Self {
            first: first.to_owned(),
            second: second.to_owned(),
            judged: judged.len(),
            unscorable: contests.len() - judged.len(),
            wins,
            losses,
            ties,
            win_rate: bootstrap_mean(clustered, options.seed),
            p_value: is_independent.then(p_value),
            preference: (!judged.is_empty()).then(|| preferences / judged.len() as f64),
            length_corrected: length_corrected_win_rate(won_by_length(), LengthRegressor::LogRatio),
            length_corrected_by_ratio: length_corrected_win_rate(
                won_by_length(),
                LengthRegressor::Ratio,
            ),
            second_length_corrected_by_ratio: length_corrected_win_rate(
                lost_by_length,
                LengthRegressor::Ratio,
            ),
            length_controlled: length_controlled_win_rate(preferred),
        }
    }

    /// The same, seen from the second arm: to the bit, which computing it anew would miss by rounding.
    #[must_use]
    pub(crate) fn mirrored(&self) -> Self {
        let corrected = |c: LengthCorrected| LengthCorrected {
            win_rate: 1.0 - c.win_rate,
            interval: mirrored(c.interval),
            slope: c.slope,
        };
        let estimate = |e: Estimate| Estimate {
            value: 1.0 - e.value,
            interval: e.interval.map(mirrored),
            ..e
        };
        Self {
            first: self.second.clone(),
            second: self.first.clone(),
            wins: self.losses,
            losses: self.wins,
            win_rate: self.win_rate.map(estimate),
            preference: self.preference.map(|preference| 1.0 - preference),
            length_corrected: self.length_corrected.map(corrected),
            length_corrected_by_ratio: self.second_length_corrected_by_ratio,
            second_length_corrected_by_ratio: self.length_corrected_by_ratio,
            length_controlled: self.length_controlled.map(corrected),
            ..*self
        }
    }
}

fn mirrored(interval: Interval) -> Interval {
    Interval { low: 1.0 - interval.high, high: 1.0 - interval.low }
}

fn sized(contest: &Contest, preference: f64) -> SizedPreference {
    let [first_length, second_length] = contest.lengths.map(|length| length as f64);
    SizedPreference { preference, first_length, second_length }
}
