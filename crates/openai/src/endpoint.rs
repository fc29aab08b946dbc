//! Where a model is served and how it may be asked: a section of a job or configuration file.

use crate::Error;
use crate::key::Key;
use reqwest::Url;
use rlaif_types::Problems;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the client itself puts into a request's body, so `extra` may not.
const OURS: [&str; 16] = [
    "add_generation_prompt",
    "best_of",
    "continue_final_message",
    "echo",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "prompt",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "top_logprobs",
];

/// Longer than any answer takes.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// An endpoint. All but `base_url` and `model` have defaults; durations are written `"30s"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// Address up to the version: `https://api.openai.com/v1`, `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// Which of its states the model is in, in its owner's words: labels of another revision are another labeler's.
    /// For a model that changes behind its name. It is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Which of the two interfaces is called.
    pub api: Api,
    /// How the first words of the model's own turn are given. Chat only.
    pub prefill: Prefill,
    /// Which field bounds the tokens to generate. Chat only.
    pub token_limit: TokenLimit,
    /// Where the key is kept; servers without keys need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Key>,
    /// Lets the key travel over plain HTTP to another machine, as within a cluster's own network.
    pub allow_key_over_http: bool,
    /// PEM file with the authorities that the server's certificate is checked against, instead of
    /// the system's (`ca-certificates` in a container).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How many of the most likely tokens are asked for. OpenAI gives at most 20 (5 on
    /// completions), vLLM as many as its `--max-logprobs`, which is 20 unless set.
    pub top_logprobs: u8,
    /// Requests at once; further calls wait.
    pub max_concurrency: usize,
    /// Requests sent per minute, attempts after failures included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens per minute, of prompts and answers. What a request will use is estimated before it is
    /// sent, and corrected by what the server says that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// How long connecting may take, with TLS.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long an attempt may take, up to the last byte of its answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long all attempts may take, with the pauses between them. It runs from the first attempt:
    /// waiting for `max_concurrency` and the rates is waiting for the caller's own other calls.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Attempts in all; 1 repeats nothing.
    pub max_attempts: u32,
    /// Longest pause before the second attempt; doubled for each one after. The pause is drawn
    /// evenly between nothing and it, and comes on top of what the server asks for.
    #[serde(with = "humantime_serde")]
    pub first_backoff: Duration,
    /// Where the doubling ends.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
    /// The largest answer that is read.
    pub max_response_bytes: usize,
    /// Further fields of every request's body, such as `chat_template_kwargs`; they win over the
    /// client's `temperature`, `top_p` and `top_k`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/chat/completions`: the server renders messages with the model's chat template.
    #[default]
    Chat,
    /// `/completions`: the model goes on with a text as it stands.
    Completions,
}

impl Api {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
        }
    }
}

/// How a chat request gives the first words of the model's own turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefill {
    /// They end the user's turn, behind an empty line. The model sees them, but did not say them:
    /// all that a server without either of the others can do.
    #[default]
    UserTurn,
    /// A trailing message of the assistant, which llama.cpp's server goes on with.
    LastMessage,
    /// The same with `continue_final_message` and without `add_generation_prompt`, as vLLM and
    /// SGLang want it said.
    ContinueFinalMessage,
}

/// The field that bounds what a chat request generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// `max_tokens`, which every server knows.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which OpenAI's newer models insist on.
    MaxCompletionTokens,
}

impl TokenLimit {
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            revision: None,
            api: Api::default(),
            prefill: Prefill::default(),
            token_limit: TokenLimit::default(),
            api_key: None,
            allow_key_over_http: false,
            ca: None,
            top_logprobs: 20,
            max_concurrency: 8,
            requests_per_minute: None,
            tokens_per_minute: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            deadline: Duration::from_secs(300),
            max_attempts: 6,
            first_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            max_response_bytes: 4 << 20,
            extra: Map::new(),
        }
    }
}

