//! What every algorithm must do: reach the optimum, go on from a saved state to the bit, depend on
//! nothing but its batches, and leave the run when it comes apart.

use crate::toy::{
    engine, evenness, learning, lora, optimizer, parameters, rollouts, rollouts_in_groups, set_up,
};
use rlaif_models::{CausalLm, Engine, Trainable};
use rlaif_rl::{
    Dpo, Grpo, Halt, OnlineDpo, PolicyAlgorithm, PolicyTrainer, PreferencePair, TrainerState,
};
use rlaif_types::round_robin::{matches, win_shares};
use rlaif_types::{
    AdaptiveKl, Aggregation, Algorithm, DpoConfig, Episode, GrpoConfig, Judgement, OnlineDpoConfig,
    PolicyLearning, PpoConfig, PreferenceLoss, ReinforceConfig, RewardNormalisation, RewardShaping,
    RlooConfig, SoftLabel,
};
use std::cmp::Ordering;

const GROUP: usize = 4;

/// Every online algorithm, and the variants that change how it learns.
fn online() -> Vec<(&'static str, Algorithm)> {
    let policy = || optimizer(1e-2);
    let reinforce = ReinforceConfig {
        beta: 0.001,
        temperature: 1.0,
        policy: policy(),
        value: policy(),
        ..ReinforceConfig::default()
    };
    let rloo = RlooConfig { beta: 0.001, policy: policy(), ..RlooConfig::default() };
    let grpo = GrpoConfig { beta: 0.001, policy: policy(), ..GrpoConfig::default() };
    let dr_grpo = GrpoConfig {
        scale_by_deviation: false,
        aggregation: Aggregation::Token,
        epochs: 2,
        minibatches: 2,
        ..grpo.clone()
    };
    let ppo = PpoConfig { beta: 0.001, policy: policy(), value: policy(), ..PpoConfig::default() };
    let minibatches = PpoConfig {
        value_clip: Some(0.2),
        gae_lambda: 1.0,
        epochs: 2,
        minibatches: 3,
        ..ppo.clone()
    };
    let pairs = |loss, beta| {
        Algorithm::OnlineDpo(OnlineDpoConfig {
            beta,
            loss,
            policy: optimizer(3e-3),
            ..OnlineDpoConfig::default()
        })
    };
    vec![
        ("reinforce", Algorithm::Reinforce(reinforce)),
        ("rloo", Algorithm::Rloo(rloo)),
        ("grpo", Algorithm::Grpo(grpo)),
        ("grpo without deviation, by token, in minibatches", Algorithm::Grpo(dr_grpo)),
        ("ppo", Algorithm::Ppo(ppo)),
        ("ppo with clipped values, in minibatches", Algorithm::Ppo(minibatches)),
        ("online dpo", pairs(PreferenceLoss::Dpo, 0.1)),
        // IPO wants a margin of 1 / (2 beta), and no more.
        ("online ipo", pairs(PreferenceLoss::Ipo, 0.01)),
        ("online slic", pairs(PreferenceLoss::Slic, 0.05)),
    ]
}

fn trainer(learning: &PolicyLearning, what: &Trainable) -> Box<dyn PolicyAlgorithm<Episode>> {
    match set_up(learning, what, |setup| setup.trainer()) {
        PolicyTrainer::Online(trainer) => trainer,
        PolicyTrainer::Offline(_) => panic!("{learning:?} learns from no rollouts"),
    }
}

fn grouped(engine: &Engine, policy: &CausalLm, step: usize) -> Vec<Episode> {
    rollouts_in_groups(engine, policy, step, 32, GROUP)
}

/// What a policy scores, over responses that it has not learned from.
fn score(engine: &Engine, policy: &CausalLm) -> f64 {
    let drawn = rollouts(engine, policy, 1000, 64);
    drawn.iter().map(|e| evenness(&e.response)).sum::<f64>() / 64.0
}

/// What the policy scores that an algorithm makes in 60 steps of rollouts, rewarded again by `reward`.
fn learned(engine: &Engine, algorithm: Algorithm, reward: fn(&mut [Episode])) -> f64 {
    let mut trainer = trainer(&learning(algorithm, GROUP), &Trainable::Full);
    let start = score(engine, trainer.policy());
    assert!(start < 0.7, "the task is no task: {start}");
    for step in 0..60 {
        let mut batch = grouped(engine, trainer.policy(), step);
        reward(&mut batch);
        trainer.step(&batch).unwrap();
    }
    score(engine, trainer.policy())
}

