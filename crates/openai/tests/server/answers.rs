//! Answers: what is read from them, and what was asked for.

use crate::{ANSWER, client, endpoint, failed, prompt};
use rlaif_openai::{
    Api, Client, Endpoint, Failure, Finish, Generation, Key, Prefill, Prompt, Usage,
};
use rlaif_testkit::{Act, ScriptedHttp};
use rlaif_types::Message;
use serde_json::Value;

// Recorded from llama.cpp's server (xllamacpp 2026.10.11549) with SmolLM2-135M-Instruct.
const LLAMA_CHAT: &str = include_str!("../data/llama_cpp_chat.json");
const LLAMA_COMPLETIONS: &str = include_str!("../data/llama_cpp_completions.json");
const LLAMA_END_OF_TURN: &str = include_str!("../data/llama_cpp_end_of_turn.json");
const LLAMA_HALF_A_CHARACTER: &str = include_str!("../data/llama_cpp_half_a_character.json");

/// vLLM's form of completions.
const LEGACY: &str = r#"{
    "id": "cmpl-1", "object": "text_completion", "model": "judge",
    "choices": [{
        "index": 0, "text": " 1", "finish_reason": "length",
        "logprobs": {
            "text_offset": [0], "tokens": [" 1"], "token_logprobs": [-0.5],
            "top_logprobs": [{" 1": -0.5, " 2": -1.5}]
        }
    }],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": null}
}"#;

async fn serving(answer: &str, api: Api) -> (ScriptedHttp, Client) {
    let server = ScriptedHttp::start([Act::ok(answer)]).await;
    let endpoint = Endpoint { api, prefill: Prefill::LastMessage, ..endpoint(&server.url()) };
    let client = Client::new(endpoint).unwrap();
    (server, client)
}

fn texts(candidates: &[(String, f64)]) -> Vec<&str> {
    candidates.iter().map(|(text, _)| text.as_str()).collect()
}

#[tokio::test]
async fn a_next_token_comes_with_all_that_the_server_tells() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-secret\n").unwrap();
    let answer = Act::ok(ANSWER).header("x-request-id", "req_7");
    let server = ScriptedHttp::start([answer]).await;
    let endpoint = Endpoint { api_key: Some(Key::File(key)), ..endpoint(&server.url()) };
    let client = Client::new(endpoint).unwrap();
    assert!(!format!("{client:?}").contains("sk-secret"));

    let told = client.next_token(&prompt()).await.unwrap();
    assert_eq!(told.candidates, [("1".to_owned(), -0.25), ("2".to_owned(), -1.75)]);
    let of = told.provenance;
    assert_eq!(of.model.as_deref(), Some("judge-2026-10-01"));
    assert_eq!(of.system_fingerprint.as_deref(), Some("fp_1"));
    assert_eq!(of.request_id.as_deref(), Some("req_7"));
    let usage =
        Usage { prompt_tokens: Some(40), completion_tokens: Some(1), cached_tokens: Some(32) };
    assert_eq!((of.usage, of.attempts), (Some(usage), 1));

    let request = server.requests().remove(0);
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some("Bearer sk-secret"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["model"], "judge");
    assert_eq!(body["messages"][0]["content"], "1 or 2?\n\nBetter: ");
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&true.into(), &20.into()));
}

#[tokio::test]
async fn what_the_server_does_not_tell_is_not_filled_in() {
    let answer = r#"{"choices": [{"logprobs": {"content": [
        {"top_logprobs": [{"token": "1", "logprob": -0.5}]}
    ]}}]}"#;
    let (server, client) = serving(answer, Api::Chat).await;
    let told = client.next_token(&prompt()).await.unwrap();
    // Fewer than the twenty that were asked for.
    assert_eq!(told.candidates, [("1".to_owned(), -0.5)]);
    let of = told.provenance;
    assert_eq!((of.model, of.system_fingerprint, of.request_id), (None, None, None));
    assert_eq!(of.usage, None);
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_recorded_chat_of_llama_cpp_is_read() {
    let (_server, client) = serving(LLAMA_CHAT, Api::Chat).await;
    let told = client.next_token(&prompt()).await.unwrap();
    assert_eq!(texts(&told.candidates), [" ", "1", "2", " One", " Pre"]);
    assert_eq!(told.candidates[1].1, -1.5958222150802612);
    assert_eq!(told.provenance.model.as_deref(), Some("SmolLM2-135M-Instruct.Q4_1.gguf"));
    assert_eq!(told.provenance.usage.unwrap().total(), Some(50));
}

