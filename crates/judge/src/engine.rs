//! What a judge needs of whoever answers it: a model in this process, or one behind an endpoint.

use rlaif_template::Layout;
use rlaif_types::{ContentHash, Judgement, Unscorable};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::sync::Arc;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name for people.
    pub name: String,
    /// Hash of what decides the answers: weights, configuration, tokenizer and chat template; of an endpoint its
    /// address, the name of its model, the revision that its owner says, and how it is asked, which is all that can
    /// be known.
    pub hash: ContentHash,
    /// Number of weights, where it is known.
    pub parameters: Option<u64>,
    /// [`Identity::LOCAL`], or the endpoint's address. Where a model runs decides no answer.
    pub place: String,
}

impl Identity {
    /// The place of models of this process.
    pub const LOCAL: &str = "local";

    /// Whether it is a model of this process.
    pub fn is_local(&self) -> bool {
        self.place == Self::LOCAL
    }
}

/// One question: a text, and the verdicts that may follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is shown: the user's turn of a chat, or the beginning of one text.
    pub shown: String,
    /// Bytes of `shown` that the judge shows in all its questions: preamble and exemplars.
    pub fixed: usize,
    /// The first words of the answer, given: the ending, or the beginning of a rationale.
    pub begun: String,
    /// How the two are put together.
    pub layout: Layout,
    /// What may come next; none where the rationale alone is wanted.
    pub verdicts: Arc<[String]>,
    /// What is said between `begun` and the verdict.
    pub thought: Option<Thought>,
}

impl Question {
    /// The text right before the verdict.
    pub fn ending(&self) -> &str {
        self.thought.as_ref().map_or(&self.begun, |thought| &thought.ending)
    }

    /// Where a rationale is wanted, the question for it alone. What is asked behind it does not matter to it.
    pub(crate) fn rationale(&self) -> Option<Self> {
        let thought = Thought { ending: String::new(), ..self.thought.clone()? };
        let verdicts = Vec::<String>::new().into();
        Some(Self { verdicts, thought: Some(thought), ..self.clone() })
    }

    /// The question for the verdict behind this rationale.
    pub(crate) fn after(&self, rationale: &str) -> Self {
        let begun = format!("{}{rationale}{}", self.begun, self.ending());
        Self { begun, thought: None, ..self.clone() }
    }
}

/// Tokens that a chat template puts around a turn, and more.
const TURN_TOKENS: usize = 256;

impl Question {
    /// The most that answering it can take where the tokenizer is not known, and reading its verdicts takes so many
    /// `calls`: a token spells at least a byte.
    pub(crate) fn at_most_by_bytes(&self, calls: usize) -> Effort {
        let read = self.shown.len() + self.begun.len() + TURN_TOKENS;
        let (thought, ending) = match &self.thought {
            Some(thought) => (thought.max_tokens, thought.ending.len()),
            None => (0, 0),
        };
        let again = calls * (read + thought + ending);
        Effort {
            prompt_tokens: if thought > 0 { read + again } else { again },
            completion_tokens: thought + calls,
            ..Effort::default()
        }
    }
}

/// A rationale to be written before the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Thought {
    /// Longest, in tokens.
    pub max_tokens: usize,
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Draw from the k most likely tokens only; 0 from all.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Texts that end it, and do not belong to it.
    pub stop: Vec<String>,
    /// What follows it, before the verdict.
    pub ending: String,
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Log-probability of each verdict, in the question's order, all spellings together; minus infinity
    /// where it cannot happen. None where the rationale alone was wanted.
    pub verdict_logprobs: Vec<f64>,
    /// The rationale, where one was wanted.
    pub rationale: Option<String>,
    /// Tokens read by the calls that gave it. What calls took that came to nothing is part of the effort alone: a
    /// label's numbers do not depend on how often its endpoint was away.
    #[serde(default)]
    pub prompt_tokens: usize,
    /// Tokens written by those.
    #[serde(default)]
    pub completion_tokens: usize,
}

impl Reading {
    /// The verdict as one answer with the rationale that it stands behind.
    pub(crate) fn behind(self, rationale: &Self) -> Self {
        Self {
            rationale: rationale.rationale.clone(),
            prompt_tokens: self.prompt_tokens + rationale.prompt_tokens,
            completion_tokens: self.completion_tokens + rationale.completion_tokens,
            ..self
        }
    }
}

/// What an answer took, or the attempt at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Of these, those that an endpoint remembered.
    pub cached_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
    /// Calls, those that were repeated after a failure included.
    pub attempts: u32,
}

impl Effort {
    /// What is left without `other`.
    pub fn without(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_sub(other.prompt_tokens),
            cached_tokens: self.cached_tokens.saturating_sub(other.cached_tokens),
            completion_tokens: self.completion_tokens.saturating_sub(other.completion_tokens),
            attempts: self.attempts.saturating_sub(other.attempts),
        }
    }
}

impl AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.attempts += other.attempts;
    }
}

/// What came of a question, and what that took: failures are paid for, too.
#[derive(Debug, Clone, PartialEq)]
pub struct Accounted<T> {
    /// The answer, or why there is none.
    pub outcome: Judgement<T>,
    /// What it took.
    pub effort: Effort,
}

impl<T> Accounted<T> {
    /// What was never asked, because it cannot be.
    pub fn unasked(why: Unscorable) -> Self {
        Self { outcome: Err(why), effort: Effort::default() }
    }

    /// What `f` makes of the answer, for the same effort.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Judgement<U>) -> Accounted<U> {
        Accounted { outcome: self.outcome.and_then(f), effort: self.effort }
    }
}

/// Answers that have come, each with its question's place.
pub type News<'a> = &'a [(usize, &'a Accounted<Reading>)];

/// Answers questions. Calls block until every question has its answer, in their order.
pub trait Engine: Send + Sync {
    /// Whether the verdicts can be told apart after `ending`.
    ///
    /// # Errors
    /// Says which cannot.
    fn check(&self, ending: &str, verdicts: &[String]) -> Result<(), String>;

    /// Answers each question; one that fails does not touch the others.
    fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>>;

    /// [`Engine::read`] that tells of answers as soon as they are there, by their place; of those that did
    /// not have to be asked for it may say nothing.
    fn read_each(
        &self,
        questions: &[Question],
        told: &mut dyn FnMut(News<'_>),
    ) -> Vec<Accounted<Reading>> {
        let answers = self.read(questions);
        told(&answers.iter().enumerate().collect::<Vec<_>>());
        answers
    }

    /// Tokens of a question's prompt, as it is asked first; an estimate where the tokenizer is not known.
    fn prompt_tokens(&self, question: &Question) -> usize;

    /// The most that answering a question can take, attempts that are repeated aside: what a budget has to set aside.
    /// As is, a bound for who reads the verdicts in one call and whose tokenizer is not known.
    fn at_most(&self, question: &Question) -> Effort {
        question.at_most_by_bytes(1)
    }

    /// Whether a question and its answer have room in the context; where nobody knows how long that is, they
    /// are taken to have.
    fn fits(&self, _question: &Question) -> bool {
        true
    }

    /// Who answers.
    fn identity(&self) -> &Identity;
}
