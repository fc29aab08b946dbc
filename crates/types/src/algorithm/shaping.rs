//! What is made of rewards before they are learned from.

use super::check_positive;
use crate::Problems;
use serde::{Deserialize, Serialize};

/// Against what rewards are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardNormalisation {
    /// Nothing.
    #[default]
    None,
    /// Mean and deviation of the step's rewards.
    Batch,
    /// Mean and deviation of all rewards so far, the step's included.
    Running,
}

/// What is made of rewards before they are learned from, in this order; metrics show them as they
/// came.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardShaping {
    /// Against what rewards are shifted and scaled to mean 0 and deviation 1.
    pub normalise: RewardNormalisation,
    /// Rewards are cut off beyond `±clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Taken off for every token of the response.
    pub length_penalty: f64,
}

impl RewardShaping {
    /// Rewards as they came.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        if let Some(clip) = self.clip {
            check_positive(&mut problems, "clip", clip);
        }
        let penalty = self.length_penalty;
        let what = format!("must be 0 or more, not {penalty}");
        problems.check(penalty >= 0.0 && penalty.is_finite(), "length_penalty", what);
        problems
    }
}
