//! What an audit sees of a labeler and its question, and of a pair and the labeler's answer to it.

use rlaif_audit::{Answer, Arm, Human, Labeler, Observation, Question, Rationales};
use rlaif_judge::Judge;
use rlaif_types::{Comparison, ContentHash, HumanLabel, Judgement, Pair};

/// What `judge` asks about the pairs of `task`, before it has answered anything.
pub fn arm(task: &str, judge: &Judge) -> Arm {
    let (labeler, asking) = (judge.labeler(), judge.asking());
    Arm {
        task: task.to_owned(),
        labeler: Labeler { name: labeler.name.clone(), parameters: labeler.parameters },
        question: Question {
            template: judge.template().name.clone(),
            shots: asking.shots,
            rationale: asking
                .reasoning
                .as_ref()
                .map(|reasoning| Rationales { samples: reasoning.samples, clamp: reasoning.clamp }),
        },
        price: None,
        observations: Vec::new(),
        probes: Vec::new(),
    }
}

/// What an audit sees of a pair, of people's label where there is one, and of the labeler's answer.
pub fn observation(
    pair: &Pair,
    human: Option<&HumanLabel>,
    said: &Judgement<Comparison>,
) -> Observation {
    // A tie among people is no label to agree with.
    let decided = human.filter(|human| human.prefers_a.value() != 0.5);
    let [len_a, len_b] = pair.lengths();
    Observation {
        id: identity(pair),
        group: group(pair),
        len_a,
        len_b,
        human: decided.map(|human| Human {
            prefers_a: human.prefers_a.prefers_a(),
            confidence: human.confidence.map(|place| place.value()),
        }),
        answer: said.as_ref().map(Answer::of).map_err(Clone::clone),
        repeats: Vec::new(),
    }
}

/// What pairs of one prompt share.
pub fn group(pair: &Pair) -> String {
    ContentHash::of(pair.prompt.as_context()).to_string()
}

/// Identity of a pair, whichever of its responses is called A.
pub fn identity(pair: &Pair) -> String {
    let mut responses = [pair.response_a.as_str(), pair.response_b.as_str()];
    responses.sort_unstable();
    let context = pair.prompt.as_context();
    ContentHash::of(format!("{context}\n\n{}\n\n{}", responses[0], responses[1])).to_string()
}
