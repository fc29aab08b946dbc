//! Which of a policy's versions a job leaves, by the paper's rule (section 3): of the versions with the highest
//! validation reward, the one that most often beats the start in the judge's eyes.

use crate::WinRate;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// How a policy was chosen; in the manifest, and what the stage leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectionSummary {
    /// The rule, in words.
    pub rule: String,
    /// Held-out prompts that it went by; evaluation has the others.
    pub prompts: usize,
    /// Every version that was validated, by step.
    pub versions: Vec<ValidatedVersion>,
    /// Steps that the chosen version has made.
    pub chosen: usize,
}

/// A version of the policy, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidatedVersion {
    /// Steps that it has made.
    pub step: usize,
    /// Mean reward on the prompts of the selection; none where not one response could be rewarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// Responses that could not be rewarded; not in the mean.
    pub unscorable: usize,
    /// Against the start, where it was among those with the highest reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub win_rate: Option<WinRate>,
}

impl ValidatedVersion {
    /// The higher reward first, then the earlier step: it is nearer to the start.
    pub fn by_reward(&self, other: &Self) -> Ordering {
        let reward = |version: &Self| version.reward.unwrap_or(f64::NEG_INFINITY);
        reward(other).total_cmp(&reward(self)).then(self.step.cmp(&other.step))
    }

    /// The higher win rate first, then as [`ValidatedVersion::by_reward`].
    pub fn by_win_rate(&self, other: &Self) -> Ordering {
        let rate = |version: &Self| {
            let judged = version.win_rate.as_ref().filter(|rate| rate.contests > 0);
            judged.map_or(f64::NEG_INFINITY, |rate| rate.win_rate)
        };
        rate(other).total_cmp(&rate(self)).then_with(|| self.by_reward(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_stats::wilson;

    fn version(step: usize, reward: Option<f64>, won: Option<(f64, usize)>) -> ValidatedVersion {
        let win_rate = won.map(|(win_rate, contests)| WinRate {
            template: "t".into(),
            contests,
            unscorable: 0,
            ties: 0,
            win_rate,
            interval: wilson(win_rate, contests),
            length_corrected: None,
            trained_mean: 0.0,
            start_mean: 0.0,
        });
        ValidatedVersion { step, reward, unscorable: 0, win_rate }
    }

    fn order(
        mut versions: Vec<ValidatedVersion>,
        by: fn(&ValidatedVersion, &ValidatedVersion) -> Ordering,
    ) -> Vec<usize> {
        versions.sort_by(by);
        versions.iter().map(|version| version.step).collect()
    }

    #[test]
    fn the_highest_reward_comes_first_and_of_equals_the_earlier() {
        let versions = [(10, Some(0.5)), (20, None), (30, Some(0.75)), (5, Some(0.5))];
        let versions = versions.map(|(step, reward)| version(step, reward, None)).to_vec();
        assert_eq!(order(versions, ValidatedVersion::by_reward), [30, 5, 10, 20]);
    }

    #[test]
    fn the_judge_decides_and_reward_only_between_equals() {
        let versions = vec![
            version(10, Some(0.9), Some((0.5, 8))),
            version(20, Some(0.1), Some((0.75, 8))),
            version(30, Some(0.2), Some((0.75, 8))),
            // Not one of its contests could be judged.
            version(40, Some(1.0), Some((0.0, 0))),
        ];
        assert_eq!(order(versions, ValidatedVersion::by_win_rate), [30, 20, 10, 40]);
    }
}
