//! Training against PyTorch: losses, estimators and gradients of every algorithm on a tiny model, and
//! the weights that Adafactor makes. The values in `tests/golden/rl.json` are those of
//! `tests/golden/make_rl_golden.py`, which writes the formulas out in plain PyTorch and asks TRL. Sums
//! are taken in another order here, in f32, so a relative 2e-3 is allowed.

use burn::tensor::{DType, Tensor, TensorData};
use rlaif_models::{
    CausalLm, Checkpoint, DeviceName, ParamMut, Parameters, ScalarModel, Trainable,
};
use rlaif_rl::{
    LabelledPair, PolicyMetrics, PolicyTrainer, PreferencePair, RewardTrainer, Setup, TrainerState,
};
use rlaif_types::{
    Aggregation, Algorithm, DpoConfig, Episode, GrpoConfig, KlEstimator, KlPlacement,
    OptimizerConfig, OptimizerKind, PolicyLearning, PpoConfig, PreferenceLoss, ReinforceConfig,
    RewardObjective, RlooConfig, SoftLabel,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// AdamW's first moment after one step is this share of the gradient.
const SHARE: f64 = 0.1;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("rl.json")).unwrap()).unwrap()
}

fn tiny() -> CausalLm {
    let checkpoint = Checkpoint::open(&folder().join("tiny-llama")).unwrap();
    CausalLm::load(&checkpoint, &DeviceName::Cpu.open().unwrap(), DType::F32).unwrap()
}

fn wave(place: usize, phase: f64) -> f64 {
    (place as f64 * 0.7 + phase).sin()
}

/// Adds a sine of its place to every weight, as the script does.
fn moved<M: Parameters>(mut model: M) -> M {
    fn shift<const D: usize>(name: &str, tensor: &mut Tensor<D>) {
        let (dims, device) = (tensor.dims(), tensor.device().inner());
        let mut values = tensor.clone().inner().into_data().into_vec::<f32>().unwrap();
        for (i, value) in values.iter_mut().enumerate() {
            *value += (0.02 * wave(i, name.len() as f64)) as f32;
        }
        let data = TensorData::new(values, dims);
        *tensor = Tensor::from_inner(Tensor::from_data(data, &device)).require_grad();
    }
    model.map_trainable(&mut |name, param| match param {
        ParamMut::Matrix(m) => shift(name, m),
        ParamMut::Vector(v) => shift(name, v),
    });
    model
}

/// An optimiser from whose state the gradient can be read, clipped by nothing.
fn transparent() -> OptimizerConfig {
    OptimizerConfig { max_grad_norm: f64::MAX, ..OptimizerConfig::default() }
}

fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as u32).collect()
}

