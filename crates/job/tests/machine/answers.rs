//! What is no answer to its task is refused; an answer that judges nothing is counted.

use crate::bench::{STEPS, answer, machine, machine_of};
use crate::mixture::MIXTURE;
use crate::selection::SELECTION;
use crate::staleness::STALENESS;
use rlaif_job::{Error, Judged, TaskId, WorkItem, WorkResult};
use rlaif_types::{Unscorable, UnscorableReason};

/// A result with one thing less; none where it is no list.
fn shorter(result: &WorkResult) -> Option<WorkResult> {
    let mut shorter = result.clone();
    match &mut shorter {
        WorkResult::Pairs(list) => drop(list.pop()),
        WorkResult::Labels(list) => drop(list.pop()),
        WorkResult::Rollouts(list) => drop(list.pop()),
        WorkResult::Rewards(list) => drop(list.pop()),
        WorkResult::Contests(list) => drop(list.pop()),
        WorkResult::Evaluations(list) => drop(list.pop()),
        _ => return None,
    }
    Some(shorter)
}

#[test]
fn what_is_no_answer_to_its_task_is_refused_and_changes_nothing() {
    for sections in [MIXTURE, STALENESS, SELECTION] {
        let (mut machine, mut waiting) = (machine_of(sections), Vec::new());
        while machine.outcome().is_none() {
            waiting.extend(machine.ready());
            let item: WorkItem = waiting.remove(0);
            let right = answer(&item);
            // No task of these jobs asks for an empty list.
            let another = WorkResult::Rewards(Vec::new());
            for wrong in [Some(another), shorter(&right)].into_iter().flatten() {
                let error = machine.complete(item.task, wrong).unwrap_err();
                assert!(matches!(error, Error::WrongAnswer { .. }), "{error}");
            }
            assert!(!machine.has(item.task));
            machine.complete(item.task, right).unwrap();
        }
    }
}

#[test]
fn an_answer_to_what_nobody_asks_is_refused() {
    let mut machine = machine(0);
    let rewards = || WorkResult::Rewards(vec![Ok(0.5)]);
    for task in [
        TaskId::Label(0),
        TaskId::Sample(usize::MAX),
        TaskId::Rollout { step: usize::MAX, chunk: 0 },
        TaskId::Score { step: 0, chunk: 0, part: usize::MAX },
        TaskId::Validate { step: 0, chunk: 0 },
        TaskId::SavePolicy,
    ] {
        let error = machine.complete(task, rewards()).unwrap_err().to_string();
        assert!(error.contains("where nothing is asked for"), "{error}");
    }
}

#[test]
fn what_could_not_be_judged_is_counted_by_stage() {
    let mut machine = machine(0);
    let unjudged = || Unscorable::new(UnscorableReason::NoVerdict, "it said neither");
    while machine.outcome().is_none() {
        let item = machine.ready().swap_remove(0);
        let mut result = answer(&item);
        match &mut result {
            WorkResult::Labels(labels) => {
                (labels[0].comparison, labels[0].unscorable) = (None, Some(unjudged()));
            }
            WorkResult::Rewards(rewards) => rewards[0] = Err(unjudged()),
            WorkResult::Evaluations(records) => {
                for verdict in records[0].verdicts.values_mut() {
                    *verdict = Judged::Unscorable(unjudged());
                }
            }
            _ => {}
        }
        machine.complete(item.task, result).unwrap();
        machine.forget_handed_out();
    }
    let counts = machine.progress().into_iter().map(|stage| (stage.stage, stage.unscorable));
    // One in each chunk: three of labels, two of each step, two of contests.
    let expected =
        [("sample", 0), ("label", 3), ("reward", 0), ("policy", 2 * STEPS), ("evaluate", 2)];
    assert!(counts.eq(expected.map(|(stage, count)| (stage.to_owned(), count))));
}
