//! Input that teaches nothing, or does harm: what happens is defined.

use crate::toy::{
    checkpoint, engine, learning, lora, optimizer, parameters, rollouts_in_groups, set_up, tiny,
};
use burn::tensor::Tensor;
use rlaif_models::{ParamMut, Parameters, ScalarModel, Trainable};
use rlaif_rl::{
    Demonstration, Dpo, Halt, LabelledPair, PolicyAlgorithm, PolicyTrainer, PreferencePair,
    RewardTrainer, Setup, SftTrainer,
};
use rlaif_types::{
    Algorithm, AlgorithmKind, DpoConfig, Episode, GrpoConfig, OnlineDpoConfig, OptimizerConfig,
    PolicyLearning, PpoConfig, PreferenceLoss, ReinforceConfig, RlooConfig, SoftLabel, Unscorable,
    UnscorableReason,
};

fn online() -> [Algorithm; 5] {
    [
        Algorithm::Reinforce(ReinforceConfig { temperature: 1.0, ..ReinforceConfig::default() }),
        Algorithm::Rloo(RlooConfig::default()),
        Algorithm::Grpo(GrpoConfig::default()),
        Algorithm::Ppo(PpoConfig::default()),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
    ]
}

fn trainer(learning: &PolicyLearning) -> Box<dyn PolicyAlgorithm<Episode>> {
    match set_up(learning, &lora(), |setup| setup.trainer()) {
        PolicyTrainer::Online(trainer) => trainer,
        PolicyTrainer::Offline(_) => panic!("{learning:?} learns from no rollouts"),
    }
}

fn unscorable(episode: &Episode) -> Episode {
    let reward = Err(Unscorable::new(UnscorableReason::NoVerdict, "it said neither"));
    Episode { reward, ..episode.clone() }
}

#[test]
fn constant_rewards_move_nothing_where_responses_are_compared() {
    let engine = engine();
    for algorithm in online() {
        let kind = algorithm.kind();
        let mut trainer = trainer(&learning(algorithm, 4));
        let before = parameters(trainer.policy());
        let mut batch = rollouts_in_groups(&engine, trainer.policy(), 0, 8, 4);
        batch.iter_mut().for_each(|e| e.reward = Ok(0.1));
        let metrics = trainer.step(&batch).unwrap();
        assert!(metrics.policy_loss.is_finite() && metrics.policy_grad_norm.is_finite());
        assert!(metrics.reward_std.unwrap() < 1e-12);
        if kind.needs_groups() {
            assert_eq!(metrics.equal_groups, Some(1.0), "{kind}");
            // The policy is its own reference still, so the divergence has no gradient either; what
            // remains is rounding.
            assert!(metrics.policy_grad_norm < 1e-4, "{kind}: {metrics:?}");
        }
        if kind == AlgorithmKind::OnlineDpo {
            assert_eq!(metrics.episodes, 0);
            assert_eq!(parameters(trainer.policy()), before);
        }
    }
}

#[test]
fn a_group_with_unscorable_members_is_what_is_left_of_it() {
    let engine = engine();
    for algorithm in online() {
        let kind = algorithm.kind();
        let learning = learning(algorithm, 4);
        let (mut one, mut other) = (trainer(&learning), trainer(&learning));
        let mut batch = rollouts_in_groups(&engine, one.policy(), 0, 12, 4);
        for (i, episode) in batch.iter_mut().enumerate() {
            episode.reward = Ok(f64::from((i % 3) as u32));
        }
        // The first group keeps three, the second one, the third none.
        for i in [2, 4, 5, 7, 8, 9, 10, 11] {
            batch[i] = unscorable(&batch[i]);
        }
        let metrics = one.step(&batch).unwrap();
        assert_eq!(metrics.unscorable, 8, "{kind}");
        let alone = kind.needs_groups();
        assert_eq!(metrics.alone, alone.then_some(1), "{kind}");
        // The same as a batch that never had the others.
        let left = [0, 1, 3].map(|i: usize| batch[i].clone());
        let expected = if alone {
            other.step(&left).unwrap()
        } else {
            other.step(&[&left[..], &batch[6..7]].concat()).unwrap()
        };
        assert_eq!(metrics.policy_loss, expected.policy_loss, "{kind}");
        assert_eq!(parameters(one.policy()), parameters(other.policy()), "{kind}");
    }
}

