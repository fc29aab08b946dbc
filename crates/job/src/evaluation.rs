//! The trained policy against its start, on prompts it was not trained on (paper section 6).

use rlaif_stats::{Interval, LengthCorrected, length_corrected_win_rate, wilson};
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

/// Sums up verdicts.
pub fn win_rate(template: &str, contests: &[Contest], verdicts: &[Judgement<Verdict>]) -> WinRate {
    let judged: Vec<(&Contest, Verdict)> = contests
        .iter()
        .zip(verdicts)
        .filter_map(|(contest, verdict)| Some((contest, *verdict.as_ref().ok()?)))
        .collect();
    let count = judged.len();
    let mean = |f: &dyn Fn(&Verdict) -> f64| {
        judged.iter().map(|(_, v)| f(v)).sum::<f64>() / (count.max(1)) as f64
    };
    let lengths = |c: &Contest| c.trained.chars().count() as f64 / c.start.chars().count() as f64;
    let by_length: Vec<(f64, f64)> = judged
        .iter()
        .filter(|(contest, _)| !contest.start.is_empty())
        .map(|(contest, verdict)| (verdict.outcome, lengths(contest)))
        .collect();
    WinRate {
        template: template.to_owned(),
        contests: count,
        unscorable: verdicts.len() - count,
        ties: judged.iter().filter(|(_, v)| v.outcome == 0.5).count(),
        win_rate: mean(&|v| v.outcome),
        interval: wilson(mean(&|v| v.outcome) * count as f64, count),
        length_corrected: length_corrected_win_rate(&by_length),
        trained_mean: mean(&|v| v.trained),
        start_mean: mean(&|v| v.start),
    }
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

    #[test]
    fn an_unscorable_contest_is_no_tie() {
        let contest = |text: &str| Contest {
            prompt: Prompt::Text("p".into()),
            trained: text.into(),
            start: "abcd".into(),
        };
        let contests = [contest("abcd"), contest("ab"), contest("abc")];
        let broken = Unscorable::new(UnscorableReason::EngineFailed, "x");
        let rate = win_rate(
            "t",
            &contests,
            &[Ok(Verdict::of_scores(2.0, 1.0)), Err(broken), Ok(Verdict::of_scores(1.0, 1.0))],
        );
        assert_eq!((rate.contests, rate.unscorable, rate.ties, rate.win_rate), (2, 1, 1, 0.75));
    }

    #[test]
    fn trailing_junk_goes_and_sentences_stay() {
        assert_eq!(strip_trailing_junk("Dogs are good! ###\n- "), "Dogs are good!");
        assert_eq!(strip_trailing_junk("plain"), "plain");
    }
}
