//! The decoder transformer: one forward pass for every supported family.
//!
//! Rows are packed tokens of a ragged batch. The same code computes rollouts, log-probabilities and
//! training passes, so what the sampler and the learner compute for a token agrees.

use crate::checkpoint::{Checkpoint, TensorSource};
use crate::config::ModelConfig;
use crate::error::Error;
use crate::kernels::{self, AttentionPlan, Span};
use crate::kv_cache::{KvCache, SlotRun};
use crate::linear::Linear;
use crate::lora::LoraPair;
use crate::packed::PackedBatch;
use crate::parameters::{ParamMut, ParamRef, Parameters};
use crate::rope::RopeTable;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rlaif_types::LoraConfig;
use std::sync::Arc;

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
    /// Activations run on the autodiff tape.
    taped: bool,
}

/// One layer: attention and feed-forward, each behind an RMS norm and a residual.
#[derive(Debug, Clone)]
struct Block {
    name: String,
    attention_norm: Tensor<1>,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// RMS norms of each head of q and k, `[head_dim]`, in the families that have them.
    q_norm: Option<Tensor<1>>,
    k_norm: Option<Tensor<1>>,
    mlp_norm: Tensor<1>,
    gate: Linear,
    up: Linear,
    down: Linear,
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
    /// Reads the weights of `checkpoint` onto `device`, as `dtype`.
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
            embedding: reader.matrix("model.embed_tokens.weight")?,
            blocks: (0..config.num_hidden_layers)
                .map(|layer| Block::read(config, layer, reader))
                .collect::<Result<_, _>>()?,
            norm: reader.vector("model.norm.weight")?,
            head,
            rope: Arc::new(RopeTable::new(config)),
            taped: false,
            config: config.clone(),
        })
    }

    /// The device of the weights, without autodiff.
    pub fn device(&self) -> Device {
        self.embedding.device().inner()
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
        self.run(pass, None)
    }

    /// One pass; with a cache, keys and values go into it and `spans` name its rows.
    pub(crate) fn run(
        &self,
        pass: Pass<'_>,
        mut cache: Option<(&mut KvCache, &[SlotRun])>,
    ) -> Tensor<2> {
        let eps = self.config.rms_norm_eps as f32;
        let angles = self.rope.gather(pass.positions);
        let plan = Arc::new(AttentionPlan {
            num_heads: self.config.num_attention_heads,
            num_kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            spans: pass.spans,
        });
        let mut x = self.embed(pass.tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            let h = kernels::rms_norm(x.clone(), block.attention_norm.clone(), eps);
            let q =
                kernels::rope(self.head_norm(block.q.forward(h.clone()), &block.q_norm), &angles);
            let k =
                kernels::rope(self.head_norm(block.k.forward(h.clone()), &block.k_norm), &angles);
            let v = block.v.forward(h);
            let (k, v) = match &mut cache {
                Some((cache, runs)) => cache.update(layer, k, v, runs),
                None => (k, v),
            };
            x = x + block.o.forward(kernels::attention(q, k, v, &plan));

            let h = kernels::rms_norm(x.clone(), block.mlp_norm.clone(), eps);
            let gated = kernels::swiglu(block.gate.forward(h.clone()), block.up.forward(h));
            x = x + block.down.forward(gated);
        }
        kernels::rms_norm(x, self.norm.clone(), eps)
    }

    /// Embedding rows of the tokens, `[tokens, hidden]`.
    fn embed(&self, tokens: &[u32]) -> Tensor<2> {
        let x = self.embedding.clone().select(0, self.indices(tokens.iter().map(|t| *t as usize)));
        if self.taped && !x.device().is_autodiff() { Tensor::from_inner(x) } else { x }
    }

    /// RMS norm of each head of `x` `[rows, heads · head_dim]`.
    fn head_norm(&self, x: Tensor<2>, norm: &Option<Tensor<1>>) -> Tensor<2> {
        let Some(norm) = norm else { return x };
        let [rows, width] = x.dims();
        let head_dim = self.config.head_dim;
        let heads = x.reshape([rows * width / head_dim, head_dim]);
        kernels::rms_norm(heads, norm.clone(), self.config.rms_norm_eps as f32)
            .reshape([rows, width])
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
        model.for_each_mut(&mut |_, param| match param {
            ParamMut::Matrix(m) => *m = m.clone().no_grad(),
            ParamMut::Vector(v) => *v = v.clone().no_grad(),
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
        f("model.embed_tokens.weight", ParamRef::Matrix(&self.embedding));
        for block in &self.blocks {
            block.for_each(f);
        }
        f("model.norm.weight", ParamRef::Vector(&self.norm));
        if let Some(head) = &self.head {
            f("lm_head.weight", ParamRef::Matrix(head));
        }
    }

    fn for_each_mut(&mut self, f: &mut dyn FnMut(&str, ParamMut<'_>)) {
        f("model.embed_tokens.weight", ParamMut::Matrix(&mut self.embedding));
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

    fn map_trainable(&mut self, visitor: &mut dyn FnMut(&str, ParamMut<'_>)) {
        self.for_each_mut(&mut |name, param| {
            if param.is_trainable() {
                visitor(name, param);
            }
        });
    }
}

impl Block {
    fn read(config: &ModelConfig, layer: usize, reader: &Reader<'_>) -> Result<Self, Error> {
        let name = format!("model.layers.{layer}");
        let linear = |part: &str, bias: bool| -> Result<Linear, Error> {
            let name = format!("{name}.{part}");
            Ok(Linear {
                weight: reader.matrix(&format!("{name}.weight"))?,
                bias: bias.then(|| reader.vector(&format!("{name}.bias"))).transpose()?,
                lora: None,
                name,
            })
        };
        let norm = |part: &str| reader.vector(&format!("{name}.{part}.weight"));
        let head_norm = |part: &str| config.qk_norm.then(|| norm(part)).transpose();
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            q: linear("self_attn.q_proj", config.qkv_bias)?,
            k: linear("self_attn.k_proj", config.qkv_bias)?,
            v: linear("self_attn.v_proj", config.qkv_bias)?,
            o: linear("self_attn.o_proj", false)?,
            q_norm: head_norm("self_attn.q_norm")?,
            k_norm: head_norm("self_attn.k_norm")?,
            mlp_norm: norm("post_attention_layernorm")?,
            gate: linear("mlp.gate_proj", false)?,
            up: linear("mlp.up_proj", false)?,
            down: linear("mlp.down_proj", false)?,
            name,
        })
    }

    fn linears_mut(&mut self) -> [&mut Linear; 7] {
        let Self { q, k, v, o, gate, up, down, .. } = self;
        [q, k, v, o, gate, up, down]
    }

    fn for_each(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        let name = |part: &str| format!("{}.{part}.weight", self.name);
        f(&name("input_layernorm"), ParamRef::Vector(&self.attention_norm));
        for linear in [&self.q, &self.k, &self.v, &self.o] {
            linear.for_each(f);
        }
        for (part, norm) in [("q_norm", &self.q_norm), ("k_norm", &self.k_norm)] {
            if let Some(norm) = norm {
                f(&name(&format!("self_attn.{part}")), ParamRef::Vector(norm));
            }
        }
        f(&name("post_attention_layernorm"), ParamRef::Vector(&self.mlp_norm));
        for linear in [&self.gate, &self.up, &self.down] {
            linear.for_each(f);
        }
    }

    fn for_each_mut(&mut self, f: &mut dyn FnMut(&str, ParamMut<'_>)) {
        let prefix = self.name.clone();
        let name = |part: &str| format!("{prefix}.{part}.weight");
        f(&name("input_layernorm"), ParamMut::Vector(&mut self.attention_norm));
        for linear in [&mut self.q, &mut self.k, &mut self.v, &mut self.o] {
            linear.for_each_mut(f);
        }
        for (part, norm) in [("q_norm", &mut self.q_norm), ("k_norm", &mut self.k_norm)] {
            if let Some(norm) = norm {
                f(&name(&format!("self_attn.{part}")), ParamMut::Vector(norm));
            }
        }
        f(&name("post_attention_layernorm"), ParamMut::Vector(&mut self.mlp_norm));
        for linear in [&mut self.gate, &mut self.up, &mut self.down] {
            linear.for_each_mut(f);
        }
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

    fn vector(&self, name: &str) -> Result<Tensor<1>, Error> {
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
