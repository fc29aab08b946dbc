//! Preferences that a job is given: alone they need no pairs and no rollouts, beside the labeler's own both
//! are learned from.

use crate::bench::{items, machine_of};
use rlaif_job::{Lessons, Work};
use rlaif_types::LabelSource;

#[test]
fn given_labels_alone_need_no_pairs_and_beside_the_labelers_both_are_learned_from() {
    let labelled = Some("labels.jsonl");
    for (source, wanted, sampled, labels) in [
        ("human", 10, 0, None),
        ("mixed", 10, 10, labelled),
        ("mixed", 0, 0, None),
        ("ai", 10, 10, labelled),
        ("ai", 0, 0, None),
    ] {
        let machine = machine_of(&format!(
            "[reward_model]\nlabels = '{source}'\npairs = {wanted}\n\
             [rl]\nreward = 'model'\nsteps = 1\nbatch_size = 4\n"
        ));
        let stages: Vec<String> = machine.progress().into_iter().map(|s| s.stage).collect();
        assert_eq!(stages.contains(&"label".to_owned()), labels.is_some(), "{source}: {stages:?}");
        let (mut pairs, mut trained) = (0, Vec::new());
        for item in items(machine) {
            match item.work {
                Work::SamplePairs(work) => pairs += work.prompts.len(),
                Work::TrainReward(work) => trained.push((work.labels, work.preferences)),
                _ => {}
            }
        }
        assert_eq!(pairs, sampled, "{source}");
        let given = Some("data/preferences.jsonl".to_owned());
        assert_eq!(trained, [(labels.map(str::to_owned), given)], "{source}");
    }
}

#[test]
fn given_preferences_need_no_rollouts() {
    let machine =
        machine_of("[rl]\nreward = 'preferences'\nsteps = 3\nbatch_size = 5\nalgorithm = 'dpo'\n");
    let items = items(machine);
    let drawn = items.iter().any(|i| matches!(i.work, Work::Rollout(_) | Work::SamplePairs(_)));
    assert!(!drawn);
    let steps = items.iter().filter_map(|item| match &item.work {
        Work::PolicyStep(work) => Some((work.step, &work.lessons)),
        _ => None,
    });
    let (file, labels) = ("data/preferences.jsonl".into(), LabelSource::Mixed);
    let given = Lessons::Preferences { file, labels, batch_size: 5 };
    assert!(steps.eq([(1, &given), (2, &given), (3, &given)]));
}
