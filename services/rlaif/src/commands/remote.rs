//! Calls to a coordinator: where it is, who we are, and what its errors say.

use anyhow::{Context, Result, bail};
use rlaif_job::StageProgress;
use rlaif_proto::coordinator;
use rlaif_proto::coordinator::v1::Job;
use rlaif_proto::coordinator::v1::job_service_client::JobServiceClient;
use rlaif_service::client::{self, Attempt, CallPolicy, Channel};
use rlaif_service::config::{Problems, Secret};
use rlaif_service::tls::ClientTls;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status};

/// Where the coordinator is.
#[derive(clap::Args)]
pub struct Server {
    /// The coordinator's address.
    #[arg(long, env = "RLAIF_SERVER", default_value = "http://127.0.0.1:7400")]
    server: String,
    /// File that holds our token; without it the token is in RLAIF_TOKEN.
    #[arg(long, env = "RLAIF_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authorities of an https server.
    #[arg(long, env = "RLAIF_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with our own certificate, for a server that asks clients for one.
    #[arg(long, env = "RLAIF_CERTIFICATE_FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// PEM file with the key of our certificate.
    #[arg(long, env = "RLAIF_KEY_FILE", requires = "ca_file")]
    key_file: Option<PathBuf>,
}

/// The generated client over our channel.
pub type Client = JobServiceClient<Channel>;

/// A coordinator that can be called.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    address: String,
    policy: CallPolicy,
}

impl Server {
    /// Gets ready to call; whether anybody answers shows with the first call.
    pub fn connect(&self) -> Result<Remote> {
        let runtime = Runtime::new().context("starting the asynchronous runtime")?;
        let tls = self.ca_file.clone().map(|ca| ClientTls {
            ca,
            certificate: self.certificate_file.clone(),
            key: self.key_file.clone(),
            server_name: None,
        });
        // A job travels with its data, so a call may take longer than usual.
        let policy = CallPolicy { timeout: Duration::from_secs(120), ..CallPolicy::default() };
        let config = client::Config {
            endpoint: self.server.clone(),
            tls,
            token: token(self.token_file.as_deref())?,
            connect_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(30),
            calls: policy.clone(),
        };
        let problems = Problems::of(&config);
        if !problems.is_empty() {
            bail!(
                "--server: {problems} (--ca-file gives tls.ca; for a public certificate it is the system's \
                 bundle, on Debian /etc/ssl/certs/ca-certificates.crt)"
            );
        }
        let channel = {
            let _inside = runtime.enter();
            client::channel(&config)?
        };
        // What is sent was made here, and what comes is the server's to bound.
        let client = Client::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Remote { runtime, client, address: self.server.clone(), policy })
    }
}

fn token(file: Option<&Path>) -> Result<Option<Secret>> {
    let text = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("reading the token in {}", path.display()))?,
        ),
        None => std::env::var("RLAIF_TOKEN").ok(),
    };
    let token = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(token.map(Secret::new))
}

impl Remote {
    /// Asks for one answer; see [`call`](Self::call).
    pub fn ask<M: Clone, T, F>(
        &self,
        message: M,
        mut ask: impl FnMut(Client, Request<M>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|client, attempt| ask(client, attempt.request(message.clone())))
    }

    /// Makes a call that may be done twice, again where the server is away or busy.
    pub fn call<T, F>(&self, mut call: impl FnMut(Client, Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = &self.client;
        let answer = client::retry(&self.policy, |attempt| {
            if attempt.number == 2 {
                let (address, patience) = (&self.address, self.policy.patience);
                eprintln!("{address} does not answer, or is full; trying again for {patience:?}");
            }
            call(client.clone(), attempt)
        });
        let answer = self.runtime.block_on(answer);
        answer.map(Response::into_inner).map_err(|status| self.explain(status))
    }

    /// Waits for something of a stream.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.runtime.block_on(work)
    }

    /// A status as an error with every violation on a line of its own.
    pub fn explain(&self, status: Status) -> anyhow::Error {
        let error = anyhow::Error::from(rlaif_proto::Error::from(status));
        error.context(format!("the coordinator at {}", self.address))
    }
}

/// A job that must be in an answer.
pub fn expect(job: Option<Job>) -> Result<Job> {
    job.context("the coordinator's answer has no job; is its version ours?")
}

/// A stage as the coordinator tells of it.
pub fn progress(stage: coordinator::v1::StageProgress) -> StageProgress {
    StageProgress {
        stage: stage.stage,
        done: stage.done as usize,
        total: stage.total as usize,
        note: stage.note,
        unscorable: stage.unscorable as usize,
        dead_letters: stage.dead_letters as usize,
        eta_seconds: stage.eta_seconds,
    }
}

/// A job's state as a word.
pub fn state(job: &Job) -> String {
    job.state().as_str_name().trim_start_matches("JOB_STATE_").to_lowercase()
}
