//! Which version of the policy is left: candidates by their reward, and of these the one that a judge
//! prefers.

use crate::bench::{answer, machine_of};
use rlaif_job::{
    Contest, Effect, EvaluationRecord, Judged, ModelRef, TaskId, Verdict, Work, WorkItem,
    WorkResult,
};
use std::collections::BTreeSet;

pub const SELECTION: &str = "[rl]\nreward = 'labeler'\nsteps = 5\nbatch_size = 6\n\
    [rl.selection]\nevery = 2\ncandidates = 2\nprompts = 3\n";

/// Answers of a labeler that rates the versions of SELECTION 0.125, 0.5 and 0.25, and of a judge that finds the
/// last of these the best.
fn select(item: &WorkItem) -> WorkResult {
    match (&item.work, item.task) {
        (Work::Rate(work), TaskId::ValidateScore { step, .. }) => {
            let reward = [(2, 0.125), (4, 0.5), (5, 0.25)].into_iter().find(|(s, _)| *s == step);
            WorkResult::Rewards(vec![Ok(reward.unwrap().1); work.items.len()])
        }
        (Work::Judge(work), TaskId::JudgeCandidate { step, .. }) => {
            let verdict =
                Judged::Verdict(Verdict::of_scores(if step == 5 { 0.9 } else { 0.1 }, 0.5));
            let name = &work.templates[0].name;
            let record = |contest: &Contest| EvaluationRecord {
                contest: contest.clone(),
                verdicts: [(name.clone(), verdict.clone())].into(),
            };
            WorkResult::Evaluations(work.contests.iter().map(record).collect())
        }
        _ => answer(item),
    }
}

#[test]
fn of_the_versions_with_the_highest_reward_the_one_that_the_judge_prefers_is_left() {
    let mut machine = machine_of(SELECTION);
    let (mut waiting, mut done, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        let item: WorkItem = waiting.remove(0);
        for effect in machine.complete(item.task, select(&item)).unwrap() {
            if let Effect::Delete { artifact } = effect {
                deleted.push(artifact);
            }
        }
        done.push(item);
    }
    let selection = machine.outcome().unwrap().selection.unwrap();
    let versions: Vec<_> = selection.versions.iter().map(|v| (v.step, v.reward)).collect();
    assert_eq!(versions, [(2, Some(0.125)), (4, Some(0.5)), (5, Some(0.25))]);
    let rates: Vec<Option<f64>> =
        selection.versions.iter().map(|v| v.win_rate.as_ref().map(|rate| rate.win_rate)).collect();
    assert_eq!((rates, selection.chosen), (vec![None, Some(0.0), Some(1.0)], 5));

    let (mut validated, mut evaluated) = (BTreeSet::new(), BTreeSet::new());
    for item in &done {
        match (&item.work, item.task) {
            (Work::Rollout(work), TaskId::Validate { step, .. }) => {
                let ModelRef::Version { parameters, .. } = &work.policy.model else {
                    panic!("{:?}", work.policy.model)
                };
                assert_eq!(*parameters, format!("candidates/{step}"), "what is kept is validated");
                validated.extend(work.prompts.iter().map(|p| p.as_context()));
            }
            (Work::Respond(work), TaskId::Respond(_)) => {
                assert_eq!(work.trained.policy.model, ModelRef::Saved("saved/5".into()));
                evaluated.extend(work.trained.prompts.iter().map(|p| p.as_context()));
            }
            (Work::PolicyStep(work), _) => {
                assert_eq!(work.candidate, [2, 4, 5].contains(&work.step))
            }
            _ => {}
        }
    }
    assert_eq!((validated.len(), evaluated.len()), (3, 4));
    assert!(validated.is_disjoint(&evaluated), "what chose is not what measures");
    let candidates = deleted.into_iter().filter(|a| a.starts_with("candidates/"));
    // The worst as soon as two are better, the others once the winner is saved.
    assert_eq!(candidates.collect::<Vec<_>>(), ["candidates/2", "candidates/4", "candidates/5"]);
}
