//! An answer: what the model said, and what the server says about it. Nothing is filled in: what a
//! server does not say is `None`, or a failure where it was asked for.

use crate::error::Failure;
use crate::logprobs::Logprobs;
use crate::refusal::Refusal;
use serde::Deserialize;
use std::ops::AddAssign;
use std::time::Duration;

/// The most likely next tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct NextToken {
    /// Texts with their natural log-probabilities, the most likely first. There may be fewer than
    /// were asked for, and several with the same text; an empty text is a special token, such as the
    /// end of the turn.
    pub candidates: Vec<(String, f64)>,
    /// Who said so.
    pub provenance: Provenance,
}

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What comes behind the prompt, and behind the first words that were given of the turn.
    pub text: String,
    /// Why it ends where it does.
    pub finish: Option<Finish>,
    /// Who said so.
    pub provenance: Provenance,
}

/// Why a text ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text came.
    Stop,
    /// `max_tokens` were generated, or the context is full: the text is cut off.
    Length,
    /// The server held part of it back.
    ContentFilter,
    /// Something else, in the server's word.
    Other(String),
}

/// What is known of an answer's origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// The model, as the server names it.
    pub model: Option<String>,
    /// What the server calls the configuration that the model ran with.
    pub system_fingerprint: Option<String>,
    /// The server's name of the request: the header `x-request-id`, or else the answer's `id`.
    pub request_id: Option<String>,
    /// Tokens used.
    pub usage: Option<Usage>,
    /// From sending the request that was answered to its answer's last byte.
    pub latency: Duration,
    /// Requests sent, with those that failed.
    pub attempts: u32,
    /// What those that failed took.
    pub lost: Lost,
}

/// Tokens that the server says it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Generated.
    pub completion_tokens: Option<u64>,
    /// Of the prompt, those found in a cache.
    pub cached_tokens: Option<u64>,
}

/// Tokens of attempts without an answer: as the server says, and an estimate where it may have worked and does not
/// say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Of prompts.
    pub prompt_tokens: u64,
    /// Generated.
    pub completion_tokens: u64,
    /// Of prompts, those found in a cache.
    pub cached_tokens: u64,
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
    }
}

impl Usage {
    /// Of prompt and answer, where both are known.
    pub fn total(&self) -> Option<u64> {
        Some(self.prompt_tokens?.saturating_add(self.completion_tokens?))
    }
}

/// The body of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub model: Option<String>,
    pub system_fingerprint: Option<String>,
    pub id: Option<String>,
    usage: Option<WireUsage>,
    choices: Option<Vec<Choice>>,
    error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    text: Option<String>,
    message: Option<ChoiceMessage>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct ChoiceMessage {
    content: Option<String>,
    refusal: Option<String>,
}

impl Reply {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let reply: Self = serde_json::from_slice(body).map_err(|e| match e.is_eof() {
            true => Failure::Broken(format!("the answer ends early: {e}")),
            false => Failure::Malformed(e.to_string()),
        })?;
        match &reply.error {
            // Gateways send what befell them under way with status 200.
            Some(error) => {
                let Refusal { message, code, status } = Refusal::from_error(error);
                let status = status.unwrap_or(200);
                Err(Failure::Status { status, message, code, retry_after: None })
            }
            None => Ok(reply),
        }
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage.as_ref().map(|usage| Usage {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens),
        })
    }

    pub(crate) fn candidates(&mut self) -> Result<Vec<(String, f64)>, Failure> {
        self.choice()?.logprobs.ok_or(Failure::NoLogprobs)?.first()
    }

    /// The text behind `begun`, which llama.cpp's server repeats before it (a model that says its
    /// own first words again would lose them here).
    pub(crate) fn text(&mut self, begun: &str) -> Result<(String, Option<Finish>), Failure> {
        let choice = self.choice()?;
        let (content, refusal) = match choice.message {
            Some(message) => (message.content, message.refusal),
            None => (choice.text, None),
        };
        let Some(text) = content else {
            let reason = choice.finish_reason.unwrap_or_else(|| "null".to_owned());
            let reason = refusal.unwrap_or_else(|| format!("finish_reason is {reason}"));
            return Err(Failure::NoText(reason));
        };
        let text = text.strip_prefix(begun).unwrap_or(&text).to_owned();
        Ok((text, choice.finish_reason.map(finish)))
    }

    fn choice(&mut self) -> Result<Choice, Failure> {
        let choices = self.choices.take().unwrap_or_default();
        choices.into_iter().next().ok_or(Failure::NoChoices)
    }
}

fn finish(reason: String) -> Finish {
    match reason.as_str() {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "content_filter" => Finish::ContentFilter,
        _ => Finish::Other(reason),
    }
}
