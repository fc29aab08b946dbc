//! A server on loopback as its clients and its orchestrator meet it.

mod support;

use rlaif_service::client::{self, CallPolicy, retry};
use rlaif_service::server::{Api, Error, LIVENESS, READINESS, STARTUP, Server};
use std::net::SocketAddr;
use std::time::Duration;
use support::*;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;

async fn check(channel: &client::Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn an_address_for_other_machines_takes_permission_tls_and_tokens() {
    let mut config = config();
    config.address = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Server::bind(config).await.unwrap_err().to_string();
    for missing in ["allow_remote", "tls must", "auth.enabled must"] {
        assert!(error.contains(missing), "{error}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let running = start(config()).await;
    let mut config = config();
    config.address = running.address;
    let error = Server::bind(config).await.unwrap_err().to_string();
    let address = running.address.to_string();
    for part in [address.as_str(), "server.address (RLAIF__SERVER__ADDRESS)", "ss -ltnp"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_method_without_a_rule_keeps_the_server_from_starting() {
    let server = Server::bind(config()).await.unwrap();
    let routes = Routes::new(Echo::default());
    let api = Api { routes, descriptor: descriptor(), rules: &RULES[..1] };
    let error = server.serve(api, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, Error::Rules(_)) && error.to_string().contains(STREAM), "{error}");
}

#[tokio::test]
async fn startup_readiness_and_liveness_are_told_apart() {
    let server = Server::bind(config()).await.unwrap();
    let (address, health) = (server.address(), server.health());
    let routes = Routes::new(Echo::default());
    let api = Api { routes, descriptor: descriptor(), rules: RULES };
    tokio::spawn(server.serve(api, CancellationToken::new()));
    let channel = client::channel(&client_config(&format!("http://{address}"))).unwrap();
    use ServingStatus::{NotServing, Serving};
    for (name, expected) in [(STARTUP, NotServing), (READINESS, NotServing), (LIVENESS, Serving)] {
        assert_eq!(check(&channel, name).await, expected, "{name}");
    }
    health.set_started().await;
    assert_eq!((check(&channel, STARTUP).await, check(&channel, "").await), (Serving, Serving));
    health.set_ready(false).await;
    for (name, expected) in [(STARTUP, Serving), (READINESS, NotServing), (LIVENESS, Serving)] {
        assert_eq!(check(&channel, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let running = start(config()).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(running.channel());
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["test.v1.EchoService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
}

#[tokio::test]
async fn tools_that_know_only_the_first_version_of_reflection_are_told_the_same() {
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;

    let running = start(config()).await;
    let symbol = MessageRequest::FileContainingSymbol("test.v1.EchoService".to_owned());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut client = ServerReflectionClient::new(running.channel());
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer else { panic!("{answer:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn a_full_server_refuses_with_a_hint_and_still_answers_probes() {
    let running = start(rlaif_service::server::Config { max_calls: 1, ..config() }).await;
    let channel = running.channel();
    let first = running.occupy(&channel).await;
    let refused = say(&channel, "hello").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let hint = refused.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(hint, Some(Duration::from_millis(20)));
    assert_eq!(check(&channel, READINESS).await, ServingStatus::Serving);
    // A client that repeats gets through once there is a place.
    let policy = CallPolicy::default();
    let repeated = retry(&policy, |attempt| {
        running.echo.release.notify_one();
        let (channel, request) = (channel.clone(), attempt.request("hello".to_owned()));
        async move { echo(&channel, request).await }
    });
    assert_eq!(repeated.await.unwrap(), "hello");
    assert_eq!(first.await.unwrap().unwrap(), "released");
}

#[tokio::test]
async fn a_stream_holds_its_place_until_it_ends_and_none_of_other_calls() {
    let bounds = rlaif_service::server::Config { max_calls: 1, max_streams: 1, ..config() };
    let running = start(bounds).await;
    let channel = running.channel();
    let open = || listen(&channel, Request::new(String::new()));
    let mut stream = open().await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(open().await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(say(&channel, "hello").await.unwrap(), "hello");
    drop(stream);
    while open().await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn watches_of_health_are_bounded_and_leave_checks_and_calls_alone() {
    let running = start(rlaif_service::server::Config { max_health_watches: 2, ..config() }).await;
    let channel = running.channel();
    let watch = async || {
        let request = HealthCheckRequest { service: READINESS.to_owned() };
        HealthClient::new(channel.clone()).watch(request).await
    };
    let watches = (watch().await.unwrap(), watch().await.unwrap());
    let refused = watch().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("watches of its health"), "{refused}");
    assert_eq!(check(&channel, READINESS).await, ServingStatus::Serving);
    assert_eq!(say(&channel, "hello").await.unwrap(), "hello");
    assert!(listen(&channel, Request::new(String::new())).await.is_ok());
    drop(watches);
    while watch().await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn bounds_that_leave_nobody_a_place_are_refused() {
    let bounds = rlaif_service::server::Config {
        max_streams: 0,
        caller_share: 0.0,
        kept_for_admins: 64,
        ..config()
    };
    let refused = Server::bind(bounds).await.unwrap_err().to_string();
    for problem in ["max_streams must", "caller_share must", "kept_for_admins must"] {
        assert!(refused.contains(problem), "{refused}");
    }
}

#[tokio::test]
async fn messages_are_bounded_in_both_directions() {
    let running = start(config()).await;
    let channel = running.channel();
    assert_eq!(say(&channel, &"x".repeat(49_000)).await.unwrap().len(), 49_000);
    let request = say(&channel, &"x".repeat(51_000)).await.unwrap_err();
    assert!(request.code() == Code::OutOfRange && request.message().contains("request message"));
    let response = say(&channel, "a lot").await.unwrap_err();
    assert!(response.code() == Code::OutOfRange && response.message().contains("response message"));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_dropped() {
    let handler_timeout = Duration::from_millis(20);
    let running = start(rlaif_service::server::Config { handler_timeout, ..config() }).await;
    let late = say(&running.channel(), "wait").await.unwrap_err();
    assert_eq!((late.code(), running.waiting()), (Code::DeadlineExceeded, 0));
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_error_of_its_call_only() {
    let running = start(rlaif_service::server::Config { max_calls: 2, ..config() }).await;
    let channel = running.channel();
    let other = running.occupy(&channel).await;
    for _ in 0..3 {
        assert_eq!(say(&channel, "panic").await.unwrap_err().code(), Code::Internal);
    }
    running.echo.release.notify_one();
    assert_eq!(other.await.unwrap().unwrap(), "released");
}

#[tokio::test]
async fn the_callers_deadline_reaches_the_handler_and_ends_streams() {
    let running = start(config()).await;
    let channel = running.channel();
    let mut request = Request::new("have I a deadline".to_owned());
    request.set_timeout(Duration::from_secs(60));
    assert_eq!(echo(&channel, request).await.unwrap(), "true");
    assert_eq!(say(&channel, "have I a deadline").await.unwrap(), "false");
    let mut request = Request::new(String::new());
    request.set_timeout(Duration::from_millis(200));
    let mut stream = listen(&channel, request).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline_on_both_sides() {
    let running = start(config()).await;
    let channel = running.channel();
    let policy = CallPolicy { timeout: Duration::from_millis(50), ..CallPolicy::default() };
    let late = retry(&policy, |attempt| {
        let (channel, request) = (channel.clone(), attempt.request("wait".to_owned()));
        async move { echo(&channel, request).await }
    });
    assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
    eventually(|| running.waiting() == 0).await;
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_handler() {
    let running = start(config()).await;
    let call = running.occupy(&running.channel()).await;
    call.abort();
    eventually(|| running.waiting() == 0).await;
}

#[tokio::test]
async fn a_malformed_timeout_is_an_error_of_the_caller() {
    let running = start(config()).await;
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let refused = echo(&running.channel(), request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_progress_and_lets_nobody_in() {
    let running = start(config()).await;
    let channel = running.channel();
    let call = running.occupy(&channel).await;
    let request = HealthCheckRequest { service: READINESS.to_owned() };
    let mut watch = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    running.shutdown.cancel();
    // Who watches learns of the drain, and does not hold it up.
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!running.ended.is_finished());
    running.echo.release.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "released");
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let drain_timeout = Duration::from_millis(20);
    let running = start(rlaif_service::server::Config { drain_timeout, ..config() }).await;
    let call = running.occupy(&running.channel()).await;
    running.shutdown.cancel();
    running.ended.await.unwrap().unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn connections_are_bounded() {
    let running = start(rlaif_service::server::Config { max_connections: 1, ..config() }).await;
    let first = running.channel();
    say(&first, "hello").await.unwrap();
    let second = running.channel();
    let waits = tokio::spawn(async move { say(&second, "hello").await });
    // The second is not served while the first is there: whoever asks over it does not answer.
    for _ in 0..20 {
        say(&first, "hello").await.unwrap();
        assert!(!waits.is_finished());
    }
    drop(first);
    assert_eq!(waits.await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn old_connections_are_replaced_without_failing_a_call() {
    let max_connection_age = Duration::from_millis(30);
    let running = start(rlaif_service::server::Config { max_connection_age, ..config() }).await;
    let channel = running.channel();
    let policy = CallPolicy::default();
    let port = || {
        retry(&policy, |attempt| {
            let (channel, request) = (channel.clone(), attempt.request("which port".to_owned()));
            async move { echo(&channel, request).await }
        })
    };
    let first = port().await.unwrap();
    while port().await.unwrap() == first {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