#[test]
fn each_reaches_the_optimum() {
    let engine = engine();
    for (name, algorithm) in online() {
        let reward = learned(&engine, algorithm, |_| {});
        assert!(reward > 0.95, "{name}: reward {reward}");
    }
}

/// Rewards as `rl.reward = "pairwise"` has them, of a judge who prefers more even tokens.
fn match_up(batch: &mut [Episode]) {
    for group in batch.chunks_mut(GROUP) {
        let evenness: Vec<f64> = group.iter().map(|e| evenness(&e.response)).collect();
        let label = |(a, b): (usize, usize)| {
            let p = match evenness[a].total_cmp(&evenness[b]) {
                Ordering::Greater => 1.0,
                Ordering::Equal => 0.5,
                Ordering::Less => 0.0,
            };
            Ok(SoftLabel::new(p).unwrap())
        };
        let labels: Vec<Judgement<SoftLabel>> = matches(group.len()).map(label).collect();
        let shares = win_shares(group.len(), &labels);
        group.iter_mut().zip(shares).for_each(|(episode, share)| episode.reward = share);
    }
}

/// A share says nothing of how good a whole group is, so these learn from it which learn within groups.
#[test]
fn each_that_compares_within_groups_reaches_the_optimum_by_shares_of_match_ups_won() {
    let engine = engine();
    for (name, algorithm) in online() {
        let (Algorithm::Rloo(_) | Algorithm::Grpo(_) | Algorithm::OnlineDpo(_)) = algorithm else {
            continue;
        };
        let reward = learned(&engine, algorithm, match_up);
        assert!(reward > 0.95, "{name}: reward {reward}");
    }
}

#[test]
fn each_goes_on_from_a_saved_state_bit_for_bit() {
    let engine = engine();
    for (name, algorithm) in online() {
        let adaptive_kl = algorithm.kl().map(|_| AdaptiveKl { target: 0.1, rate: 0.5 });
        let shaping =
            RewardShaping { normalise: RewardNormalisation::Running, ..RewardShaping::default() };
        let ema_decay = Some(0.5);
        let learning =
            PolicyLearning { adaptive_kl, shaping, ema_decay, ..learning(algorithm, GROUP) };
        let mut straight = trainer(&learning, &lora());
        straight.step(&grouped(&engine, straight.policy(), 0)).unwrap();
        let mut resumed = trainer(&learning, &lora());
        resumed.load(&TrainerState::from_bytes(straight.save().to_bytes()).unwrap()).unwrap();
        for step in 1..3 {
            let batch = grouped(&engine, straight.policy(), step);
            let (one, other) = (straight.step(&batch).unwrap(), resumed.step(&batch).unwrap());
            assert_eq!(one, other, "{name}");
        }
        assert_eq!(parameters(straight.policy()), parameters(resumed.policy()), "{name}");
        assert_eq!(parameters(straight.trained()), parameters(resumed.trained()), "{name}");
        assert_ne!(parameters(straight.trained()), parameters(straight.policy()), "{name}");
        assert_eq!(straight.save(), resumed.save(), "{name}");
    }
}

#[test]
fn a_state_of_another_algorithm_is_refused() {
    let [reinforce, rloo] = [0, 1].map(|i| learning(online()[i].1.clone(), GROUP));
    let state = trainer(&rloo, &lora()).save();
    let why = trainer(&reinforce, &lora()).load(&state).unwrap_err().to_string();
    assert!(why.contains("no step"), "{why}");
}

#[test]
fn an_adapting_beta_rises_while_the_policy_is_further_away_than_wanted() {
    let engine = engine();
    for (name, algorithm) in online().into_iter().filter(|(_, a)| a.kl().is_some()) {
        let first = algorithm.kl().unwrap().beta;
        let adaptive_kl = Some(AdaptiveKl { target: 1e-3, rate: 1.0 });
        let learning = PolicyLearning { adaptive_kl, ..learning(algorithm, GROUP) };
        let mut trainer = trainer(&learning, &Trainable::Full);
        for step in 0..10 {
            trainer.step(&grouped(&engine, trainer.policy(), step)).unwrap();
        }
        let last = trainer.step(&grouped(&engine, trainer.policy(), 10)).unwrap();
        assert!(last.beta.unwrap() > 1.5 * first, "{name}: {last:?}");
    }
}