fn episodes(golden: &Value, on_policy: bool) -> Vec<Episode> {
    let episode = |e: &Value| Episode {
        prompt: tokens(&e["prompt"]),
        response: tokens(&e["response"]),
        logprobs: e["logprobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_f64().unwrap() as f32)
            .collect(),
        reward: Ok(e["reward"].as_f64().unwrap()),
        off_policy_steps: if on_policy {
            0
        } else {
            e["off_policy_steps"].as_u64().unwrap() as usize
        },
    };
    golden["episodes"].as_array().unwrap().iter().map(episode).collect()
}

fn pairs(golden: &Value) -> Vec<PreferencePair> {
    let pair = |p: &Value| PreferencePair {
        prompt: tokens(&p["prompt"]),
        a: tokens(&p["a"]),
        b: tokens(&p["b"]),
        label: SoftLabel::new(p["label"].as_f64().unwrap()).unwrap(),
    };
    golden["pairs"].as_array().unwrap().iter().map(pair).collect()
}

/// What one step of an algorithm measures, and the state it leaves, with policy and value network
/// moved away from the start.
fn step(golden: &Value, algorithm: Algorithm, on_policy: bool) -> (PolicyMetrics, TrainerState) {
    let start = tiny();
    let temperature = match algorithm {
        Algorithm::Dpo(_) => 1.0,
        _ => golden["temperature"].as_f64().unwrap() as f32,
    };
    let learning = PolicyLearning {
        group_size: golden["group_size"].as_u64().unwrap() as usize,
        ..PolicyLearning::plain(algorithm, temperature)
    };
    let setup = Setup {
        start: &start,
        replicas: &[],
        trainable: &Trainable::Full,
        learning: &learning,
        micro_batch_tokens: 16,
        seed: 0,
    };
    let mut trainer = setup.trainer();
    let mut state = trainer.save();
    state.put_parameters("policy", &moved(start.trainable(&Trainable::Full)));
    let value = ScalarModel::zero(start.clone()).trainable(&Trainable::Full);
    state.put_parameters("value", &moved(value));
    trainer.load(&state).unwrap();
    let metrics = match &mut trainer {
        PolicyTrainer::Online(trainer) => trainer.step(&episodes(golden, on_policy)),
        PolicyTrainer::Offline(trainer) => trainer.step(&pairs(golden)),
    };
    (metrics.unwrap(), trainer.save())
}

fn close(what: &str, found: f64, expected: f64, scale: f64) {
    let allowed = 2e-3 * scale.abs().max(1e-3);
    assert!((found - expected).abs() <= allowed, "{what}: {found}, PyTorch has {expected}");
}

/// Holds tensors of a saved state, in units of `unit`, against their norms and their products with a
/// sine.
fn check_tensors(
    what: &str,
    state: &TrainerState,
    prefix: &str,
    suffix: &str,
    unit: f64,
    expected: &Value,
) {
    let bytes = state.to_bytes();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, kept) in expected.as_object().unwrap() {
        let view = tensors.tensor(&format!("{prefix}{name}{suffix}"));
        let view = view.unwrap_or_else(|e| panic!("{what}: {name}: {e}"));
        let values = view.data().chunks_exact(4);
        let values = values.map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())) / unit);
        let (mut product, mut squares) = (0.0, 0.0);
        for (i, value) in values.enumerate() {
            product += value * wave(i, 1.0);
            squares += value * value;
        }
        let norm = kept[1].as_f64().unwrap();
        close(&format!("{what}: norm of {name}"), squares.sqrt(), norm, norm);
        close(&format!("{what}: product of {name}"), product, kept[0].as_f64().unwrap(), norm);
    }
}

fn check(golden: &Value, case: &str, algorithm: Algorithm, on_policy: bool) {
    let (metrics, state) = step(golden, algorithm, on_policy);
    let metrics = serde_json::to_value(metrics).unwrap();
    let expected = &golden["cases"][case];
    for (name, value) in expected["metrics"].as_object().unwrap() {
        let (found, value) = (metrics[name].as_f64().unwrap(), value.as_f64().unwrap());
        // A loss is a difference of terms of about 1.
        close(&format!("{case}: {name}"), found, value, value.abs().max(0.1));
    }
    check_tensors(case, &state, "policy_optimizer.", "#m", SHARE, &expected["policy"]);
    if let Some(value) = expected.get("value") {
        check_tensors(case, &state, "value_optimizer.", "#m", SHARE, value);
    }
}

#[test]
fn reinforce_with_every_estimator_truncated_weights_and_centered_advantages() {
    let golden = golden();
    use KlEstimator::{K2, K3};
    use KlPlacement::{Loss, Reward};
    for (case, beta, kl_placement, kl_estimator, center_advantages) in [
        ("reinforce", 0.05, Reward, None, false),
        ("reinforce_centered", 0.05, Reward, None, true),
        ("reinforce_k2_loss", 0.3, Loss, Some(K2), false),
        ("reinforce_k3_loss", 0.3, Loss, Some(K3), false),
        ("reinforce_k3_reward", 0.3, Reward, Some(K3), false),
    ] {
        let config = ReinforceConfig {
            beta,
            kl_placement,
            kl_estimator,
            center_advantages,
            policy: transparent(),
            value: transparent(),
            max_off_policy_steps: 1,
            importance_cap: 1.2,
            ..ReinforceConfig::default()
        };
        check(&golden, case, Algorithm::Reinforce(config), false);
    }
}

#[test]
fn rloo() {
    let golden = golden();
    let config = RlooConfig {
        policy: transparent(),
        max_off_policy_steps: 1,
        importance_cap: 1.2,
        ..RlooConfig::default()
    };
    check(&golden, "rloo", Algorithm::Rloo(config.clone()), false);
    check(&golden, "rloo_on_policy", Algorithm::Rloo(config), true);
}

#[test]
fn grpo() {
    let golden = golden();
    let config =
        GrpoConfig { policy: transparent(), max_off_policy_steps: 1, ..GrpoConfig::default() };
    let by_token =
        GrpoConfig { scale_by_deviation: false, aggregation: Aggregation::Token, ..config.clone() };
    check(&golden, "grpo", Algorithm::Grpo(config), false);
    check(&golden, "grpo_by_token", Algorithm::Grpo(by_token), false);
}

