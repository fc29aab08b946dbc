//! What is asked, and how it is written as a request's body.

use crate::endpoint::{Api, Endpoint, Prefill, TokenLimit};
use crate::error::Error;
use crate::reply::{Lost, Usage};
use rlaif_types::{Message, Role, estimated_tokens};
use serde_json::{Map, Value, json};

/// What the model goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text as it stands, for [`Api::Completions`] alone: as a user's turn it would be another
    /// question.
    Text(String),
    /// A conversation that ends with the user's turn, for [`Api::Chat`] alone.
    Chat {
        /// The turns, not empty.
        messages: Vec<Message>,
        /// The first words of the model's own turn, given as the endpoint's [`Prefill`] says. Many
        /// chat templates cut white space off their end.
        begun: String,
    },
}

/// How a text is generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The most tokens, at least 1.
    pub max_tokens: u32,
    /// 0 is greedy, 1 the model's own distribution.
    pub temperature: f64,
    /// Share of the probability that is drawn from, in (0, 1].
    pub top_p: f64,
    /// Number of tokens that are drawn from. OpenAI refuses it; vLLM and llama.cpp know it.
    pub top_k: Option<u32>,
    /// Seed of the draws, where the server keeps to it.
    pub seed: Option<u64>,
    /// Texts at which to stop; they are not part of the answer. OpenAI takes at most four.
    pub stop: Vec<String>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            seed: None,
            stop: Vec::new(),
        }
    }
}

/// A request, ready to be sent as often as it takes.
#[derive(Debug)]
pub(crate) struct Request {
    /// JSON.
    pub body: Vec<u8>,
    /// About how many tokens its prompt has.
    prompt_tokens: u64,
    /// The most that are generated.
    max_tokens: u64,
}

impl Request {
    /// About how many tokens it will use.
    pub(crate) fn tokens(&self) -> u64 {
        self.prompt_tokens + self.max_tokens
    }

    /// What an attempt took that ended without an answer, by what the server says of it.
    pub(crate) fn lost(&self, usage: Option<Usage>) -> Lost {
        let usage = usage.unwrap_or_default();
        Lost {
            prompt_tokens: usage.prompt_tokens.unwrap_or(self.prompt_tokens),
            completion_tokens: usage.completion_tokens.unwrap_or(self.max_tokens),
            cached_tokens: usage.cached_tokens.unwrap_or(0),
        }
    }

    /// Asks for the log-probabilities of one token.
    ///
    /// Greedily, so that the token that is generated, though nobody reads it, is not left to chance:
    /// where it is half a character, llama.cpp's server leaves the alternatives out. Servers report
    /// the model's own distribution, before any temperature.
    pub(crate) fn next_token(endpoint: &Endpoint, prompt: &Prompt) -> Result<Self, Error> {
        let mut body = Body::new(endpoint, prompt)?;
        body.limit(1);
        body.set("temperature", json!(0));
        // Or else the server may have a default of its own.
        body.set("top_p", json!(1));
        match endpoint.api {
            Api::Chat => {
                body.set("logprobs", json!(true));
                body.set("top_logprobs", json!(endpoint.top_logprobs));
            }
            Api::Completions => body.set("logprobs", json!(endpoint.top_logprobs)),
        }
        Ok(body.finish(1))
    }

    /// Asks for a text.
    pub(crate) fn generation(
        endpoint: &Endpoint,
        prompt: &Prompt,
        options: &Generation,
    ) -> Result<Self, Error> {
        check(options)?;
        let mut body = Body::new(endpoint, prompt)?;
        body.limit(options.max_tokens);
        body.set("temperature", json!(options.temperature));
        body.set("top_p", json!(options.top_p));
        if let Some(top_k) = options.top_k {
            body.set("top_k", json!(top_k));
        }
        if let Some(seed) = options.seed {
            body.set("seed", json!(seed));
        }
        if !options.stop.is_empty() {
            body.set("stop", json!(options.stop));
        }
        Ok(body.finish(options.max_tokens))
    }
}

/// JSON has no numbers that are not finite; they would become null.
fn check(options: &Generation) -> Result<(), Error> {
    let Generation { max_tokens, temperature, top_p, .. } = options;
    let problem = if *max_tokens == 0 {
        "max_tokens must be at least 1"
    } else if !(temperature.is_finite() && *temperature >= 0.0) {
        "temperature must be a number from 0"
    } else if !(*top_p > 0.0 && *top_p <= 1.0) {
        "top_p must be above 0 and at most 1"
    } else {
        return Ok(());
    };
    Err(Error::Question(problem))
}

/// A body in the making.
struct Body<'a> {
    endpoint: &'a Endpoint,
    fields: Map<String, Value>,
    prompt_bytes: usize,
}

impl<'a> Body<'a> {
    fn new(endpoint: &'a Endpoint, prompt: &Prompt) -> Result<Self, Error> {
        let fields = Map::from_iter([
            ("model".to_owned(), json!(endpoint.model)),
            ("stream".to_owned(), json!(false)),
        ]);
        let mut body = Self { endpoint, fields, prompt_bytes: 0 };
        match (endpoint.api, prompt) {
            (Api::Completions, Prompt::Text(text)) => {
                body.prompt_bytes = text.len();
                body.set("prompt", json!(text));
            }
            (Api::Chat, Prompt::Chat { messages, begun }) => body.chat(messages, begun)?,
            (Api::Completions, Prompt::Chat { .. }) => {
                return Err(Error::Question("messages need an endpoint with api = \"chat\""));
            }
            (Api::Chat, Prompt::Text(_)) => {
                return Err(Error::Question("a text needs an endpoint with api = \"completions\""));
            }
        }
        Ok(body)
    }

