//! What can go wrong: before anything is sent, in one attempt, and in a call as a whole.

use crate::key::Secret;
use crate::reply::Lost;
use rlaif_types::Problems;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How much of a server's words an error repeats.
const MAX_TEXT_CHARS: usize = 500;

/// Why there is no client, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings are wrong.
    #[error("endpoint: {0}")]
    Invalid(Problems),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file describes no endpoint.
    #[error("{}, line {line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The environment variable that holds the key is not there.
    #[error("the environment variable {0} holds no key; set it, or change api_key")]
    Variable(String),
    /// The key's place holds something else.
    #[error("{0} holds no key: it is empty, or has characters that no header can hold")]
    Key(String),
    /// The authorities' file is unusable.
    #[error("{path} holds no usable certificate: {reason}; give a PEM file")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no HTTP client, for example because the system has no certificates.
    #[error("cannot set up an HTTP client: {0}; for https, install ca-certificates or set ca")]
    Setup(String),
    /// The question cannot be asked of this endpoint. Nothing was sent.
    #[error("cannot ask this: {0}")]
    Question(&'static str),
    /// All attempts failed, or one did that is not worth repeating.
    #[error("{0}")]
    Failed(Box<FailedCall>),
}

/// A call that was not answered.
#[derive(Debug)]
pub struct FailedCall {
    /// Where requests went.
    pub url: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the attempts took.
    pub lost: Lost,
    /// Since the first attempt began.
    pub elapsed: Duration,
    /// What was wrong with the last attempt.
    pub failure: Failure,
    /// Why there was not another one.
    pub given_up: GivenUp,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, attempts, elapsed, failure, given_up, .. } = self;
        write!(f, "{url}: {failure} (attempt {attempts}, {elapsed:.1?}{given_up})")
    }
}

impl Error {
    /// Whether the same call may succeed later: the server was away, overloaded or slow.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Failed(call) if call.failure.is_transient())
    }

    /// Whether every other question would be refused alike until somebody mends the description, the key or the
    /// account.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Failed(call) => call.failure.is_refusal(),
            _ => true,
        }
    }

    /// Whether the prompt does not fit the model's context, as far as the server says so.
    pub fn is_prompt_too_long(&self) -> bool {
        matches!(self, Self::Failed(call) if call.failure.is_prompt_too_long())
    }
}

/// Why a call was not tried once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The failure would only come again.
    Final,
    /// `max_attempts` were made.
    Attempts,
    /// The next one would begin behind `deadline`.
    Deadline,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Final => "",
            Self::Attempts => ", the last of max_attempts",
            Self::Deadline => ", no time for another before the deadline",
        })
    }
}

/// What was waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The connection, with TLS.
    Connecting,
    /// The head of the answer.
    Answer,
    /// The rest of the answer.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "no connection within connect_timeout",
            Self::Answer => "no answer within timeout",
            Self::Body => "no end of the answer within timeout",
        })
    }
}

/// Why one attempt gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody is there: no such host, refused.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The server's certificate is not trusted.
    #[error("TLS: {0}; check base_url, or give the authority's certificate as ca")]
    Tls(String),
    /// Time ran out.
    #[error("{0}")]
    TimedOut(Phase),
    /// The connection broke, or the answer ended early.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server answered that something is wrong.
    #[error("{}: {message}{}", Named(*.status), hint(*.status))]
    Status {
        /// The HTTP status, or the one within an answer of status 200.
        status: u16,
        /// The server's words, cut off at some length and without the key.
        message: String,
        /// The server's machine-readable code, such as `insufficient_quota`.
        code: Option<String>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is longer than allowed.
    #[error("the answer has more than {0} bytes; raise max_response_bytes if that is right")]
    TooLarge(usize),
    /// The answer is not what these interfaces answer.
    #[error(
        "the answer is not understood: {0}; check that base_url is an OpenAI-compatible endpoint"
    )]
    Malformed(String),
    /// The answer holds no choice.
    #[error("the answer has no choices")]
    NoChoices,
    /// The answer holds no log-probabilities of the first token.
    #[error(
        "the answer has no log-probabilities; this server or model does not give them (or not \
         here, as for reasoning models and a token that is half a character): choose another \
         model, or set api to the server's other interface"
    )]
    NoLogprobs,
    /// A number is no log-probability.
    #[error("{0}: the server's log-probabilities cannot be trusted")]
    BadLogprobs(String),
    /// The choice holds no text.
    #[error("the answer has no text: {0}")]
    NoText(String),
}

impl Failure {
    /// Whether another attempt may go better.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Broken(_) => true,
            // A quota that is used up is told with the status of a rate that is too high.
            Self::Status { .. } if self.is_refusal() => false,
            // Those from 520 are a content network's, of the server behind it.
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524 | 529)
            }
            _ => false,
        }
    }

    /// Whether it has nothing to do with what was asked: the key or the account is wrong. 403 and 404 may be about
    /// one text, which a gateway blocks, or one request, that met a node without the model.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Status { code: Some(code), .. } if code == "insufficient_quota" => true,
            Self::Status { status, .. } => matches!(status, 401 | 402 | 407),
            _ => false,
        }
    }

    /// Whether the server may have worked for it, and charge it. Who answers that something is wrong does not, but a
    /// gateway that has had no good answer may stand before a server that goes on working.
    pub(crate) fn may_be_charged(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Tls(_) | Self::TimedOut(Phase::Connecting) => false,
            // 521 to 523 say that the server behind was not reached.
            Self::Status { status, .. } => matches!(status, 502 | 504 | 520 | 524),
            _ => true,
        }
    }

    /// Whether the prompt does not fit the model's context. OpenAI and llama.cpp have a code for it,
    /// vLLM has words.
    pub fn is_prompt_too_long(&self) -> bool {
        let Self::Status { status: 400 | 413, code, message, .. } = self else { return false };
        let codes = ["context_length_exceeded", "exceed_context_size_error"];
        code.as_deref().is_some_and(|code| codes.contains(&code))
            || message.contains("maximum context length")
    }

    /// How long the server asks to wait before the next attempt.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same without the key, and with what a server may have made long cut off.
    pub(crate) fn presentable(mut self, key: Option<&Secret>) -> Self {
        match &mut self {
            Self::Unreachable(text)
            | Self::Tls(text)
            | Self::Broken(text)
            | Self::Malformed(text)
            | Self::BadLogprobs(text)
            | Self::NoText(text)
            | Self::Status { message: text, .. } => *text = presentable(text, key),
            _ => {}
        }
        self
    }
}

/// On one line, without the key, and not too long.
fn presentable(text: &str, key: Option<&Secret>) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = key.map_or(line.clone(), |key| key.redact(&line));
    match line.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

/// A status with its name.
struct Named(u16);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = reqwest::StatusCode::from_u16(self.0).ok();
        match status.and_then(|status| status.canonical_reason()) {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "status {}", self.0),
        }
    }
}

/// What a person may do about a status.
fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "; redirects are not followed, give the final address as base_url",
        401 => "; check api_key",
        // OpenAI's answer where a model gives no log-probabilities.
        403 => "; check api_key, and that the model gives log-probabilities",
        404 => "; check base_url and model",
        _ => "",
    }
}
