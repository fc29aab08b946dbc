//! A coordinator on loopback, a job for it, and workers that answer every kind of work without a
//! model: the same item always gets the same answer.
//!
//! Every test file uses a part of this.
#![allow(dead_code, unused_imports)]

mod browser;
mod worker;

pub use browser::{Browser, Seen};
pub use worker::{Trick, Workers};

use rlaif_artifacts::ArtifactStore;
use rlaif_coordinator::service::{Config, Service};
use rlaif_coordinator::{Journal, Places, Queues};
use rlaif_job::{Job, RunFolder, Submission};
use rlaif_proto::coordinator::v1::job_event::Event;
use rlaif_proto::coordinator::v1::job_service_client::JobServiceClient;
use rlaif_proto::coordinator::v1::*;
use rlaif_queue::{Address, Options, Queue};
use rlaif_service::auth::{Role, Token};
use rlaif_service::client::{self, CallPolicy, Channel};
use rlaif_service::config::Secret;
use rlaif_service::shutdown::Tasks;
use rlaif_testkit::{RedisServer, eventually};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub type Client = JobServiceClient<Channel>;

/// Pairs of the job.
pub const PAIRS: usize = 8;

/// A job that goes through every stage; with `rating` the labeler's rating is the reward.
pub fn submission(name: &str, rating: bool) -> Submission {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, line: &dyn Fn(usize) -> String| {
        let lines = (0..6).fold(String::new(), |mut lines, i| {
            writeln!(lines, "{}", line(i)).unwrap();
            lines
        });
        std::fs::write(folder.path().join(file), lines).unwrap();
    };
    write("prompts.jsonl", &|i| format!("{{\"prompt\": \"Tell me about {i}\"}}"));
    write("heldout.jsonl", &|i| format!("{{\"prompt\": \"What is {i}?\"}}"));
    write("demonstrations.jsonl", &|i| {
        format!("{{\"prompt\": \"Say {i}\", \"completion\": \"It is {i}.\"}}")
    });
    let (template, reward, section) = match rating {
        true => ("sentiment/rubric", "labeler", String::new()),
        false => ("sentiment/compare", "model", format!("[reward_model]\npairs = {PAIRS}\n")),
    };
    // Only one of them names a price.
    let price = if rating { "" } else { ", price = { input_per_1k = 0.5 }" };
    let job = format!(
        "name = '{name}'\nchunk_size = 4\npolicy = {{ model = 'm' }}\n\
         labeler = {{ model = 'm', template = '{template}'{price} }}\n[data]\nprompts = 'prompts.jsonl'\n\
         heldout_prompts = 'heldout.jsonl'\ndemonstrations = 'demonstrations.jsonl'\n[sft]\n\
         {section}[rl]\nreward = '{reward}'\nsteps = 2\nbatch_size = 8\n"
    );
    let file = folder.path().join("job.toml");
    std::fs::write(&file, job).unwrap();
    Submission::read(Job::load(&file).unwrap()).unwrap()
}

/// A submission on the wire.
pub fn request(submission: &Submission, key: &str) -> SubmitJobRequest {
    let files = submission.files.clone().into_iter();
    SubmitJobRequest {
        idempotency_key: key.to_owned(),
        job_toml: submission.job.to_toml(),
        attachments: files.map(|(name, content)| Attachment::new(name, content)).collect(),
    }
}

/// Options under which a failed item is tried again at once.
pub fn options() -> Options {
    Options { retry_delay: Duration::from_millis(1), ..Options::default() }
}

/// What outlives a coordinator: its disk, the queues, the workers.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub queues: Queues,
    pub store: ArtifactStore,
    pub workers: Workers,
}

impl Cluster {
    /// Queues in memory, and workers that wait to be let loose.
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: Options) -> Self {
        Self::at(Queues::new(|_| Queue::in_memory(options.clone())).unwrap())
    }

    /// The same over a Redis.
    pub async fn over(redis: &RedisServer, options: Options) -> Self {
        Self::at(Queues::connect(&Address::new(redis.url()), &options).await.unwrap())
    }

    fn at(queues: Queues) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let workers = Workers::start(&queues, &store);
        Self { folder, queues, store, workers }
    }

    /// A coordinator that everybody may call.
    pub async fn coordinator(&self) -> Running {
        self.coordinator_with(|_| {}).await
    }

    pub async fn coordinator_with(&self, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = config(self.folder.path());
        change(&mut config);
        let service = Service::bind(config).await.unwrap();
        let (address, health) = (service.address(), service.health());
        let page = service.page_address();
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone(), Duration::from_secs(30));
        let queues = self.queues.clone();
        service.start(async { Ok(queues) }, &mut tasks);
        let ended = tokio::spawn(async { tasks.join().await.unwrap() });
        eventually("the coordinator is ready", async || health.is_ready().then_some(())).await;
        Running { address, page, shutdown, ended }
    }

    pub fn run_folder(&self, job: &str) -> RunFolder {
        Places::many_jobs(self.folder.path()).run_folder(job)
    }

    /// The journal of a coordinator that was stopped.
    pub fn journal(&self) -> Journal {
        Journal::open(Places::many_jobs(self.folder.path()).journal()).unwrap()
    }

    /// Ends a coordinator, whatever it is doing, and waits until its journal is free.
    pub async fn stop(&self, running: Running) {
        running.shutdown.cancel();
        running.ended.await.unwrap();
        let journal = Places::many_jobs(self.folder.path()).journal().to_owned();
        eventually("the journal is free", async || Journal::open(&journal).ok()).await;
    }
}

