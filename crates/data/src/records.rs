//! What a record means: prompts, pairs to compare, preferences in TRL's format.

use crate::Record;
use crate::formats::{self, preferences_of};
use rlaif_types::{Pair, Prompt, SoftLabel};
use serde_json::json;

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
/// known of them.
///
/// # Errors
/// When it has not exactly two.
pub fn pair_of(record: &Record) -> Result<Pair, String> {
    let mut preferences = preferences_of(record)?;
    match (preferences.pop(), preferences.len()) {
        (Some(preference), 0) => Ok(preference.pair),
        (None, _) => Err("all \"completions\" are of one rank".into()),
        (Some(_), others) => {
            Err(format!("the record states {} pairs; convert it to \"pairs\" first", others + 1))
        }
    }
}

/// The input record as a TRL preference: `chosen` is the candidate the label prefers (A where it is
/// undecided), `soft_label` the probability that **A**, the first candidate of the input, is
/// preferred. All other fields of the input are kept, and both candidates by name.
pub fn preference_record(input: &Record, pair: &Pair, label: SoftLabel) -> Record {
    let (chosen, rejected) = if label.value() >= 0.5 {
        (&pair.response_a, &pair.response_b)
    } else {
        (&pair.response_b, &pair.response_a)
    };
    let side = |response: &String| match pair.prompt {
        Prompt::Text(_) => json!(response),
        Prompt::Messages(_) => json!([{"role": "assistant", "content": response}]),
    };
    let mut record = input.clone();
    record.insert("prompt".into(), json!(pair.prompt));
    record.insert("chosen".into(), side(chosen));
    record.insert("rejected".into(), side(rejected));
    record.insert("response_a".into(), json!(pair.response_a));
    record.insert("response_b".into(), json!(pair.response_b));
    record.insert("soft_label".into(), json!(label));
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn record(json: Value) -> Record {
        json.as_object().unwrap().clone()
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
        let output = preference_record(&input, &pair, SoftLabel::new(0.25).unwrap());
        assert_eq!(output["id"], 7);
        assert_eq!((&output["chosen"], &output["rejected"]), (&json!("No"), &json!("Yo")));
        assert_eq!(output["soft_label"], 0.25);
        assert_eq!(pair_of(&output).unwrap(), pair);
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
