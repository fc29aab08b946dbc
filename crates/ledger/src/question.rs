//! Questions and their identity: content alone decides whether two are the same.

use crate::Setup;
use rlaif_types::{ContentHash, Item, LabelId, Pair, canonical_json};
use serde::Serialize;
use serde_json::Value;

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
    pub fn label_id(&self, question: &Question) -> LabelId {
        let asking = self.asking();
        let (model, template) = (&self.model_hash, &self.template_hash);
        match question {
            Question::Compare(pair) => LabelId::of_pair(model, template, asking.as_ref(), pair),
            Question::Rate(item) => LabelId::of_item(model, template, asking.as_ref(), item),
        }
    }

    /// Identity of the options; none for a plain verdict.
    pub fn asking(&self) -> Option<ContentHash> {
        let is_plain = match &self.options {
            Value::Object(options) => options.is_empty(),
            other => other.is_null(),
        };
        (!is_plain).then(|| ContentHash::of(canonical_json(&self.options)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Prompt;
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
    fn the_id_is_the_one_that_others_give_the_question() {
        let compare = Question::Compare(pair());
        let item = Item { prompt: pair().prompt, response: "4".into() };
        let (model, template) = (ContentHash::of("m"), ContentHash::of("t"));
        for (options, asking) in [
            (json!({}), None),
            (json!({"shots": 1, "seed": 0}), Some(ContentHash::of(r#"{"seed":0,"shots":1}"#))),
        ] {
            let (setup, asking) = (setup(options), asking.as_ref());
            let of_pair = LabelId::of_pair(&model, &template, asking, &pair());
            assert_eq!(setup.label_id(&compare), of_pair);
            let of_item = LabelId::of_item(&model, &template, asking, &item);
            assert_eq!(setup.label_id(&Question::Rate(item.clone())), of_item);
        }
    }
}
