//! A reward that is a weighted sum: every part judges every response.

use crate::bench::{answer, machine_of};
use rlaif_job::{Effect, Work, WorkItem, WorkResult};
use rlaif_types::{Episode, Judgement, Unscorable, UnscorableReason};
use serde_json::json;
use std::collections::BTreeSet;

pub const MIXTURE: &str = "[reward_model]\npairs = 4\n[rl]\nreward = 'mixture'\nsteps = 1\n\
    batch_size = 6\n[[rl.mixture]]\nsource = 'model'\nweight = 0.5\n\
    [[rl.mixture]]\nsource = 'labeler'\nname = 'tone'\ntemplate = 'sentiment/rating'\nweight = 2.0\n";

#[test]
fn a_mixture_asks_every_part_about_every_response_and_sums_what_they_say() {
    let mut machine = machine_of(MIXTURE);
    let (mut waiting, mut asked, mut batch) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut records = Vec::new();
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        // The newest first, so that the parts do not come in their order.
        let item: WorkItem = waiting.pop().unwrap();
        let result = match &item.work {
            Work::Score(work) => WorkResult::Rewards(vec![Ok(1.0); work.items.len()]),
            Work::Rate(work) => {
                asked.insert(work.labeler.template.name.clone());
                let mut ratings = vec![Ok(0.25); work.items.len()];
                ratings[0] = Err(Unscorable::new(UnscorableReason::NoVerdict, "mute"));
                WorkResult::Rewards(ratings)
            }
            _ => answer(&item),
        };
        for effect in machine.complete(item.task, result).unwrap() {
            match effect {
                Effect::Put { bytes, .. } => {
                    batch = serde_json::from_slice::<Vec<Episode>>(&bytes).unwrap()
                }
                Effect::Append { file: "metrics.jsonl", records: new } => records.extend(new),
                _ => {}
            }
        }
    }
    assert_eq!(asked, ["sentiment/rating".to_owned()].into(), "by its own template");
    let rewards: Vec<Judgement<f64>> = batch.into_iter().map(|episode| episode.reward).collect();
    let mute = || Err(Unscorable::new(UnscorableReason::NoVerdict, "tone: mute"));
    // Chunks of four, of each of which the first could not be rated.
    assert_eq!(rewards, [mute(), Ok(1.0), Ok(1.0), Ok(1.0), mute(), Ok(1.0)]);
    let step = records.iter().find(|record| record["stage"] == "policy").unwrap();
    assert_eq!(
        (&step["rewards/model/mean"], &step["rewards/tone/mean"]),
        (&json!(1.0), &json!(0.25))
    );
    let policy = machine.progress().into_iter().find(|stage| stage.stage == "policy").unwrap();
    assert_eq!(policy.unscorable, 2, "a response counts once, whoever could not judge it");
}
