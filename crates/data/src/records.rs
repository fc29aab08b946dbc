//! What a record means: prompts, pairs to compare, preferences in TRL's format.

use crate::Record;
use crate::formats::{self, UNSCORABLE, preferences_of};
use rlaif_types::{HumanLabel, Pair, Prompt, SoftLabel, Unscorable};
use serde_json::{Value, json};

/// Fields that say what a labeler made of a pair, or why it made nothing of it. Asked again, the pair
/// begins without them.
const OF_A_LABEL: [&str; 15] = [
    "chosen",
    "rejected",
    "soft_label",
    "label_id",
    "label_source",
    "confidence",
    "order_ab",
    "order_ba",
    "panel",
    "model_hash",
    "template",
    "template_hash",
    "asking",
    "asking_hash",
    UNSCORABLE,
];

/// Those of them that any preference has.
const OF_A_PREFERENCE: [&str; 3] = ["chosen", "rejected", "soft_label"];

/// The `text` of a record.
///
/// # Errors
/// When it has none.
pub fn text_of(record: &Record) -> Result<String, String> {
    formats::text(record, "text")
}

/// The `prompt` of a record: a string, or a list of messages.
///
/// # Errors
/// When it is neither, or empty.
pub fn prompt_of(record: &Record) -> Result<Prompt, String> {
    formats::prompt(record, "prompt")
}

/// The two candidates of a record in any format that has two; see [`preferences_of`] for what is
/// known of them. A pair that could not be judged before is a pair like others.
///
/// # Errors
/// When it has not exactly two.
pub fn pair_of(record: &Record) -> Result<Pair, String> {
    pair_and_human_label_of(record).map(|(pair, _)| pair)
}

/// [`pair_of`] with what people said of the pair. A side that stands beside a failure is nobody's choice.
///
/// # Errors
/// As [`pair_of`].
pub fn pair_and_human_label_of(record: &Record) -> Result<(Pair, Option<HumanLabel>), String> {
    let (mut preferences, is_said) = match preferences_of(record) {
        Err(_) if record.contains_key(UNSCORABLE) => {
            (preferences_of(&without(record, &[UNSCORABLE]))?, false)
        }
        read => (read?, true),
    };
    match (preferences.pop(), preferences.len()) {
        (Some(preference), 0) => Ok((preference.pair, preference.human.filter(|_| is_said))),
        (None, _) => Err("all \"completions\" are of one rank".into()),
        (Some(_), others) => {
            Err(format!("the record states {} pairs; convert it to \"pairs\" first", others + 1))
        }
    }
}

/// The input record as a TRL preference: `chosen` is the candidate the label prefers (A where it is
/// undecided), `soft_label` the probability that **A**, the first candidate of the input, is
/// preferred, and `human_label` the same of people where they said whom they preferred. All other
/// fields of the input are kept, except what a labeler said before, and both candidates by name.
pub fn preference_record(
    input: &Record,
    pair: &Pair,
    human: Option<&HumanLabel>,
    label: SoftLabel,
) -> Record {
    let (chosen, rejected) = if label.value() >= 0.5 {
        (&pair.response_a, &pair.response_b)
    } else {
        (&pair.response_b, &pair.response_a)
    };
    let side = |response: &String| match pair.prompt {
        Prompt::Text(_) => json!(response),
        Prompt::Messages(_) => json!([{"role": "assistant", "content": response}]),
    };
    let mut record = without_label(input);
    record.insert("prompt".into(), json!(pair.prompt));
    record.insert("chosen".into(), side(chosen));
    record.insert("rejected".into(), side(rejected));
    record.insert("response_a".into(), json!(pair.response_a));
    record.insert("response_b".into(), json!(pair.response_b));
    add_human_label(&mut record, human);
    record.insert("soft_label".into(), json!(label));
    record
}