impl Endpoint {
    /// Reads a file that describes one, as TOML.
    ///
    /// # Errors
    /// When it cannot be read, or is no such file. The message names the line and repeats none of it: who
    /// names the file may not be who is allowed to read it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
            let line = before.matches('\n').count() + 1;
            let what = error.message().to_owned();
            Error::Malformed { path: path.to_owned(), line, what }
        })
    }

    /// What is wrong with it, all at once.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::default();
        self.validate_address(&mut problems);
        problems.check(!self.model.trim().is_empty(), "model", "must be given");
        problems.check_positive("top_logprobs", self.top_logprobs.into());
        problems.check_positive("max_concurrency", self.max_concurrency);
        for (field, rate) in [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
        ] {
            problems.check(rate != Some(0), field, "must be at least 1; leave it out for no bound");
        }
        for (field, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("deadline", self.deadline),
        ] {
            let fits = !duration.is_zero() && duration <= MAX_DURATION;
            problems.check(fits, field, "must be above zero and at most a day");
        }
        problems.check(self.max_attempts > 0, "max_attempts", "must be at least 1");
        problems.check(
            self.first_backoff <= self.max_backoff,
            "first_backoff",
            "must not be above max_backoff",
        );
        problems.check_positive("max_response_bytes", self.max_response_bytes);
        for field in self.extra.keys().filter(|field| OURS.contains(&field.as_str())) {
            problems.check(false, &format!("extra.{field}"), "is set by the client");
        }
        problems
    }

    fn validate_address(&self, problems: &mut Problems) {
        let url = match Url::parse(&self.base_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => return problems.check(false, "base_url", "must be like http://host:port/v1"),
        };
        problems.check(
            url.username().is_empty() && url.password().is_none(),
            "base_url",
            "must not hold a password; give it as api_key",
        );
        problems.check(
            url.query().is_none() && url.fragment().is_none(),
            "base_url",
            "must end with its path",
        );
        let plain = url.scheme() == "http";
        problems.check(self.ca.is_none() || !plain, "ca", "is for https addresses only");
        problems.check(
            self.api_key.is_none() || !plain || is_loopback(&url) || self.allow_key_over_http,
            "base_url",
            "must be https: the key would travel in the clear (or set allow_key_over_http = true)",
        );
    }

    /// Where requests go; only of a [valid](Self::validate) endpoint.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base_url.trim_end_matches('/'), self.api.path())
    }
}

/// Whether the address is this machine's own.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Endpoint {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_section_of_a_file_is_read_and_written() {
        let endpoint = read(
            r#"
            base_url = "https://judge.example/v1"
            model = "judge"
            prefill = "continue_final_message"
            api_key = { env = "JUDGE_KEY" }
            timeout = "90s"
            extra = { chat_template_kwargs = { enable_thinking = false } }
            "#,
        );
        assert!(endpoint.validate().is_empty(), "{}", endpoint.validate());
        assert_eq!(endpoint.timeout, Duration::from_secs(90));
        assert_eq!(endpoint.top_logprobs, 20);
        assert_eq!(read(&toml::to_string(&endpoint).unwrap()), endpoint);
        let unknown = toml::from_str::<Endpoint>("temperatur = 1").unwrap_err();
        assert!(unknown.to_string().contains("temperatur"), "{unknown}");
    }

    #[test]
    fn all_problems_are_listed_by_field() {
        let endpoint = Endpoint {
            base_url: "localhost:8080".to_owned(),
            top_logprobs: 0,
            requests_per_minute: Some(0),
            deadline: Duration::ZERO,
            max_attempts: 0,
            first_backoff: Duration::from_secs(60),
            extra: Map::from_iter([("stream".to_owned(), true.into())]),
            ..Endpoint::default()
        };
        let fields: Vec<String> = endpoint.validate().0.into_iter().map(|p| p.field).collect();
        assert_eq!(
            fields,
            [
                "base_url",
                "model",
                "top_logprobs",
                "requests_per_minute",
                "deadline",
                "max_attempts",
                "first_backoff",
                "extra.stream"
            ]
        );
    }

    #[test]
    fn a_key_leaves_the_machine_in_the_clear_only_when_told_so() {
        let endpoint = |base_url: &str, allow| Endpoint {
            base_url: base_url.to_owned(),
            model: "m".to_owned(),
            api_key: Some(Key::Env("K".to_owned())),
            allow_key_over_http: allow,
            ..Endpoint::default()
        };
        assert!(endpoint("http://[::1]:8000/v1", false).validate().is_empty());
        assert!(endpoint("https://judge/v1", false).validate().is_empty());
        assert!(endpoint("http://judge:8000/v1", true).validate().is_empty());
        let problems = endpoint("http://judge:8000/v1", false).validate().to_string();
        assert!(problems.contains("in the clear"), "{problems}");
        let problems = endpoint("https://me:secret@judge/v1", false).validate().to_string();
        assert!(problems.contains("api_key") && !problems.contains("secret"), "{problems}");
    }
}
