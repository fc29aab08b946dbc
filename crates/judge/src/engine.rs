//! What a judge needs of whoever answers it: a model in this process, or one behind an endpoint.

use rlaif_template::Layout;
use rlaif_types::{ContentHash, Judgement};
use std::sync::Arc;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name for people.
    pub name: String,
    /// Hash of what decides the answers: weights, configuration and tokenizer; of an endpoint its
    /// address and the name of its model, which is all that can be known.
    pub hash: ContentHash,
    /// Number of weights, where it is known.
    pub parameters: Option<u64>,
}

/// One question: a text, and the verdicts that may follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is shown: the user's turn of a chat, or the beginning of one text.
    pub shown: String,
    /// The first words of the answer, given: the ending, or the beginning of a rationale.
    pub begun: String,
    /// How the two are put together.
    pub layout: Layout,
    /// What may come next.
    pub verdicts: Arc<[String]>,
    /// What is said between `begun` and the verdict.
    pub thought: Option<Thought>,
}

impl Question {
    /// The text right before the verdict.
    pub fn ending(&self) -> &str {
        self.thought.as_ref().map_or(&self.begun, |thought| &thought.ending)
    }
}

/// A rationale to be written before the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Thought {
    /// Longest, in tokens.
    pub max_tokens: usize,
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Draw from the k most likely tokens only.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Texts that end it, and do not belong to it.
    pub stop: Vec<String>,
    /// What follows it, before the verdict.
    pub ending: String,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Log-probability of each verdict, in the question's order, all spellings together; minus infinity
    /// where it cannot happen.
    pub verdict_logprobs: Vec<f64>,
    /// The rationale, where one was wanted.
    pub rationale: Option<String>,
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
}

/// Answers questions. Calls block until every question has its answer, in their order.
pub trait Engine: Send + Sync {
    /// Whether the verdicts can be told apart after `ending`.
    ///
    /// # Errors
    /// Says which cannot.
    fn check(&self, ending: &str, verdicts: &[String]) -> Result<(), String>;

    /// Answers each question; one that fails does not touch the others.
    fn read(&self, questions: &[Question]) -> Vec<Judgement<Reading>>;

    /// Who answers.
    fn identity(&self) -> &Identity;
}
