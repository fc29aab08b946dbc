//! A rolling restart under load: each service gets SIGTERM and is replaced where it was, while callers ask it
//! without pause and a job runs. Callers repeat a call as `rlaif_service::client::retry` does by default, and see
//! no error.

use super::processes::{RLAIF, write_job};
use rlaif_job::{Job, Submission};
use rlaif_proto::common::v1 as common;
use rlaif_proto::coordinator::v1::job_service_client::JobServiceClient;
use rlaif_proto::coordinator::v1::{Attachment, SubmitJobRequest};
use rlaif_proto::labeler::v1::label_service_client::LabelServiceClient;
use rlaif_proto::labeler::v1::{CompareRequest, ComparisonQuestion};
use rlaif_proto::learner::v1::GetStatusRequest;
use rlaif_proto::learner::v1::learner_service_client::LearnerServiceClient;
use rlaif_proto::reward::v1::reward_service_client::RewardServiceClient;
use rlaif_proto::reward::v1::score_question::Input;
use rlaif_proto::reward::v1::{ScoreQuestion, ScoreRequest};
use rlaif_proto::rollout::v1 as rollout;
use rlaif_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use rlaif_service::client::{self, Attempt, CallPolicy, Channel};
use rlaif_testkit::{Cluster, Process, RedisServer, free_port, run_alone};
use rlaif_types::{Item, Pair, Prompt};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tonic::Status;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const WORKERS: [&str; 4] = ["rollout", "labeler", "reward", "learner"];
/// Callers of each service.
const CALLERS: usize = 2;
/// A service is replaced when its callers were answered so often since the last replacement.
const ANSWERS_BETWEEN: usize = 20;
const PATIENCE: Duration = Duration::from_secs(180);

/// What callers of one service have met.
#[derive(Default)]
struct Met {
    answers: usize,
    repeated: u32,
    /// Longest time without an answer to anybody.
    longest_gap: Duration,
    last_answer: Option<Instant>,
    errors: Vec<Status>,
}

/// Callers of one service.
struct Callers {
    service: &'static str,
    met: Arc<Mutex<Met>>,
}

