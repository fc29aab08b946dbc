//! The labeler's own answers to the prompts are what a policy is fine-tuned on where that is asked.

use crate::bench::{answer, machine_of};
use rlaif_job::{Effect, Rollout, Work, WorkResult};
use rlaif_types::Finish;
use serde_json::{Value, json};

#[test]
fn the_labelers_own_answers_to_every_prompt_are_fine_tuned_on_where_that_is_asked() {
    let mut machine =
        machine_of("[sft]\nby = 'labeler'\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 4\n");
    let (mut asked, mut written, mut tuned) = (Vec::new(), Vec::new(), None);
    while tuned.is_none() {
        // Later chunks first: what is written is in the order of the prompts all the same.
        for item in machine.ready().into_iter().rev() {
            match &item.work {
                Work::Rollout(work) => asked.extend(work.prompts.clone()),
                Work::FineTune(work) => tuned = Some(work.demonstrations.clone()),
                _ => {}
            }
            for effect in machine.complete(item.task, answer(&item)).unwrap() {
                match effect {
                    Effect::Append { file: "demonstrations.jsonl", records } => {
                        written.extend(records)
                    }
                    Effect::Publish { file } => assert_eq!(file, "demonstrations.jsonl"),
                    _ => {}
                }
            }
        }
    }
    assert_eq!((asked.len(), written.len()), (7, 7));
    let prompts: Vec<Value> = (0..7).map(|i| json!(format!("train {i}"))).collect();
    assert_eq!(written.iter().map(|r| r["prompt"].clone()).collect::<Vec<_>>(), prompts);
    assert_eq!(tuned.as_deref(), Some("demonstrations.jsonl"));
}

#[test]
fn an_answer_that_was_cut_off_is_a_demonstration_without_an_end() {
    let mut machine =
        machine_of("[sft]\nby = 'labeler'\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 4\n");
    let texts = ["Whole.", "Cut", "", "Whole, too."];
    let ends = [Finish::Stop, Finish::Length, Finish::Length, Finish::Stop];
    let mut written = Vec::new();
    while written.is_empty() {
        for item in machine.ready() {
            let mut result = answer(&item);
            if let WorkResult::Rollouts(rollouts) = &mut result {
                for (rollout, (text, finish)) in rollouts.iter_mut().zip(texts.iter().zip(ends)) {
                    (rollout.text, rollout.finish) = ((*text).to_owned(), finish);
                }
                // Journals from before this was told say nothing of it.
                let before = serde_json::to_value(&rollouts[0]).unwrap();
                assert!(before.get("finish").is_none());
                assert_eq!(serde_json::from_value::<Rollout>(before).unwrap(), rollouts[0]);
            }
            for effect in machine.complete(item.task, result).unwrap() {
                if let Effect::Append { file: "demonstrations.jsonl", records } = effect {
                    written.extend(records);
                }
            }
        }
    }
    let what = |record: &Value| (record["completion"].clone(), record.get("finish").cloned());
    let cut = Some(json!("length"));
    let expected = [("Whole.", None), ("Cut", cut.clone()), ("", cut), ("Whole, too.", None)];
    let expected = expected.map(|(text, finish)| (json!(text), finish));
    assert_eq!(written.iter().take(4).map(what).collect::<Vec<_>>(), expected);
}
