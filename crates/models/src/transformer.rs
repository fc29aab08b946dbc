//! The decoder transformer: one forward pass for every supported family.
//!
//! Rows are packed tokens of a ragged batch. The same code computes rollouts, log-probabilities and
//! training passes, so what the sampler and the learner compute for a token agrees.

use crate::block::{Block, Shared};
use crate::checkpoint::{Checkpoint, TensorSource};
use crate::config::ModelConfig;
use crate::error::Error;
use crate::kernels::{self, AttentionPlan, Span};
use crate::kv_cache::{KvCache, SlotRun};
use crate::linear::Linear;
use crate::lora::LoraPair;
use crate::packed::PackedBatch;
use crate::parameters::{ParamMut, ParamRef, Parameters};
use crate::recompute::{CheckpointedPass, Passes};
use crate::rope::RopeTable;
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use rlaif_types::LoraConfig;
use std::sync::Arc;

/// Name of the embedding.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// A causal language model.
#[derive(Debug, Clone)]
pub struct CausalLm {
    /// Shape and switches.
    pub config: ModelConfig,
    /// `[vocab, hidden]`.
    embedding: Tensor<2>,
    blocks: Vec<Block>,
    /// `[hidden]`.
    norm: Tensor<1>,
    /// `[vocab, hidden]`; absent where the embedding serves.
    head: Option<Tensor<2>>,
    rope: Arc<RopeTable>,
    /// What everything between the embedding and the head is computed in.
    activations: DType,
    /// Activations run on the autodiff tape.
    taped: bool,
    /// Training keeps what goes into each layer and computes the rest again for its gradients.
    checkpointing: bool,
    /// Passes so computed whose gradients have not been asked for yet.
    passes: Passes,
}

/// Which parameters a training run changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Trainable {
    /// All of them.
    Full,
    /// Low-rank adapters beside frozen weights.
    Lora(LoraConfig),
}

/// What one pass computes: tokens, where they stand, what they see.
pub(crate) struct Pass<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) positions: &'a [usize],
    pub(crate) spans: Vec<Span>,
}

impl CausalLm {
    /// Reads the weights of `checkpoint` onto `device`, as `dtype`, in which it computes too.
    ///
    /// # Errors
    /// When a tensor cannot be read. Presence and shapes were checked when it was opened.
    pub fn load(checkpoint: &Checkpoint, device: &Device, dtype: DType) -> Result<Self, Error> {
        let reader = Reader { tensors: checkpoint.tensors.as_ref(), device, dtype };
        Self::read(&checkpoint.config, &reader)
    }

    fn read(config: &ModelConfig, reader: &Reader<'_>) -> Result<Self, Error> {
        // Absent where the embedding serves as head, and in reward models, which have none.
        let head = match reader.tensors.shape("lm_head.weight") {
            Some(_) if !config.tie_word_embeddings => Some(reader.matrix("lm_head.weight")?),
            _ => None,
        };
        Ok(Self {
            embedding: reader.matrix(EMBEDDING)?,
            blocks: (0..config.num_hidden_layers)
                .map(|layer| Block::read(config, layer, reader))
                .collect::<Result<_, _>>()?,
            norm: reader.vector("model.norm.weight")?,
            head,
            rope: Arc::new(RopeTable::new(config)),
            activations: reader.dtype,
            taped: false,
            checkpointing: false,
            passes: Passes::default(),
            config: config.clone(),
        })
    }

    /// The device of the weights, without autodiff.
    pub fn device(&self) -> Device {
        self.embedding.device().inner()
    }

    /// What the weights are held in.
    pub(crate) fn dtype(&self) -> DType {
        self.embedding.dtype()
    }

    /// Hidden states after the final norm.
    ///
    /// # Shapes
    /// `[batch.num_tokens(), hidden]`.
    ///
    /// # Panics
    /// When a sequence is longer than `max_position_embeddings`; callers check their prompts.
    pub fn forward(&self, batch: &PackedBatch) -> Tensor<2> {
        let pass = Pass {
            tokens: &batch.tokens,
            positions: &batch.positions,
            spans: batch.attention_spans(),
        };
        match self.checkpointing && self.taped {
            true => self.run_checkpointed(&pass),
            false => self.run(pass, None),
        }
    }

