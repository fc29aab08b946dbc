//! Learning from pairs: the update that online and offline preference optimisation share.

use crate::actor::{Actor, Piece, Response};
use crate::halt::{Halt, check_finite};
use crate::loss::preference;
use crate::metrics::PolicyMetrics;
use crate::response_batch::ResponseBatch;
use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::CausalLm;
use rlaif_types::{PreferenceLoss, SoftLabel};

/// Two responses to a prompt, in tokens, and which is preferred.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferencePair {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// Candidate A, with the token that ends a text unless it was cut off.
    pub a: Vec<u32>,
    /// Candidate B, likewise.
    pub b: Vec<u32>,
    /// Probability that A is preferred.
    pub label: SoftLabel,
}

/// One update on pairs: `responses` are A and B of each in turn. The gradient is of the mean loss of a
/// pair. Returns the log-probabilities of each response's tokens before it.
pub(crate) fn update(
    actor: &mut Actor,
    responses: &[Response<'_>],
    labels: &[SoftLabel],
    (loss, beta): (PreferenceLoss, f64),
    metrics: &mut PolicyMetrics,
) -> Result<Vec<Vec<f32>>, Halt> {
    let pieces = actor.pieces_of_pairs(responses);
    let reference = actor.reference_logprobs(&pieces);
    let per_pair = 1.0 / labels.len() as f32;
    let of = |piece: &Piece| &labels[piece.members.start / 2..piece.members.end / 2];
    let contrast = |policy: &CausalLm, piece: &Piece| {
        let labels = of(piece);
        let logprobs = actor.logprobs(policy, &piece.packed);
        let now = piece.packed.split(&host(logprobs.clone().inner()));
        let policy = sequence_sums(logprobs, &piece.packed);
        let reference: Vec<f32> =
            reference[piece.members.clone()].iter().map(|tokens| tokens.iter().sum()).collect();
        let reference = Tensor::<1>::from_floats(&reference[..], &policy.device());
        let ratios = (policy - reference).reshape([labels.len(), 2]);
        let numbers = host(ratios.clone().inner());
        let a = ratios.clone().narrow(1, 0, 1).reshape([labels.len()]);
        let b = ratios.narrow(1, 1, 1).reshape([labels.len()]);
        (preference(a - b, labels, loss, beta) * per_pair, (numbers, now))
    };
    let (mut total, mut seen, mut logprobs) = (0.0, Seen::default(), Vec::new());
    let grads = actor.gradients(&pieces, contrast, |piece, loss, (ratios, now)| {
        total += loss;
        seen.add(&ratios, of(piece));
        logprobs.extend(now);
    });
    check_finite("the policy's loss", total, &actor.policy)?;
    let info = actor.update(grads)?;
    metrics.policy_loss = total;
    (metrics.policy_grad_norm, metrics.lr) = (info.grad_norm, info.lr);
    seen.report(labels.len(), beta, metrics);
    Ok(logprobs)
}

/// Log-probability of each whole response, `[responses]`.
fn sequence_sums(logprobs: Tensor<1>, packed: &ResponseBatch) -> Tensor<1> {
    let spans = packed.spans.iter();
    let sums = spans.map(|s| logprobs.clone().narrow(0, s.start, s.len()).sum());
    Tensor::cat(sums.collect(), 0)
}

/// Sums over pairs.
#[derive(Default)]
struct Seen {
    /// Pairs with a preference, and those of them that the policy orders likewise.
    decided: usize,
    agreed: usize,
    better: f64,
    worse: f64,
}

impl Seen {
    /// `ratios` are `log(pi / reference)` of A and B of each pair in turn.
    fn add(&mut self, ratios: &[f32], labels: &[SoftLabel]) {
        for (ratios, label) in ratios.chunks_exact(2).zip(labels) {
            let (a, b) = (f64::from(ratios[0]), f64::from(ratios[1]));
            let (better, worse) = if label.value() < 0.5 { (b, a) } else { (a, b) };
            if label.value() != 0.5 {
                self.decided += 1;
                self.agreed += usize::from(better > worse);
            }
            self.better += better;
            self.worse += worse;
        }
    }

    fn report(&self, pairs: usize, beta: f64, metrics: &mut PolicyMetrics) {
        let mean = |sum: f64| Some(beta * sum / pairs as f64);
        metrics.accuracy = (self.decided > 0).then(|| self.agreed as f64 / self.decided as f64);
        metrics.margin = mean(self.better - self.worse);
        metrics.chosen_reward = mean(self.better);
        metrics.rejected_reward = mean(self.worse);
    }
}
