//! What an audit sees of a pair and a labeler's answer to it.

use rlaif_audit::{Answer, Human, Observation};
use rlaif_types::{Comparison, ContentHash, HumanLabel, Judgement, Pair};

/// What an audit sees of a pair, of people's label where there is one, and of the labeler's answer.
pub fn observation(
    pair: &Pair,
    human: Option<&HumanLabel>,
    said: &Judgement<Comparison>,
) -> Observation {
    // A tie among people is no label to agree with.
    let decided = human.filter(|human| human.prefers_a.value() != 0.5);
    Observation {
        id: identity(pair),
        group: ContentHash::of(pair.prompt.as_context()).to_string(),
        len_a: pair.response_a.chars().count(),
        len_b: pair.response_b.chars().count(),
        human: decided.map(|human| Human {
            prefers_a: human.prefers_a.prefers_a(),
            confidence: human.confidence.map(|place| place.value()),
        }),
        answer: said.as_ref().map(Answer::of).map_err(Clone::clone),
        repeats: Vec::new(),
    }
}

/// Identity of a pair, whichever of its responses is called A.
pub fn identity(pair: &Pair) -> String {
    let mut responses = [pair.response_a.as_str(), pair.response_b.as_str()];
    responses.sort_unstable();
    let context = pair.prompt.as_context();
    ContentHash::of(format!("{context}\n\n{}\n\n{}", responses[0], responses[1])).to_string()
}