    /// One pass; with a cache, keys and values go into it and `spans` name its rows.
    pub(crate) fn run(
        &self,
        pass: Pass<'_>,
        mut cache: Option<(&mut KvCache, &[SlotRun])>,
    ) -> Tensor<2> {
        let layers = self.shared(&pass);
        let mut x = self.embed(pass.tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &layers, |k, v| match &mut cache {
                Some((cache, runs)) => cache.update(index, k, v, runs),
                None => (k, v),
            });
        }
        kernels::rms_norm(x, self.norm.clone(), layers.eps)
    }

    /// As [`CausalLm::run`], but what happens within layers is not kept for their gradients.
    fn run_checkpointed(&self, pass: &Pass<'_>) -> Tensor<2> {
        let layers = self.shared(pass);
        let (output, pass) = CheckpointedPass::run(&self.blocks, self.embed(pass.tokens), layers);
        let hidden = kernels::rms_norm(output, self.norm.clone(), self.config.rms_norm_eps as f32);
        self.passes.push(pass);
        hidden
    }

    /// What the layers of a pass have in common.
    fn shared(&self, pass: &Pass<'_>) -> Shared {
        Shared {
            eps: self.config.rms_norm_eps as f32,
            angles: self.rope.gather(pass.positions),
            plan: Arc::new(AttentionPlan {
                num_heads: self.config.num_attention_heads,
                num_kv_heads: self.config.num_key_value_heads,
                head_dim: self.config.head_dim,
                spans: pass.spans.clone(),
            }),
        }
    }

    /// Embedding rows of the tokens, `[tokens, hidden]`.
    fn embed(&self, tokens: &[u32]) -> Tensor<2> {
        let x = self.embedding.clone().select(0, self.indices(tokens.iter().map(|t| *t as usize)));
        let x = kernels::in_type(x, self.activations);
        if self.taped && !x.device().is_autodiff() { Tensor::from_inner(x) } else { x }
    }

    fn indices(&self, rows: impl Iterator<Item = usize>) -> Tensor<1, Int> {
        let rows: Vec<i32> = rows.map(|row| row as i32).collect();
        let len = rows.len();
        Tensor::from_data(TensorData::new(rows, [len]), &self.embedding.device())
    }

    /// Chosen rows of `hidden`.
    pub fn rows(&self, hidden: Tensor<2>, rows: &[usize]) -> Tensor<2> {
        let indices = self.indices(rows.iter().copied());
        let indices = match hidden.device().is_autodiff() && !indices.device().is_autodiff() {
            true => Tensor::from_inner(indices),
            false => indices,
        };
        hidden.select(0, indices)
    }

    /// The head's weight, `[vocab, hidden]`.
    pub(crate) fn head_weight(&self) -> Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding).clone()
    }

    /// Logits of chosen rows of `hidden`, `[rows, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>, rows: &[usize]) -> Tensor<2> {
        kernels::linear(self.rows(hidden, rows), self.head_weight())
    }

    /// `log softmax(logits / temperature)[target]` where row `rows[i]` of `hidden` predicts
    /// `targets[i]`; temperature 0 means greedy decoding and is scored at temperature 1.
    ///
    /// # Shapes
    /// `[rows.len()]`.
    pub fn token_logprobs(
        &self,
        hidden: Tensor<2>,
        rows: &[usize],
        targets: &[u32],
        temperature: f32,
    ) -> Tensor<1> {
        let inverse_temperature = if temperature == 0.0 { 1.0 } else { 1.0 / temperature };
        let hidden = self.rows(hidden, rows);
        kernels::token_logprobs(hidden, self.head_weight(), targets, inverse_temperature)
    }

    /// The same model, which computes in `dtype` whatever its weights are held in: mixed precision, where training
    /// changes f32 weights by gradients of bf16 passes (Micikevicius et al. 2018, arXiv 1710.03740).
    #[must_use]
    pub fn with_activations(self, dtype: DType) -> Self {
        Self { activations: dtype, ..self }
    }

    /// What it computes in.
    pub(crate) fn activations(&self) -> DType {
        self.activations
    }

    /// The same model; what is trained of it, and of its copies, keeps only what goes into each layer where
    /// `on`, and computes the rest again when gradients are asked for: less memory, more time, equal gradients.
    #[must_use]
    pub fn with_gradient_checkpointing(self, on: bool) -> Self {
        Self { checkpointing: on, ..self }
    }

    /// A copy to train: the chosen parameters are tracked, everything else is shared and frozen.
    pub fn trainable(&self, what: &Trainable) -> Self {
        let mut model = self.clone();
        model.taped = true;
        match what {
            Trainable::Full => model.for_each_mut(&mut |_, param| match param {
                ParamMut::Matrix(m) => *m = Tensor::from_inner(m.clone().no_grad()).require_grad(),
                ParamMut::Vector(v) => *v = Tensor::from_inner(v.clone().no_grad()).require_grad(),
            }),
            Trainable::Lora(config) => model.for_each_linear_mut(&mut |linear| {
                if config.applies_to(&linear.name) {
                    let [out, input] = linear.weight.dims();
                    let device = linear.weight.device().inner();
                    let mut lora = LoraPair::init(config, &linear.name, [out, input], &device);
                    lora.a = Tensor::from_inner(lora.a).require_grad();
                    lora.b = Tensor::from_inner(lora.b).require_grad();
                    linear.lora = Some(lora);
                }
            }),
        }
        model
    }

    /// A copy off the tape, for inference. Adapters stay beside their weights.
    pub fn frozen(&self) -> Self {
        let mut model = self.clone();
        model.taped = false;
        model.for_each_mut(&mut |_, param| param.freeze());
        model
    }

    /// A copy off the tape that holds its weights in the type that it computes in: half the memory of mixed
    /// precision's finer ones, and no cast at each step.
    pub(crate) fn for_inference(&self) -> Self {
        let mut model = self.frozen();
        let dtype = self.activations;
        model.for_each_mut(&mut |_, param| match param {
            ParamMut::Matrix(m) => *m = kernels::in_type(m.clone(), dtype),
            ParamMut::Vector(v) => *v = kernels::in_type(v.clone(), dtype),
        });
        model
    }

    /// A copy off the tape with all weights on `device`.
    pub fn on(&self, device: &Device) -> Self {
        let mut model = self.frozen();
        model.for_each_mut(&mut |_, param| match param {
            ParamMut::Matrix(m) => *m = m.clone().to_device(device),
            ParamMut::Vector(v) => *v = v.clone().to_device(device),
        });
        model
    }

    /// A frozen copy with adapters folded into the weights.
    pub fn merged(&self) -> Self {
        let mut model = self.frozen();
        model.for_each_linear_mut(&mut |linear| linear.merge());
        model
    }

    /// Every tensor by its HF name, adapters included, in checkpoint order.
    pub fn for_each(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        f(EMBEDDING, ParamRef::Matrix(&self.embedding));
        for block in &self.blocks {
            block.for_each(f);
        }
        f("model.norm.weight", ParamRef::Vector(&self.norm));
        if let Some(head) = &self.head {
            f("lm_head.weight", ParamRef::Matrix(head));
        }
    }

    fn for_each_mut(&mut self, f: &mut dyn FnMut(&str, ParamMut<'_>)) {
        f(EMBEDDING, ParamMut::Matrix(&mut self.embedding));
        for block in &mut self.blocks {
            block.for_each_mut(f);
        }
        f("model.norm.weight", ParamMut::Vector(&mut self.norm));
        if let Some(head) = &mut self.head {
            f("lm_head.weight", ParamMut::Matrix(head));
        }
    }

    fn for_each_linear_mut(&mut self, f: &mut dyn FnMut(&mut Linear)) {
        for block in &mut self.blocks {
            block.linears_mut().into_iter().for_each(&mut *f);
        }
    }

    /// Number of weights, adapters included.
    pub fn num_parameters(&self) -> u64 {
        let mut count = 0;
        self.for_each(&mut |_, param| count += param.num_elements() as u64);
        count
    }
}

