//! REINFORCE on a tiny random transformer and a toy task whose optimum is known: answer with even
//! tokens only. A random policy scores about one half, the best one scores 1.

use burn::tensor::{DType, Tensor};
use rlaif_models::{
    CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, GenerateRequest, LanguageModel,
    ParamRef, Parameters, Sampling, ScalarModel, Trainable,
};
use rlaif_rl::{Reinforce, ReinforceMetrics};
use rlaif_types::{Episode, KlPlacement, LoraConfig, OptimizerConfig, ReinforceConfig};
use rlaif_types::{Unscorable, UnscorableReason};
use std::path::Path;

fn checkpoint() -> Checkpoint {
    Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-llama"))
        .unwrap()
}

fn tiny() -> CausalLm {
    let device = DeviceName::Cpu.open().unwrap();
    CausalLm::load(&checkpoint(), &device, DType::F32).unwrap()
}

fn trainer(config: ReinforceConfig, what: &Trainable) -> Reinforce {
    let start = tiny();
    let value = ScalarModel::zero(start.clone()).trainable(what);
    Reinforce::new(start.trainable(what), value, start, config, 4096)
}

fn config(beta: f64, kl_placement: KlPlacement) -> ReinforceConfig {
    let optimizer = OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() };
    ReinforceConfig {
        beta,
        kl_placement,
        temperature: 1.0,
        policy: optimizer.clone(),
        value: optimizer,
        value_warmup_steps: 0,
        ..ReinforceConfig::default()
    }
}

fn evenness(tokens: &[u32]) -> f64 {
    tokens.iter().filter(|t| **t % 2 == 0).count() as f64 / tokens.len() as f64
}