    fn chat(&mut self, messages: &[Message], begun: &str) -> Result<(), Error> {
        let mut messages = messages.to_vec();
        let Some(last) = messages.last_mut().filter(|last| last.role == Role::User) else {
            return Err(Error::Question("the last message must be the user's"));
        };
        if !begun.is_empty() {
            match self.endpoint.prefill {
                Prefill::UserTurn => {
                    last.content.push_str("\n\n");
                    last.content.push_str(begun);
                }
                Prefill::LastMessage => messages.push(Message::assistant(begun)),
                Prefill::ContinueFinalMessage => {
                    messages.push(Message::assistant(begun));
                    self.set("continue_final_message", json!(true));
                    self.set("add_generation_prompt", json!(false));
                }
            }
        }
        self.prompt_bytes = messages.iter().map(|message| message.content.len()).sum();
        self.set("messages", json!(messages));
        Ok(())
    }

    fn limit(&mut self, max_tokens: u32) {
        let field = match self.endpoint.api {
            Api::Chat => self.endpoint.token_limit,
            Api::Completions => TokenLimit::MaxTokens,
        };
        self.set(field.field(), json!(max_tokens));
    }

    fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    fn finish(mut self, max_tokens: u32) -> Request {
        self.fields.extend(self.endpoint.extra.clone());
        Request {
            body: Value::Object(self.fields).to_string().into_bytes(),
            prompt_tokens: estimated_tokens(self.prompt_bytes) as u64,
            max_tokens: u64::from(max_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(api: Api, prefill: Prefill) -> Endpoint {
        Endpoint { model: "judge".to_owned(), api, prefill, top_logprobs: 5, ..Endpoint::default() }
    }

    fn chat() -> Prompt {
        Prompt::Chat { messages: vec![Message::user("1 or 2?")], begun: "Better:".to_owned() }
    }

    fn asked(endpoint: &Endpoint, prompt: &Prompt) -> Value {
        let request = Request::next_token(endpoint, prompt).unwrap();
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn each_prefill_gives_the_first_words_in_its_way() {
        let asked = |prefill| asked(&endpoint(Api::Chat, prefill), &chat());
        let body = asked(Prefill::UserTurn);
        assert_eq!(body["messages"], json!([{"role": "user", "content": "1 or 2?\n\nBetter:"}]));
        let both = json!([
            {"role": "user", "content": "1 or 2?"},
            {"role": "assistant", "content": "Better:"},
        ]);
        let body = asked(Prefill::LastMessage);
        assert_eq!(body["messages"], both);
        assert_eq!(body.get("continue_final_message"), None);
        let body = asked(Prefill::ContinueFinalMessage);
        assert_eq!(body["messages"], both);
        assert_eq!(body["continue_final_message"], true);
        assert_eq!(body["add_generation_prompt"], false);
    }

    #[test]
    fn one_token_is_asked_for_with_its_alternatives() {
        let body = asked(&endpoint(Api::Chat, Prefill::UserTurn), &chat());
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(5)));
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(1), &json!(0)));
        let completions = endpoint(Api::Completions, Prefill::UserTurn);
        let body = asked(&completions, &Prompt::Text("Better:".to_owned()));
        assert_eq!((&body["logprobs"], &body["prompt"]), (&json!(5), &json!("Better:")));
        assert_eq!(body.get("top_logprobs"), None);
        let newer = Endpoint {
            token_limit: TokenLimit::MaxCompletionTokens,
            ..endpoint(Api::Chat, Prefill::UserTurn)
        };
        assert_eq!(asked(&newer, &chat())["max_completion_tokens"], 1);
    }

    #[test]
    fn options_are_sent_where_given_and_extra_fields_win() {
        let mut endpoint = endpoint(Api::Completions, Prefill::UserTurn);
        endpoint.extra = Map::from_iter([("top_p".to_owned(), json!(0.5))]);
        let prompt = Prompt::Text("Once".to_owned());
        let options = Generation { top_k: Some(40), seed: Some(7), ..Generation::default() };
        let request = Request::generation(&endpoint, &prompt, &options).unwrap();
        assert_eq!(request.tokens(), 1 + 512);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!((&body["top_k"], &body["seed"]), (&json!(40), &json!(7)));
        assert_eq!(body["top_p"], 0.5);
        assert_eq!(body.get("stop"), None);
    }

    #[test]
    fn what_the_endpoint_cannot_be_asked_is_refused() {
        let text = Prompt::Text("Better:".to_owned());
        let chat_endpoint = endpoint(Api::Chat, Prefill::UserTurn);
        assert!(Request::next_token(&chat_endpoint, &text).is_err());
        assert!(
            Request::next_token(&endpoint(Api::Completions, Prefill::UserTurn), &chat()).is_err()
        );
        for messages in [vec![], vec![Message::user("Hi"), Message::assistant("Hello")]] {
            let prompt = Prompt::Chat { messages, begun: String::new() };
            assert!(Request::next_token(&chat_endpoint, &prompt).is_err());
        }
        for options in [
            Generation { max_tokens: 0, ..Generation::default() },
            Generation { temperature: f64::NAN, ..Generation::default() },
            Generation { top_p: 0.0, ..Generation::default() },
        ] {
            assert!(Request::generation(&chat_endpoint, &chat(), &options).is_err(), "{options:?}");
        }
    }
}