#[test]
fn a_policy_that_left_its_start_stops_the_run() {
    let engine = engine();
    for (name, algorithm) in online() {
        let learning = PolicyLearning { max_kl_per_token: 0.01, ..learning(algorithm, GROUP) };
        let mut trainer = trainer(&learning, &Trainable::Full);
        let halted =
            (0..20).find_map(|step| trainer.step(&grouped(&engine, trainer.policy(), step)).err());
        let Some(Halt::KlExploded { kl, limit: 0.01 }) = halted else {
            panic!("{name}: {halted:?}")
        };
        assert!(kl > 0.01);
    }
}

#[test]
fn shaped_rewards_are_learned_from_and_the_plain_ones_shown() {
    let engine = engine();
    let shaping =
        RewardShaping { clip: Some(0.25), length_penalty: 0.01, ..RewardShaping::default() };
    let learning = PolicyLearning { shaping, ..learning(online()[1].1.clone(), GROUP) };
    let mut trainer = trainer(&learning, &lora());
    let batch = grouped(&engine, trainer.policy(), 0);
    let (mut plain, mut shaped) = (0.0, 0.0);
    for episode in &batch {
        let reward = *episode.reward.as_ref().unwrap();
        plain += reward / 32.0;
        shaped += (reward.min(0.25) - 0.04) / 32.0;
    }
    let metrics = trainer.step(&batch).unwrap();
    assert!((metrics.reward.unwrap() - plain).abs() < 1e-12);
    assert!((metrics.shaped_reward.unwrap() - shaped).abs() < 1e-12);
}

#[test]
fn later_epochs_are_clipped_and_measured() {
    let engine = engine();
    let config =
        GrpoConfig { beta: 0.0, epochs: 1, policy: optimizer(3e-2), ..GrpoConfig::default() };
    let step = |epochs: usize| {
        let config = GrpoConfig { epochs, ..config.clone() };
        let learning = learning(Algorithm::Grpo(config.clone()), GROUP);
        let mut grpo = set_up(&learning, &Trainable::Full, |setup| Grpo::new(setup, config));
        grpo.step(&grouped(&engine, grpo.policy(), 0)).unwrap()
    };
    let (once, often) = (step(1), step(6));
    assert_eq!(once.clip_share, Some(0.0), "the first pass is on-policy");
    assert!(once.approx_kl.unwrap() < 1e-6, "{once:?}");
    assert!(often.clip_share.unwrap() > 0.1 && often.approx_kl.unwrap() > 1e-3, "{often:?}");
    assert_eq!(once.entropy, often.entropy, "the entropy is that of the policy before the step");
}

#[test]
fn responses_of_older_policies_are_learned_from_and_counted() {
    let engine = engine();
    for (name, mut algorithm) in online() {
        match &mut algorithm {
            Algorithm::Reinforce(config) => config.max_off_policy_steps = 1,
            Algorithm::Rloo(config) => config.max_off_policy_steps = 1,
            Algorithm::Grpo(config) => config.max_off_policy_steps = 1,
            Algorithm::Ppo(config) => config.max_off_policy_steps = 1,
            Algorithm::OnlineDpo(config) => config.max_off_policy_steps = 1,
            Algorithm::Dpo(_) => unreachable!(),
        }
        let mut trainer = trainer(&learning(algorithm, GROUP), &lora());
        let aged = |batch: Vec<Episode>, steps: usize| -> Vec<Episode> {
            batch.into_iter().map(|e| Episode { off_policy_steps: steps, ..e }).collect()
        };
        let batch = grouped(&engine, trainer.policy(), 0);
        let metrics = trainer.step(&aged(batch.clone(), 1)).unwrap();
        assert_eq!((metrics.off_policy_steps, metrics.too_old), (1.0, 0), "{name}");
        assert!(trainer.step(&aged(batch, 2)).is_err(), "{name}: all of it is too old");
    }
}

