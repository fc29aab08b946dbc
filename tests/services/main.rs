//! Workers as network services, as their callers, their queue and their operators meet them: real
//! gRPC, a real Redis, tiny models.

mod access;
mod drain;
mod labeler;
mod learner;
mod queue;
mod reward;
mod rollout;
mod scaling;

use rlaif_service::client::{self, CallPolicy, Channel};
use rlaif_service::config::{self, Secret};
use rlaif_service::metrics::Registry;
use rlaif_testkit::eventually;
use rlaif_worker::{Config, Error, Host, Service};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const TEMPLATE: &str = "sentiment/compare";

/// A worker of this process.
struct Running {
    address: SocketAddr,
    metrics: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
}

/// The built-in configuration with a queue at `redis`, artifacts in `folder` and what `change` does.
fn config<S: Service>(
    redis: &str,
    folder: &Path,
    change: impl FnOnce(&mut Config<S::Direct>),
) -> Config<S::Direct> {
    let defaults = rlaif_worker::config::defaults::<S>();
    let mut config: Config<S::Direct> = config::load(&defaults, None).unwrap();
    config.queue.url = Secret::new(redis.to_owned());
    config.artifacts.url = folder.join("artifacts").display().to_string();
    config.artifacts.cache = folder.join("cache");
    change(&mut config);
    config
}

async fn start<S: Service>(config: Config<S::Direct>) -> Running {
    let host = Host::<S>::bind(config, Registry::new()).await.unwrap();
    let (address, metrics) = (host.address(), host.metrics_address());
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(host.run(shutdown.clone()));
    Running { address, metrics, shutdown, ended }
}

impl Running {
    fn channel(&self, token: Option<&str>) -> Channel {
        let config = client::Config {
            endpoint: format!("http://{}", self.address),
            tls: None,
            token: token.map(|token| Secret::new(token.to_owned())),
            connect_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(30),
            calls: CallPolicy::default(),
        };
        client::channel(&config).unwrap()
    }

    /// What `/readyz` says.
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.metrics) else { return false };
        let request = "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes());
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    async fn until_ready(&self) {
        eventually("readiness", async || self.is_ready().then_some(())).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// Nobody listens there: direct callers are served whether or not the queue answers.
fn no_redis(folder: &Path) -> String {
    format!("redis+unix://{}", folder.join("none.sock").display())
}
