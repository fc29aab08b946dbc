//! The trained policy against its start, on prompts it was not trained on (paper section 6).

use rlaif_stats::{
    Interval, LengthCorrected, LengthRegressor, Share, SizedPreference, bootstrap_mean, clusters,
    length_corrected_win_rate, wilson,
};
use rlaif_types::{Judgement, Prompt, Unscorable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Both sides' responses to one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// What was asked.
    pub prompt: Prompt,
    /// The trained policy's response.
    pub trained: String,
    /// Its starting point's.
    pub start: String,
}

/// The judgement of one contest by one template.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// 1 where the trained policy won, 0 where it lost, 0.5 for a tie.
    pub outcome: f64,
    /// Scores of both sides: ratings, or the soft label and its complement.
    pub trained: f64,
    /// See `trained`.
    pub start: f64,
}

/// Win rate under one template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// The template's name.
    pub template: String,
    /// Contests judged.
    pub contests: usize,
    /// Contests that could not be judged; they are in no number below.
    pub unscorable: usize,
    /// Ties, each half a win.
    pub ties: usize,
    /// Share won by the trained policy.
    pub win_rate: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// Corrected for length, where there is enough to fit.
    pub length_corrected: Option<LengthCorrected>,
    /// Mean score of the trained policy.
    pub trained_mean: f64,
    /// Mean score of its start.
    pub start_mean: f64,
}

impl Verdict {
    /// Whoever scores higher wins.
    pub fn of_scores(trained: f64, start: f64) -> Self {
        let outcome = match trained.partial_cmp(&start) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Less) => 0.0,
            _ => 0.5,
        };
        Self { outcome, trained, start }
    }
}

/// Sums up verdicts. Contests of one prompt are not independent, so intervals go by prompts; `seed` is that of their
/// resamples.
pub fn win_rate(
    template: &str,
    contests: &[Contest],
    verdicts: &[Judgement<Verdict>],
    seed: u64,
) -> WinRate {
    let prompts = clusters(contests.iter().map(|contest| contest.prompt.as_context()));
    let judged: Vec<(usize, &Contest, Verdict)> = prompts
        .into_iter()
        .zip(contests)
        .zip(verdicts)
        .filter_map(|((prompt, contest), verdict)| Some((prompt, contest, *verdict.as_ref().ok()?)))
        .collect();
    let count = judged.len();
    let mean = |f: &dyn Fn(&Verdict) -> f64| {
        judged.iter().map(|(.., v)| f(v)).sum::<f64>() / (count.max(1)) as f64
    };
    let outcomes: Vec<(usize, f64)> =
        judged.iter().map(|(prompt, _, verdict)| (*prompt, verdict.outcome)).collect();
    let by_length = judged.iter().map(|(prompt, contest, verdict)| {
        let sized = SizedPreference {
            preference: verdict.outcome,
            first_length: contest.trained.chars().count() as f64,
            second_length: contest.start.chars().count() as f64,
        };
        (*prompt, sized)
    });
    WinRate {
        template: template.to_owned(),
        contests: count,
        unscorable: verdicts.len() - count,
        ties: judged.iter().filter(|(.., v)| v.outcome == 0.5).count(),
        win_rate: mean(&|v| v.outcome),
        interval: interval(&outcomes, seed),
        length_corrected: length_corrected_win_rate(by_length, LengthRegressor::LogRatio),
        trained_mean: mean(&|v| v.trained),
        start_mean: mean(&|v| v.start),
    }
}

/// Of outcomes by prompt: a bootstrap over prompts. Where that has no width, since there is one prompt or every contest
/// went the same way, that of a share: Wilson's of as many contests as there are prompts.
fn interval(outcomes: &[(usize, f64)], seed: u64) -> Interval {
    let resampled = bootstrap_mean(outcomes.iter().copied(), seed).and_then(|rate| rate.interval);
    let resampled = resampled.filter(|interval| interval.low < interval.high);
    let share = || Share::of_outcomes(outcomes.iter().copied()).interval;
    resampled.or_else(share).unwrap_or(wilson(0.0, 0))
}

