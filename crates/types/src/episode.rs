//! Rollouts of a policy, as they travel from the engine that drew them to the learner, and how responses end.

use crate::Judgement;
use serde::{Deserialize, Serialize};

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A stop token was drawn, or a stop text completed.
    #[default]
    Stop,
    /// The most new tokens, or the end of the context, were reached.
    Length,
}

impl Finish {
    /// Whether the response came to its end, as those of records do that say nothing of it.
    pub fn is_stop(&self) -> bool {
        *self == Self::Stop
    }
}

/// A rollout and its reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Drawn tokens.
    pub response: Vec<u32>,
    /// Log-probability of each drawn token under the policy that drew it, at the sampling
    /// temperature.
    pub logprobs: Vec<f32>,
    /// The judgement at the end. An unscorable episode takes no part in loss, advantage or
    /// baseline.
    pub reward: Judgement<f64>,
    /// Steps that the policy learned from has made since the policy that drew it; 0 on-policy.
    pub off_policy_steps: usize,
}
