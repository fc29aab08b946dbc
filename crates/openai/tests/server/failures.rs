//! Failures: which are tried again, which are not, and what is said of them.

use crate::{ANSWER, client, endpoint, failed, prompt};
use rlaif_openai::{Client, Endpoint, Error, Failure, GivenUp, Key, Lost, Phase};
use rlaif_testkit::{Act, ScriptedHttp};
use std::time::{Duration, Instant};

const OVERLOADED: &str = r#"{"error": {"message": "overloaded", "type": "server_error"}}"#;

#[tokio::test]
async fn what_may_pass_is_tried_again_and_attempts_are_counted() {
    for act in [
        Act::status(429, OVERLOADED),
        Act::status(500, OVERLOADED),
        Act::status(502, "<html>Bad Gateway</html>"),
        Act::status(503, ""),
        Act::status(529, OVERLOADED),
        Act::ok(r#"{"error": {"code": 502, "message": "upstream is away"}}"#),
        Act::Reset,
        Act::CutOff(ANSWER.as_bytes()[..40].to_vec()),
        // Whole to the network, but not to a reader of JSON.
        Act::ok(&ANSWER.as_bytes()[..40]),
    ] {
        let script = [act.clone(), act.clone(), Act::ok(ANSWER)];
        let server = ScriptedHttp::start(script).await;
        let told = client(&server).next_token(&prompt()).await;
        assert_eq!(told.unwrap().provenance.attempts, 3, "{act:?}");
        let requests = server.requests();
        assert_eq!(requests.len(), 3, "{act:?}");
        assert_eq!(requests[0].body, requests[2].body);
    }
}

#[tokio::test]
async fn trouble_behind_a_content_network_or_told_in_words_may_pass() {
    let told = |code: &str| Act::ok(format!(r#"{{"error": {{"message": "x", "code": {code}}}}}"#));
    for act in [
        Act::status(520, "<html>"),
        Act::status(524, ""),
        told("\"rate_limit_exceeded\""),
        told("\"server_error\""),
        told("\"503\""),
    ] {
        let server = ScriptedHttp::start([act.clone(), Act::ok(ANSWER)]).await;
        let answered = client(&server).next_token(&prompt()).await;
        assert_eq!(answered.unwrap().provenance.attempts, 2, "{act:?}");
    }
}

#[tokio::test]
async fn what_refuses_everybody_is_told_from_what_refuses_one_question() {
    let quota = r#"{"error": {"message": "no credit", "code": "insufficient_quota"}}"#;
    for (act, refuses_all) in [
        (Act::status(401, ""), true),
        (Act::status(402, ""), true),
        (Act::status(403, "<html>Attention Required!"), false),
        (Act::status(404, ""), false),
        (Act::status(429, quota), true),
        (Act::ok(quota), true),
        (Act::status(429, OVERLOADED), false),
        (Act::status(503, ""), false),
        (Act::status(400, ""), false),
        (Act::ok("{}"), false),
    ] {
        let server = ScriptedHttp::start([act.clone()]).await;
        let error = client(&server).next_token(&prompt()).await.unwrap_err();
        assert_eq!(error.is_refusal(), refuses_all, "{act:?}");
    }
}

#[tokio::test]
async fn attempts_without_an_answer_are_charged_where_the_server_may_have_worked() {
    let lost = |error: Error| match error {
        Error::Failed(call) => call.lost,
        other => panic!("{other}"),
    };
    // An answer that is no good, whose price is known.
    let mute = ANSWER.replace("\"logprobs\": {\"content\"", "\"unasked\": {\"content\"");
    let server = ScriptedHttp::start([Act::ok(mute)]).await;
    let error = client(&server).next_token(&prompt()).await.unwrap_err();
    let told = Lost { prompt_tokens: 40, completion_tokens: 1, cached_tokens: 32 };
    assert_eq!(lost(error), told);
    // Two answers of unknown price, before a good one: the prompt's 17 bytes are about five tokens.
    let torn = Act::CutOff(ANSWER.as_bytes()[..40].to_vec());
    let server = ScriptedHttp::start([torn.clone(), torn, Act::ok(ANSWER)]).await;
    let answered = client(&server).next_token(&prompt()).await.unwrap();
    let guessed = Lost { prompt_tokens: 2 * 5, completion_tokens: 2, cached_tokens: 0 };
    assert_eq!(answered.provenance.lost, guessed);
    // Who answers that something is wrong has not worked; who stands behind a gateway may have.
    let of_one = Lost { prompt_tokens: 5, completion_tokens: 1, cached_tokens: 0 };
    for (status, took) in [
        (500, Lost::default()),
        (502, of_one),
        (503, Lost::default()),
        (504, of_one),
        (520, of_one),
        (522, Lost::default()),
        (524, of_one),
    ] {
        let server = ScriptedHttp::start([Act::status(status, ""), Act::ok(ANSWER)]).await;
        let answered = client(&server).next_token(&prompt()).await.unwrap();
        assert_eq!(answered.provenance.lost, took, "{status}");
    }
}

#[tokio::test]
async fn attempts_end_at_their_bound() {
    let server = ScriptedHttp::start([Act::status(503, OVERLOADED)]).await;
    let error = client(&server).next_token(&prompt()).await.unwrap_err();
    assert!(error.is_transient());
    let text = error.to_string();
    assert!(text.contains("503 Service Unavailable: overloaded"), "{text}");
    assert!(text.contains("attempt 3") && text.contains("max_attempts"), "{text}");
    let (attempts, _, given_up) = failed(error);
    assert_eq!((attempts, given_up), (3, GivenUp::Attempts));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_would_only_come_again_is_not_repeated() {
    let quota = r#"{"error": {"message": "no credit", "code": "insufficient_quota"}}"#;
    for (act, says) in [
        (Act::status(400, r#"{"error": {"message": "too long"}}"#), "400 Bad Request: too long"),
        (Act::status(401, r#"{"error": {"message": "wrong"}}"#), "check api_key"),
        (Act::status(403, r#"{"detail": "not yours"}"#), "not yours"),
        (Act::status(404, r#"{"object": "error", "message": "no such model"}"#), "no such model"),
        (Act::status(422, r#"{"detail": [{"loc": ["body", "top_k"]}]}"#), "top_k"),
        (Act::status(429, quota), "no credit"),
        (Act::ok(r#"{"error": "model not loaded"}"#), "model not loaded"),
        (Act::ok("<html>Welcome</html>"), "base_url"),
        (Act::ok(r#"{"choices": []}"#), "no choices"),
        (Act::ok("{}"), "no choices"),
        (Act::ok(ANSWER.replace("-0.25", "NaN")), "not understood"),
        (Act::ok(ANSWER.replace("-0.25", "null")), "cannot be trusted"),
        (Act::ok(ANSWER.replace("-0.25", "0.25")), "cannot be trusted"),
    ] {
        let act = act.header("x-request-id", "req_7");
        let server = ScriptedHttp::start([act]).await;
        let error = client(&server).next_token(&prompt()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.is_transient(), "{error}");
        let (attempts, failure, given_up) = failed(error);
        assert_eq!((attempts, given_up), (1, GivenUp::Final));
        if matches!(failure, Failure::Status { status: 400.., .. }) {
            assert!(failure.to_string().contains("req_7"), "{failure}");
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_told_from_other_mistakes() {
    for (body, too_long) in [
        // Recorded from llama.cpp's server.
        (
            r#"{"error":{"code":400,"message":"request (3031 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3031,"n_ctx":1024}}"#,
            true,
        ),
        (r#"{"error": {"message": "reduce it", "code": "context_length_exceeded"}}"#, true),
        (
            r#"{"error": {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "code": 400}}"#,
            true,
        ),
        (r#"{"error": {"message": "unknown field", "code": "invalid_value"}}"#, false),
    ] {
        let server = ScriptedHttp::start([Act::status(400, body)]).await;
        let error = client(&server).next_token(&prompt()).await.unwrap_err();
        assert_eq!(error.is_prompt_too_long(), too_long, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_key_or_talks_without_end_does_not_reach_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-secret").unwrap();
    let body = format!("the key sk-secret is wrong {}", "and so on ".repeat(1_000_000));
    let unread = r#"{"choices": "sk-secret"}"#;
    let server = ScriptedHttp::start([Act::status(401, body), Act::ok(unread)]).await;
    let endpoint = Endpoint { api_key: Some(Key::File(key)), ..endpoint(&server.url()) };
    let client = Client::new(endpoint).unwrap();
    let refused = client.next_token(&prompt()).await.unwrap_err().to_string();
    assert!(refused.contains("the key *** is wrong"), "{refused}");
    assert!(refused.len() < 1_000, "{} bytes", refused.len());
    let malformed = client.next_token(&prompt()).await.unwrap_err().to_string();
    assert!(malformed.contains("***") && !malformed.contains("secret"), "{malformed}");
}

#[tokio::test]
async fn the_server_is_given_the_time_that_it_asks_for() {
    let wait = Duration::from_millis(200);
    let busy = Act::status(429, OVERLOADED).header("retry-after", "0.2");
    // A date that has passed asks for nothing.
    let passed = Act::status(503, "").header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
    let server = ScriptedHttp::start([busy, passed, Act::ok(ANSWER)]).await;
    let began = Instant::now();
    client(&server).next_token(&prompt()).await.unwrap();
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    for wait in ["3600", "Fri, 01 Jan 2100 00:00:00 GMT"] {
        let busy = Act::status(429, OVERLOADED).header("retry-after", wait);
        let server = ScriptedHttp::start([busy, Act::ok(ANSWER)]).await;
        let error = client(&server).next_token(&prompt()).await.unwrap_err();
        assert!(error.to_string().contains("deadline"), "{error}");
        let (attempts, _, given_up) = failed(error);
        assert_eq!((attempts, given_up), (1, GivenUp::Deadline));
    }
}

#[tokio::test]
async fn a_silent_or_stalled_server_is_left_in_time() {
    for (act, phase) in [(Act::Silence, Phase::Answer), (Act::Stall(ANSWER.into()), Phase::Body)] {
        let server = ScriptedHttp::start([act, Act::ok(ANSWER)]).await;
        let hasty = |max_attempts| Endpoint {
            timeout: Duration::from_millis(100),
            max_attempts,
            ..endpoint(&server.url())
        };
        let error = Client::new(hasty(1)).unwrap().next_token(&prompt()).await.unwrap_err();
        assert_eq!(failed(error).1, Failure::TimedOut(phase));
    }
    let server = ScriptedHttp::start([Act::Silence, Act::ok(ANSWER)]).await;
    // Time enough for a busy machine to answer the second attempt.
    let patient = Endpoint { timeout: Duration::from_secs(2), ..endpoint(&server.url()) };
    let told = Client::new(patient).unwrap().next_token(&prompt()).await.unwrap();
    assert_eq!(told.provenance.attempts, 2);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again() {
    let port = rlaif_testkit::free_port();
    let gone = endpoint(&format!("http://127.0.0.1:{port}"));
    let error = Client::new(gone).unwrap().next_token(&prompt()).await.unwrap_err();
    assert!(error.is_transient());
    let (attempts, failure, _) = failed(error);
    assert!(matches!(&failure, Failure::Unreachable(why) if why.contains("refused")), "{failure}");
    assert_eq!(attempts, 3);
}