/// Takes trailing symbols off that are neither words nor the end of a sentence.
pub fn strip_trailing_junk(text: &str) -> &str {
    let keep =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '!' | '?' | ')' | '"' | '\'' | '”');
    text.trim_end_matches(|c: char| !keep(c))
}

/// One line of `evaluation.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    #[serde(flatten)]
    /// The two responses.
    pub contest: Contest,
    /// By template.
    pub verdicts: BTreeMap<String, Judged>,
}

/// A judgement as it is stored: the verdict, or the reason there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Judged {
    /// It could be judged.
    Verdict(Verdict),
    /// It could not.
    Unscorable(Unscorable),
}

impl From<Judgement<Verdict>> for Judged {
    fn from(judgement: Judgement<Verdict>) -> Self {
        judgement.map_or_else(Self::Unscorable, Self::Verdict)
    }
}

impl From<&Judged> for Judgement<Verdict> {
    fn from(judged: &Judged) -> Self {
        match judged {
            Judged::Verdict(verdict) => Ok(*verdict),
            Judged::Unscorable(unscorable) => Err(unscorable.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{Unscorable, UnscorableReason};

    fn contest(prompt: &str, trained: &str) -> Contest {
        let (trained, start) = (trained.to_owned(), "abcd".to_owned());
        Contest { prompt: Prompt::Text(prompt.into()), trained, start }
    }

    #[test]
    fn an_unscorable_contest_is_no_tie() {
        let contests = ["abcd", "ab", "abc"].map(|text| contest("p", text));
        let broken = Unscorable::new(UnscorableReason::EngineFailed, "x");
        let rate = win_rate(
            "t",
            &contests,
            &[Ok(Verdict::of_scores(2.0, 1.0)), Err(broken), Ok(Verdict::of_scores(1.0, 1.0))],
            1,
        );
        assert_eq!((rate.contests, rate.unscorable, rate.ties, rate.win_rate), (2, 1, 1, 0.75));
    }

    /// Twelve prompts, of which two thirds are won, with so many equal responses to each.
    fn copies(per_prompt: usize) -> WinRate {
        let each = (0..12).flat_map(|prompt| vec![prompt; per_prompt]);
        let contests: Vec<Contest> = each
            .map(|prompt: usize| contest(&prompt.to_string(), &"a".repeat(2 + prompt)))
            .collect();
        let won = |contest: &Contest| f64::from(u8::from(!contest.trained.len().is_multiple_of(3)));
        let verdicts: Vec<Judgement<Verdict>> =
            contests.iter().map(|contest| Ok(Verdict::of_scores(won(contest), 0.5))).collect();
        win_rate("t", &contests, &verdicts, 1)
    }

    #[test]
    fn more_responses_to_the_same_prompts_are_no_more_prompts() {
        let (once, often) = (copies(1), copies(40));
        assert_eq!((once.contests, often.contests), (12, 480));
        // Sums of forty equal numbers may round.
        let same = |a: Interval, b: Interval| {
            assert!((a.low - b.low).abs() < 1e-9 && (a.high - b.high).abs() < 1e-9, "{a:?} {b:?}");
        };
        same(once.interval, often.interval);
        assert!(once.interval.low < 0.5 && once.interval.high > 0.8, "{:?}", once.interval);
        same(once.length_corrected.unwrap().interval, often.length_corrected.unwrap().interval);
    }

    #[test]
    fn where_every_contest_goes_one_way_the_interval_is_that_of_so_many_prompts() {
        let contests = ["a", "a", "b", "b", "c", "c"].map(|prompt| contest(prompt, "abc"));
        let verdicts = [(); 6].map(|()| Ok(Verdict::of_scores(1.0, 0.0)));
        let rate = win_rate("t", &contests, &verdicts, 1);
        assert_eq!((rate.win_rate, rate.interval), (1.0, wilson(3.0, 3)));
        let nothing = win_rate("t", &[], &[], 1);
        assert_eq!((nothing.contests, nothing.interval), (0, wilson(0.0, 0)));
    }

    #[test]
    fn trailing_junk_goes_and_sentences_stay() {
        assert_eq!(strip_trailing_junk("Dogs are good! ###\n- "), "Dogs are good!");
        assert_eq!(strip_trailing_junk("plain"), "plain");
    }
}
