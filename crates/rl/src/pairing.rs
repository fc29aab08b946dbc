//! Two copies of a model, parameter by parameter.

use burn::tensor::Tensor;
use rlaif_models::{ParamMut, ParamRef, Parameters};

/// What becomes of a parameter of one copy, given its value and that of the other copy, both off the tape.
pub(crate) trait Pairing {
    fn pair<const D: usize>(&self, own: Tensor<D>, other: Tensor<D>) -> Tensor<D>;
}

/// Replaces each trainable parameter of `model` by what `pairing` makes of it and of the same one of `other`.
pub(crate) fn update_from<M: Parameters>(model: &mut M, other: &M, pairing: &impl Pairing) {
    let (mut matrices, mut vectors) = (Vec::new(), Vec::new());
    other.visit_trainable(&mut |_, param| match param {
        ParamRef::Matrix(m) => matrices.push(m.clone().inner()),
        ParamRef::Vector(v) => vectors.push(v.clone().inner()),
    });
    // Copies are visited in the same order.
    let (mut matrices, mut vectors) = (matrices.into_iter(), vectors.into_iter());
    model.map_trainable(&mut |_, param| match param {
        ParamMut::Matrix(m) => {
            let other = matrices.next().expect("a copy has the same matrices");
            *m = Tensor::from_inner(pairing.pair(m.clone().inner(), other)).require_grad();
        }
        ParamMut::Vector(v) => {
            let other = vectors.next().expect("a copy has the same vectors");
            *v = Tensor::from_inner(pairing.pair(v.clone().inner(), other)).require_grad();
        }
    });
}