#[test]
fn ppo() {
    let golden = golden();
    let config = PpoConfig {
        value_clip: Some(0.2),
        epochs: 1,
        policy: transparent(),
        value: transparent(),
        max_off_policy_steps: 1,
        ..PpoConfig::default()
    };
    check(&golden, "ppo", Algorithm::Ppo(config.clone()), false);
    let unwhitened = PpoConfig { whiten_advantages: false, ..config.clone() };
    check(&golden, "ppo_unwhitened", Algorithm::Ppo(unwhitened), false);
    // Values are held to what they were before the first epoch, which the second one feels: the first
    // has moved some of them by more than their clip.
    let at = |network: &str| {
        let lr = golden["ppo_rates"][network].as_f64().unwrap();
        OptimizerConfig { lr, ..transparent() }
    };
    let twice = PpoConfig { epochs: 2, policy: at("policy"), value: at("value"), ..config };
    check(&golden, "ppo_two_epochs", Algorithm::Ppo(twice), false);
}

#[test]
fn dpo_ipo_and_slic_with_soft_labels() {
    let golden = golden();
    for (case, loss) in
        [("dpo", PreferenceLoss::Dpo), ("ipo", PreferenceLoss::Ipo), ("slic", PreferenceLoss::Slic)]
    {
        let config = DpoConfig { beta: 0.1, loss, policy: transparent() };
        check(&golden, case, Algorithm::Dpo(config), true);
    }
}

/// Pairs as a reward model reads them, with the margins that some have.
fn labelled(pairs: &Value) -> Vec<LabelledPair> {
    let pair = |p: &Value| {
        let side = |name: &str| [tokens(&p["prompt"]), tokens(&p[name])].concat();
        let label = SoftLabel::new(p["label"].as_f64().unwrap()).unwrap();
        let margin = p["margin"].as_f64().unwrap_or(0.0) as f32;
        LabelledPair { margin, ..LabelledPair::new(side("a"), side("b"), label) }
    };
    pairs.as_array().unwrap().iter().map(pair).collect()
}

fn reward_trainer(optimizer: OptimizerConfig) -> RewardTrainer {
    let model = moved(ScalarModel::zero(tiny()).trainable(&Trainable::Full));
    RewardTrainer::new(model, optimizer, 16)
}

#[test]
fn the_reward_models_loss() {
    let golden = golden();
    let expected = &golden["cases"]["reward_model"];
    let mut trainer = reward_trainer(transparent());
    let loss = trainer.step(&labelled(&golden["pairs"])).unwrap().loss;
    close("loss", loss, expected["metrics"]["loss"].as_f64().unwrap(), 1.0);
    check_tensors("reward", &trainer.save(), "optimizer.", "#m", SHARE, &expected["model"]);
}

/// TRL knows no soft labels. Where B is better, its pair is turned round, and our margin is negative.
#[test]
fn on_certain_labels_the_reward_models_loss_is_trls_with_margins_and_centering() {
    let golden = golden();
    let pairs = labelled(&golden["certain_pairs"]);
    for case in [
        "trls_reward_model",
        "trls_reward_model_with_margins",
        "trls_reward_model_with_margins_and_centering",
    ] {
        let expected = &golden["cases"][case];
        let objective: RewardObjective =
            serde_json::from_value(expected["objective"].clone()).unwrap();
        let mut trainer = reward_trainer(transparent()).with_objective(objective);
        let loss = trainer.step(&pairs).unwrap().loss;
        close(case, loss, expected["metrics"]["loss"].as_f64().unwrap(), 1.0);
        check_tensors(case, &trainer.save(), "optimizer.", "#m", SHARE, &expected["model"]);
    }
}

#[test]
fn three_steps_of_adafactor() {
    let golden = golden();
    let expected = &golden["adafactor"];
    let config = OptimizerConfig { kind: OptimizerKind::Adafactor, lr: 3e-3, ..transparent() };
    let mut trainer = reward_trainer(config);
    for loss in expected["losses"].as_array().unwrap() {
        let found = trainer.step(&labelled(&golden["pairs"])).unwrap().loss;
        close("loss", found, loss.as_f64().unwrap(), 1.0);
    }
    check_tensors("adafactor", &trainer.save(), "model.", "", 1.0, &expected["weights"]);
}
