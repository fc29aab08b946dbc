//! The alternatives of the first token, in the two forms that servers write them in.

use crate::error::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rounding may leave the log-probability of a certain token this much above 0.
const MAX_ROUNDING: f64 = 1e-6;
/// Distinct tokens have at most this probability together; half-precision servers round by less.
const MAX_TOTAL: f64 = 1.01;

/// `logprobs` of a choice. Chat answers have `content`; completions have `top_logprobs`, but
/// llama.cpp's server writes `content` there too.
#[derive(Debug, Deserialize)]
pub(crate) struct Logprobs {
    content: Option<Vec<Position>>,
    top_logprobs: Option<Vec<Option<ByText>>>,
}

/// The alternatives of a token in the form of completions.
type ByText = BTreeMap<String, Option<f64>>;

/// A token that was generated.
#[derive(Debug, Deserialize)]
struct Position {
    top_logprobs: Option<Vec<Alternative>>,
}

/// A token that could have been.
#[derive(Debug, Deserialize)]
struct Alternative {
    token: String,
    bytes: Option<Vec<u8>>,
    logprob: Option<f64>,
}

impl Alternative {
    /// Its text and log-probability. `token` may be an escaped or lossy form of what `bytes` has
    /// exactly.
    fn read(self) -> (String, Option<f64>) {
        let exact = self.bytes.filter(|bytes| !bytes.is_empty());
        let text = exact.and_then(|bytes| String::from_utf8(bytes).ok());
        (text.unwrap_or(self.token), self.logprob)
    }
}

impl Logprobs {
    /// The alternatives of the first token with their log-probabilities, the most likely first.
    pub(crate) fn first(self) -> Result<Vec<(String, f64)>, Failure> {
        let chat = self.content.and_then(|positions| positions.into_iter().next());
        let alternatives: Vec<_> = match chat.and_then(|position| position.top_logprobs) {
            Some(alternatives) => alternatives.into_iter().map(Alternative::read).collect(),
            None => {
                let first = self.top_logprobs.and_then(|positions| positions.into_iter().next());
                first.flatten().unwrap_or_default().into_iter().collect()
            }
        };
        if alternatives.is_empty() {
            return Err(Failure::NoLogprobs);
        }
        checked(alternatives)
    }
}

fn checked(alternatives: Vec<(String, Option<f64>)>) -> Result<Vec<(String, f64)>, Failure> {
    let mut candidates = Vec::with_capacity(alternatives.len());
    for (token, logprob) in alternatives {
        match logprob {
            Some(logprob) if logprob <= MAX_ROUNDING => candidates.push((token, logprob.min(0.0))),
            Some(logprob) => {
                return Err(Failure::BadLogprobs(format!("{token:?} has {logprob}, above 0")));
            }
            None => return Err(Failure::BadLogprobs(format!("{token:?} has null"))),
        }
    }
    let total: f64 = candidates.iter().map(|(_, logprob)| logprob.exp()).sum();
    if total > MAX_TOTAL {
        return Err(Failure::BadLogprobs(format!(
            "the first token's probabilities add up to {total}"
        )));
    }
    // Stable: equals stay in the server's order.
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(candidates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn first(logprobs: Value) -> Result<Vec<(String, f64)>, Failure> {
        serde_json::from_value::<Logprobs>(logprobs).unwrap().first()
    }

    fn chat(alternatives: Value) -> Value {
        json!({"content": [{"token": "1", "logprob": -0.1, "top_logprobs": alternatives}]})
    }

    #[test]
    fn both_forms_are_read_the_most_likely_first() {
        let expected = [("1".to_owned(), -0.5), (" 2".to_owned(), -1.5)];
        let alternatives = json!([
            {"token": " 2", "bytes": null, "logprob": -1.5},
            {"token": "1", "logprob": -0.5},
        ]);
        assert_eq!(first(chat(alternatives)).unwrap(), expected);
        let legacy = json!({
            "tokens": ["1"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{" 2": -1.5, "1": -0.5}],
            "text_offset": [0],
        });
        assert_eq!(first(legacy).unwrap(), expected);
    }

    #[test]
    fn bytes_are_preferred_where_they_are_text() {
        let text = |token: &str, bytes: Value| {
            let alternatives = json!([{"token": token, "bytes": bytes, "logprob": -0.1}]);
            first(chat(alternatives)).unwrap().remove(0).0
        };
        assert_eq!(text("\u{fffd}1", json!([0xC3, 0xA9])), "\u{e9}");
        assert_eq!(text("\u{2581}1", json!([32, 49])), " 1");
        // Half a character.
        assert_eq!(text("\u{fffd}", json!([0xF0, 0x9F])), "\u{fffd}");
        assert_eq!(text("<end>", json!([])), "<end>");
    }

    #[test]
    fn missing_alternatives_are_never_guessed() {
        for missing in [
            json!({}),
            json!({"content": null}),
            json!({"content": []}),
            json!({"content": [{"token": "1", "logprob": -0.1}]}),
            json!({"content": [{"token": "1", "logprob": -0.1, "top_logprobs": []}]}),
            json!({"tokens": ["1"], "token_logprobs": [-0.1], "top_logprobs": null}),
            json!({"top_logprobs": [null]}),
            json!({"top_logprobs": [{}]}),
        ] {
            assert_eq!(first(missing.clone()), Err(Failure::NoLogprobs), "{missing}");
        }
    }

    #[test]
    fn what_is_no_log_probability_is_refused() {
        for (logprobs, says) in [
            (json!([{"token": "1", "logprob": null}]), "null"),
            (json!([{"token": "1"}]), "null"),
            (json!([{"token": "1", "logprob": 0.5}]), "above 0"),
            (json!([{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": -0.1}]), "add up"),
        ] {
            match first(chat(logprobs.clone())) {
                Err(Failure::BadLogprobs(what)) => assert!(what.contains(says), "{what}"),
                other => panic!("{logprobs}: {other:?}"),
            }
        }
        let rounded = first(chat(json!([{"token": "1", "logprob": 1e-7}]))).unwrap();
        assert_eq!(rounded, [("1".to_owned(), 0.0)]);
    }
}
