//! Questions and their identity: content alone decides whether two are the same.

use crate::Setup;
use rlaif_types::{Hasher, Item, LabelId, Pair};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

/// What a labeler was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Which of two responses is better.
    Compare(Pair),
    /// How good a response is.
    Rate(Item),
}

impl Setup {
    /// Identity of `question` asked this way: a changed model, template or option is another
    /// question, another engine is not.
    ///
    /// Without options, a comparison's id is the one that the judge gives it.
    pub fn label_id(&self, question: &Question) -> LabelId {
        let mut hasher = Hasher::new();
        if matches!(question, Question::Rate(_)) {
            // A comparison begins with a model's hash, which this cannot be.
            hasher.field("rate");
        }
        hasher.field(self.model_hash.as_str()).field(self.template_hash.as_str());
        match question {
            Question::Compare(pair) => hasher
                .field(pair.prompt.as_context())
                .field(&pair.response_a)
                .field(&pair.response_b),
            Question::Rate(item) => hasher.field(item.prompt.as_context()).field(&item.response),
        };
        let has_options = match &self.options {
            Value::Null => false,
            Value::Object(options) => !options.is_empty(),
            _ => true,
        };
        if has_options {
            hasher.field(canonical(&self.options));
        }
        LabelId(hasher.finish())
    }
}

/// `value` as JSON with the keys of objects in order, so that equal options are equal text.
pub(crate) fn canonical(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let field = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::from(key.as_str()), canonical(value))
            };
            format!("{{{}}}", joined(fields.into_iter().map(field).collect()))
        }
        Value::Array(values) => format!("[{}]", joined(values.iter().map(canonical).collect())),
        scalar => scalar.to_string(),
    }
}

/// The distinct questions of a batch in which many may ask the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    firsts: Vec<usize>,
    question_of: Vec<usize>,
}

impl Distinct {
    /// Finds who asks the same. Questions keep the order of their first askers.
    pub fn of(askers: &[LabelId]) -> Self {
        let mut known = HashMap::new();
        let mut firsts = Vec::new();
        let question_of = askers
            .iter()
            .enumerate()
            .map(|(asker, id)| match known.entry(id) {
                Occupied(question) => *question.get(),
                Vacant(new) => {
                    firsts.push(asker);
                    *new.insert(firsts.len() - 1)
                }
            })
            .collect();
        Self { firsts, question_of }
    }

    /// The first asker of each question: those are to be asked.
    pub fn firsts(&self) -> &[usize] {
        &self.firsts
    }

    /// Hands the answer of each question to all its askers.
    ///
    /// # Panics
    /// When there is not one answer for each of [`Distinct::firsts`].
    pub fn spread<T: Clone>(&self, answers: &[T]) -> Vec<T> {
        assert_eq!(answers.len(), self.firsts.len(), "one answer for each distinct question");
        self.question_of.iter().map(|question| answers[*question].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{ContentHash, Prompt};
    use serde_json::json;

    fn setup(options: Value) -> Setup {
        Setup {
            template: "t".into(),
            template_hash: ContentHash::of("t"),
            model: "m".into(),
            model_hash: ContentHash::of("m"),
            engine: "local".into(),
            options,
        }
    }

    fn pair() -> Pair {
        let prompt = Prompt::Text("2+2?".into());
        Pair { prompt, response_a: "4".into(), response_b: "5".into() }
    }

    #[test]
    fn a_changed_model_template_option_or_text_is_another_question() {
        let compare = Question::Compare(pair());
        let base = setup(json!({"samples": 4}));
        let id = base.label_id(&compare);
        let others = [
            Setup { model_hash: ContentHash::of("n"), ..base.clone() }.label_id(&compare),
            Setup { template_hash: ContentHash::of("u"), ..base.clone() }.label_id(&compare),
            setup(json!({"samples": 5})).label_id(&compare),
            setup(json!({})).label_id(&compare),
            base.label_id(&Question::Compare(pair().swapped())),
        ];
        assert!(others.iter().all(|other| *other != id));
        let elsewhere = Setup { engine: "http://localhost:8000/v1".into(), ..base };
        assert_eq!(elsewhere.label_id(&compare), id);
    }

    #[test]
    fn the_order_in_which_options_are_written_does_not_matter() {
        let compare = Question::Compare(pair());
        let one = setup(json!({"a": 1, "b": {"c": [1, "x"], "d": null}}));
        let other = setup(json!({"b": {"d": null, "c": [1, "x"]}, "a": 1}));
        assert_eq!(one.label_id(&compare), other.label_id(&compare));
    }

    #[test]
    fn without_options_the_id_is_the_judges() {
        let setup = setup(json!({}));
        let mut hasher = Hasher::new();
        hasher.field(setup.model_hash.as_str()).field(setup.template_hash.as_str());
        hasher.field("2+2?").field("4").field("5");
        assert_eq!(setup.label_id(&Question::Compare(pair())), LabelId(hasher.finish()));
    }

    #[test]
    fn who_asks_the_same_is_asked_once_and_answered_alike() {
        let id = |text: &str| LabelId(ContentHash::of(text));
        let distinct = Distinct::of(&[id("x"), id("y"), id("x"), id("z"), id("y")]);
        assert_eq!(distinct.firsts(), [0, 1, 3]);
        assert_eq!(distinct.spread(&["X", "Y", "Z"]), ["X", "Y", "X", "Z", "Y"]);
    }
}
