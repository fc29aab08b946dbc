//! A small service, written by hand over tonic so that no code is generated, and a server for it.
//!
//! Every test file uses a part of this.
#![allow(dead_code)]

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use rlaif_service::auth::{self, Access, Caller, Role, Rule};
use rlaif_service::client::{self, CallPolicy, Channel};
use rlaif_service::server::{Api, Config, Deadline, Error, Health, Server};
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

pub const ECHO: &str = "/test.v1.EchoService/Echo";
pub const STREAM: &str = "/test.v1.EchoService/Stream";

/// Clients may echo; streams are for workers.
pub const RULES: &[Rule] = &[
    (ECHO, Access::Roles(&[Role::Client, Role::Admin])),
    (STREAM, Access::Roles(&[Role::Worker, Role::Admin])),
];

/// What handlers share with the test.
#[derive(Clone, Default)]
pub struct Echo {
    /// Calls that wait for `release`.
    pub waiting: Arc<AtomicUsize>,
    pub release: Arc<Notify>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.EchoService";
}

type Words = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            // Our own limits are what is tested, not tonic's.
            let codec = ProstCodec::<String, String>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(usize::MAX);
            Ok(match request.uri().path() {
                ECHO => {
                    let echo = service_fn(move |r| this.clone().echo(r));
                    grpc.unary(echo, request).await
                }
                _ => grpc.server_streaming(service_fn(stream), request).await,
            })
        })
    }
}

/// Counts a waiting handler, also when it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Echo {
    async fn echo(self, request: Request<String>) -> Result<Response<String>, Status> {
        let answer = match request.get_ref().as_str() {
            "who am I" => {
                let caller = request.extensions().get::<Caller>().expect("every caller is known");
                format!("{} {:?}", caller.name, caller.role)
            }
            "which port" => request.remote_addr().expect("TCP").port().to_string(),
            "have I a deadline" => request.extensions().get::<Deadline>().is_some().to_string(),
            "wait" => {
                let _waiting = Waiting::begin(&self.waiting);
                self.release.notified().await;
                "released".to_owned()
            }
            "panic" => panic!("asked to"),
            "a lot" => "x".repeat(100_000),
            text => text.to_owned(),
        };
        Ok(Response::new(answer))
    }
}

/// One word, and then silence without end.
async fn stream(_: Request<String>) -> Result<Response<Words>, Status> {
    let first = tokio_stream::once(Ok("first".to_owned()));
    let silence = futures_util::stream::once(pending());
    Ok(Response::new(Box::pin(first.chain(silence))))
}

/// The descriptor set of the service, as a build script would embed it.
pub fn descriptor() -> &'static [u8] {
    let message = |name: &str| DescriptorProto {
        name: Some(name.to_owned()),
        field: vec![FieldDescriptorProto {
            name: Some("text".to_owned()),
            number: Some(1),
            r#type: Some(Type::String.into()),
            ..FieldDescriptorProto::default()
        }],
        ..DescriptorProto::default()
    };
    let method = |name: &str, streaming: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".test.v1.Words".to_owned()),
        output_type: Some(".test.v1.Words".to_owned()),
        server_streaming: Some(streaming),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test/v1/echo.proto".to_owned()),
        package: Some("test.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message("Words")],
        service: vec![ServiceDescriptorProto {
            name: Some("EchoService".to_owned()),
            method: vec![method("Echo", false), method("Stream", true)],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec().leak()
}

/// Open to everybody, on loopback.
pub fn config() -> Config {
    Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allow_remote: false,
        tls: None,
        probes: None,
        auth: auth::Config::default(),
        max_connections: 64,
        max_calls: 64,
        max_streams: 64,
        max_health_watches: 64,
        caller_share: 1.0,
        kept_for_admins: 0,
        max_calls_per_connection: 64,
        max_request_bytes: 50_000,
        max_response_bytes: 50_000,
        max_header_bytes: 16_384,
        handler_timeout: Duration::from_secs(60),
        retry_after: Duration::from_millis(20),
        keep_alive_interval: Duration::from_secs(30),
        keep_alive_timeout: Duration::from_secs(10),
        max_connection_age: Duration::from_secs(3600),
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
    }
}

pub struct Running {
    pub address: SocketAddr,
    /// For probes without TLS.
    pub probes: Option<SocketAddr>,
    pub health: Health,
    pub echo: Echo,
    pub shutdown: CancellationToken,
    pub ended: JoinHandle<Result<(), Error>>,
}

/// A running server.
pub async fn start(config: Config) -> Running {
    let server = Server::bind(config).await.unwrap();
    let (address, probes, health) = (server.address(), server.probes_address(), server.health());
    let echo = Echo::default();
    let shutdown = CancellationToken::new();
    let api = Api { routes: Routes::new(echo.clone()), descriptor: descriptor(), rules: RULES };
    let ended = tokio::spawn(server.serve(api, shutdown.clone()));
    health.set_started().await;
    Running { address, probes, health, echo, shutdown, ended }
}

impl Running {
    pub fn channel(&self) -> Channel {
        client::channel(&client_config(&format!("http://{}", self.address))).unwrap()
    }

    pub fn waiting(&self) -> usize {
        self.echo.waiting.load(Ordering::SeqCst)
    }

    /// A call that waits in its handler until it is released.
    pub async fn occupy(&self, channel: &Channel) -> JoinHandle<Result<String, Status>> {
        let before = self.waiting();
        let call = tokio::spawn({
            let channel = channel.clone();
            async move { echo(&channel, Request::new("wait".to_owned())).await }
        });
        eventually(|| self.waiting() > before).await;
        call
    }
}

pub fn client_config(endpoint: &str) -> client::Config {
    client::Config {
        endpoint: endpoint.to_owned(),
        tls: None,
        token: None,
        connect_timeout: Duration::from_secs(30),
        keep_alive_interval: Duration::from_secs(30),
        calls: CallPolicy::default(),
    }
}

pub async fn echo(channel: &Channel, request: Request<String>) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    grpc.ready().await?;
    let codec = ProstCodec::<String, String>::default();
    let answer = grpc.unary(request, PathAndQuery::from_static(ECHO), codec).await?;
    Ok(answer.into_inner())
}

pub async fn say(channel: &Channel, text: &str) -> Result<String, Status> {
    echo(channel, Request::new(text.to_owned())).await
}

pub async fn listen(
    channel: &Channel,
    request: Request<String>,
) -> Result<Streaming<String>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let codec = ProstCodec::<String, String>::default();
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(STREAM), codec).await?;
    Ok(answer.into_inner())
}

/// Polls a condition; the test's own time limit is what ends a wait in vain.
pub async fn eventually(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
