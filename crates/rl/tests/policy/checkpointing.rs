//! Gradient checkpointing changes what is kept in memory and nothing else.

use crate::toy::{checkpoint_named, engine, learning, lora, optimizer, rollouts, tiny, tiny_named};
use rlaif_models::{CausalLm, Trainable};
use rlaif_rl::{Demonstration, PolicyTrainer, Setup, SftTrainer, TrainerState};
use rlaif_types::{Algorithm, OnlineDpoConfig, PpoConfig, ReinforceConfig};

/// Three steps of fine-tuning, several micro-batches each.
fn fine_tuned(start: CausalLm, what: &Trainable) -> TrainerState {
    let mut trainer = SftTrainer::new(start.trainable(what), optimizer(1e-2), 16);
    let demonstration =
        |i: u32| Demonstration { prompt: vec![5 + i, 6, 7], completion: vec![8, 9 + i, 10, 11, 1] };
    let batch: Vec<Demonstration> = (0..5).map(demonstration).collect();
    for _ in 0..3 {
        trainer.step(&batch).unwrap();
    }
    trainer.save()
}

/// Biases of qwen2, head norms of qwen3 and embeddings that are the head too included; with adapters, the first
/// layer's input needs no gradient. To the bit.
#[test]
fn a_model_learns_the_same_with_and_without() {
    for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
        for what in [Trainable::Full, lora()] {
            let start = tiny_named(name);
            assert!(checkpoint_named(name).config.num_hidden_layers > 1, "one layer shows little");
            let kept = fine_tuned(start.clone(), &what);
            let recomputed = fine_tuned(start.with_gradient_checkpointing(true), &what);
            assert!(kept == recomputed, "{name}, {what:?}");
        }
    }
}

fn improved(start: &CausalLm, algorithm: Algorithm) -> TrainerState {
    let (engine, learning) = (engine(), learning(algorithm, 2));
    let setup = Setup {
        start,
        replicas: &[],
        trainable: &lora(),
        learning: &learning,
        micro_batch_tokens: 24,
        seed: 5,
    };
    let PolicyTrainer::Online(mut trainer) = setup.trainer() else { panic!("an online algorithm") };
    for step in 0..2 {
        let batch = rollouts(&engine, trainer.policy(), step, 8);
        trainer.step(&batch).unwrap();
    }
    trainer.save()
}

/// Policy, value network and reference are made of one start, so all of them recompute.
#[test]
fn algorithms_leave_the_same_state_with_and_without() {
    for algorithm in [
        Algorithm::Reinforce(ReinforceConfig { temperature: 1.0, ..ReinforceConfig::default() }),
        Algorithm::Ppo(PpoConfig::default()),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
    ] {
        let kept = improved(&tiny(), algorithm.clone());
        let recomputed = improved(&tiny().with_gradient_checkpointing(true), algorithm.clone());
        assert!(kept == recomputed, "{algorithm:?}");
    }
}
