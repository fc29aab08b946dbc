//! What anything that runs a language model offers: scores and generations for token sequences.

use crate::chat::ChatTemplate;
use crate::error::Error;
use crate::tokenizer::Tokenizer;
use rlaif_types::ContentHash;
pub use rlaif_types::Finish;
use serde::{Deserialize, Serialize};

/// A question about one token sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRequest {
    /// The whole sequence. Requests that start alike share the work of their common prefix.
    pub tokens: Vec<u32>,
    /// What is asked about it.
    pub ask: Ask,
}

/// The kinds of question.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Log-probability of each candidate as the next token, under the softmax of the whole
    /// vocabulary.
    Next {
        /// Tokens to score, answered in this order.
        candidates: Vec<u32>,
    },
    /// Log-probability of each token `from..` given all before it. `from` is at least 1: the first
    /// token has nothing before it.
    Continuation {
        /// Index of the first token scored.
        from: usize,
    },
    /// Value of the scalar head at the last token; reward models only.
    Reward,
}

/// The answer to an [`Ask`], of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One log-probability per candidate.
    Next(Vec<f32>),
    /// One log-probability per token from `from` on.
    Continuation(Vec<f32>),
    /// The scalar.
    Reward(f32),
}

/// A prompt to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// Prompt tokens, at least one.
    pub prompt: Vec<u32>,
    /// How to continue it.
    pub sampling: Sampling,
    /// What to ask about the continuation, without computing prompt and continuation again.
    pub then: Vec<Then>,
}

impl GenerateRequest {
    /// A prompt to continue, about which nothing else is asked.
    pub fn new(prompt: Vec<u32>, sampling: Sampling) -> Self {
        Self { prompt, sampling, then: Vec::new() }
    }
}

/// A question that follows a continuation: what comes next after prompt, continuation (without what
/// stopped it) and these tokens?
#[derive(Debug, Clone, PartialEq)]
pub struct Then {
    /// At least one.
    pub tokens: Vec<u32>,
    /// As in [`Ask::Next`].
    pub candidates: Vec<u32>,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Stop after this many tokens.
    pub max_new_tokens: usize,
    /// Draw no stop token before this many tokens.
    pub min_new_tokens: usize,
    /// Logits are divided by this; 0 takes the most likely token.
    pub temperature: f32,
    /// Draw from the k most likely tokens only.
    pub top_k: Option<usize>,
    /// Draw from the smallest set of most likely tokens whose probability reaches p.
    pub top_p: Option<f32>,
    /// Tokens that end the sequence.
    pub stop_tokens: Vec<u32>,
    /// Texts that end the sequence once it contains one of them, however they are spelled in tokens,
    /// and once it has `min_new_tokens`. The token that completes one is kept.
    pub stop_texts: Vec<String>,
    /// Seed of this request alone: its draws do not depend on what else is in the batch.
    pub seed: u64,
}

impl Sampling {
    /// How many of the drawn `tokens` come before what stopped them: a stop token, or a stop text and
    /// whatever the tokens that spell it hold besides.
    pub fn content_len(&self, tokens: &[u32], tokenizer: &Tokenizer) -> usize {
        let mut len = tokens.len();
        if tokens.last().is_some_and(|last| self.stop_tokens.contains(last)) {
            len -= 1;
        }
        let text = tokenizer.decode(&tokens[..len]);
        let Some(end) = self.stop_texts.iter().filter_map(|stop| text.find(stop)).min() else {
            return len;
        };
        while len > 0 && tokenizer.decode(&tokens[..len]).len() > end {
            len -= 1;
        }
        len
    }
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Drawn tokens, the stop token included where one was drawn.
    pub tokens: Vec<u32>,
    /// Log-probability of each under `softmax(logits / temperature)` before top-k and top-p, at
    /// temperature 1 for greedy decoding: what a learner computes for the same token.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
    /// Log-probabilities of the candidates of each [`Then`], in their order.
    pub then: Vec<Vec<f32>>,
}

/// Facts about a loaded model, for provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Name for people.
    pub name: String,
    /// Hash of weights, configuration, tokenizer and chat template.
    pub hash: ContentHash,
    /// Longest sequence, in tokens.
    pub context_length: usize,
    /// Number of weights.
    pub parameters: u64,
}

/// Anything that scores and generates: an engine, or a test's stand-in.
///
/// Calls block until everything asked is answered, in the order asked.
pub trait LanguageModel: Send + Sync {
    /// Answers each request.
    ///
    /// # Errors
    /// When a sequence does not fit the context or has no such answer, or the engine is gone.
    fn score(&self, requests: Vec<ScoreRequest>) -> Result<Vec<Answer>, Error> {
        self.score_after(0, requests)
    }

    /// Answers each request. The first `beginning` tokens, where all requests have the same, will come again
    /// in later calls: they are worth remembering.
    ///
    /// # Errors
    /// As [`LanguageModel::score`].
    fn score_after(
        &self,
        beginning: usize,
        requests: Vec<ScoreRequest>,
    ) -> Result<Vec<Answer>, Error>;

    /// Continues each prompt.
    ///
    /// # Errors
    /// When a prompt is empty or does not fit the context, or the engine is gone.
    fn generate(&self, requests: Vec<GenerateRequest>) -> Result<Vec<Generation>, Error>;

    /// The model's tokenizer.
    fn tokenizer(&self) -> &Tokenizer;

    /// The model's chat template, where it has one.
    fn chat_template(&self) -> Option<&ChatTemplate>;

    /// Facts for provenance.
    fn info(&self) -> &ModelInfo;
}
