//! The toy task: answer with even tokens only. A random policy scores about one half, the best one
//! scores 1.

use burn::tensor::{DType, Tensor};
use rlaif_models::{
    CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, GenerateRequest, LanguageModel,
    ParamRef, Parameters, Sampling, Trainable,
};
use rlaif_rl::Setup;
use rlaif_types::{Algorithm, Episode, LoraConfig, OptimizerConfig, PolicyLearning};
use std::path::Path;

/// Tokens that may be in memory at once while training: a quarter of a batch.
pub const MICRO_BATCH_TOKENS: usize = 64;

pub fn checkpoint_named(name: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    Checkpoint::open(&folder.join(name)).unwrap()
}

pub fn checkpoint() -> Checkpoint {
    checkpoint_named("tiny-llama")
}

pub fn tiny_named(name: &str) -> CausalLm {
    let device = DeviceName::Cpu.open().unwrap();
    CausalLm::load(&checkpoint_named(name), &device, DType::F32).unwrap()
}

pub fn tiny() -> CausalLm {
    tiny_named("tiny-llama")
}

pub fn engine() -> Engine {
    Engine::start(tiny(), &checkpoint(), EngineOptions::default()).unwrap()
}

pub fn lora() -> Trainable {
    Trainable::Lora(LoraConfig { rank: 4, ..LoraConfig::default() })
}

pub fn optimizer(lr: f64) -> OptimizerConfig {
    OptimizerConfig { lr, ..OptimizerConfig::default() }
}

/// An algorithm on groups of this size.
pub fn learning(algorithm: Algorithm, group_size: usize) -> PolicyLearning {
    PolicyLearning { group_size, ..PolicyLearning::plain(algorithm, 1.0) }
}

/// What `make` makes of a setup from the tiny model.
pub fn set_up<T>(
    learning: &PolicyLearning,
    trainable: &Trainable,
    make: impl FnOnce(&Setup<'_>) -> T,
) -> T {
    let start = &tiny();
    let micro_batch_tokens = MICRO_BATCH_TOKENS;
    make(&Setup { start, replicas: &[], trainable, learning, micro_batch_tokens, seed: 5 })
}

pub fn evenness(tokens: &[u32]) -> f64 {
    tokens.iter().filter(|t| **t % 2 == 0).count() as f64 / tokens.len() as f64
}

/// `count` rollouts of a policy, four tokens each, rewarded for even tokens; those of a group of
/// `group_size` answer the same prompt.
pub fn rollouts_in_groups(
    engine: &Engine,
    policy: &CausalLm,
    step: usize,
    count: usize,
    group_size: usize,
) -> Vec<Episode> {
    engine.swap(policy.merged()).unwrap();
    let requests = (0..count).map(|i| {
        let sampling = Sampling {
            max_new_tokens: 4,
            min_new_tokens: 4,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            stop_tokens: Vec::new(),
            stop_texts: Vec::new(),
            seed: (step * count + i) as u64,
        };
        GenerateRequest::new(vec![10 + (i / group_size % 4) as u32, 20], sampling)
    });
    let requests: Vec<GenerateRequest> = requests.collect();
    let generations = engine.generate(requests.clone()).unwrap();
    let episodes = requests.into_iter().zip(generations).map(|(request, generation)| Episode {
        prompt: request.prompt,
        reward: Ok(evenness(&generation.tokens)),
        response: generation.tokens,
        logprobs: generation.logprobs,
        off_policy_steps: 0,
    });
    episodes.collect()
}

/// As [`rollouts_in_groups`], each to a prompt of its own.
pub fn rollouts(engine: &Engine, policy: &CausalLm, step: usize, count: usize) -> Vec<Episode> {
    rollouts_in_groups(engine, policy, step, count, 1)
}

pub fn parameters(model: &impl Parameters) -> Vec<f32> {
    let mut all = Vec::new();
    model.visit_trainable(&mut |_, param| match param {
        ParamRef::Matrix(m) => all.extend(values(m.clone().inner())),
        ParamRef::Vector(v) => all.extend(values(v.clone().inner())),
    });
    all
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
}
