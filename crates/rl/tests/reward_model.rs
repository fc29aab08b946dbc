//! The reward model's trainer on a tiny random transformer.

use burn::tensor::{DType, Tensor};
use rlaif_models::{Checkpoint, DeviceName, ParamRef, Parameters, ScalarModel, Trainable};
use rlaif_rl::{LabelledPair, RewardTrainer};
use rlaif_types::{OptimizerConfig, RewardObjective, SoftLabel};
use std::path::Path;

fn trainer() -> RewardTrainer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-reward");
    let device = DeviceName::Cpu.open().unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let model = ScalarModel::load(&checkpoint, &device, DType::F32).unwrap();
    let optimizer = OptimizerConfig { lr: 1e-3, ..OptimizerConfig::default() };
    // Several micro-batches.
    RewardTrainer::new(model.trainable(&Trainable::Full), optimizer, 24)
}

/// A common beginning, none, the same twice, and one that is the beginning of the other.
fn pairs() -> Vec<LabelledPair> {
    let pair =
        |a: &[u32], b: &[u32], p| LabelledPair::new(a.into(), b.into(), SoftLabel::new(p).unwrap());
    vec![
        pair(&[5, 6, 7, 8, 9, 10, 1], &[5, 6, 7, 8, 20, 1], 0.9),
        pair(&[5, 6, 1], &[9, 8, 7, 1], 0.2),
        pair(&[30, 31, 1], &[30, 31, 1], 0.5),
        pair(&[40, 41, 42, 43], &[40, 41], 0.7),
        pair(&[50], &[50], 1.0),
    ]
}

fn weights(trainer: &RewardTrainer) -> Vec<f32> {
    let mut all = Vec::new();
    trainer.model.visit_trainable(&mut |_, param| match param {
        ParamRef::Matrix(m) => all.extend(values(m.clone().inner())),
        ParamRef::Vector(v) => all.extend(values(v.clone().inner())),
    });
    all
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
}

#[test]
fn a_prompt_that_is_computed_once_for_both_responses_teaches_the_same() {
    let (mut apart, mut together) = (trainer(), trainer().sharing_prompts(true));
    let scores = [apart.scores(&pairs()), together.scores(&pairs())];
    for (apart, together) in scores[0].iter().zip(&scores[1]) {
        let difference = (apart.a - together.a).abs().max((apart.b - together.b).abs());
        assert!(difference < 1e-5, "{apart:?} {together:?}");
    }
    let (a, b) = (apart.step(&pairs()).unwrap(), together.step(&pairs()).unwrap());
    assert!((a.loss - b.loss).abs() < 1e-5 && (a.grad_norm / b.grad_norm - 1.0).abs() < 1e-4);
    // AdamW's first step has the size of the learning rate whatever the gradient's: where that is next to
    // nothing, rounding decides on the sign. All but a few weights must agree.
    let pairs_of_weights: Vec<(f32, f32)> =
        weights(&apart).into_iter().zip(weights(&together)).collect();
    let differing = pairs_of_weights.iter().filter(|(a, b)| (a - b).abs() > 1e-5).count();
    assert!(differing * 100 < pairs_of_weights.len(), "{differing} weights differ");
}

#[test]
fn scoring_teaches_nothing_and_sees_what_was_learned() {
    let mut trainer = trainer();
    let before = weights(&trainer);
    let first = trainer.scores(&pairs());
    assert_eq!((weights(&trainer), trainer.scores(&pairs())), (before, first.clone()));
    trainer.step(&pairs()).unwrap();
    assert_ne!(trainer.scores(&pairs()), first);
}

#[test]
fn the_loss_of_scores_is_what_a_step_minimises() {
    let mut unlike = pairs();
    for (i, pair) in unlike.iter_mut().enumerate() {
        (pair.weight, pair.margin) = (0.5 + 0.25 * i as f32, 1.5 - i as f32);
    }
    let objective = RewardObjective { margin: 0.5, center: 0.01 };
    for (objective, pairs) in [(RewardObjective::default(), pairs()), (objective, unlike)] {
        let mut trainer = trainer().with_objective(objective);
        let scores = trainer.scores(&pairs).into_iter().zip(&pairs);
        let mean = scores.map(|(s, pair)| s.loss(&objective, pair)).sum::<f64>() / 5.0;
        let minimised = trainer.step(&pairs).unwrap().loss;
        assert!((minimised - mean).abs() < 1e-5, "{objective:?}: {minimised} {mean}");
    }
}