#[tokio::test]
async fn the_end_of_the_turn_is_a_candidate_without_text() {
    let (_server, client) = serving(LLAMA_END_OF_TURN, Api::Chat).await;
    let told = client.next_token(&prompt()).await.unwrap();
    assert_eq!(texts(&told.candidates), [" We", "", " What"]);
}

#[tokio::test]
async fn both_forms_of_completions_are_read() {
    let text = Prompt::Text("The best answer is number".to_owned());
    let (server, client) = serving(LEGACY, Api::Completions).await;
    let told = client.next_token(&text).await.unwrap();
    assert_eq!(told.candidates, [(" 1".to_owned(), -0.5), (" 2".to_owned(), -1.5)]);
    assert_eq!(told.provenance.request_id.as_deref(), Some("cmpl-1"));
    assert_eq!(server.requests()[0].path, "/v1/completions");

    let (_server, client) = serving(LLAMA_COMPLETIONS, Api::Completions).await;
    let told = client.next_token(&text).await.unwrap();
    assert_eq!(texts(&told.candidates), [" ", " one", " three"]);
}

#[tokio::test]
async fn an_answer_without_log_probabilities_is_an_error_that_says_how_to_mend_it() {
    let text = Prompt::Text("Emoji: ".to_owned());
    let (server, client) = serving(LLAMA_HALF_A_CHARACTER, Api::Completions).await;
    let error = client.next_token(&text).await.unwrap_err();
    assert!(error.to_string().contains("choose another model"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(failed(error).1, Failure::NoLogprobs);
    assert_eq!(server.requests().len(), 1);
    // As Ollama before 0.12.11: the field is not there at all.
    let answer = r#"{"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}]}"#;
    let (_server, client) = serving(answer, Api::Chat).await;
    assert_eq!(failed(client.next_token(&prompt()).await.unwrap_err()).1, Failure::NoLogprobs);
}

#[tokio::test]
async fn a_text_is_generated_and_repeated_first_words_are_cut_off() {
    let answer = r#"{"model": "judge", "choices": [{
        "message": {"content": "My name is Elena"}, "finish_reason": "length"
    }]}"#;
    let (server, client) = serving(answer, Api::Chat).await;
    let messages = vec![Message::user("Hi")];
    let prompt = Prompt::Chat { messages, begun: "My name is".to_owned() };
    let options =
        Generation { max_tokens: 3, stop: vec!["\n".to_owned()], ..Generation::default() };
    let completion = client.generate(&prompt, &options).await.unwrap();
    assert_eq!(completion.text, " Elena");
    assert_eq!(completion.finish, Some(Finish::Length));
    assert_eq!(completion.provenance.usage, None);
    let body: Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    assert_eq!((&body["max_tokens"], &body["stop"][0]), (&3.into(), &"\n".into()));

    let (_server, client) = serving(LEGACY, Api::Completions).await;
    let text = Prompt::Text("Better:".to_owned());
    assert_eq!(client.generate(&text, &options).await.unwrap().text, " 1");
}

#[tokio::test]
async fn a_choice_without_text_is_no_empty_text() {
    for (choice, says) in [
        (r#"{"message": {"content": null}, "finish_reason": "tool_calls"}"#, "tool_calls"),
        (r#"{"message": {"content": null, "refusal": "I will not"}}"#, "I will not"),
        (r#"{"finish_reason": "content_filter"}"#, "content_filter"),
    ] {
        let server = ScriptedHttp::start([Act::ok(format!(r#"{{"choices": [{choice}]}}"#))]).await;
        let options = Generation::default();
        let error = client(&server).generate(&prompt(), &options).await.unwrap_err();
        match failed(error).1 {
            Failure::NoText(reason) => assert!(reason.contains(says), "{reason}"),
            other => panic!("{other}"),
        }
    }
}
