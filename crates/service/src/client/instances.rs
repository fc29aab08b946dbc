//! The instances behind one name, such as the pods of a headless Service. gRPC keeps its connection, so a client of
//! the first address alone would leave the others idle. Here every address has a connection of its own, calls take
//! the addresses in turn, and the name is looked up again now and then. An instance that cannot be reached is passed
//! over before the call is sent, so no call is made twice.

use http::Uri;
use hyper_util::rt::TokioIo;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tonic::transport::{self, Channel, Endpoint};
use tower::service_fn;

/// How long the resolver's answer is good: a new instance gets its share after that.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// The same where an instance was lost: its successor may have another address.
const GOOD_FOR_AFTER_LOSS: Duration = Duration::from_secs(1);
/// How long an instance that was lost is asked after all others.
const AVOIDED_FOR: Duration = Duration::from_secs(5);

/// Asks the resolver for the addresses behind the name.
type Lookup = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync,
>;

/// What a name stands for.
pub(super) struct Instances {
    /// With the name as its address, which TLS and the server go by.
    endpoint: Endpoint,
    lookup: Lookup,
    good_for: Duration,
    known: Mutex<Known>,
    /// Held by the call that looks the name up.
    looking_up: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Known {
    instances: Vec<Arc<Instance>>,
    as_of: Option<Instant>,
}

/// One address, connected to when it is first needed.
pub(super) struct Instance {
    address: SocketAddr,
    connection: tokio::sync::Mutex<Option<Channel>>,
    lost: Mutex<Option<Instant>>,
}

/// Why no instance takes a call.
pub(super) enum Unreached {
    /// The resolver knows no address.
    Name(io::Error),
    /// None can be connected to; the last one's error.
    Instance(transport::Error),
}

impl Instances {
    /// Those of the name and port in `endpoint`'s address, looked up when first needed. The resolver may take `patience`.
    pub fn new(endpoint: Endpoint, patience: Duration) -> Self {
        let uri = endpoint.uri();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let lookup: Lookup = Box::new(move || {
            let host = host.clone();
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, port));
                let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the resolver is silent");
                Ok(tokio::time::timeout(patience, found).await.map_err(slow)??.collect())
            })
        });
        Self::with(endpoint, lookup, GOOD_FOR)
    }

    fn with(endpoint: Endpoint, lookup: Lookup, good_for: Duration) -> Self {
        Self {
            endpoint,
            lookup,
            good_for,
            known: Mutex::default(),
            looking_up: tokio::sync::Mutex::default(),
            // At random, or all that call once would call the same.
            turn: AtomicUsize::new(rand::random_range(0..1 << 16)),
        }
    }

    /// The next instance in turn of those that can be reached, and a connection to it.
    pub async fn next(&self) -> Result<(Arc<Instance>, Channel), Unreached> {
        let mut instances = self.in_turn().await.map_err(Unreached::Name)?.into_iter().peekable();
        loop {
            let instance = instances.next().expect("a name without an address is an error");
            match instance.connect(&self.endpoint).await {
                Ok(channel) => return Ok((instance, channel)),
                Err(error) if instances.peek().is_none() => return Err(Unreached::Instance(error)),
                Err(error) => tracing::debug!("{} is passed over: {error:?}", instance.address),
            }
        }
    }

    /// All of them, at least one: the one whose turn it is first, those that were lost lately last.
    async fn in_turn(&self) -> io::Result<Vec<Arc<Instance>>> {
        self.look_up_where_due().await?;
        let mut instances = self.known().instances.clone();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % instances.len();
        instances.rotate_left(first);
        instances.sort_by_key(|instance| instance.is_avoided());
        Ok(instances)
    }

    /// One call waits for the resolver; while it does, others go on with what is known.
    async fn look_up_where_due(&self) -> io::Result<()> {
        if !self.known().are_due(self.good_for) {
            return Ok(());
        }
        let anything_known = self.known().as_of.is_some();
        let _looking_up = match self.looking_up.try_lock() {
            Ok(first) => first,
            Err(_) if anything_known => return Ok(()),
            Err(_) => self.looking_up.lock().await,
        };
        // Somebody else may have done it meanwhile.
        if !self.known().are_due(self.good_for) {
            return Ok(());
        }
        let found = (self.lookup)().await.and_then(|found| match found.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(found),
        });
        let mut known = self.known();
        match found {
            Ok(addresses) => known.replace(addresses),
            // A resolver that is away takes no instance with it.
            Err(error) if anything_known => tracing::debug!("what is known is kept: {error}"),
            Err(error) => return Err(error),
        }
        known.as_of = Some(Instant::now());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn are_due(&self, good_for: Duration) -> bool {
        let Some(as_of) = self.as_of else { return true };
        let any_lost = self.instances.iter().any(|instance| instance.lost().is_some());
        let good_for = if any_lost { good_for.min(GOOD_FOR_AFTER_LOSS) } else { good_for };
        as_of.elapsed() >= good_for
    }

    /// Those that stay keep their connections; calls on the others are finished.
    fn replace(&mut self, addresses: Vec<SocketAddr>) {
        let instances = BTreeSet::from_iter(addresses).into_iter().map(|address| {
            let known = self.instances.iter().find(|instance| instance.address == address);
            known.cloned().unwrap_or_else(|| Arc::new(Instance::at(address)))
        });
        self.instances = instances.collect();
    }
}

