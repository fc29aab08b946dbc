//! Whether the reward model still agrees with the labeler, on what the policy writes by then.

use crate::bench::{answer, machine_of, run, version};
use rlaif_job::{TaskId, Work, WorkItem};
use serde_json::Value;

pub const STALENESS: &str = "[reward_model]\npairs = 4\nstaleness = { every = 2, pairs = 6 }\n\
    [rl]\nreward = 'model'\nsteps = 3\nbatch_size = 6\nreinforce.max_off_policy_steps = 1\n";

#[test]
fn the_reward_model_is_held_against_the_labeler_on_what_the_policy_writes_then() {
    let (left, tasks) = run(&|| machine_of(STALENESS), &mut |_| 0, usize::MAX);
    let measured: Vec<&Value> =
        left.files["metrics.jsonl"].iter().filter(|m| m["stage"] == "staleness").collect();
    let steps: Vec<u64> = measured.iter().filter_map(|m| m["step"].as_u64()).collect();
    assert_eq!(steps, [0, 2, 3], "the start, every second step, the end");
    // Two chunks, three times: sampled, labelled and scored.
    let count = tasks.iter().filter(|task| task.contains("0-staleness")).count();
    assert_eq!((count, left.files["staleness.jsonl"].len()), (2 * 3 * 3, 6 * 3));
    // The worker of these tests finds all pairs equal.
    assert!(measured.iter().all(|m| m["ties"] == 6 && m["pairs"] == 0), "{measured:?}");
    let order = left.files["metrics.jsonl"].iter();
    let order =
        order.filter(|m| m["stage"] != "reward").map(|m| (m["stage"].as_str(), m["step"].as_u64()));
    let (policy, staleness) = (Some("policy"), Some("staleness"));
    let expected =
        [(staleness, 0), (policy, 1), (policy, 2), (staleness, 2), (policy, 3), (staleness, 3)];
    assert!(order.eq(expected.map(|(stage, step)| (stage, Some(step)))));
}

#[test]
fn a_measurement_asks_the_policy_as_it_is_and_the_next_step_waits_for_it() {
    let mut machine = machine_of(STALENESS);
    let mut waiting: Vec<WorkItem> = Vec::new();
    // All but the measurement after step 2.
    let held_back = |item: &WorkItem| matches!(item.task, TaskId::Staleness { step: 2, .. });
    loop {
        waiting.extend(machine.ready());
        let Some(next) = waiting.iter().position(|item| !held_back(item)) else { break };
        let item = waiting.remove(next);
        machine.complete(item.task, answer(&item)).unwrap();
    }
    assert!(machine.has(TaskId::Step(1)) && !machine.has(TaskId::Step(2)));
    assert!(machine.has(TaskId::Score { step: 2, chunk: 1, part: 0 }), "its rollouts do not wait");
    for item in &waiting {
        let Work::SamplePairs(work) = &item.work else { panic!("{item:?}") };
        assert_eq!(version(&work.policy.model), 2);
        assert!(work.prompts.iter().all(|p| p.as_context().contains("held out")));
    }
    assert_eq!(waiting.len(), 2);
}
