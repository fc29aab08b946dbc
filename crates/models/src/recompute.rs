//! Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): of a forward pass only what goes into each layer is
//! kept. When its gradient is asked for, a layer is computed again, on a tape of its own.
//!
//! The tape is cut at the layers' end: whoever differentiates a loss gets the gradient towards that cut, and
//! [`CheckpointedPass::backward`] takes it on through the layers, last to first. Each layer runs the same kernels on
//! the same numbers as without, so the gradients are the same bits.

use crate::block::{Block, Shared};
use burn::tensor::{Gradients, Tensor};
use std::sync::{Mutex, PoisonError};

/// Passes whose gradients have not been asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Passes(Mutex<Vec<CheckpointedPass>>);

/// A copy of a model has made no pass.
impl Clone for Passes {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Passes {
    pub(crate) fn push(&self, pass: CheckpointedPass) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pass);
    }

    /// All of them; they are forgotten.
    pub(crate) fn take(&self) -> Vec<CheckpointedPass> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A forward pass through all layers, of which only their inputs are kept.
#[derive(Debug)]
pub(crate) struct CheckpointedPass {
    /// What the first layer read, on the tape.
    embedded: Tensor<2>,
    /// What each layer read, off the tape.
    inputs: Vec<Tensor<2>>,
    /// What the last layer gave, where the tape begins again.
    output: Tensor<2>,
    shared: Shared,
}

impl CheckpointedPass {
    /// Runs the layers; the output is on the tape, and nothing of them is.
    pub(crate) fn run(blocks: &[Block], embedded: Tensor<2>, shared: Shared) -> (Tensor<2>, Self) {
        let mut inputs = Vec::with_capacity(blocks.len());
        let mut x = embedded.clone().no_grad();
        for block in blocks {
            inputs.push(x.clone());
            x = block.frozen().forward(x, &shared, |k, v| (k, v));
        }
        let output = Tensor::from_inner(x).require_grad();
        (output.clone(), Self { embedded, inputs, output, shared })
    }

    /// Takes the gradient that `grads` has for the output back through the layers. Gives those of the layers'
    /// parameters to `visitor` and returns those of the embedding, if it learns; none where no loss was made of this
    /// pass.
    pub(crate) fn backward(
        self,
        blocks: &[Block],
        embedding_learns: bool,
        grads: &Gradients,
        visitor: &mut dyn FnMut(&str, Tensor<2>),
    ) -> Option<Gradients> {
        let Self { embedded, inputs, output, shared } = self;
        let mut grad = output.grad(grads)?;
        drop(output);
        tracing::trace!(layers = blocks.len(), "layers are computed again");
        for (index, (block, input)) in blocks.iter().zip(inputs).enumerate().rev() {
            let is_wanted = index > 0 || embedding_learns;
            let x = Tensor::from_inner(input);
            let x = if is_wanted { x.require_grad() } else { x };
            let y = block.forward(x.clone(), &shared, |k, v| (k, v));
            let grads = towards(y, grad);
            block.for_each(&mut |name, param| {
                if let Some(grad) = param.gradient(&grads) {
                    visitor(name, grad);
                }
            });
            if !is_wanted {
                return None;
            }
            grad = x.grad(&grads)?;
        }
        Some(towards(embedded, grad))
    }
}

/// Gradients of whatever `y` was computed from, given that towards `y`.
fn towards(y: Tensor<2>, grad: Tensor<2>) -> Gradients {
    (y * Tensor::from_inner(grad)).sum().backward()
}
