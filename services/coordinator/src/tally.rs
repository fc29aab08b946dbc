//! What a job's results come to so far, in numbers: for metrics, and as exact after a restart as before.

use rlaif_job::{LabelSummary, TaskId, WorkResult};
use serde_json::Value;
use std::collections::BTreeMap;

/// Figures of training that are shown, by their names in `metrics.jsonl`.
const MEASURES: [&str; 7] =
    ["loss", "accuracy", "reward", "reward_std", "objective/kl", "value_loss", "agreement"];

/// A job's numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobTally {
    /// How many judgements came to what, by kind of work.
    pub judgements: BTreeMap<(&'static str, &'static str), u64>,
    /// The newest figures of training, by stage.
    pub training: BTreeMap<(String, &'static str), f64>,
}

impl JobTally {
    /// Counts what a task came to; `rated` where the labeler gives the rewards.
    pub fn add(&mut self, task: TaskId, result: &WorkResult, rated: bool) {
        match (task, result) {
            (_, WorkResult::Labels(labels)) => {
                let LabelSummary { position, unscorable, .. } = LabelSummary::of(labels);
                let second = position.same_position - position.prefers_first;
                let tied = position.pairs - position.same_position - position.consistent;
                for (verdict, count) in [
                    ("consistent", position.consistent),
                    ("first_position", position.prefers_first),
                    ("second_position", second),
                    ("tied", tied),
                    ("unscorable", unscorable.into_values().sum::<usize>() as u64),
                ] {
                    if count > 0 {
                        *self.judgements.entry(("label", verdict)).or_default() += count;
                    }
                }
            }
            (TaskId::Score { .. }, WorkResult::Rewards(rewards)) => {
                let kind = if rated { "rate" } else { "score" };
                for reward in rewards {
                    let verdict = if reward.is_ok() { "scored" } else { "unscorable" };
                    *self.judgements.entry((kind, verdict)).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// Takes the newest figures of records of `metrics.jsonl`.
    pub fn measure(&mut self, records: &[Value]) {
        for record in records {
            let Some(stage) = record["stage"].as_str() else { continue };
            for measure in MEASURES {
                if let Some(value) = record[measure].as_f64() {
                    self.training.insert((stage.to_owned(), measure), value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_job::LabelRecord;
    use rlaif_template::Asking;
    use rlaif_types::{
        Comparison, ContentHash, Finish, LabelId, OrderScores, Pair, Prompt, SoftLabel,
    };
    use serde_json::json;

    fn label(ab: f64, ba: f64) -> LabelRecord {
        let order = |p: f64| OrderScores {
            verdict_logprobs: [p.ln(), (1.0 - p).ln()],
            prefers_first: SoftLabel::new(p).unwrap(),
            prompt_tokens: 10,
            completion_tokens: 0,
            rationales: Vec::new(),
        };
        let (ab, ba) = (order(ab), order(ba));
        let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
        let hash = ContentHash::of("x");
        LabelRecord {
            label_id: LabelId(hash.clone()),
            pair: Pair {
                prompt: Prompt::Text("?".into()),
                response_a: "a".into(),
                response_b: "b".into(),
            },
            finish_a: Finish::Stop,
            finish_b: Finish::Stop,
            comparison: Some(Comparison { label, ab, ba }),
            unscorable: None,
            template: "t".into(),
            template_hash: hash.clone(),
            asking: Asking::default(),
            labeler: "m".into(),
            labeler_hash: hash,
        }
    }

    #[test]
    fn a_comparison_is_decided_by_position_where_the_same_one_wins_in_both_orders() {
        for (ab, ba, decided) in [
            (0.75, 0.25, "consistent"),
            (0.25, 0.75, "consistent"),
            (0.75, 0.625, "first_position"),
            (0.25, 0.375, "second_position"),
            (0.5, 0.75, "tied"),
        ] {
            let mut tally = JobTally::default();
            tally.add(TaskId::Label(0), &WorkResult::Labels(vec![label(ab, ba)]), true);
            assert_eq!(tally.judgements, [(("label", decided), 1)].into(), "{ab} {ba}");
        }
    }

    #[test]
    fn the_newest_figure_of_a_stage_counts_and_one_that_is_no_number_is_none() {
        let mut tally = JobTally::default();
        tally.measure(&[
            json!({"stage": "policy", "step": 1, "objective/kl": 0.5, "reward": 0.25, "learning_rate": 1e-4}),
            json!({"stage": "policy", "step": 2, "objective/kl": 0.75, "reward": null}),
            json!({"stage": "staleness", "step": 2, "agreement": 0.875}),
        ]);
        let figure = |measure| tally.training.get(&("policy".to_owned(), measure)).copied();
        assert_eq!((figure("objective/kl"), figure("reward")), (Some(0.75), Some(0.25)));
        assert_eq!(tally.training.len(), 3);
    }
}