/// The input record as a pair that no labeler could judge: why, and no chosen side or verdict, also none
/// that the input had; what people said is there as `human_label`. Both candidates are there by name, so that
/// they can be asked about again; all other fields are kept.
pub fn unscorable_record(
    input: &Record,
    pair: &Pair,
    human: Option<&HumanLabel>,
    why: &Unscorable,
) -> Record {
    let mut record = without_label(input);
    record.insert("prompt".into(), json!(pair.prompt));
    record.insert("response_a".into(), json!(pair.response_a));
    record.insert("response_b".into(), json!(pair.response_b));
    add_human_label(&mut record, human);
    record.insert(UNSCORABLE.into(), json!(why));
    record
}

/// Says in so many words what people said of the pair. The input may say it by a chosen side, which is the
/// labeler's from here on, or by a choice or a rank, which nobody reads where the candidates have names.
fn add_human_label(record: &mut Record, human: Option<&HumanLabel>) {
    let Some(human) = human else { return };
    let said = [
        ("human_label", Some(json!(human.prefers_a))),
        ("human_confidence", human.confidence.map(|place| json!(place.value()))),
        ("annotator", human.annotator.as_ref().map(|name| json!(name))),
    ];
    for (field, value) in said {
        let is_missing = record.get(field).is_none_or(Value::is_null);
        if let Some(value) = value.filter(|_| is_missing) {
            record.insert(field.into(), value);
        }
    }
}

/// The record without what a labeler said of it before; what others call alike stays.
fn without_label(record: &Record) -> Record {
    let is_ours = ["label_id", UNSCORABLE].iter().any(|field| record.contains_key(*field));
    without(record, if is_ours { &OF_A_LABEL } else { &OF_A_PREFERENCE })
}