fn artifacts(folder: &Path) -> String {
    folder.join("artifacts").display().to_string()
}

/// The artifacts of a coordinator with its data in `folder`.
pub fn store(folder: &Path) -> ArtifactStore {
    ArtifactStore::open(&artifacts(folder), folder).unwrap()
}

/// On a free port, with its data in `folder`.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::load(None).unwrap();
    config.server.address = SocketAddr::from(([127, 0, 0, 1], 0));
    config.metrics.address = SocketAddr::from(([127, 0, 0, 1], 0));
    config.page.address = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.drain_timeout = Duration::from_secs(5);
    config.coordinator.data_dir = folder.to_owned();
    config.artifacts.url = artifacts(folder);
    config.artifacts.cache = folder.join("cache");
    config.queue.options = options();
    config
}

/// Long enough to be taken for a token.
pub fn token(name: &str) -> String {
    format!("{name}-0123456789abcdef01234567")
}

/// A token for each role, by the role's name.
pub fn with_roles(config: &mut Config) {
    config.server.auth.enabled = true;
    for (name, role) in [("client", Role::Client), ("worker", Role::Worker), ("admin", Role::Admin)]
    {
        let token = Token { role, token: Secret::new(token(name)) };
        config.server.auth.tokens.insert(name.to_owned(), token);
    }
}

/// A running coordinator.
pub struct Running {
    pub address: SocketAddr,
    /// Where the page is.
    pub page: Option<SocketAddr>,
    pub shutdown: CancellationToken,
    pub ended: JoinHandle<()>,
}

impl Running {
    pub fn client(&self) -> Client {
        client_of(self.address, None)
    }

    /// A browser without a token.
    pub fn browser(&self) -> Browser {
        Browser { page: self.page.expect("the page is on"), token: None }
    }

    pub fn browser_as(&self, role: &str) -> Browser {
        Browser { token: Some(token(role)), ..self.browser() }
    }

    pub fn client_as(&self, role: &str) -> Client {
        client_of(self.address, Some(token(role)))
    }
}

pub fn client_of(address: SocketAddr, token: Option<String>) -> Client {
    let config = client::Config {
        endpoint: format!("http://{address}"),
        tls: None,
        token: token.map(Secret::new),
        connect_timeout: Duration::from_secs(5),
        keep_alive_interval: Duration::from_secs(30),
        calls: CallPolicy::default(),
    };
    JobServiceClient::new(client::channel(&config).unwrap())
}

pub async fn submit(client: &mut Client, submission: &Submission, key: &str) -> String {
    client.submit_job(request(submission, key)).await.unwrap().into_inner().job_id
}

pub async fn job(client: &mut Client, id: &str) -> Job_ {
    let request = GetJobRequest { job_id: id.to_owned() };
    client.get_job(request).await.unwrap().into_inner().job.unwrap()
}

/// A job as the wire has it.
pub type Job_ = rlaif_proto::coordinator::v1::Job;

/// Waits until a job is in a state.
pub async fn until(client: &mut Client, id: &str, state: JobState) -> Job_ {
    eventually(&format!("{id} is {state:?}"), async || {
        let job = job(&mut client.clone(), id).await;
        (job.state() == state).then_some(job)
    })
    .await
}

/// What happens to a job until its stream ends, and the job as it then is.
pub async fn watched(client: &mut Client, id: &str, seen: u64) -> (Vec<JobEvent>, Job_) {
    let request = WatchJobRequest { job_id: id.to_owned(), after_sequence: seen };
    let mut stream = client.watch_job(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        events.push(answer.event.unwrap());
    }
    let last = events.pop().expect("a stream ends with a finished job");
    let Some(Event::Finished(Finished { job: Some(job) })) = last.event else {
        panic!("the last event was {last:?}")
    };
    (events, job)
}

/// A report's bytes.
pub async fn report(
    client: &mut Client,
    id: &str,
    format: ReportFormat,
) -> Result<Vec<u8>, Status> {
    let request = GetReportRequest { job_id: id.to_owned(), format: format.into() };
    let mut stream = client.get_report(request).await?.into_inner();
    let mut report = Vec::new();
    while let Some(part) = stream.message().await? {
        report.extend_from_slice(&part.chunk);
    }
    Ok(report)
}

/// The files that a job's results make, and the manifest of their hashes.
pub fn files(folder: &RunFolder) -> Vec<(&'static str, String)> {
    let names = [
        "pairs.jsonl",
        "labels.jsonl",
        "preferences.jsonl",
        "metrics.jsonl",
        "samples.jsonl",
        "evaluation.jsonl",
        "manifest.json",
    ];
    names.map(|name| (name, std::fs::read_to_string(folder.path(name)).unwrap())).to_vec()
}
