//! Which examples are kept, by their lengths and by how sure people were.

use crate::Example;
use rlaif_types::{Confidence, Preference};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What an example must be to be kept. By default everything is.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Characters of the prompt, as a labeler reads it.
    pub prompt_chars: RangeInclusive<usize>,
    /// Characters of each response.
    pub response_chars: RangeInclusive<usize>,
    /// Places on the scale of 1 to 9 that people's confidence must be in: `{1, 2, 8, 9}` keeps those
    /// who were sure. What says nothing of it is dropped.
    pub confidence: Option<BTreeSet<Confidence>>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { prompt_chars: 0..=usize::MAX, response_chars: 0..=usize::MAX, confidence: None }
    }
}

/// What an example was dropped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The prompt's length.
    PromptLength,
    /// A response's length.
    ResponseLength,
    /// People's confidence, or that it is not known.
    Confidence,
}

impl Filter {
    /// Why `example` is dropped, if it is.
    pub fn refuses(&self, example: &Example) -> Option<Reason> {
        let chars = |text: &str| text.chars().count();
        if !self.prompt_chars.contains(&chars(&example.prompt().as_context())) {
            return Some(Reason::PromptLength);
        }
        if !example.responses().all(|text| self.response_chars.contains(&chars(text))) {
            return Some(Reason::ResponseLength);
        }
        let places = self.confidence.as_ref()?;
        let is_sure = confidence(example).is_some_and(|place| places.contains(&place));
        (!is_sure).then_some(Reason::Confidence)
    }
}

/// How sure people were of a preference, where it says so.
pub(super) fn confidence(example: &Example) -> Option<Confidence> {
    match example {
        Example::Preference(Preference { human: Some(human), .. }) => human.confidence,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples_of;
    use serde_json::json;

    #[test]
    fn lengths_are_characters_and_unknown_confidence_is_not_sure() {
        let record = json!({"prompt": "äöü", "response_a": "12345", "response_b": "1",
                            "human_label": 1.0, "human_confidence": 2});
        let sure = examples_of(record.as_object().unwrap()).unwrap().remove(0);
        let unknown = Example::Prompt(sure.prompt().clone());
        let with = |edit: fn(&mut Filter)| {
            let mut filter = Filter::default();
            edit(&mut filter);
            filter
        };
        let only_three = with(|f| f.prompt_chars = 3..=3);
        assert_eq!(only_three.refuses(&sure), None);
        let long = with(|f| f.response_chars = 2..=9);
        assert_eq!(long.refuses(&sure), Some(Reason::ResponseLength));
        assert_eq!(long.refuses(&unknown), None);
        let confident = with(|f| f.confidence = Some([Confidence::new(2).unwrap()].into()));
        assert_eq!(confident.refuses(&sure), None);
        assert_eq!(confident.refuses(&unknown), Some(Reason::Confidence));
    }
}
