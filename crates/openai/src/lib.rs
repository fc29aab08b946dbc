//! A client of OpenAI-compatible endpoints for labelers that others serve. It reads the
//! log-probabilities of a next token, which verdicts are made of, and generates text.
//!
//! Calls are bounded in number, rate, time and size. What may go better is asked again, what cannot
//! is an error that says how to mend it, and nothing that the server did not say is ever an answer.
//!
//! # Servers
//!
//! | server | log-probabilities | first words of the model's turn |
//! |---|---|---|
//! | [OpenAI] | chat: at most 20; completions: at most 5; reasoning models refuse (403) | [`Prefill::UserTurn`] |
//! | [vLLM] | both, at most [`--max-logprobs`] (20) | [`Prefill::ContinueFinalMessage`] |
//! | [llama.cpp's server] | both, any number | [`Prefill::LastMessage`] |
//! | [Ollama] | since 0.12.11; older ones leave them out without a word | [`Prefill::UserTurn`] |
//!
//! llama.cpp's server, as tried with a real one (`tests/data`):
//! - On both interfaces it writes log-probabilities in chat's form, of the model's own distribution
//!   whatever the temperature and `top_k`.
//! - It repeats the first words before a generated text.
//! - The end of the turn is a candidate with an empty text.
//! - Where the most likely token is half a character, there are no log-probabilities.
//!
//! [OpenAI]: https://platform.openai.com/docs/api-reference/chat/create
//! [vLLM]: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
//! [`--max-logprobs`]: https://docs.vllm.ai/en/stable/configuration/engine_args/
//! [llama.cpp's server]: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
//! [Ollama]: https://github.com/ollama/ollama/releases/tag/v0.12.11
//!
//! vLLM's numbers are the model's own by default; with `--logprobs-mode processed_logprobs` they are
//! those behind penalties, temperature and truncation, and with its modes of logits none at all, which
//! is refused where one is above 0.
//!
//! # TLS
//!
//! rustls with ring, like all of ours. Certificates are checked against the system's authorities
//! (in a container, those of `ca-certificates`), or against [`Endpoint::ca`] alone. Proxies are taken
//! from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, but never for this machine's own addresses.

mod client;
mod endpoint;
mod error;
mod key;
mod logprobs;
mod pace;
mod refusal;
mod reply;
mod request;
mod retry;
mod transport;

pub use client::Client;
pub use endpoint::{Api, Endpoint, Prefill, TokenLimit};
pub use error::{Error, FailedCall, Failure, GivenUp, Phase};
pub use key::Key;
pub use reply::{Completion, Finish, Lost, NextToken, Provenance, Usage};
pub use request::{Generation, Prompt};
