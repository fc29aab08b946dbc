//! What the policy that learns says of tokens that were drawn before, beside what was said of them then.

use crate::metrics::PolicyMetrics;
use rlaif_types::Episode;

/// Sums over drawn tokens.
#[derive(Default)]
pub(crate) struct Drawn {
    tokens: usize,
    /// Of their log-probabilities under the policy that learns.
    logprobs: f64,
    mismatch: f64,
}

impl Drawn {
    /// Counts an episode; `now` are the log-probabilities of its tokens.
    pub(crate) fn see(&mut self, episode: &Episode, now: &[f32]) {
        self.tokens += now.len();
        self.logprobs += now.iter().map(|logprob| f64::from(*logprob)).sum::<f64>();
        // Another policy has a right to say something else.
        if episode.off_policy_steps == 0 {
            let differences =
                now.iter().zip(&episode.logprobs).map(|(a, b)| f64::from((a - b).abs()));
            self.mismatch = differences.fold(self.mismatch, f64::max);
        }
    }

    /// Tokens that were seen.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Mean log-probability of a token; NaN of none.
    pub(crate) fn mean_logprob(&self) -> f64 {
        self.logprobs / self.tokens as f64
    }

    /// Adds what was seen.
    pub(crate) fn report(&self, metrics: &mut PolicyMetrics) {
        metrics.entropy = Some(-self.mean_logprob());
        metrics.logprob_mismatch = Some(self.mismatch);
    }
}
