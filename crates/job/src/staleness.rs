//! How far the reward model still agrees with the labeler on what the policy writes now. It learned from what
//! the policy wrote at the start, and goes stale as the policy moves away (paper section 4).

use crate::LabelRecord;
use rlaif_stats::{Interval, Share, clusters, wilson};
use rlaif_types::Judgement;
use serde::{Deserialize, Serialize};

/// One line of `staleness.jsonl`: a pair of the policy's responses, judged by both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StalenessRecord {
    /// Steps that the policy had made.
    pub step: usize,
    /// What the labeler says.
    #[serde(flatten)]
    pub label: LabelRecord,
    /// The reward model's rewards of both; none where it could not judge.
    pub rewards: [Option<f64>; 2],
}

/// One measurement, as `metrics.jsonl` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staleness {
    /// Pairs that the labeler decided and the reward model ranked.
    pub pairs: usize,
    /// Pairs that the labeler finds equal; in no number below.
    pub ties: usize,
    /// Pairs that one of the two could not judge; in no number below.
    pub unscorable: usize,
    /// Share of the pairs that both rank alike, equal rewards being half; none without pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Lower end of its 95 % interval, over prompts.
    pub agreement_low: f64,
    /// Upper end.
    pub agreement_high: f64,
}

impl StalenessRecord {
    /// What came of one pair. `rewards` are those of its two responses.
    pub fn new(step: usize, label: LabelRecord, rewards: &[Judgement<f64>]) -> Self {
        let reward = |which: usize| rewards.get(which).and_then(|r| r.as_ref().ok()).copied();
        Self { step, label, rewards: [reward(0), reward(1)] }
    }

    /// Whether both rank it alike: 1, 0, or 0.5 where the rewards are equal.
    fn verdict(&self) -> Verdict {
        let (Some(compared), [Some(a), Some(b)]) = (&self.label.comparison, self.rewards) else {
            return Verdict::Unscorable;
        };
        compared.label.agreement(a, b).map_or(Verdict::Tie, Verdict::Alike)
    }
}

enum Verdict {
    Unscorable,
    Tie,
    Alike(f64),
}

impl Staleness {
    /// Sums up a measurement's pairs.
    pub fn of(records: &[StalenessRecord]) -> Self {
        let prompts = clusters(records.iter().map(|record| record.label.pair.prompt.as_context()));
        let (mut ties, mut unscorable, mut alike) = (0, 0, Vec::new());
        for (prompt, record) in prompts.into_iter().zip(records) {
            match record.verdict() {
                Verdict::Unscorable => unscorable += 1,
                Verdict::Tie => ties += 1,
                Verdict::Alike(share) => alike.push((prompt, share)),
            }
        }
        let Share { trials: pairs, share: agreement, interval } = Share::of_outcomes(alike);
        let Interval { low, high } = interval.unwrap_or(wilson(0.0, 0));
        Self { pairs, ties, unscorable, agreement, agreement_low: low, agreement_high: high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_template::Asking;
    use rlaif_types::{
        Comparison, ContentHash, Finish, LabelId, OrderScores, Pair, Prompt, SoftLabel, Unscorable,
        UnscorableReason,
    };

    /// A pair of a prompt, of which the labeler says `label`, or nothing.
    fn record(prompt: usize, label: Option<f64>, rewards: [Judgement<f64>; 2]) -> StalenessRecord {
        let comparison = label.map(|p| {
            let label = SoftLabel::new(p).unwrap();
            let order = OrderScores {
                verdict_logprobs: [-1.0, -1.0],
                prefers_first: label,
                prompt_tokens: 9,
                completion_tokens: 0,
                rationales: Vec::new(),
            };
            Comparison { label, ab: order.clone(), ba: order }
        });
        let unscorable = comparison.is_none().then(mute);
        let text = || "x".to_owned();
        let prompt = Prompt::Text(format!("{prompt}?"));
        let pair = Pair { prompt, response_a: text(), response_b: text() };
        let label = LabelRecord {
            label_id: LabelId(ContentHash::of("x")),
            pair,
            finish_a: Finish::Stop,
            finish_b: Finish::Stop,
            comparison,
            unscorable,
            template: text(),
            template_hash: ContentHash::of("x"),
            asking: Asking::default(),
            labeler: text(),
            labeler_hash: ContentHash::of("x"),
        };
        StalenessRecord::new(4, label, &rewards)
    }

    fn mute() -> Unscorable {
        Unscorable::new(UnscorableReason::NoVerdict, "mute")
    }

    #[test]
    fn agreement_is_over_pairs_that_both_judged_and_the_labeler_decided() {
        let staleness = Staleness::of(&[
            record(0, Some(0.75), [Ok(1.0), Ok(-1.0)]),
            record(1, Some(0.25), [Ok(-1.0), Ok(1.0)]),
            record(2, Some(0.25), [Ok(1.0), Ok(-1.0)]),
            record(3, Some(0.75), [Ok(0.5), Ok(0.5)]),
            record(4, Some(0.5), [Ok(1.0), Ok(-1.0)]),
            record(5, None, [Ok(1.0), Ok(-1.0)]),
            record(6, Some(0.75), [Err(mute()), Ok(-1.0)]),
        ]);
        assert_eq!((staleness.pairs, staleness.ties, staleness.unscorable), (4, 1, 2));
        // Two alike, one not, one by half.
        assert_eq!(staleness.agreement, Some(0.625));
        let Interval { low, high } = wilson(2.5, 4);
        assert_eq!((staleness.agreement_low, staleness.agreement_high), (low, high));
    }

    #[test]
    fn more_pairs_of_the_same_prompts_are_no_more_prompts() {
        // Four prompts in turn, of which three are ranked alike.
        let pair = |i: usize| {
            let higher = if i % 4 == 3 { -1.0 } else { 1.0 };
            record(i % 4, Some(0.75), [Ok(higher), Ok(0.0)])
        };
        let often = Staleness::of(&(0..64).map(pair).collect::<Vec<_>>());
        assert_eq!((often.pairs, often.agreement), (64, Some(0.75)));
        let once = wilson(3.0, 4);
        assert!((often.agreement_low - once.low).abs() < 1e-9, "{often:?}");
        assert!((often.agreement_high - once.high).abs() < 1e-9, "{often:?}");
    }

    #[test]
    fn where_nothing_could_be_judged_there_is_no_agreement_and_no_zero() {
        let staleness = Staleness::of(&[record(0, None, [Ok(1.0), Ok(0.0)])]);
        assert_eq!((staleness.agreement, staleness.pairs), (None, 0));
        assert_eq!((staleness.agreement_low, staleness.agreement_high), (0.0, 1.0));
        let written = serde_json::to_value(&staleness).unwrap();
        assert!(written.get("agreement").is_none(), "{written}");
    }
}
