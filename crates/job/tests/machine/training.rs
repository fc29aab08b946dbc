//! What training starts from, and what it says of itself in the outcome.

use crate::bench::{Left, answer, items, machine_of, seeded_machine_of};
use rlaif_job::{LeftOut, ModelRef, Unlearnable, Work, WorkItem, WorkResult};
use rlaif_types::ContentHash;
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn the_adapters_of_each_stage_are_drawn_from_the_jobs_seed_for_that_stage_alone() {
    let seeds = |seed| {
        let machine = seeded_machine_of(
            seed,
            "[lora]\n[sft]\nby = 'labeler'\n[reward_model]\npairs = 2\n\
             [rl]\nreward = 'model'\nsteps = 2\nbatch_size = 2\n",
        );
        let training = |item: &WorkItem| match &item.work {
            Work::FineTune(work) => Some(work.training.clone()),
            Work::TrainReward(work) => Some(work.training.clone()),
            Work::PolicyStep(work) => Some(work.training.clone()),
            _ => None,
        };
        let trained = items(machine)
            .into_iter()
            .filter_map(|item| Some((item.task.stage(), training(&item)?.lora.unwrap().seed)));
        trained.collect::<BTreeSet<(&str, u64)>>()
    };
    let (one, other) = (seeds(1), seeds(2));
    assert_eq!(one, seeds(1));
    // Both steps of the policy have the same.
    assert_eq!(
        one.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(),
        ["policy", "reward", "sft"]
    );
    let drawn: BTreeSet<u64> = one.iter().chain(&other).map(|(_, seed)| *seed).collect();
    assert_eq!(drawn.len(), 6, "{one:?} {other:?}");
}

#[test]
fn a_reward_model_starts_where_its_job_says() {
    for (from, expected) in [
        ("", ModelRef::Saved("sft".into())),
        ("from = 'base'", ModelRef::Named("m".into())),
        ("from = 'rm'", ModelRef::Named("rm".into())),
    ] {
        let machine = machine_of(&format!(
            "[sft]\nby = 'labeler'\n[reward_model]\npairs = 2\n{from}\n\
             [rl]\nreward = 'model'\nsteps = 1\nbatch_size = 2\n"
        ));
        let starts = items(machine).into_iter().filter_map(|item| match item.work {
            Work::TrainReward(work) => Some(work.training.start.model),
            _ => None,
        });
        assert_eq!(starts.collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn what_is_not_learned_from_and_what_a_reward_model_started_from_are_in_the_outcome() {
    let sections = "[sft]\nby = 'labeler'\n[reward_model]\npairs = 4\n\
        [rl]\nreward = 'model'\nsteps = 2\nbatch_size = 4\n";
    let (mut machine, mut left) = (machine_of(sections), Left::default());
    let mut too_long = LeftOut::default();
    assert_eq!(too_long.keep::<()>(Err(Unlearnable::TooLong)), None);
    while machine.outcome().is_none() {
        let item = machine.ready().swap_remove(0);
        let mut result = answer(&item);
        match &mut result {
            WorkResult::FineTuned(trained) | WorkResult::RewardTrained { trained, .. } => {
                trained.left_out = too_long.clone();
            }
            WorkResult::Stepped(stepped) => stepped.left_out = too_long.clone(),
            _ => {}
        }
        left.take_in(machine.complete(item.task, result).unwrap());
        machine.forget_handed_out();
    }
    let outcome = machine.outcome().unwrap();
    assert_eq!(outcome.reward_start, Some(ContentHash::of("start")), "the manifest's");
    assert_eq!(outcome.left_out.keys().collect::<Vec<_>>(), ["policy", "reward", "sft"]);
    for (stage, left_out) in outcome.left_out {
        assert_eq!(left_out, too_long);
        assert_eq!(left.stages[stage.as_str()]["left_out"], json!({"too_long": 1}), "{stage}");
    }
}
