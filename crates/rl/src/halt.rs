//! Why training cannot go on: what was measured, in words that say what to mend.

use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::{CausalLm, ParamRef, ScalarModel};

/// Training has to stop. Nothing of the step at which it did may be kept: whoever made it goes on
/// from a saved state, if at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Halt {
    /// The batch teaches nothing.
    #[error("{0}")]
    NothingToLearn(String),
    /// A loss or a gradient is not a number, or infinite.
    #[error("{what} is {value}: {cause}")]
    NotFinite {
        /// Which.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// Where it comes from, as far as that can be told.
        cause: String,
    },
    /// The policy has left its reference.
    #[error(
        "the policy is {kl:.1} nats per token away from where it started, more than \
         rl.max_kl_per_token = {limit}: it has come apart; a smaller learning rate or a larger beta \
         holds it"
    )]
    KlExploded {
        /// Mean over drawn tokens of `log pi - log reference`.
        kl: f64,
        /// What it may be.
        limit: f64,
    },
}

/// A model whose tensors can be looked through.
pub trait Weights {
    /// Every tensor by its name.
    fn weights(&self, f: &mut dyn FnMut(&str, ParamRef<'_>));
}

impl Weights for CausalLm {
    fn weights(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        self.for_each(f);
    }
}

impl Weights for ScalarModel {
    fn weights(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        self.for_each(f);
    }
}

/// Complains of a loss that is no finite number.
pub(crate) fn check_finite(
    what: &'static str,
    value: f64,
    model: &impl Weights,
) -> Result<(), Halt> {
    if value.is_finite() {
        return Ok(());
    }
    let cause = match broken_weight(model) {
        Some(name) => format!("weight {name} holds values that are not numbers"),
        None => {
            "all weights are numbers, so the step's own numbers overflowed; a smaller learning \
                 rate helps"
                .to_owned()
        }
    };
    Err(Halt::NotFinite { what, value, cause })
}

/// The first weight that holds something else than finite numbers.
fn broken_weight(model: &impl Weights) -> Option<String> {
    let mut broken = None;
    model.weights(&mut |name, param| {
        if broken.is_none() {
            let finite = match param {
                ParamRef::Matrix(m) => is_finite(m.clone()),
                ParamRef::Vector(v) => is_finite(v.clone()),
            };
            broken = (!finite).then(|| name.to_owned());
        }
    });
    broken
}

fn is_finite<const D: usize>(tensor: Tensor<D>) -> bool {
    host(tensor.no_grad()).iter().all(|x| x.is_finite())
}