/// The record without these fields: what an earlier run said does not stand beside what this one says.
pub fn without(record: &Record, fields: &[&str]) -> Record {
    let others = record.iter().filter(|(field, _)| !fields.contains(&field.as_str()));
    others.map(|(field, value)| (field.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::UnscorableReason;

    fn record(json: Value) -> Record {
        json.as_object().unwrap().clone()
    }

    fn failure() -> Unscorable {
        Unscorable::new(UnscorableReason::EngineFailed, "the answer has no log-probabilities")
    }

    /// What becomes of a record when its pair is labelled.
    fn labelled(input: &Record, label: SoftLabel) -> Record {
        let (pair, human) = pair_and_human_label_of(input).unwrap();
        preference_record(input, &pair, human.as_ref(), label)
    }

    #[test]
    fn all_forms_of_a_pair_read_alike() {
        let forms = [
            json!({"prompt": [{"role": "user", "content": "Hi"}], "response_a": "Yo", "response_b": "No"}),
            json!({"prompt": [{"role": "user", "content": "Hi"}],
                   "chosen": [{"role": "assistant", "content": "Yo"}],
                   "rejected": [{"role": "assistant", "content": "No"}]}),
            json!({"chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
                   "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No"}]}),
            json!({"chosen": "\n\nHuman: Hi\n\nAssistant: Yo", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}),
        ];
        let pairs: Vec<Pair> = forms.into_iter().map(|f| pair_of(&record(f)).unwrap()).collect();
        assert!(pairs.windows(2).all(|w| w[0] == w[1]), "{pairs:?}");
    }

    #[test]
    fn a_preference_keeps_the_inputs_fields_and_says_who_a_is() {
        let input =
            record(json!({"id": 7, "prompt": "Hi", "response_a": "Yo", "response_b": "No"}));
        let pair = pair_of(&input).unwrap();
        let output = labelled(&input, SoftLabel::new(0.25).unwrap());
        assert_eq!(output["id"], 7);
        assert_eq!((&output["chosen"], &output["rejected"]), (&json!("No"), &json!("Yo")));
        assert_eq!(output["soft_label"], 0.25);
        assert_eq!(pair_of(&output).unwrap(), pair);
    }

    #[test]
    fn a_pair_that_could_not_be_judged_has_no_verdict_and_can_be_asked_about_again() {
        // And what people said of it.
        let inputs = [
            (json!({"id": 7, "prompt": "Hi", "chosen": "Yo", "rejected": "No"}), Some(1.0)),
            (
                json!({"id": 7, "chosen": "\n\nHuman: Hi\n\nAssistant: Yo",
                       "rejected": "\n\nHuman: Hi\n\nAssistant: No"}),
                Some(1.0),
            ),
            (
                json!({"id": 7, "info": {"post": "p"}, "summaries": [{"text": "Yo"}, {"text": "No"}],
                       "choice": 1}),
                Some(0.0),
            ),
            // What an earlier run, or a panel, wrote.
            (
                json!({"id": 7, "prompt": "Hi", "chosen": "No", "rejected": "Yo", "response_a": "Yo",
                       "response_b": "No", "soft_label": 0.25, "label_id": "x", "label_source": "ai",
                       "confidence": 0.5, "order_ab": {}, "order_ba": {}, "panel": [], "model_hash": "m",
                       "template": "t", "template_hash": "h", "asking": {}, "asking_hash": "a"}),
                None,
            ),
        ];
        let labels = |record: &Record| {
            let read = preferences_of(record).unwrap().remove(0);
            (read.human.map(|human| human.prefers_a.value()), read.ai.map(|label| label.value()))
        };
        for (input, people) in inputs {
            let input = record(input);
            let (pair, human) = pair_and_human_label_of(&input).unwrap();
            let failed = unscorable_record(&input, &pair, human.as_ref(), &failure());
            assert_eq!(
                (&failed["id"], &failed["unscorable"]["reason"]),
                (&json!(7), &json!("engine_failed"))
            );
            assert!(
                OF_A_LABEL.iter().all(|field| *field == UNSCORABLE || !failed.contains_key(*field))
            );
            assert_eq!(labels(&failed), (people, None), "{failed:?}");
            assert_eq!(pair_of(&failed).unwrap(), pair);

            let labelled = labelled(&failed, SoftLabel::new(0.25).unwrap());
            assert!(!labelled.contains_key(UNSCORABLE));
            assert_eq!(labels(&labelled), (people, Some(0.25)));
        }
    }

    #[test]
    fn what_people_said_is_kept_as_they_wrote_it() {
        let input =
            record(json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No", "human_label": 1,
            "human_confidence": 3, "annotator": 9, "margin": 2}));
        let output = labelled(&input, SoftLabel::TIE);
        for field in ["human_label", "human_confidence", "annotator", "margin"] {
            assert_eq!(output[field], input[field], "{field}");
        }
        // That a labeler could not judge it says nothing of who chose the side beside it.
        let unclear = record(json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No",
            "unscorable": {"reason": "engine_failed", "detail": "500"}}));
        let output = labelled(&unclear, SoftLabel::TIE);
        assert!(!output.contains_key("human_label"), "{output:?}");
    }

    #[test]
    fn what_another_way_of_asking_said_before_does_not_stand_beside_a_new_label() {
        let input = record(json!({"prompt": "Hi", "response_a": "Yo", "response_b": "No",
            "label_id": "y", "panel": [{"label_id": "x"}], "asking": {"shots": 2}, "source": "mine"}));
        let output = labelled(&input, SoftLabel::TIE);
        assert!(!output.contains_key("panel") && !output.contains_key("asking"), "{output:?}");
        assert_eq!(output["source"], "mine");

        // What nobody here wrote is the user's own, whatever it is called.
        let others = record(json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No",
            "panel": "A7", "asking": "price"}));
        let output = labelled(&others, SoftLabel::TIE);
        assert_eq!((&output["panel"], &output["asking"]), (&json!("A7"), &json!("price")));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |json| pair_of(&record(json)).unwrap_err();
        assert!(error(json!({"prompt": "x", "response_a": "y"})).contains("response_b"));
        assert!(error(json!({"prompt": "x"})).contains("chosen"));
        assert!(
            error(json!({"prompt": 3, "response_a": "", "response_b": ""})).contains("messages")
        );
    }
}
