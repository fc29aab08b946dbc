//! REINFORCE with its value baseline.

use crate::toy::{engine, learning, lora, optimizer, parameters, rollouts, set_up};
use rlaif_models::Trainable;
use rlaif_rl::{PolicyAlgorithm, PolicyMetrics, Reinforce, TrainerState};
use rlaif_types::{Algorithm, Episode, KlEstimator, KlPlacement, OptimizerConfig, ReinforceConfig};
use rlaif_types::{Unscorable, UnscorableReason};

fn trainer(config: ReinforceConfig, what: &Trainable) -> Reinforce {
    let learning = learning(Algorithm::Reinforce(config.clone()), 1);
    set_up(&learning, what, |setup| Reinforce::new(setup, config))
}

fn config(beta: f64, kl_placement: KlPlacement) -> ReinforceConfig {
    ReinforceConfig {
        beta,
        kl_placement,
        temperature: 1.0,
        policy: optimizer(1e-2),
        value: optimizer(1e-2),
        ..ReinforceConfig::default()
    }
}

#[test]
fn it_reaches_the_optimum_with_either_kl_placement() {
    let engine = engine();
    for placement in [KlPlacement::Reward, KlPlacement::Loss] {
        let mut trainer = trainer(config(0.001, placement), &Trainable::Full);
        let first = trainer.step(&rollouts(&engine, trainer.policy(), 0, 32)).unwrap();
        assert!(first.reward.unwrap() < 0.7, "the task is no task: {first:?}");
        // The rollout's log-probabilities are the learner's, up to the order of sums.
        assert!(first.logprob_mismatch.unwrap() < 1e-4, "{first:?}");
        for step in 1..60 {
            trainer.step(&rollouts(&engine, trainer.policy(), step, 32)).unwrap();
        }
        let last = trainer.step(&rollouts(&engine, trainer.policy(), 60, 64)).unwrap();
        assert!(last.reward.unwrap() > 0.97, "{placement:?}: {last:?}");
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
    let mut drawn: Vec<_> =
        (0..2).map(|step| rollouts(&engine, trainer.policy(), step, 32)).collect();
    for step in 2..60 {
        drawn.push(rollouts(&engine, trainer.policy(), step, 32));
        let steps = (step - 1).min(2);
        let metrics = trainer.step(&aged(drawn.remove(0), steps)).unwrap();
        assert_eq!(metrics.off_policy_steps, steps as f64);
    }
    let last = trainer.step(&rollouts(&engine, trainer.policy(), 60, 64)).unwrap();
    assert!(last.reward.unwrap() > 0.97, "{last:?}");
}

#[test]
fn rollouts_that_are_too_old_are_left_out_and_counted() {
    let engine = engine();
    let config = ReinforceConfig { max_off_policy_steps: 1, ..config(0.05, KlPlacement::Reward) };
    let mut alone = trainer(config.clone(), &Trainable::Full);
    let mut mixed = trainer(config, &Trainable::Full);
    let fresh = rollouts(&engine, alone.policy(), 0, 8);
    let old = aged(rollouts(&engine, alone.policy(), 1, 8), 2);
    let both: Vec<Episode> = fresh.iter().chain(&old).cloned().collect();
    let (expected, metrics) = (alone.step(&fresh).unwrap(), mixed.step(&both).unwrap());
    assert_eq!((metrics.episodes, metrics.too_old, metrics.unscorable), (8, 8, 0));
    assert_eq!(PolicyMetrics { too_old: 0, ..metrics }, expected);
    assert_eq!(parameters(alone.policy()), parameters(mixed.policy()));
    assert!(mixed.step(&old).is_err(), "nothing to learn from");
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
                trainer.step(&rollouts(&engine, trainer.policy(), step, 32)).unwrap();
            }
            trainer.step(&rollouts(&engine, trainer.policy(), 60, 64)).unwrap().kl.unwrap()
        };
        // Adam turns even rounding noise into steps of the size of the learning rate, so "stays"
        // means: within a small part of where the reward would take it.
        let (held, free) = (kl_after(1.0), kl_after(0.0));
        assert!(free > 1.0, "{placement:?}: the reward moves the policy by {free} only");
        assert!(held.abs() < 0.1 * free, "{placement:?}: KL {held} against {free}");
    }
}

