//! A transformer with one number per token instead of a vocabulary: reward model and value net.

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::kernels;
use crate::packed::PackedBatch;
use crate::parameters::{ParamMut, ParamRef, Parameters};
use crate::transformer::{CausalLm, Reader, Trainable};
use burn::tensor::{DType, Device, Gradients, Tensor};

/// Name of the head in HF's sequence-classification checkpoints.
pub const SCORE: &str = "score.weight";

/// A backbone and a linear head to a scalar (paper sections 2 and 3).
#[derive(Debug, Clone)]
pub struct ScalarModel {
    /// The transformer. Its own language head is unused.
    pub backbone: CausalLm,
    /// `[1, hidden]`.
    pub score: Tensor<2>,
}

impl ScalarModel {
    /// A head of zeros on `backbone`: it says 0 of everything until it has learned. (TRL draws a reward
    /// model's head at random; with soft labels near one half, most of the training then goes into
    /// unlearning it.)
    pub fn zero(backbone: CausalLm) -> Self {
        let score = Tensor::zeros([1, backbone.config.hidden_size], &backbone.device());
        Self { backbone, score }
    }

    /// Reads a sequence-classification checkpoint: the backbone and `score.weight`.
    ///
    /// # Errors
    /// When the checkpoint has no such head.
    pub fn load(checkpoint: &Checkpoint, device: &Device, dtype: DType) -> Result<Self, Error> {
        match checkpoint.tensors.shape(SCORE) {
            Some(_) => Self::begun_with(CausalLm::load(checkpoint, device, dtype)?, checkpoint),
            None => Err(Error::MissingTensor { name: SCORE.into() }),
        }
    }

    /// Where the training of a reward model begins: `backbone` with the head of the checkpoint that it is of, where
    /// that is a reward model already, else with one of zeros.
    ///
    /// # Errors
    /// When the head cannot be read.
    pub fn begun_with(backbone: CausalLm, checkpoint: &Checkpoint) -> Result<Self, Error> {
        if !Self::has_head(checkpoint)? {
            return Ok(Self::zero(backbone));
        }
        let (device, dtype) = (backbone.device(), backbone.dtype());
        let reader = Reader { tensors: checkpoint.tensors.as_ref(), device: &device, dtype };
        Ok(Self { score: reader.matrix(SCORE)?, backbone })
    }

    /// Whether the checkpoint is a reward model's. No weights are read.
    ///
    /// # Errors
    /// When it has a head of another shape: more than one label, or another width.
    pub fn has_head(checkpoint: &Checkpoint) -> Result<bool, Error> {
        let expected = vec![1, checkpoint.config.hidden_size];
        match checkpoint.tensors.shape(SCORE) {
            Some(found) if found != expected => {
                Err(Error::WrongShape { name: SCORE.into(), expected, found })
            }
            found => Ok(found.is_some()),
        }
    }

    /// As [`ScalarModel::begun_with`], the backbone read too: in f32, like everything that is trained.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn start_of(checkpoint: &Checkpoint, device: &Device) -> Result<Self, Error> {
        Self::begun_with(CausalLm::load(checkpoint, device, DType::F32)?, checkpoint)
    }

    /// The same model, whose backbone computes in `dtype`; see [`CausalLm::with_activations`].
    #[must_use]
    pub fn with_activations(self, dtype: DType) -> Self {
        Self { backbone: self.backbone.with_activations(dtype), ..self }
    }

    /// One value for each listed row of the batch, `[rows.len()]`.
    pub fn forward_rows(&self, batch: &PackedBatch, rows: &[usize]) -> Tensor<1> {
        let hidden = self.backbone.forward(batch);
        self.head(self.backbone.rows(hidden, rows))
    }

    /// One value for each sequence, at its last token, `[sequences]`.
    ///
    /// # Panics
    /// When a sequence is empty: it has no last token.
    pub fn forward_last(&self, batch: &PackedBatch) -> Tensor<1> {
        let last: Vec<usize> = batch.spans().iter().map(|rows| rows.end - 1).collect();
        assert!(batch.spans().iter().all(|rows| !rows.is_empty()), "an empty sequence was scored");
        self.forward_rows(batch, &last)
    }

    /// The head on hidden rows.
    pub(crate) fn head(&self, hidden: Tensor<2>) -> Tensor<1> {
        score_of(hidden, &self.score)
    }

    /// A copy to train; the head is always trained.
    pub fn trainable(&self, what: &Trainable) -> Self {
        Self {
            backbone: self.backbone.trainable(what),
            score: Tensor::from_inner(self.score.clone().no_grad()).require_grad(),
        }
    }

    /// A copy off the tape.
    pub fn frozen(&self) -> Self {
        Self { backbone: self.backbone.frozen(), score: self.score.clone().no_grad() }
    }

    /// A frozen copy with adapters folded in.
    pub fn merged(&self) -> Self {
        Self { backbone: self.backbone.merged(), score: self.score.clone().no_grad() }
    }

    /// Every tensor by its HF name: the backbone's without its language head, then the score.
    pub fn for_each(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        self.backbone.for_each(&mut |name, param| {
            if name != "lm_head.weight" {
                f(name, param);
            }
        });
        f(SCORE, ParamRef::Matrix(&self.score));
    }
}

/// One value for each hidden row. In the head's own type: a value in bf16 would have two to three digits.
pub(crate) fn score_of(hidden: Tensor<2>, head: &Tensor<2>) -> Tensor<1> {
    let [rows, _] = hidden.dims();
    kernels::linear(kernels::in_type(hidden, head.dtype()), head.clone()).reshape([rows])
}

impl Parameters for ScalarModel {
    fn visit_trainable(&self, visitor: &mut dyn FnMut(&str, ParamRef<'_>)) {
        self.backbone.visit_trainable(visitor);
        if self.score.is_require_grad() {
            visitor(SCORE, ParamRef::Matrix(&self.score));
        }
    }

    fn visit_gradients(&self, grads: &Gradients, visitor: &mut dyn FnMut(&str, Tensor<2>)) {
        self.backbone.visit_gradients(grads, visitor);
        if let Some(grad) = ParamRef::Matrix(&self.score).gradient(grads) {
            visitor(SCORE, grad);
        }
    }

    fn map_trainable(&mut self, visitor: &mut dyn FnMut(&str, ParamMut<'_>)) {
        self.backbone.map_trainable(visitor);
        if self.score.is_require_grad() {
            visitor(SCORE, ParamMut::Matrix(&mut self.score));
        }
    }
}
