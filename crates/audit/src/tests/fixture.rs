//! Builders.

use crate::{Answer, Arm, Audit, Human, Labeler, Observation, Options, Question};
use rlaif_types::{Judgement, SoftLabel, Unscorable, UnscorableReason};

/// An answer by the probabilities of the response shown first, A first and B first.
pub fn answer(ab: f64, ba: f64) -> Judgement<Answer> {
    let (ab, ba) = (SoftLabel::new(ab).unwrap(), SoftLabel::new(ba).unwrap());
    Ok(Answer {
        label: SoftLabel::from_both_orders(ab, ba),
        ab,
        ba,
        mass: 0.9,
        prompt_tokens: 800,
        completion_tokens: 60,
        rationale_chars: None,
    })
}

pub fn failed() -> Judgement<Answer> {
    Err(Unscorable::new(UnscorableReason::PromptTooLong, "4,100 tokens of 4,096"))
}

pub fn observation(
    id: &str,
    lengths: (usize, usize),
    prefers_a: Option<bool>,
    answer: Judgement<Answer>,
) -> Observation {
    Observation {
        id: id.into(),
        group: id.into(),
        len_a: lengths.0,
        len_b: lengths.1,
        human: prefers_a.map(|prefers_a| Human { prefers_a, confidence: None }),
        answer,
        repeats: Vec::new(),
    }
}

pub fn arm(observations: Vec<Observation>) -> Arm {
    Arm {
        task: "summary".into(),
        labeler: Labeler { name: "tiny".into(), parameters: Some(100_000_000) },
        question: Question { template: "base".into(), shots: 0, rationale: None },
        price: None,
        observations,
        probes: Vec::new(),
    }
}

pub fn audit(arms: &[Arm]) -> Audit {
    Audit::of(arms, Options::default()).unwrap()
}
