//! What the policy wrote at different steps, the same prompt's responses side by side.

use crate::sample_record::SampleRecord;
use rlaif_report::{Block, Sample, Section};
use std::collections::BTreeMap;

/// Prompts shown.
const PROMPTS: usize = 6;
/// Steps shown of each: the first, the last, and some between.
const STEPS: usize = 4;

/// Prompts that came at the most steps, each with its first response at some of them; none without rollouts.
pub(super) fn section(drawn: &[SampleRecord]) -> Option<Section> {
    let mut prompts = by_prompt(drawn);
    // Stable: of prompts that came as often, those that came first.
    prompts.sort_by_key(|responses| std::cmp::Reverse(responses.len()));
    let often = prompts.first()?.len();
    let samples = prompts.into_iter().take(PROMPTS).map(|responses| sample(&spread(responses)));
    let text = match often {
        1 => {
            "Responses of the training's rollouts. No prompt came at two steps: there are more prompts than \
              the training got through."
        }
        _ => {
            "Responses of the training's rollouts to prompts that came at several steps, with the rewards \
              that the policy learned from."
        }
    };
    let blocks = vec![Block::Text(text.into()), Block::Samples(samples.collect())];
    Some(Section { title: "Samples by step".into(), blocks })
}

/// Of each prompt, in the order in which prompts came, the first response at each step.
fn by_prompt(drawn: &[SampleRecord]) -> Vec<Vec<&SampleRecord>> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut prompts: Vec<Vec<&SampleRecord>> = Vec::new();
    for record in drawn {
        let place = *places.entry(record.prompt.as_context()).or_insert(prompts.len());
        if place == prompts.len() {
            prompts.push(Vec::new());
        }
        let responses = &mut prompts[place];
        if responses.last().is_none_or(|newest| newest.step < record.step) {
            responses.push(record);
        }
    }
    prompts
}

/// The first and the last of them, and between these some at equal distances.
fn spread(responses: Vec<&SampleRecord>) -> Vec<&SampleRecord> {
    let last = responses.len() - 1;
    match responses.len() {
        0..=STEPS => responses,
        _ => (0..STEPS).map(|i| responses[i * last / (STEPS - 1)]).collect(),
    }
}

fn sample(responses: &[&SampleRecord]) -> Sample {
    let side = |record: &&SampleRecord| {
        let reward = record.reward.map_or("unscorable".into(), |r| format!("reward {r:.3}"));
        (format!("step {}, {reward}", record.step), record.response.clone())
    };
    Sample {
        prompt: responses.first().map_or_else(String::new, |record| record.prompt.as_context()),
        sides: responses.iter().map(side).collect(),
        note: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Prompt;

    fn drawn(step: usize, prompt: &str, response: &str, reward: Option<f64>) -> SampleRecord {
        SampleRecord {
            stage: "policy".into(),
            step,
            prompt: Prompt::Text(prompt.into()),
            response: response.into(),
            reward,
        }
    }

    fn samples(drawn: &[SampleRecord]) -> Vec<Sample> {
        match section(drawn).unwrap().blocks.remove(1) {
            Block::Samples(samples) => samples,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_prompts_responses_stand_side_by_side_from_the_first_step_to_the_last() {
        let mut records = vec![drawn(1, "once", "x", Some(0.0))];
        for step in 1..=10 {
            records.push(drawn(step, "often", &format!("at {step}"), Some(step as f64)));
            // Another of the same group.
            records.push(drawn(step, "often", "a second", Some(0.0)));
        }
        records.push(drawn(11, "often", "mute", None));
        let shown = samples(&records);
        assert_eq!(shown[0].prompt, "often");
        let sides: Vec<(&str, &str)> =
            shown[0].sides.iter().map(|(label, text)| (label.as_str(), text.as_str())).collect();
        let expected = [
            ("step 1, reward 1.000", "at 1"),
            ("step 4, reward 4.000", "at 4"),
            ("step 7, reward 7.000", "at 7"),
            ("step 11, unscorable", "mute"),
        ];
        assert_eq!(sides, expected);
        assert_eq!((shown[1].prompt.as_str(), shown[1].sides.len()), ("once", 1));
    }

    #[test]
    fn where_no_prompt_came_twice_the_report_says_so() {
        let records = [drawn(1, "a", "x", Some(0.0)), drawn(2, "b", "y", Some(0.0))];
        let Block::Text(text) = section(&records).unwrap().blocks.remove(0) else { panic!() };
        assert!(text.contains("No prompt came at two steps"), "{text}");
        assert!(section(&[]).is_none(), "learning from given preferences draws nothing");
    }
}
