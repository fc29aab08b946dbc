//! The moving average of a policy's weights.

use crate::toy::{engine, learning, optimizer, parameters, rollouts, set_up};
use rlaif_models::Trainable;
use rlaif_rl::PolicyTrainer;
use rlaif_types::{Algorithm, PolicyLearning, PpoConfig, ReinforceConfig};

fn trainer(algorithm: Algorithm, ema_decay: Option<f64>) -> PolicyTrainer {
    let learning = PolicyLearning { ema_decay, ..learning(algorithm, 1) };
    set_up(&learning, &Trainable::Full, |setup| setup.trainer())
}

fn step(trainer: &mut PolicyTrainer, number: usize) {
    let batch = rollouts(&engine(), trainer.policy(), number, 8);
    let PolicyTrainer::Online(trainer) = trainer else { panic!("it learns from rollouts") };
    trainer.step(&batch).unwrap();
}

fn reinforce() -> Algorithm {
    let config =
        ReinforceConfig { policy: optimizer(1e-2), temperature: 1.0, ..ReinforceConfig::default() };
    Algorithm::Reinforce(config)
}

#[test]
fn what_training_leaves_is_the_decayed_mean_of_the_weights_after_each_update() {
    let mut trainer = trainer(reinforce(), Some(0.75));
    let mut average = parameters(trainer.policy());
    for number in 0..4 {
        step(&mut trainer, number);
        let weights = parameters(trainer.policy());
        average.iter_mut().zip(&weights).for_each(|(a, w)| *a = *a * 0.75 + w * 0.25);
        assert_ne!(average, weights);
        assert_eq!(parameters(trainer.trained()), average, "after step {number}");
    }
}

#[test]
fn the_policy_itself_learns_as_it_would_without() {
    let (mut with, mut without) = (trainer(reinforce(), Some(0.9)), trainer(reinforce(), None));
    for number in 0..2 {
        step(&mut with, number);
        step(&mut without, number);
    }
    assert_eq!(parameters(with.policy()), parameters(without.policy()));
    assert_eq!(parameters(without.trained()), parameters(without.policy()));
}

/// An epoch is an update, and each counts.
#[test]
fn every_update_of_a_step_counts() {
    let ppo = |epochs| {
        Algorithm::Ppo(PpoConfig { epochs, policy: optimizer(1e-2), ..PpoConfig::default() })
    };
    let moved = |epochs| {
        let mut trainer = trainer(ppo(epochs), Some(0.5));
        let start = parameters(trainer.policy());
        step(&mut trainer, 0);
        let share = |of: &[f32]| -> f32 { of.iter().zip(&start).map(|(a, b)| (a - b).abs()).sum() };
        share(&parameters(trainer.trained())) / share(&parameters(trainer.policy()))
    };
    // Half the way after one update; three quarters of the first and half of the second after two.
    assert!((moved(1) - 0.5).abs() < 1e-3, "{}", moved(1));
    assert!(moved(2) > 0.55, "{}", moved(2));
}
