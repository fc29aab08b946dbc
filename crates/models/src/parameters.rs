//! Access to a model's tensors by name: what optimisers update and checkpoints store.

use burn::tensor::Tensor;

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
}

impl ParamMut<'_> {
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

    /// Every trainable parameter, in the same order, to be replaced. A replacement must be tracked
    /// (`require_grad`) and on the device of what it replaces.
    fn map_trainable(&mut self, visitor: &mut dyn FnMut(&str, ParamMut<'_>));
}