#[test]
fn groups_of_which_nobody_has_company_stop_the_step() {
    let engine = engine();
    for algorithm in online() {
        let kind = algorithm.kind();
        let mut trainer = trainer(&learning(algorithm, 2));
        let mut batch = rollouts_in_groups(&engine, trainer.policy(), 0, 4, 2);
        for i in [1, 3] {
            batch[i] = unscorable(&batch[i]);
        }
        match trainer.step(&batch) {
            Ok(metrics) => assert!(!kind.needs_groups() && metrics.episodes == 2, "{kind}"),
            Err(halt) => {
                let why = halt.to_string();
                assert!(kind.needs_groups() && why.contains("it said neither"), "{kind}: {why}");
            }
        }
    }
}

#[test]
fn empty_responses_and_those_beyond_the_context_take_no_part() {
    let engine = engine();
    let context = checkpoint().config.max_position_embeddings;
    for algorithm in online() {
        let kind = algorithm.kind();
        let mut trainer = trainer(&learning(algorithm, 4));
        let mut batch = rollouts_in_groups(&engine, trainer.policy(), 0, 8, 4);
        (batch[0].response, batch[0].logprobs) = (Vec::new(), Vec::new());
        (batch[5].response, batch[5].logprobs) = (vec![3; context], vec![-1.0; context]);
        for (i, episode) in batch.iter_mut().enumerate() {
            episode.reward = Ok(i as f64);
        }
        let metrics = trainer.step(&batch).unwrap();
        assert_eq!(metrics.unscorable, 2, "{kind}");
        assert!(metrics.policy_loss.is_finite(), "{kind}");
    }
}

/// The tiny policy with a weight that is not a number.
fn damaged() -> rlaif_models::CausalLm {
    let mut model = tiny().trainable(&Trainable::Full);
    let mut last = 0;
    model.visit_trainable(&mut |_, _| last += 1);
    let mut index = 0;
    model.map_trainable(&mut |_, param| {
        index += 1;
        if let (ParamMut::Vector(v), true) = (param, index == last - 1 || index == last) {
            let broken = Tensor::full_like(&v.clone().inner(), f32::NAN);
            *v = Tensor::from_inner(broken).require_grad();
        }
    });
    model.frozen()
}

/// A trainer of the damaged policy.
fn damaged_trainer(algorithm: Algorithm, group_size: usize) -> PolicyTrainer {
    let learning = learning(algorithm, group_size);
    let setup = Setup {
        start: &damaged(),
        replicas: &[],
        trainable: &lora(),
        learning: &learning,
        micro_batch_tokens: 64,
        seed: 0,
    };
    setup.trainer()
}

/// A halt by a weight that is not a number says which.
fn assert_names_the_weight(halt: &Halt) {
    let Halt::NotFinite { cause, .. } = halt else { panic!("{halt}") };
    assert!(cause.contains("weight model."), "{halt}");
    assert!(halt.to_string().contains("NaN"), "{halt}");
}

#[test]
fn weights_that_are_not_numbers_stop_the_run_and_are_named() {
    let engine = engine();
    for algorithm in online() {
        let batch = rollouts_in_groups(&engine, &tiny(), 0, 8, 4);
        let PolicyTrainer::Online(mut trainer) = damaged_trainer(algorithm, 4) else {
            panic!("online")
        };
        assert_names_the_weight(&trainer.step(&batch).unwrap_err());
    }
}

#[test]
fn weights_that_are_not_numbers_stop_a_run_that_finds_no_pair_to_learn_too() {
    let mut batch = rollouts_in_groups(&engine(), &tiny(), 0, 8, 4);
    batch.iter_mut().for_each(|episode| episode.reward = Ok(0.1));
    let algorithm = Algorithm::OnlineDpo(OnlineDpoConfig::default());
    let PolicyTrainer::Online(mut trainer) = damaged_trainer(algorithm, 4) else {
        panic!("online")
    };
    assert_names_the_weight(&trainer.step(&batch).unwrap_err());
}

#[test]
fn given_preferences_are_not_learned_on_weights_that_are_not_numbers() {
    let label = SoftLabel::new(0.9).unwrap();
    let pair = PreferencePair { prompt: vec![1, 2], a: vec![3, 4], b: vec![5], label };
    // A hinge is where a value that is no number could be taken for 0.
    for loss in [PreferenceLoss::Dpo, PreferenceLoss::Ipo, PreferenceLoss::Slic] {
        let algorithm = Algorithm::Dpo(DpoConfig { loss, ..DpoConfig::default() });
        let PolicyTrainer::Offline(mut trainer) = damaged_trainer(algorithm, 1) else {
            panic!("offline")
        };
        assert_names_the_weight(&trainer.step(std::slice::from_ref(&pair)).unwrap_err());
    }
}

