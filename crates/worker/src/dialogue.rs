//! Prompts and responses as tokens of one model.

use crate::Failure;
use rlaif_job::SamplingConfig;
use rlaif_models::{ChatTemplate, GenerateRequest, LanguageModel, Sampling, Tokenizer};
use rlaif_types::{Finish, Message, Prompt, Unscorable, UnscorableReason};

/// Turns prompts and responses into a model's tokens, the same way in every stage.
#[derive(Clone)]
pub struct Dialogue {
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    context_length: usize,
}

/// Why a prompt cannot be put to a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Nothing to respond to.
    #[error("the prompt is empty")]
    Empty,
    /// No room for the response.
    #[error(
        "the prompt has {tokens} tokens; with {response_tokens} for the response it does not fit \
         the model's context of {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens kept for the response.
        response_tokens: usize,
        /// Tokens the model can see.
        context: usize,
    },
    /// Several turns for a model that continues text.
    #[error("the prompt is a conversation, but policy.chat is false")]
    Conversation,
    /// The chat template does not take it.
    #[error("{0}")]
    Refused(String),
}

impl From<PromptError> for Unscorable {
    fn from(why: PromptError) -> Self {
        let reason = match why {
            PromptError::TooLong { .. } => UnscorableReason::PromptTooLong,
            _ => UnscorableReason::BadItem,
        };
        Self::new(reason, why.to_string())
    }
}

impl Dialogue {
    /// The dialogue of a model with this tokenizer and template; with `chat`, prompts go through the
    /// template.
    ///
    /// # Errors
    /// When a chat is asked of a model without a chat template.
    pub fn new(
        tokenizer: &Tokenizer,
        template: Option<&ChatTemplate>,
        context_length: usize,
        chat: bool,
    ) -> Result<Self, Failure> {
        if chat && template.is_none() {
            return Err(Failure::impossible(
                "policy.chat is true, but the model has no chat template; set it to false",
            ));
        }
        let chat = template.filter(|_| chat).cloned();
        Ok(Self { tokenizer: tokenizer.clone(), chat, context_length })
    }

    /// The dialogue of the model that `engine` runs.
    ///
    /// # Errors
    /// When a chat is asked of a model without a chat template.
    pub fn with(engine: &dyn LanguageModel, chat: bool) -> Result<Self, Failure> {
        let context_length = engine.info().context_length;
        Self::new(engine.tokenizer(), engine.chat_template(), context_length, chat)
    }

    /// The dialogue of a loaded model.
    ///
    /// # Errors
    /// When a chat is asked of a model without a chat template.
    pub fn of(checkpoint: &rlaif_models::Checkpoint, chat: bool) -> Result<Self, Failure> {
        let (template, config) = (checkpoint.chat_template.as_ref(), &checkpoint.config);
        Self::new(&checkpoint.tokenizer, template, config.max_position_embeddings, chat)
    }

    /// Tokens of a prompt, up to where the response begins.
    ///
    /// # Errors
    /// When it is empty, leaves no room for `response_tokens`, or the chat template refuses it.
    pub fn prompt(&self, prompt: &Prompt, response_tokens: usize) -> Result<Vec<u32>, PromptError> {
        let tokens = match (&self.chat, prompt) {
            (Some(chat), prompt) => {
                let messages = match prompt {
                    Prompt::Text(text) => vec![Message::user(text)],
                    Prompt::Messages(messages) => messages.clone(),
                };
                let tokens = chat.encode(&self.tokenizer, &messages, true);
                tokens.map_err(|e| PromptError::Refused(e.to_string()))?
            }
            (None, Prompt::Text(text)) => self.tokenizer.encode_text(text),
            (None, Prompt::Messages(_)) => return Err(PromptError::Conversation),
        };
        if tokens.is_empty() {
            return Err(PromptError::Empty);
        }
        if tokens.len() + response_tokens > self.context_length {
            return Err(PromptError::TooLong {
                tokens: tokens.len(),
                response_tokens,
                context: self.context_length,
            });
        }
        Ok(tokens)
    }

    /// Tokens of a given response, which goes on from its prompt, with the token that a text is ended with.
    pub fn response(&self, text: &str) -> Vec<u32> {
        let mut tokens = self.tokenizer.encode_continuation(text);
        tokens.extend(self.tokenizer.eos_ids().first());
        tokens
    }

    /// Tokens of a given response as a policy learns it; none where it says nothing. One that was cut off has no end
    /// to learn, nor the replacement of a character that the cut left half of.
    pub fn lesson(&self, text: &str, finish: Finish) -> Option<Vec<u32>> {
        let (text, tokens) = match finish {
            Finish::Stop => (text, self.response(text)),
            Finish::Length => {
                let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER).trim_end();
                (whole, self.tokenizer.encode_continuation(whole))
            }
        };
        (!text.is_empty()).then_some(tokens)
    }

    /// A drawn response's tokens as a reader of text sees them.
    pub fn text(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens).trim().to_owned()
    }

    /// A request for a response.
    pub fn request(&self, prompt: Vec<u32>, how: &SamplingConfig, seed: u64) -> GenerateRequest {
        let sampling = Sampling {
            max_new_tokens: how.max_new_tokens,
            min_new_tokens: how.min_new_tokens,
            temperature: how.temperature,
            top_k: None,
            top_p: None,
            stop_tokens: self.tokenizer.eos_ids().to_vec(),
            stop_texts: how.stop.clone(),
            seed,
        };
        GenerateRequest::new(prompt, sampling)
    }
}
