//! Access to a model's tensors by name: what optimisers update and checkpoints store.

use burn::tensor::{Gradients, Tensor};

/// A parameter to read. Models have matrices and vectors only.
pub enum ParamRef<'a> {
    /// Two dimensions.
    Matrix(&'a Tensor<2>),
    /// One dimension.
    Vector(&'a Tensor<1>),
}

/// A parameter to replace.
pub enum ParamMut<'a> {
    /// Two dimensions.
    Matrix(&'a mut Tensor<2>),
    /// One dimension.
    Vector(&'a mut Tensor<1>),
}

impl ParamRef<'_> {
    /// Number of values.
    pub fn num_elements(&self) -> usize {
        match self {
            ParamRef::Matrix(m) => m.shape().num_elements(),
            ParamRef::Vector(v) => v.shape().num_elements(),
        }
    }

    /// True when gradients are tracked for it.
    pub fn is_trainable(&self) -> bool {
        match self {
            ParamRef::Matrix(m) => m.is_require_grad(),
            ParamRef::Vector(v) => v.is_require_grad(),
        }
    }

    /// Its gradient in one backward pass, where it is trained and one reached it; a vector's as a matrix of one
    /// row.
    pub fn gradient(&self, grads: &Gradients) -> Option<Tensor<2>> {
        match self {
            _ if !self.is_trainable() => None,
            ParamRef::Matrix(m) => m.grad(grads),
            ParamRef::Vector(v) => v.grad(grads).map(Tensor::unsqueeze),
        }
    }
}

impl ParamMut<'_> {
    /// Takes it off the tape.
    pub(crate) fn freeze(self) {
        match self {
            ParamMut::Matrix(m) => *m = m.clone().no_grad(),
            ParamMut::Vector(v) => *v = v.clone().no_grad(),
        }
    }
    /// True when gradients are tracked for it.
    pub fn is_trainable(&self) -> bool {
        match self {
            ParamMut::Matrix(m) => m.is_require_grad(),
            ParamMut::Vector(v) => v.is_require_grad(),
        }
    }
}

/// A model with trainable parameters.
///
/// A parameter's identity is its name in HF checkpoints. Optimiser state, adapters and checkpoints
/// are all keyed by it, so they stay valid across processes.
pub trait Parameters {
    /// Every trainable parameter, in a fixed order.
    fn visit_trainable(&self, visitor: &mut dyn FnMut(&str, ParamRef<'_>));

    /// The gradients that one backward pass left, by parameter. One may come in several parts, which are to be
    /// summed in their order.
    fn visit_gradients(&self, grads: &Gradients, visitor: &mut dyn FnMut(&str, Tensor<2>));

    /// Every trainable parameter, in the same order, to be replaced. A replacement must be tracked
    /// (`require_grad`) and on the device of what it replaces.
    fn map_trainable(&mut self, visitor: &mut dyn FnMut(&str, ParamMut<'_>));
}