impl Parameters for CausalLm {
    fn visit_trainable(&self, visitor: &mut dyn FnMut(&str, ParamRef<'_>)) {
        self.for_each(&mut |name, param| {
            if param.is_trainable() {
                visitor(name, param);
            }
        });
    }

    /// Gradients of layers whose insides were not kept come from computing them again.
    fn visit_gradients(&self, grads: &Gradients, visitor: &mut dyn FnMut(&str, Tensor<2>)) {
        let embedding = ParamRef::Matrix(&self.embedding);
        // As head and as what the first layer reads: one sum, as on a single tape.
        let mut of_embedding = embedding.gradient(grads);
        self.visit_trainable(&mut |name, param| {
            if let Some(grad) = param.gradient(grads).filter(|_| name != EMBEDDING) {
                visitor(name, grad);
            }
        });
        for pass in self.passes.take() {
            let learns = embedding.is_trainable();
            let below = pass.backward(&self.blocks, learns, grads, visitor);
            if let Some(grad) = below.and_then(|below| embedding.gradient(&below)) {
                of_embedding = Some(match of_embedding {
                    Some(sum) => sum + grad,
                    None => grad,
                });
            }
        }
        if let Some(grad) = of_embedding {
            visitor(EMBEDDING, grad);
        }
    }

    fn map_trainable(&mut self, visitor: &mut dyn FnMut(&str, ParamMut<'_>)) {
        self.for_each_mut(&mut |name, param| {
            if param.is_trainable() {
                visitor(name, param);
            }
        });
    }
}

/// Tensors of a checkpoint, onto a device.
pub(crate) struct Reader<'a> {
    pub(crate) tensors: &'a dyn TensorSource,
    pub(crate) device: &'a Device,
    pub(crate) dtype: DType,
}

impl Reader<'_> {
    pub(crate) fn matrix(&self, name: &str) -> Result<Tensor<2>, Error> {
        self.read(name)
    }

    pub(crate) fn vector(&self, name: &str) -> Result<Tensor<1>, Error> {
        self.read(name)
    }

    fn read<const D: usize>(&self, name: &str) -> Result<Tensor<D>, Error> {
        let shape = self.tensors.shape(name).unwrap_or_default();
        let shape: [usize; D] = shape.clone().try_into().map_err(|_| Error::WrongShape {
            name: name.to_owned(),
            expected: vec![0; D],
            found: shape,
        })?;
        let data = TensorData::new(self.tensors.read(name)?, shape);
        Ok(Tensor::from_data(data, (self.device, self.dtype)))
    }
}
