//! Rollouts, and the batches that policy steps learn from: how far ahead they are drawn, in which groups,
//! and how long they are kept.

use crate::bench::{answer, items, machine, machine_of, run};
use rlaif_job::{Effect, TaskId, Work, WorkItem};
use rlaif_types::{Episode, Prompt};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_step_repeats_the_batches_since_the_checkpoint() {
    let (left, _) = run(&|| machine(0), &mut |_| 0, usize::MAX);
    let steps = left.files["metrics.jsonl"].iter().filter(|m| m["stage"] == "policy");
    let batches: Vec<usize> = steps.map(|m| m["batches"].as_array().unwrap().len()).collect();
    // Step 2 is checkpointed.
    assert_eq!(batches, [1, 2, 1]);
}

/// The batches that the steps learn from, as they are put.
fn batches(ahead: usize) -> Vec<Vec<Episode>> {
    let mut machine = machine(ahead);
    let mut batches = BTreeMap::new();
    let mut waiting: Vec<WorkItem> = Vec::new();
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        let item = waiting.remove(0);
        for effect in machine.complete(item.task, answer(&item)).unwrap() {
            if let Effect::Put { artifact, bytes } = effect {
                batches.insert(artifact, serde_json::from_slice(&bytes).unwrap());
            }
        }
    }
    batches.into_values().collect()
}

#[test]
fn rollouts_are_drawn_as_far_ahead_as_is_allowed_and_say_so() {
    for ahead in 0..3 {
        for (step, batch) in batches(ahead).iter().enumerate() {
            assert_eq!(batch.len(), 6);
            for episode in batch {
                assert_eq!(episode.off_policy_steps, step.min(ahead));
                assert_eq!(episode.prompt[0] as usize, step - step.min(ahead), "who drew it");
            }
        }
    }
}

#[test]
fn the_next_steps_rollouts_do_not_wait_for_the_step() {
    let mut machine = machine(1);
    let mut waiting: Vec<WorkItem> = Vec::new();
    // Everything but policy steps is answered.
    loop {
        waiting.extend(machine.ready());
        let next = waiting.iter().position(|item| !matches!(item.work, Work::PolicyStep(_)));
        let Some(next) = next else { break };
        let item = waiting.remove(next);
        machine.complete(item.task, answer(&item)).unwrap();
    }
    assert_eq!(waiting.iter().map(|item| item.task).collect::<Vec<_>>(), [TaskId::Step(0)]);
    assert!(
        machine.has(TaskId::Score { step: 1, chunk: 1, part: 0 }),
        "step 1 waits with its batch"
    );
    assert!(!machine.has(TaskId::Rollout { step: 2, chunk: 0 }), "that would be too far ahead");
}

#[test]
fn the_responses_of_a_group_follow_each_other_and_have_seeds_of_their_own() {
    let machine = machine_of(
        "[rl]\nreward = 'labeler'\nsteps = 2\nbatch_size = 6\ngroup_size = 3\nalgorithm = 'rloo'\n",
    );
    let mut drawn = Vec::new();
    for item in items(machine) {
        if let Work::Rollout(work) = item.work {
            drawn.extend((work.first..).zip(work.prompts));
        }
    }
    let numbers: Vec<usize> = drawn.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>(), "a draw's seed follows from its number");
    let groups: Vec<&Prompt> = drawn.chunks(3).map(|group| &group[0].1).collect();
    for (group, prompt) in drawn.chunks(3).zip(&groups) {
        assert!(group.iter().all(|(_, p)| p == *prompt));
    }
    assert_eq!(groups.iter().map(|p| p.as_context()).collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn match_ups_are_of_whole_groups() {
    let machine = machine_of(
        "[rl]\nreward = 'pairwise'\nsteps = 1\nbatch_size = 9\ngroup_size = 3\nalgorithm = 'grpo'\n",
    );
    let matched = items(machine).into_iter().filter_map(|item| match item.work {
        Work::MatchUps(work) => Some((work.group_size, work.items.len())),
        _ => None,
    });
    // Chunks of four would part a group.
    assert_eq!(matched.collect::<Vec<_>>(), [(3, 6), (3, 3)]);
}
