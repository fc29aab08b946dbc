//! What an audit is made from: the answers of one labeler to one question, pair by pair.

use crate::Error;
use crate::probes::ProbeAnswer;
use rlaif_types::{Comparison, Judgement, SoftLabel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One labeler asked one question about the pairs of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// What the pairs are about, for example "summary".
    pub task: String,
    /// Who was asked.
    pub labeler: Labeler,
    /// What was asked.
    pub question: Question,
    /// What the answers cost, where they are paid for.
    pub price: Option<Price>,
    /// One for each pair; their ids are unique.
    pub observations: Vec<Observation>,
    /// What it made of [`crate::probes`]; may be empty.
    pub probes: Vec<ProbeAnswer>,
}

/// A model that labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Labeler {
    /// Its name.
    pub name: String,
    /// Number of its parameters, where known.
    pub parameters: Option<u64>,
}

/// A way to ask (paper section 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The template's name.
    pub template: String,
    /// Exemplars in the prompt.
    pub shots: usize,
    /// What was written before the verdict; none where it was asked for straight away.
    pub rationale: Option<Rationales>,
}

/// Rationales before the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rationales {
    /// In each order, over which the verdict is averaged (self-consistency).
    pub samples: usize,
    /// How close to 0 or 1 an order's probability may come, where that is bounded (Constitutional AI).
    pub clamp: Option<f64>,
}

/// Dollars per thousand tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Of the prompt.
    pub input_per_1k: f64,
    /// Of what is generated.
    pub output_per_1k: f64,
}

/// One pair and what was made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The pair, the same in every arm that judges it.
    pub id: String,
    /// What its pair shares with others, usually the prompt; such pairs are not independent.
    pub group: String,
    /// Length of response A, characters.
    pub len_a: usize,
    /// Length of response B, characters.
    pub len_b: usize,
    /// What people preferred, where they were asked.
    pub human: Option<Human>,
    /// The labeler's answer.
    pub answer: Judgement<Answer>,
    /// Its answers when asked the same again, if it was.
    pub repeats: Vec<Judgement<Answer>>,
}

/// What people preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Human {
    /// A rather than B.
    pub prefers_a: bool,
    /// How sure they were, on the data's own scale.
    pub confidence: Option<u8>,
}

/// A labeler's answer in both orders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Probability that A is preferred, mean of both orders.
    pub label: SoftLabel,
    /// Probability that the response shown first is preferred, A shown first.
    pub ab: SoftLabel,
    /// The same, B shown first.
    pub ba: SoftLabel,
    /// Probability that the verdict tokens had together before they were normalised, the smaller
    /// of both orders. Little of it means that the model was about to say something else.
    pub mass: f64,
    /// Tokens of the prompts, both orders.
    pub prompt_tokens: u64,
    /// Tokens generated, both orders.
    pub completion_tokens: u64,
    /// Mean length of the rationales, characters, A shown first and B shown first.
    pub rationale_chars: Option<[usize; 2]>,
}

impl Answer {
    /// The answer that a comparison amounts to.
    pub fn of(comparison: &Comparison) -> Self {
        let orders = [&comparison.ab, &comparison.ba];
        // Rounded log-probabilities of all verdicts may add up to a little more than one.
        let mass = comparison.verdict_mass().min(1.0);
        let rationale_chars = orders.map(|order| {
            let chars = order.rationales.iter().map(|said| said.text.chars().count());
            chars.sum::<usize>() / order.rationales.len().max(1)
        });
        let reasoned = orders.iter().any(|order| !order.rationales.is_empty());
        Self {
            label: comparison.label,
            ab: comparison.ab.prefers_first,
            ba: comparison.ba.prefers_first,
            mass,
            prompt_tokens: orders.iter().map(|o| o.prompt_tokens as u64).sum(),
            completion_tokens: orders.iter().map(|o| o.completion_tokens as u64).sum(),
            rationale_chars: reasoned.then_some(rationale_chars),
        }
    }

    /// Whether A is preferred; none for a tie.
    pub fn prefers_a(&self) -> Option<bool> {
        (self.label.value() != 0.5).then(|| self.label.prefers_a())
    }

    /// How sure the labeler is: `|2p - 1|`, 0 for a tie and 1 for certainty.
    pub fn confidence(&self) -> f64 {
        self.label.confidence()
    }
}

impl Human {
    /// All for the response that people preferred.
    pub fn label(&self) -> SoftLabel {
        SoftLabel::certain(self.prefers_a)
    }
}

impl Question {
    /// As the paper's table names its rows: "summary/detailed + CoT, 1-shot"; with what is unusual of the rationales:
    /// "summary/detailed + CoT, 4 samples, clamp 0.4, 1-shot".
    pub fn describe(&self) -> String {
        let mut words = self.template.clone();
        if let Some(Rationales { samples, clamp }) = self.rationale {
            words += " + CoT";
            if samples > 1 {
                words += &format!(", {samples} samples");
            }
            if let Some(clamp) = clamp {
                words += &format!(", clamp {clamp}");
            }
        }
        format!("{words}, {}-shot", self.shots)
    }
}

pub(crate) fn describe(task: &str, labeler: &Labeler, question: &Question) -> String {
    format!("{task}: {}, {}", labeler.name, question.describe())
}

impl Arm {
    /// Task, labeler and question in one line.
    pub fn describe(&self) -> String {
        describe(&self.task, &self.labeler, &self.question)
    }

    /// # Errors
    /// When a pair is there twice, or a number is not what it stands for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let arm = || self.describe();
        let prices = self.price.iter().flat_map(|p| [p.input_per_1k, p.output_per_1k]);
        if let Some(price) = prices.into_iter().find(|p| !(p.is_finite() && *p >= 0.0)) {
            return Err(Error::Price { arm: arm(), price });
        }
        let mut seen = BTreeSet::new();
        for observation in &self.observations {
            let id = &observation.id;
            if !seen.insert(id) {
                return Err(Error::DuplicateId { arm: arm(), id: id.clone() });
            }
            let mut answers = observation.answers().filter_map(|answer| answer.as_ref().ok());
            if let Some(Answer { mass, .. }) = answers.find(|a| !(0.0..=1.0).contains(&a.mass)) {
                return Err(Error::Mass { arm: arm(), id: id.clone(), mass: *mass });
            }
        }
        Ok(())
    }
}

impl Observation {
    /// The answer and its repetitions.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Judgement<Answer>> {
        std::iter::once(&self.answer).chain(&self.repeats)
    }
}
