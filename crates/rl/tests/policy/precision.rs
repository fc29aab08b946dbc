//! Mixed precision: passes in bf16 over weights in f32. It is meant for GPUs; that it runs on the CPU too, composed of
//! Burn's own operations, is what lets it be tested anywhere.

use crate::toy::{checkpoint, lora, optimizer, parameters, rollouts, set_up, tiny, tiny_named};
use burn::tensor::{DType, Tensor};
use rlaif_models::{CausalLm, Engine, EngineOptions, PackedBatch, ScalarModel, Trainable};
use rlaif_rl::{Demonstration, PolicyTrainer, SftTrainer};
use rlaif_types::{Algorithm, PpoConfig, ReinforceConfig};

fn demonstrations() -> Vec<Demonstration> {
    let demonstration =
        |i: u32| Demonstration { prompt: vec![5 + i, 6, 7], completion: vec![8, 9 + i, 10, 11, 1] };
    (0..5).map(demonstration).collect()
}

fn in_bf16(model: CausalLm) -> CausalLm {
    model.with_activations(DType::BF16)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
}

/// Biases of qwen2 and head norms of qwen3 included. Eight bits of mantissa, and a few layers that each round.
#[test]
fn passes_agree_with_those_of_f32_to_the_digits_that_bf16_has() {
    let batch = PackedBatch::from_sequences(&[vec![5, 6, 7, 8, 9], vec![10, 11, 12]]);
    let rows = [0, 1, 2, 3, 5, 6];
    let targets = [6, 7, 8, 9, 11, 12];
    for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
        let logprobs = |model: &CausalLm| {
            values(model.token_logprobs(model.forward(&batch), &rows, &targets, 1.0))
        };
        let (fine, coarse) = (tiny_named(name), in_bf16(tiny_named(name)));
        assert_eq!(coarse.forward(&batch).dtype(), DType::BF16);
        let (fine, coarse) = (logprobs(&fine), logprobs(&coarse));
        assert_ne!(fine, coarse, "{name} computes in f32");
        for (fine, coarse) in fine.iter().zip(&coarse) {
            assert!((fine - coarse).abs() < 0.01 * fine.abs(), "{name}: {fine} became {coarse}");
        }
    }
}

/// A value has all digits of f32: the head is not part of what is computed in bf16.
#[test]
fn values_are_f32() {
    let batch = PackedBatch::from_sequences(&[vec![5, 6, 7], vec![8, 9]]);
    let mut model = ScalarModel::zero(in_bf16(tiny()));
    model.score = model.score.ones_like();
    assert_eq!(model.forward_last(&batch).dtype(), DType::F32);
}

/// AdamW's first step moves a weight by the learning rate, here a thousandth of what bf16 resolves near 0.1.
#[test]
fn steps_too_small_for_bf16_are_not_lost() {
    let start = in_bf16(tiny()).trainable(&Trainable::Full);
    let before = parameters(&start);
    let mut trainer = SftTrainer::new(start, optimizer(1e-7), 16);
    trainer.step(&demonstrations()).unwrap();
    let after = parameters(&trainer.model);
    let rounded =
        |weights: &[f32]| -> Vec<u32> { weights.iter().map(|w| w.to_bits() >> 16).collect() };
    let differing = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let bits = |weights: &[f32]| -> Vec<u32> { weights.iter().map(|w| w.to_bits()).collect() };
    let moved = differing(&bits(&before), &bits(&after));
    let moved_in_bf16 = differing(&rounded(&before), &rounded(&after));
    assert!(moved > before.len() / 4, "{moved} of {} weights moved", before.len());
    assert!(moved_in_bf16 < moved / 20, "{moved_in_bf16} of {moved} would have moved in bf16");
}

/// With all weights and with adapters; gradient checkpointing computes the same passes again.
#[test]
fn fine_tuning_learns_as_it_does_in_f32() {
    let losses = |start: CausalLm, what: &Trainable| -> Vec<f64> {
        let mut trainer = SftTrainer::new(start.trainable(what), optimizer(1e-2), 16);
        (0..6).map(|_| trainer.step(&demonstrations()).unwrap().loss).collect()
    };
    for what in [Trainable::Full, lora()] {
        let fine = losses(tiny(), &what);
        let coarse = losses(in_bf16(tiny()), &what);
        let again = losses(in_bf16(tiny()).with_gradient_checkpointing(true), &what);
        assert!(fine[5] < 0.9 * fine[0], "{fine:?}");
        for (step, fine) in fine.iter().enumerate() {
            for coarse in [coarse[step], again[step]] {
                assert!((coarse - fine).abs() < 0.1 * fine, "step {step}: {fine} became {coarse}");
            }
        }
    }
}

/// Rollouts and learner pass through the same layers in the same type, so what they say of a token differs by what
/// bf16 resolves near the logits; policy, value network and reference all compute in it.
#[test]
fn policies_learn_from_rollouts_of_bf16() {
    for algorithm in [
        Algorithm::Reinforce(ReinforceConfig { temperature: 1.0, ..ReinforceConfig::default() }),
        Algorithm::Ppo(PpoConfig::default()),
    ] {
        let learning = crate::toy::learning(algorithm.clone(), 1);
        let engine =
            Engine::start(in_bf16(tiny()), &checkpoint(), EngineOptions::default()).unwrap();
        let trainer = set_up(&learning, &lora(), |setup| {
            let start = in_bf16(setup.start.clone());
            rlaif_rl::Setup { start: &start, ..*setup }.trainer()
        });
        let PolicyTrainer::Online(mut trainer) = trainer else { panic!("an online algorithm") };
        for step in 0..2 {
            let batch = rollouts(&engine, trainer.policy(), step, 8);
            let metrics = trainer.step(&batch).unwrap();
            let mismatch = metrics.logprob_mismatch.expect("rollouts say how likely they were");
            assert!(mismatch < 0.2, "{algorithm:?}: {mismatch}");
        }
    }
}