impl Callers {
    /// Starts them; each asks again as soon as it is answered, until `stop`.
    fn start<F>(
        runtime: &Runtime,
        stop: &Arc<AtomicBool>,
        service: &'static str,
        call: impl Fn(Attempt) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let met = Arc::new(Mutex::new(Met::default()));
        for _ in 0..CALLERS {
            let (met, stop, call) = (met.clone(), stop.clone(), call.clone());
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let attempts = AtomicU32::new(0);
                    let counted = |attempt: Attempt| {
                        attempts.store(attempt.number, Ordering::Relaxed);
                        call(attempt)
                    };
                    let answer = client::retry(&CallPolicy::default(), counted).await;
                    let mut met = met.lock().unwrap();
                    met.repeated += attempts.load(Ordering::Relaxed).saturating_sub(1);
                    match answer {
                        Ok(()) => {
                            let gap = met.last_answer.replace(Instant::now());
                            let gap = gap.map(|last| last.elapsed()).unwrap_or_default();
                            met.longest_gap = met.longest_gap.max(gap);
                            met.answers += 1;
                        }
                        Err(status) => met.errors.push(status),
                    }
                }
            });
        }
        Self { service, met }
    }

    /// Waits until they were answered some more.
    fn wait(&self) {
        let (before, started) = (self.met.lock().unwrap().answers, Instant::now());
        while self.met.lock().unwrap().answers < before + ANSWERS_BETWEEN {
            let met = self.met.lock().unwrap();
            assert!(met.errors.is_empty(), "{}: {:?}", self.service, met.errors);
            assert!(started.elapsed() < PATIENCE, "{} does not answer", self.service);
            drop(met);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The cluster with its workers' addresses.
struct Rolling {
    cluster: Cluster,
    ports: [u16; 4],
    workers: Vec<Option<Process>>,
    started: usize,
}

impl Rolling {
    fn start(folder: &Path) -> Self {
        let settings = [("RLAIF__QUEUE__OPTIONS__LEASE", "2s")];
        let cluster = Cluster::start(RLAIF, folder, RedisServer::start(), &settings);
        let ports = WORKERS.map(|_| free_port());
        let mut rolling = Self { cluster, ports, workers: Vec::new(), started: 0 };
        for at in 0..WORKERS.len() {
            let worker = rolling.start_worker(at);
            rolling.workers.push(Some(worker));
        }
        rolling
    }

    fn start_worker(&mut self, at: usize) -> Process {
        self.started += 1;
        let kind = WORKERS[at];
        let mut command = self.cluster.worker(kind, &format!("{kind}-{}", self.started));
        command.env("RLAIF__SERVER__ADDRESS", format!("127.0.0.1:{}", self.ports[at]));
        if kind != "learner" {
            let model = if kind == "reward" { "tiny-reward" } else { "tiny-llama" };
            command.env("RLAIF__DIRECT__MODEL", format!("{MODELS}/{model}"));
        }
        if kind == "rollout" {
            command.env("RLAIF__DIRECT__CHAT", "false");
        }
        Process::spawn(&mut command)
    }

    /// SIGTERM, and another in its place once it has ended.
    fn replace(&mut self, at: usize) {
        self.workers[at].take().expect("it runs").stop();
        self.workers[at] = Some(self.start_worker(at));
    }

    fn channel(&self, runtime: &Runtime, at: usize) -> Channel {
        channel(runtime, format!("http://127.0.0.1:{}", self.ports[at]))
    }
}

fn channel(runtime: &Runtime, endpoint: String) -> Channel {
    let _inside = runtime.enter();
    let config = client::Config {
        endpoint,
        tls: None,
        token: None,
        connect_timeout: Duration::from_secs(5),
        keep_alive_interval: Duration::from_secs(30),
        calls: CallPolicy::default(),
    };
    client::channel(&config).unwrap()
}

fn prompt() -> Prompt {
    Prompt::Text("Say something.".to_owned())
}

/// Two responses to compare.
fn comparison() -> CompareRequest {
    let [response_a, response_b] = ["A fine day.", "A grim day."].map(str::to_owned);
    let pair = Pair { prompt: prompt(), response_a, response_b };
    let (id, template) = ("q".to_owned(), "sentiment/compare".to_owned());
    let question = ComparisonQuestion { id, template, pair: Some(pair.into()), asking: None };
    CompareRequest { question: Some(question) }
}

/// A response to score.
fn score() -> ScoreRequest {
    let item = Item { prompt: prompt(), response: "A fine day.".to_owned() };
    let input = Some(Input::Item(common::Item::from(item)));
    ScoreRequest { questions: vec![ScoreQuestion { id: "q".to_owned(), input }] }
}

/// A prompt to complete.
fn completion() -> rollout::GenerateRequest {
    rollout::GenerateRequest {
        input: Some(rollout::generate_request::Input::Prompt(prompt().into())),
        sampling: Some(rollout::Sampling {
            max_new_tokens: 4,
            temperature: Some(1.0),
            seed: 1,
            ..Default::default()
        }),
    }
}

/// The job as `rlaif submit` sends it: the same key is the same job, however often.
fn submission(job: &Path) -> SubmitJobRequest {
    let submission = Submission::read(Job::load(job).unwrap()).unwrap();
    SubmitJobRequest {
        idempotency_key: submission.hash().to_string(),
        job_toml: submission.job.to_toml(),
        attachments: submission.files.into_iter().map(|(n, f)| Attachment::new(n, f)).collect(),
    }
}

/// Callers of every service; the coordinator's submit the job again and again.
fn callers(
    runtime: &Runtime,
    rolling: &Rolling,
    job: &Path,
    stop: &Arc<AtomicBool>,
) -> [Callers; 5] {
    let submitting = JobServiceClient::new(channel(runtime, rolling.cluster.address()));
    let submitted = submission(job);
    let generating = RolloutServiceClient::new(rolling.channel(runtime, 0));
    let comparing = LabelServiceClient::new(rolling.channel(runtime, 1));
    let scoring = RewardServiceClient::new(rolling.channel(runtime, 2));
    let learning = LearnerServiceClient::new(rolling.channel(runtime, 3));
    [
        Callers::start(runtime, stop, "coordinator", move |attempt| {
            let (mut client, request) = (submitting.clone(), attempt.request(submitted.clone()));
            async move { client.submit_job(request).await.map(drop) }
        }),
        Callers::start(runtime, stop, "rollout", move |attempt| {
            let (mut client, request) = (generating.clone(), attempt.request(completion()));
            async move { client.generate(request).await.map(drop) }
        }),
        Callers::start(runtime, stop, "labeler", move |attempt| {
            let (mut client, request) = (comparing.clone(), attempt.request(comparison()));
            async move { client.compare(request).await.map(drop) }
        }),
        Callers::start(runtime, stop, "reward", move |attempt| {
            let (mut client, request) = (scoring.clone(), attempt.request(score()));
            async move { client.score(request).await.map(drop) }
        }),
        Callers::start(runtime, stop, "learner", move |attempt| {
            let (mut client, request) = (learning.clone(), attempt.request(GetStatusRequest {}));
            async move { client.get_status(request).await.map(drop) }
        }),
    ]
}

#[test]
fn every_service_is_replaced_under_load_and_no_caller_sees_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 4);
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("alone"));
    run_alone(RLAIF, &job, &out);
    let alone: Value =
        serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();

    let mut rolling = Rolling::start(&dir.path().join("rolling"));
    let runtime = Runtime::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let id = rolling.cluster.submit(&job);
    let watched = dir.path().join("watch.log");
    let mut watch = Command::new(RLAIF);
    watch.args(["watch", &id]).env("RLAIF_SERVER", rolling.cluster.address());
    watch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&watched).unwrap());
    let mut watch = Process::spawn(&mut watch);
    let callers = callers(&runtime, &rolling, &job, &stop);
    // All answer before the first is replaced.
    callers.iter().for_each(Callers::wait);
    for round in 0..2 {
        for (at, called) in callers.iter().enumerate() {
            match at {
                0 => {
                    rolling.cluster.stop_coordinator();
                    rolling.cluster.start_coordinator();
                }
                at => rolling.replace(at - 1),
            }
            called.wait();
            eprintln!("round {round}: {} was replaced", called.service);
        }
    }
    stop.store(true, Ordering::Relaxed);

    let manifest: Value = serde_json::from_str(&rolling.cluster.manifest(&id)).unwrap();
    let started = Instant::now();
    while watch.is_running() {
        assert!(started.elapsed() < PATIENCE, "rlaif watch does not end with its job");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = std::fs::read_to_string(watched).unwrap();
    assert!(said.contains("has succeeded"), "rlaif watch: {said}");
    for Callers { service, met } in &callers {
        let met = met.lock().unwrap();
        assert!(met.errors.is_empty(), "{service}: {:?}", met.errors);
        eprintln!(
            "{service:<12} {:>6} calls answered, {:>3} attempts repeated, 0 errors, longest gap {:.2?}",
            met.answers, met.repeated, met.longest_gap
        );
    }
    assert_eq!(manifest, alone, "the job is another one for its services' restarts");
}
