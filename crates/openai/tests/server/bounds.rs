//! Bounds: of calls at once, of time, of size, and of where a request may go.

use crate::{ANSWER, client, endpoint, failed, prompt};
use rlaif_openai::{Client, Endpoint, Failure, GivenUp};
use rlaif_testkit::{Act, ScriptedHttp, eventually};
use std::time::Duration;
use tokio::time::timeout;

/// Waits until the server has had `requests`, of which `open` are in progress.
async fn until(server: &ScriptedHttp, requests: usize, open: usize) {
    eventually(&format!("{requests} requests, {open} of them open"), async || {
        (server.requests().len() == requests && server.open() == open).then_some(())
    })
    .await;
}

fn ask(client: &Client) -> tokio::task::JoinHandle<u32> {
    let client = client.clone();
    tokio::spawn(async move { client.next_token(&prompt()).await.unwrap().provenance.attempts })
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_and_a_dropped_call_frees_its_place() {
    let server = ScriptedHttp::start([Act::Silence, Act::Silence, Act::ok(ANSWER)]).await;
    let two = Endpoint { max_concurrency: 2, ..endpoint(&server.url()) };
    let client = Client::new(two).unwrap();
    let (first, second) = (ask(&client), ask(&client));
    until(&server, 2, 2).await;
    let mut third = ask(&client);
    // Let in, it would have been answered long before.
    assert!(timeout(Duration::from_millis(200), &mut third).await.is_err());
    assert_eq!(server.requests().len(), 2);
    first.abort();
    assert_eq!(third.await.unwrap(), 1);
    // The connection of the call that was dropped is closed.
    until(&server, 3, 1).await;
    second.abort();
    until(&server, 3, 0).await;
}

#[tokio::test]
async fn a_call_that_failed_frees_its_place() {
    let server = ScriptedHttp::start([Act::status(400, ""), Act::ok(ANSWER)]).await;
    let one = Endpoint { max_concurrency: 1, ..endpoint(&server.url()) };
    let client = Client::new(one).unwrap();
    client.next_token(&prompt()).await.unwrap_err();
    client.next_token(&prompt()).await.unwrap();
}

#[tokio::test]
async fn attempts_together_end_at_the_deadline() {
    let server = ScriptedHttp::start([Act::Silence]).await;
    let hasty = Endpoint {
        timeout: Duration::from_millis(50),
        deadline: Duration::from_millis(120),
        max_attempts: 1_000,
        ..endpoint(&server.url())
    };
    let error = Client::new(hasty).unwrap().next_token(&prompt()).await.unwrap_err();
    let (attempts, _, given_up) = failed(error);
    assert_eq!(given_up, GivenUp::Deadline);
    assert!((1..=3).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn a_rate_holds_back_repeated_attempts_too() {
    let server = ScriptedHttp::start([Act::status(503, "")]).await;
    // The second attempt's turn would come after a minute.
    let slow = Endpoint {
        requests_per_minute: Some(1),
        deadline: Duration::from_millis(200),
        ..endpoint(&server.url())
    };
    let error = Client::new(slow).unwrap().next_token(&prompt()).await.unwrap_err();
    let (attempts, _, given_up) = failed(error);
    assert_eq!((attempts, given_up), (1, GivenUp::Deadline));
}

#[tokio::test]
async fn an_answer_is_not_read_beyond_its_bound() {
    for act in [Act::Flood, Act::ok(vec![b' '; 10_001])] {
        let server = ScriptedHttp::start([act]).await;
        let small = Endpoint { max_response_bytes: 10_000, ..endpoint(&server.url()) };
        let error = Client::new(small).unwrap().next_token(&prompt()).await.unwrap_err();
        let (attempts, failure, _) = failed(error);
        assert_eq!((attempts, failure), (1, Failure::TooLarge(10_000)));
        // The client hangs up.
        until(&server, 1, 0).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedHttp::start([Act::ok(ANSWER)]).await;
    let location = format!("{}/v1/chat/completions", elsewhere.url());
    for status in [301, 307, 308] {
        let act = Act::status(status, "").header("location", &location);
        let server = ScriptedHttp::start([act]).await;
        let error = client(&server).next_token(&prompt()).await.unwrap_err();
        assert!(error.to_string().contains(&location), "{error}");
        assert!(error.to_string().contains("base_url"), "{error}");
        assert!(!error.is_transient());
    }
    assert_eq!(elsewhere.requests(), []);
}