/// Rollouts of the trainer's policy, four tokens each, rewarded for even tokens.
fn rollouts(engine: &Engine, trainer: &Reinforce, step: usize, count: usize) -> Vec<Episode> {
    engine.swap(trainer.policy.merged()).unwrap();
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
        GenerateRequest::new(vec![10 + (i % 4) as u32, 20], sampling)
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

fn engine() -> Engine {
    Engine::start(tiny(), &checkpoint(), EngineOptions::default()).unwrap()
}

fn parameters(model: &impl Parameters) -> Vec<f32> {
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

#[test]
fn it_reaches_the_optimum_with_either_kl_placement() {
    let engine = engine();
    for placement in [KlPlacement::Reward, KlPlacement::Loss] {
        let mut trainer = trainer(config(0.001, placement), &Trainable::Full);
        let first = trainer.step(&rollouts(&engine, &trainer, 0, 32)).unwrap();
        assert!(first.reward < 0.7, "the task is no task: {}", first.reward);
        // The rollout's log-probabilities are the learner's, up to the order of sums.
        assert!(first.logprob_mismatch < 1e-4, "{}", first.logprob_mismatch);
        for step in 1..60 {
            trainer.step(&rollouts(&engine, &trainer, step, 32)).unwrap();
        }
        let last = trainer.step(&rollouts(&engine, &trainer, 60, 64)).unwrap();
        assert!(last.reward > 0.97, "{placement:?}: reward {}", last.reward);
    }
}

/// The same rollouts, met by the learner after `steps` further steps.
fn aged(mut episodes: Vec<Episode>, steps: usize) -> Vec<Episode> {
    episodes.iter_mut().for_each(|e| e.off_policy_steps = steps);
    episodes
}

#[test]
fn it_reaches_the_optimum_on_rollouts_of_older_policies() {
    let engine = engine();
    let config = ReinforceConfig { max_off_policy_steps: 2, ..config(0.001, KlPlacement::Loss) };
    let mut trainer = trainer(config, &Trainable::Full);
    let mut drawn: Vec<_> = (0..2).map(|step| rollouts(&engine, &trainer, step, 32)).collect();
    for step in 2..60 {
        drawn.push(rollouts(&engine, &trainer, step, 32));
        let steps = (step - 1).min(2);
        let metrics = trainer.step(&aged(drawn.remove(0), steps)).unwrap();
        assert_eq!(metrics.off_policy_steps, steps as f64);
    }
    let last = trainer.step(&rollouts(&engine, &trainer, 60, 64)).unwrap();
    assert!(last.reward > 0.97, "reward {}", last.reward);
}

#[test]
fn rollouts_that_are_too_old_are_left_out_and_counted() {
    let engine = engine();
    let config = ReinforceConfig { max_off_policy_steps: 1, ..config(0.05, KlPlacement::Reward) };
    let mut alone = trainer(config.clone(), &Trainable::Full);
    let mut mixed = trainer(config, &Trainable::Full);
    let fresh = rollouts(&engine, &alone, 0, 8);
    let old = aged(rollouts(&engine, &alone, 1, 8), 2);
    let both: Vec<Episode> = fresh.iter().chain(&old).cloned().collect();
    let (expected, metrics) = (alone.step(&fresh).unwrap(), mixed.step(&both).unwrap());
    assert_eq!((metrics.episodes, metrics.too_old, metrics.unscorable), (8, 8, 0));
    assert_eq!(ReinforceMetrics { too_old: 0, ..metrics }, expected);
    assert_eq!(parameters(&alone.policy), parameters(&mixed.policy));
    assert!(mixed.step(&old).is_none(), "nothing to learn from");
}

#[test]
fn at_beta_one_the_policy_stays_at_its_start() {
    let engine = engine();
    for placement in [KlPlacement::Reward, KlPlacement::Loss] {
        let kl_after = |beta: f64| {
            let mut settings = config(beta, placement);
            settings.policy.lr = 1e-3;
            let mut trainer = trainer(settings, &Trainable::Full);
            for step in 0..60 {
                trainer.step(&rollouts(&engine, &trainer, step, 32)).unwrap();
            }
            trainer.step(&rollouts(&engine, &trainer, 60, 64)).unwrap().kl
        };
        // Adam turns even rounding noise into steps of the size of the learning rate, so "stays"
        // means: within a small part of where the reward would take it.
        let (held, free) = (kl_after(1.0), kl_after(0.0));
        assert!(free > 1.0, "{placement:?}: the reward moves the policy by {free} only");
        assert!(held.abs() < 0.1 * free, "{placement:?}: KL {held} against {free}");
    }
}

#[test]
fn the_policys_loss_leaves_the_value_network_untouched_and_the_other_way_round() {
    let engine = engine();
    // A value network that cannot move leaves a policy that does, and vice versa.
    let frozen = OptimizerConfig { lr: f64::MIN_POSITIVE, ..OptimizerConfig::default() };
    let mut still_value = config(0.05, KlPlacement::Loss);
    still_value.value = frozen.clone();
    let mut still_policy = config(0.05, KlPlacement::Loss);
    still_policy.policy = frozen;
    for (config, policy_moves) in [(still_value, true), (still_policy, false)] {
        let mut trainer = trainer(config, &Trainable::Full);
        let (policy, value) = (parameters(&trainer.policy), parameters(&trainer.value));
        trainer.step(&rollouts(&engine, &trainer, 0, 8)).unwrap();
        assert_eq!(parameters(&trainer.policy) != policy, policy_moves);
        assert_eq!(parameters(&trainer.value) != value, !policy_moves);
    }
}

#[test]
fn the_baseline_lowers_the_variance_of_the_gradient() {
    let engine = engine();
    let still = OptimizerConfig { lr: f64::MIN_POSITIVE, ..OptimizerConfig::default() };
    let mean_norm = |learn: bool| {
        let mut settings = config(0.0, KlPlacement::Loss);
        settings.policy = still.clone();
        settings.policy.max_grad_norm = f64::MAX;
        if !learn {
            settings.value = still.clone();
        }
        let mut trainer = trainer(settings, &Trainable::Full);
        for step in 0..30 {
            trainer.step(&rollouts(&engine, &trainer, step, 32)).unwrap();
        }
        // The policy stands still, so the mean gradient is the same in both cases and the mean
        // squared norm of small batches is its variance up to that constant.
        let norms = (30..60).map(|step| {
            trainer.step(&rollouts(&engine, &trainer, step, 4)).unwrap().policy_grad_norm.powi(2)
        });
        norms.sum::<f64>() / 30.0
    };
    let (with, without) = (mean_norm(true), mean_norm(false));
    assert!(with < 0.8 * without, "with baseline {with}, without {without}");
}

#[test]
fn unscorable_episodes_take_no_part() {
    let engine = engine();
    let lora = Trainable::Lora(LoraConfig { rank: 4, ..LoraConfig::default() });
    let settings = config(0.05, KlPlacement::Reward);
    let (mut one, mut other) = (trainer(settings.clone(), &lora), trainer(settings, &lora));
    let good = rollouts(&engine, &one, 0, 6);
    let broken = |episode: &Episode| Episode {
        reward: Err(Unscorable::new(UnscorableReason::EngineFailed, "no answer")),
        ..episode.clone()
    };
    let mut mixed = good.clone();
    mixed.extend(rollouts(&engine, &one, 9, 3).iter().map(broken));
    let metrics = one.step(&mixed).unwrap();
    assert_eq!((metrics.episodes, metrics.unscorable), (6, 3));
    other.step(&good).unwrap();
    assert_eq!(parameters(&one.policy), parameters(&other.policy));
    assert!(one.step(&[broken(&good[0])]).is_none());
}

#[test]
fn a_resumed_trainer_continues_bit_for_bit() {
    let engine = engine();
    let lora = Trainable::Lora(LoraConfig { rank: 4, ..LoraConfig::default() });
    let mut straight = trainer(config(0.05, KlPlacement::Reward), &lora);
    straight.step(&rollouts(&engine, &straight, 0, 8)).unwrap();
    let saved = rlaif_rl::TrainerState::from_bytes(&straight.save().to_bytes()).unwrap();
    let mut resumed = trainer(config(0.05, KlPlacement::Reward), &lora);
    resumed.load(&saved).unwrap();
    for step in 1..3 {
        let batch = rollouts(&engine, &straight, step, 8);
        assert_eq!(straight.step(&batch), resumed.step(&batch));
    }
    assert_eq!(parameters(&straight.policy), parameters(&resumed.policy));
    assert_eq!(parameters(&straight.value), parameters(&resumed.value));
}