/// Pairs of drawn responses, labelled by the task.
fn pairs(engine: &Engine, policy: &CausalLm, step: usize) -> Vec<PreferencePair> {
    let drawn = rollouts_in_groups(engine, policy, step, 64, 2);
    let pairs = drawn.chunks_exact(2).filter_map(|pair| {
        let better = evenness(&pair[0].response) - evenness(&pair[1].response);
        (better != 0.0).then(|| PreferencePair {
            prompt: pair[0].prompt.clone(),
            a: pair[0].response.clone(),
            b: pair[1].response.clone(),
            label: SoftLabel::new(if better > 0.0 { 1.0 } else { 0.0 }).unwrap(),
        })
    });
    pairs.collect()
}

#[test]
fn given_preferences_are_learned_with_every_loss() {
    let engine = engine();
    for loss in [PreferenceLoss::Dpo, PreferenceLoss::Ipo, PreferenceLoss::Slic] {
        // IPO wants a margin of 1 / (2 beta), and no more.
        let beta = if loss == PreferenceLoss::Ipo { 0.01 } else { 0.1 };
        let config = DpoConfig { beta, loss, policy: optimizer(1e-2) };
        let learning = learning(Algorithm::Dpo(config.clone()), 1);
        let mut dpo = set_up(&learning, &Trainable::Full, |setup| Dpo::new(setup, config));
        let start = dpo.policy().frozen();
        // 70 batches of the policy as it was, which is what a dataset is.
        for step in 0..70 {
            dpo.step(&pairs(&engine, &start, step)).unwrap();
        }
        let unseen = dpo.step(&pairs(&engine, &start, 70)).unwrap();
        assert!(unseen.accuracy.unwrap() > 0.8, "{loss:?}: {unseen:?}");
        assert!(unseen.margin.unwrap() > 0.0, "{loss:?}: {unseen:?}");
        let reward = score(&engine, dpo.policy());
        assert!(reward > 0.95, "{loss:?}: reward {reward}");
    }
}

/// A sampler that says something else of its tokens than the policy does is seen by all of them.
#[test]
fn each_measures_its_entropy_and_how_far_from_it_the_sampler_was() {
    let engine = engine();
    for (name, algorithm) in online() {
        let mut trainer = trainer(&learning(algorithm, GROUP), &lora());
        let mut batch = grouped(&engine, trainer.policy(), 0);
        let metrics = trainer.step(&batch).unwrap();
        // The order of sums is all that differs.
        assert!(metrics.logprob_mismatch.unwrap() < 1e-4, "{name}: {metrics:?}");
        assert!(metrics.entropy.unwrap() > 0.0, "{name}: {metrics:?}");
        for (shifted, rewards_differ) in [(0.5_f32, true), (0.25, false)] {
            batch = grouped(&engine, trainer.policy(), 1);
            for episode in &mut batch {
                episode.logprobs.iter_mut().for_each(|logprob| *logprob -= shifted);
                if !rewards_differ {
                    episode.reward = Ok(0.1);
                }
            }
            let metrics = trainer.step(&batch).unwrap();
            let mismatch = metrics.logprob_mismatch.unwrap();
            assert!((mismatch - f64::from(shifted)).abs() < 1e-4, "{name}: {mismatch}");
        }
    }
}

#[test]
fn online_pairs_are_the_best_against_the_worst_of_a_group() {
    let engine = engine();
    let config = OnlineDpoConfig { policy: optimizer(1e-2), ..OnlineDpoConfig::default() };
    let of = |group_size| learning(Algorithm::OnlineDpo(config.clone()), group_size);
    let (four, two) = (of(4), of(2));
    let mut from_four = set_up(&four, &lora(), |setup| OnlineDpo::new(setup, config.clone()));
    let mut from_two = set_up(&two, &lora(), |setup| OnlineDpo::new(setup, config.clone()));
    let mut batch = rollouts_in_groups(&engine, from_four.policy(), 0, 8, 4);
    for (episode, reward) in batch.iter_mut().zip([0.3, 0.9, 0.1, 0.5, 0.2, 0.2, 0.2, 0.4]) {
        episode.reward = Ok(reward);
    }
    let chosen: Vec<Episode> = [1, 2, 7, 4].map(|i: usize| batch[i].clone()).to_vec();
    from_four.step(&batch).unwrap();
    from_two.step(&chosen).unwrap();
    assert_eq!(parameters(from_four.policy()), parameters(from_two.policy()));
}