impl Instance {
    fn at(address: SocketAddr) -> Self {
        Self { address, connection: tokio::sync::Mutex::default(), lost: Mutex::default() }
    }

    /// The connection that there is, or one that is made now.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, transport::Error> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &*connection {
            return Ok(channel.clone());
        }
        let address = self.address;
        let dial = service_fn(move |_: Uri| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        });
        let made = endpoint.connect_with_connector(dial).await;
        *self.lost() = made.is_err().then(Instant::now);
        Ok(connection.insert(made?).clone())
    }

    /// A call found that it is gone: others are asked before it, and it over a new connection.
    pub async fn lose(&self) {
        self.connection.lock().await.take();
        *self.lost() = Some(Instant::now());
    }

    fn is_avoided(&self) -> bool {
        self.lost().is_some_and(|when| when.elapsed() < AVOIDED_FOR)
    }

    fn lost(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Attempt, CallPolicy, Channel, retry};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_util::sync::CancellationToken;
    use tonic::Status;
    use tonic::service::interceptor::InterceptedService;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    /// A server that counts its calls.
    struct Server {
        address: SocketAddr,
        calls: Arc<AtomicUsize>,
        shutdown: CancellationToken,
        serving: JoinHandle<()>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let (_, health) = tonic_health::server::health_reporter();
            let counted = calls.clone();
            let health = InterceptedService::new(health, move |request| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(request)
            });
            let shutdown = CancellationToken::new();
            let serving = tonic::transport::Server::builder()
                .add_service(health)
                .serve_with_incoming_shutdown(
                    TcpListenerStream::new(listener),
                    shutdown.clone().cancelled_owned(),
                );
            let serving = tokio::spawn(async move { serving.await.unwrap() });
            Self { address, calls, shutdown, serving }
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }

        /// As on SIGTERM: says goodbye to its connections, and is gone.
        async fn stop(&mut self) {
            self.shutdown.cancel();
            (&mut self.serving).await.unwrap();
        }
    }

    /// What the resolver answers.
    type Name = Arc<Mutex<io::Result<Vec<SocketAddr>>>>;

    fn name(addresses: impl IntoIterator<Item = SocketAddr>) -> Name {
        Arc::new(Mutex::new(Ok(Vec::from_iter(addresses))))
    }

    /// A client of `name`, which it looks up for every call.
    fn client(name: &Name) -> HealthClient<Channel> {
        let name = name.clone();
        let lookup: Lookup = Box::new(move || {
            let answer = match &*name.lock().unwrap() {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(io::Error::from(error.kind())),
            };
            Box::pin(async move { answer })
        });
        let endpoint =
            Endpoint::from_static("http://name:1").connect_timeout(Duration::from_secs(5));
        let instances = Instances::with(endpoint, lookup, Duration::ZERO);
        let channel = Channel {
            instances: Arc::new(instances),
            endpoint: "http://name:1".into(),
            authorization: None,
        };
        HealthClient::new(channel)
    }

    /// One attempt.
    async fn call(client: &HealthClient<Channel>) -> Result<(), Status> {
        client.clone().check(HealthCheckRequest::default()).await.map(drop)
    }

    /// A call that is repeated where the policy says so.
    async fn repeated(client: &HealthClient<Channel>) {
        let again = |attempt: Attempt| {
            let (mut client, request) =
                (client.clone(), attempt.request(HealthCheckRequest::default()));
            async move { client.check(request).await }
        };
        retry(&CallPolicy::default(), again).await.unwrap();
    }

    /// An address where nobody listens.
    async fn nobody() -> SocketAddr {
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// Where somebody answers every call with a goodbye, as a server does that ends just then: GOAWAY, no error, and
    /// no call was taken.
    async fn goodbye() -> SocketAddr {
        const PREFACE: usize = 24;
        const FRAME_HEADER: usize = 9;
        const HEADERS: u8 = 1;
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        async fn answer(mut stream: TcpStream) -> io::Result<()> {
            stream.write_all(&SETTINGS).await?;
            stream.read_exact(&mut [0_u8; PREFACE]).await?;
            loop {
                let mut header = [0; FRAME_HEADER];
                stream.read_exact(&mut header).await?;
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                stream.read_exact(&mut vec![0_u8; length as usize]).await?;
                if header[3] == HEADERS {
                    stream.write_all(&GOAWAY).await?;
                }
            }
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        address
    }

    #[tokio::test]
    async fn calls_take_the_instances_in_turn() {
        let servers = [Server::start().await, Server::start().await, Server::start().await];
        let client = client(&name(servers.iter().map(|server| server.address)));
        for _ in 0..30 {
            call(&client).await.unwrap();
        }
        assert_eq!(servers.each_ref().map(Server::calls), [10, 10, 10]);
    }

    #[tokio::test]
    async fn an_instance_that_cannot_be_reached_is_passed_over() {
        let there = Server::start().await;
        let client = client(&name([nobody().await, there.address]));
        for _ in 0..10 {
            call(&client).await.unwrap();
        }
        assert_eq!(there.calls(), 10);
    }

    #[tokio::test]
    async fn an_instance_that_ends_costs_a_repetition_and_no_error() {
        let [stays, mut ends] = [Server::start().await, Server::start().await];
        let client = client(&name([stays.address, ends.address]));
        call(&client).await.unwrap();
        call(&client).await.unwrap();
        ends.stop().await;
        for _ in 0..10 {
            repeated(&client).await;
        }
        assert_eq!((stays.calls(), ends.calls()), (11, 1));
    }

    #[tokio::test]
    async fn a_goodbye_under_a_call_costs_a_repetition_and_no_error() {
        let leaves = goodbye().await;
        let status = call(&client(&name([leaves]))).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
        assert!(status.message().contains("closed the connection"), "{status}");

        let stays = Server::start().await;
        let client = client(&name([leaves, stays.address]));
        for _ in 0..10 {
            repeated(&client).await;
        }
        assert_eq!(stays.calls(), 10);
    }

    #[tokio::test]
    async fn a_new_instance_gets_its_share_and_one_that_left_the_name_gets_none() {
        let [first, second, third] =
            [Server::start().await, Server::start().await, Server::start().await];
        let name = name([first.address, second.address]);
        let client = client(&name);
        call(&client).await.unwrap();
        call(&client).await.unwrap();
        *name.lock().unwrap() = Ok(vec![second.address, third.address]);
        for _ in 0..10 {
            call(&client).await.unwrap();
        }
        assert_eq!([first.calls(), second.calls(), third.calls()], [1, 6, 5]);
    }

    #[tokio::test]
    async fn a_resolver_that_fails_takes_no_instance_with_it() {
        let server = Server::start().await;
        let name = name([server.address]);
        let client = client(&name);
        call(&client).await.unwrap();
        *name.lock().unwrap() = Err(io::ErrorKind::TimedOut.into());
        call(&client).await.unwrap();
        // Nor does a name that has no address any more.
        *name.lock().unwrap() = Ok(Vec::new());
        call(&client).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_without_an_address_and_one_without_anybody_are_told_apart() {
        let unknown = call(&client(&name([]))).await.unwrap_err();
        assert_eq!(unknown.code(), tonic::Code::Unavailable);
        assert!(unknown.message().contains("http://name:1: the name has no address"), "{unknown}");
        let nobody = call(&client(&name([nobody().await, nobody().await]))).await.unwrap_err();
        assert_eq!(nobody.code(), tonic::Code::Unavailable);
        assert!(
            nobody.message().contains("cannot reach http://name:1: Connection refused"),
            "{nobody}"
        );
    }
}