#[test]
fn fine_tuning_and_reward_models_stop_on_weights_that_are_not_numbers() {
    let optimizer = OptimizerConfig::default;
    let mut sft = SftTrainer::new(damaged().trainable(&lora()), optimizer(), 64);
    let batch = [Demonstration { prompt: vec![1, 2], completion: vec![3, 4] }];
    assert_names_the_weight(&sft.step(&batch).unwrap_err());
    let model = ScalarModel::zero(damaged()).trainable(&lora());
    let mut reward = RewardTrainer::new(model, optimizer(), 64);
    let label = SoftLabel::new(0.7).unwrap();
    let batch = [LabelledPair::new(vec![1, 2], vec![1, 3], label)];
    assert_names_the_weight(&reward.step(&batch).unwrap_err());
}

#[test]
fn a_learning_rate_that_is_far_too_large_is_noticed() {
    let engine = engine();
    let config = RlooConfig { policy: optimizer(1e30), ..RlooConfig::default() };
    let mut trainer = trainer(&learning(Algorithm::Rloo(config), 4));
    let batch = rollouts_in_groups(&engine, trainer.policy(), 0, 8, 4);
    let halted = (0..3).find_map(|_| trainer.step(&batch).err());
    assert!(matches!(halted, Some(Halt::NotFinite { .. })), "{halted:?}");
}

#[test]
fn labels_that_are_all_equal_teach_a_reward_model_equality() {
    let model = ScalarModel::zero(tiny()).trainable(&Trainable::Full);
    let mut trainer = RewardTrainer::new(model, optimizer(1e-2), 64);
    let label = SoftLabel::new(0.5).unwrap();
    let batch: Vec<LabelledPair> =
        (0..4).map(|i| LabelledPair::new(vec![1, 10 + i], vec![1, 20 + i], label)).collect();
    for _ in 0..20 {
        let metrics = trainer.step(&batch).unwrap();
        assert!((metrics.loss - std::f64::consts::LN_2).abs() < 1e-6, "{metrics:?}");
        assert_eq!(metrics.accuracy, None, "there is nothing to be right about");
    }
}

#[test]
fn a_single_pair_is_learned_by_a_reward_model() {
    let model = ScalarModel::zero(tiny()).trainable(&lora());
    let mut trainer = RewardTrainer::new(model, optimizer(1e-2), 64);
    let pair = LabelledPair::new(vec![1, 10], vec![1, 20], SoftLabel::new(0.9).unwrap());
    let first = trainer.step(std::slice::from_ref(&pair)).unwrap();
    assert_eq!(first.accuracy, Some(0.5), "a head of zeros gives both the same reward");
    for _ in 0..150 {
        trainer.step(std::slice::from_ref(&pair)).unwrap();
    }
    let metrics = trainer.step(std::slice::from_ref(&pair)).unwrap();
    // The least that a soft label allows is its entropy.
    let entropy = -(0.9_f64 * 0.9_f64.ln() + 0.1 * 0.1_f64.ln());
    assert!(metrics.loss < entropy + 0.01 && metrics.accuracy == Some(1.0), "{metrics:?}");
}

#[test]
fn pairs_that_cannot_be_read_take_no_part_and_a_tie_pulls_to_the_reference() {
    let config = DpoConfig { policy: optimizer(1e-2), ..DpoConfig::default() };
    let learning = learning(Algorithm::Dpo(config.clone()), 1);
    let mut dpo = set_up(&learning, &lora(), |setup| Dpo::new(setup, config));
    let pair = |a: Vec<u32>, p: f64| PreferencePair {
        prompt: vec![1],
        a,
        b: vec![5, 6],
        label: SoftLabel::new(p).unwrap(),
    };
    let before = parameters(dpo.policy());
    let unreadable = [pair(Vec::new(), 1.0), pair(vec![2; 9999], 1.0)];
    assert!(dpo.step(&unreadable).is_err());
    let metrics = dpo.step(&[&unreadable[..], &[pair(vec![2, 3], 0.5)]].concat()).unwrap();
    assert_eq!((metrics.episodes, metrics.unscorable, metrics.accuracy), (2, 4, None));
    assert_eq!(metrics.policy_grad_norm, 0.0, "the policy is its reference still");
    assert_eq!(parameters(dpo.policy()), before);
}
