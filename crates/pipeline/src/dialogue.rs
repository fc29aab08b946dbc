//! Prompts and responses as tokens of one model.

use rlaif_job::SamplingConfig;
use rlaif_models::{ChatTemplate, Error, GenerateRequest, Sampling, Tokenizer};
use rlaif_types::{Message, Prompt};

/// Turns prompts and responses into a model's tokens, the same way in every stage.
#[derive(Clone)]
pub struct Dialogue {
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    context_length: usize,
}

impl Dialogue {
    /// # Errors
    /// When a chat is asked of a model without a chat template.
    pub fn new(
        tokenizer: Tokenizer,
        chat: Option<Option<ChatTemplate>>,
        context_length: usize,
    ) -> Result<Self, Error> {
        let chat = match chat {
            Some(None) => {
                return Err(Error::BadRequest(
                    "policy.chat is true, but the model has no chat template; set it to false"
                        .into(),
                ));
            }
            Some(template) => template,
            None => None,
        };
        Ok(Self { tokenizer, chat, context_length })
    }

    /// Tokens of a prompt, up to where the response begins.
    ///
    /// # Errors
    /// When it is empty, leaves no room for `response_tokens`, or the chat template refuses it.
    pub fn prompt(&self, prompt: &Prompt, response_tokens: usize) -> Result<Vec<u32>, String> {
        let tokens = match (&self.chat, prompt) {
            (Some(chat), prompt) => {
                let messages = match prompt {
                    Prompt::Text(text) => vec![Message::user(text)],
                    Prompt::Messages(messages) => messages.clone(),
                };
                chat.encode(&self.tokenizer, &messages, true).map_err(|e| e.to_string())?
            }
            (None, Prompt::Text(text)) => self.tokenizer.encode_plain(text),
            (None, Prompt::Messages(_)) => {
                return Err("the prompt is a conversation, but policy.chat is false".into());
            }
        };
        if tokens.is_empty() {
            return Err("the prompt is empty".into());
        }
        let needed = tokens.len() + response_tokens;
        if needed > self.context_length {
            return Err(format!(
                "the prompt has {} tokens; with {response_tokens} for the response it does not \
                 fit the model's context of {}",
                tokens.len(),
                self.context_length
            ));
        }
        Ok(tokens)
    }

    /// Tokens of a given response, with the token that ends a text.
    pub fn response(&self, text: &str) -> Vec<u32> {
        let mut tokens = self.tokenizer.encode_plain(text);
        tokens.extend(self.tokenizer.eos_ids().first());
        tokens
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
        GenerateRequest { prompt, sampling }
    }
}