#[test]
fn k3_holds_the_policy_as_well_as_k2() {
    let engine = engine();
    let kl_after = |estimator: KlEstimator, beta: f64| {
        let mut settings = config(beta, KlPlacement::Loss);
        settings.kl_estimator = Some(estimator);
        settings.policy.lr = 1e-3;
        let mut trainer = trainer(settings, &Trainable::Full);
        for step in 0..40 {
            trainer.step(&rollouts(&engine, trainer.policy(), step, 32)).unwrap();
        }
        trainer.step(&rollouts(&engine, trainer.policy(), 40, 64)).unwrap().kl.unwrap()
    };
    let free = kl_after(KlEstimator::K2, 0.0);
    for estimator in [KlEstimator::K2, KlEstimator::K3] {
        let held = kl_after(estimator, 0.5);
        assert!(held < 0.7 * free, "{estimator:?}: KL {held} against {free}");
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
        let (policy, value) = (parameters(trainer.policy()), parameters(trainer.value()));
        trainer.step(&rollouts(&engine, trainer.policy(), 0, 8)).unwrap();
        assert_eq!(parameters(trainer.policy()) != policy, policy_moves);
        assert_eq!(parameters(trainer.value()) != value, !policy_moves);
    }
}

#[test]
fn while_the_value_network_warms_up_the_policy_stays_put() {
    let engine = engine();
    let settings = ReinforceConfig { value_warmup_steps: 2, ..config(0.05, KlPlacement::Reward) };
    let mut trainer = trainer(settings, &lora());
    for step in 0..4 {
        let (policy, value) = (parameters(trainer.policy()), parameters(trainer.value()));
        let metrics = trainer.step(&rollouts(&engine, trainer.policy(), step, 8)).unwrap();
        assert_eq!(parameters(trainer.policy()) == policy, step < 2, "step {step}");
        assert!(parameters(trainer.value()) != value, "step {step}");
        assert!(metrics.policy_grad_norm > 0.0, "it is measured all the same: {metrics:?}");
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
            trainer.step(&rollouts(&engine, trainer.policy(), step, 32)).unwrap();
        }
        // The policy stands still, so the mean gradient is the same in both cases and the mean
        // squared norm of small batches is its variance up to that constant.
        let norms = (30..60).map(|step| {
            trainer
                .step(&rollouts(&engine, trainer.policy(), step, 4))
                .unwrap()
                .policy_grad_norm
                .powi(2)
        });
        norms.sum::<f64>() / 30.0
    };
    let (with, without) = (mean_norm(true), mean_norm(false));
    assert!(with < 0.8 * without, "with baseline {with}, without {without}");
}

#[test]
fn unscorable_episodes_take_no_part() {
    let engine = engine();
    let lora = lora();
    let settings = config(0.05, KlPlacement::Reward);
    let (mut one, mut other) = (trainer(settings.clone(), &lora), trainer(settings, &lora));
    let good = rollouts(&engine, one.policy(), 0, 6);
    let broken = |episode: &Episode| Episode {
        reward: Err(Unscorable::new(UnscorableReason::EngineFailed, "no answer")),
        ..episode.clone()
    };
    let mut mixed = good.clone();
    mixed.extend(rollouts(&engine, one.policy(), 9, 3).iter().map(broken));
    let metrics = one.step(&mixed).unwrap();
    assert_eq!((metrics.episodes, metrics.unscorable), (6, 3));
    other.step(&good).unwrap();
    assert_eq!(parameters(one.policy()), parameters(other.policy()));
    let why = one.step(&[broken(&good[0])]).unwrap_err().to_string();
    assert!(why.contains("no answer"), "{why}");
}

#[test]
fn a_resumed_trainer_continues_bit_for_bit() {
    let engine = engine();
    let lora = lora();
    let mut straight = trainer(config(0.05, KlPlacement::Reward), &lora);
    straight.step(&rollouts(&engine, straight.policy(), 0, 8)).unwrap();
    let saved = TrainerState::from_bytes(straight.save().to_bytes()).unwrap();
    let mut resumed = trainer(config(0.05, KlPlacement::Reward), &lora);
    resumed.load(&saved).unwrap();
    for step in 1..3 {
        let batch = rollouts(&engine, straight.policy(), step, 8);
        assert_eq!(straight.step(&batch), resumed.step(&batch));
    }
    assert_eq!(parameters(straight.policy()), parameters(resumed.policy()));
    assert_eq!(parameters(straight.value()), parameters(resumed.value()));
}
