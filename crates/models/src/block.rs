//! One layer of the transformer: its weights and what it computes.

use crate::config::ModelConfig;
use crate::error::Error;
use crate::kernels::{self, Angles, AttentionPlan};
use crate::linear::Linear;
use crate::parameters::{ParamMut, ParamRef};
use crate::transformer::Reader;
use burn::tensor::Tensor;
use std::sync::Arc;

/// What the layers of a pass have in common.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) eps: f32,
    pub(crate) angles: Angles,
    pub(crate) plan: Arc<AttentionPlan>,
}

impl Shared {
    /// RMS norm of each head of `x` `[rows, heads · head_dim]`.
    fn head_norm(&self, x: Tensor<2>, norm: &Option<Tensor<1>>) -> Tensor<2> {
        let Some(norm) = norm else { return x };
        let ([rows, width], head_dim) = (x.dims(), self.plan.head_dim);
        let heads = x.reshape([rows * width / head_dim, head_dim]);
        kernels::rms_norm(heads, norm.clone(), self.eps).reshape([rows, width])
    }
}

/// One layer: attention and feed-forward, each behind an RMS norm and a residual.
#[derive(Debug, Clone)]
pub(crate) struct Block {
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

impl Block {
    pub(crate) fn read(
        config: &ModelConfig,
        layer: usize,
        reader: &Reader<'_>,
    ) -> Result<Self, Error> {
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

    /// `x` `[rows, hidden]` through the layer. `see` is given the keys and values of the rows and returns those
    /// that are attended to, which a cache may hold more of.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        shared: &Shared,
        see: impl FnOnce(Tensor<2>, Tensor<2>) -> (Tensor<2>, Tensor<2>),
    ) -> Tensor<2> {
        let Shared { eps, angles, plan } = shared;
        let h = kernels::rms_norm(x.clone(), self.attention_norm.clone(), *eps);
        let q = shared.head_norm(self.q.forward(h.clone()), &self.q_norm);
        let k = shared.head_norm(self.k.forward(h.clone()), &self.k_norm);
        let (q, k) = (kernels::rope(q, angles), kernels::rope(k, angles));
        let (k, v) = see(k, self.v.forward(h));
        let x = x + self.o.forward(kernels::attention(q, k, v, plan));

        let h = kernels::rms_norm(x.clone(), self.mlp_norm.clone(), *eps);
        let gated = kernels::swiglu(self.gate.forward(h.clone()), self.up.forward(h));
        x + self.down.forward(gated)
    }

    /// A copy off the tape.
    pub(crate) fn frozen(&self) -> Self {
        let mut block = self.clone();
        block.for_each_mut(&mut |_, param| param.freeze());
        block
    }

    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 7] {
        let Self { q, k, v, o, gate, up, down, .. } = self;
        [q, k, v, o, gate, up, down]
    }

    pub(crate) fn for_each(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
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

    pub(crate) fn for_each_mut(&mut self, f: &mut dyn FnMut(&str, ParamMut<'_>)) {
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
