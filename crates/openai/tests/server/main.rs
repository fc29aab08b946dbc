//! The client against a server that answers, and fails, by script.

mod answers;
mod bounds;
mod failures;
mod tls;

use rlaif_openai::{Client, Endpoint, Error, Failure, GivenUp, Prompt};
use rlaif_testkit::ScriptedHttp;
use rlaif_types::Message;
use std::time::Duration;

/// An answer as OpenAI gives it.
const ANSWER: &str = r#"{
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "judge-2026-10-01",
    "system_fingerprint": "fp_1",
    "choices": [{
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": "1"},
        "logprobs": {"content": [{
            "token": "1", "bytes": [49], "logprob": -0.25,
            "top_logprobs": [
                {"token": "1", "bytes": [49], "logprob": -0.25},
                {"token": "2", "bytes": [50], "logprob": -1.75}
            ]
        }], "refusal": null}
    }],
    "usage": {
        "prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41,
        "prompt_tokens_details": {"cached_tokens": 32}
    }
}"#;

/// An endpoint at `base`, with pauses that tests need not wait for.
fn endpoint(base: &str) -> Endpoint {
    Endpoint {
        base_url: format!("{base}/v1"),
        model: "judge".to_owned(),
        max_attempts: 3,
        first_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        ..Endpoint::default()
    }
}

fn client(server: &ScriptedHttp) -> Client {
    Client::new(endpoint(&server.url())).unwrap()
}

fn prompt() -> Prompt {
    Prompt::Chat { messages: vec![Message::user("1 or 2?")], begun: "Better: ".to_owned() }
}

/// How a call failed: after how many attempts, why, and why there was no further one.
fn failed(error: Error) -> (u32, Failure, GivenUp) {
    match error {
        Error::Failed(call) => (call.attempts, call.failure, call.given_up),
        other => panic!("{other}"),
    }
}
