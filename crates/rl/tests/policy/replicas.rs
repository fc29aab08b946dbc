//! Data-parallel training: a step whose micro-batches are shared by several replicas makes the bits of a step
//! without. Here the replicas are on the CPU; each has weights, tape and thread of its own.

use crate::toy::{engine, learning, lora, optimizer, rollouts_in_groups, tiny};
use rlaif_models::{CausalLm, DeviceName, ScalarModel, Trainable};
use rlaif_rl::{
    Demonstration, LabelledPair, PolicyTrainer, PreferencePair, RewardTrainer, Setup, SftTrainer,
    TrainerState,
};
use rlaif_types::{
    Algorithm, DpoConfig, GrpoConfig, OnlineDpoConfig, OptimizerConfig, PpoConfig, ReinforceConfig,
    SoftLabel,
};

/// Small enough for seven pieces of a batch of 16 responses.
const MICRO_BATCH_TOKENS: usize = 16;

fn replicas(count: usize) -> Vec<CausalLm> {
    let cpu = DeviceName::Cpu.open().unwrap();
    (0..count).map(|_| tiny().on(&cpu)).collect()
}

/// What two steps leave, and measured.
fn learned(algorithm: Algorithm, what: &Trainable, count: usize) -> (TrainerState, String) {
    let learning = learning(algorithm, 4);
    let setup = Setup {
        start: &tiny(),
        replicas: &replicas(count),
        trainable: what,
        learning: &learning,
        micro_batch_tokens: MICRO_BATCH_TOKENS,
        seed: 5,
    };
    let mut trainer = setup.trainer();
    let mut measured = Vec::new();
    for step in 0..2 {
        measured.push(match &mut trainer {
            PolicyTrainer::Online(trainer) => {
                let batch = rollouts_in_groups(&engine(), trainer.policy(), step, 16, 4);
                trainer.step(&batch).unwrap()
            }
            PolicyTrainer::Offline(trainer) => trainer.step(&pairs()).unwrap(),
        });
        // What is gone on from reaches the replicas too.
        let state = trainer.save();
        trainer.load(&state).unwrap();
    }
    (trainer.save(), format!("{measured:?}"))
}

fn pairs() -> Vec<PreferencePair> {
    let pair = |i: u32| PreferencePair {
        prompt: vec![5, 6 + i],
        a: vec![7, 8, 9 + i, 1],
        b: vec![10 + i, 1],
        label: SoftLabel::new(0.9).unwrap(),
    };
    (0..7).map(pair).collect()
}

fn algorithms() -> [Algorithm; 5] {
    let policy = optimizer(1e-2);
    [
        Algorithm::Reinforce(ReinforceConfig {
            temperature: 1.0,
            policy: policy.clone(),
            ..ReinforceConfig::default()
        }),
        Algorithm::Grpo(GrpoConfig { policy: policy.clone(), ..GrpoConfig::default() }),
        Algorithm::Ppo(PpoConfig {
            minibatches: 2,
            policy: policy.clone(),
            ..PpoConfig::default()
        }),
        Algorithm::OnlineDpo(OnlineDpoConfig {
            policy: policy.clone(),
            ..OnlineDpoConfig::default()
        }),
        Algorithm::Dpo(DpoConfig { policy, ..DpoConfig::default() }),
    ]
}

#[test]
fn replicas_change_no_bit_of_what_an_algorithm_learns_and_measures() {
    for algorithm in algorithms() {
        for what in [Trainable::Full, lora()] {
            let alone = learned(algorithm.clone(), &what, 0);
            for count in [1, 2] {
                let shared = learned(algorithm.clone(), &what, count);
                assert_eq!(shared.1, alone.1, "{algorithm:?}, {count} replicas");
                assert!(shared.0 == alone.0, "{algorithm:?}, {what:?}, {count} replicas");
            }
        }
    }
}

#[test]
fn fine_tuning_and_reward_models_are_shared_likewise() {
    let demonstration =
        |i: u32| Demonstration { prompt: vec![5, 6 + i], completion: vec![7, 8, 1] };
    let demonstrations: Vec<Demonstration> = (0..7).map(demonstration).collect();
    let pair = |i: u32| {
        LabelledPair::new(vec![5, 6 + i, 7, 1], vec![5, 6 + i, 1], SoftLabel::new(0.8).unwrap())
    };
    let pairs: Vec<LabelledPair> = (0..7).map(pair).collect();
    let config = || OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() };
    let [alone, shared] = [0, 1].map(|count| {
        let copies = replicas(count);
        let what = lora();
        let model = tiny().trainable(&what);
        let mut sft = SftTrainer::new(model, config(), MICRO_BATCH_TOKENS)
            .with_replicas(copies.iter().map(|copy| copy.trainable(&what)));
        let of = |start: CausalLm| ScalarModel::zero(start).trainable(&Trainable::Full);
        let mut reward = RewardTrainer::new(of(tiny()), config(), MICRO_BATCH_TOKENS)
            .with_replicas(copies.into_iter().map(of));
        for _ in 0..2 {
            sft.step(&demonstrations).unwrap();
            reward.step(&pairs).unwrap();
        }
        (sft.save(), reward.save())
    });
    assert!(alone.0 == shared.0, "fine-tuning");
    assert!(alone.1 == shared.1, "reward model");
}
