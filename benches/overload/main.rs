//! The reward server under ten times the load that it can bear: how much of its best goodput is left,
//! how fast it refuses, whether its memory stays bounded.
//!
//! `cargo bench --bench overload -- [MODEL]` prints one JSON line a phase. The server runs in this
//! process, over a real gRPC socket, and is asked by a child: both share the machine's processors, and
//! what each used is told apart. See benches/README.md for results.

mod load;
mod process;

use load::{Arrivals, Outcome, Plan};
use rlaif_hub::Store;
use rlaif_models::allocator::{MiMalloc, keep_freed_memory};
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use rlaif_reward::Reward;
use rlaif_service::config::{self, Secret};
use rlaif_service::telemetry::{self, Format, Identity};
use rlaif_worker::{Config, Host, Service};
use serde_json::json;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

// As in the program itself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Numbers of callers of which the best goodput counts as the server's peak.
const CALLERS: [usize; 3] = [8, 16, 32];
/// Times the peak.
const LOADS: [f64; 3] = [0.5, 1.0, 10.0];
/// How long answers are counted, in each phase.
const WINDOW: Duration = Duration::from_secs(20);
/// Scores that the engine can give within a caller's patience, so that a slow machine asks for nothing
/// impossible; but no caller is more impatient than `LEAST_DEADLINE`.
const SCORES_PER_DEADLINE: f64 = 48.0;
const LEAST_DEADLINE: Duration = Duration::from_secs(1);
const SEED: u64 = 7;

fn main() {
    keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runtime = Runtime::new().expect("a runtime");
    if let [call, plan] = args.as_slice()
        && call == "call"
    {
        let plan = serde_json::from_str(plan).expect("a plan");
        let outcome = runtime.block_on(load::run(plan));
        println!("{}", json!(outcome));
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tiny = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-llama");
    let found = |name: &String| Store::from_env().find(name).expect("a model on disk");
    let model = reward_model(&args.first().map_or_else(tiny, found), folder.path());
    let server = runtime.block_on(Server::start(&model, folder.path()));
    measure(&server);
    server.shutdown.cancel();
}

fn measure(server: &Server) {
    let peak = peak(server);
    let deadline = Duration::from_secs_f64(SCORES_PER_DEADLINE / peak).max(LEAST_DEADLINE);
    for times in LOADS {
        let arrivals = Arrivals::Open { per_second: times * peak };
        server.phase(&format!("{times} x peak"), arrivals, deadline, peak);
    }
    // Other work on the machine shows in the difference.
    self::peak(server);
}

/// What the engine can do, in scores a second: callers wait as long as it takes.
fn peak(server: &Server) -> f64 {
    let patient = Duration::from_secs(60);
    let found = CALLERS.map(|callers| {
        server.phase("peak", Arrivals::Closed { callers }, patient, 0.0).scored_per_s
    });
    found.into_iter().fold(0.0, f64::max)
}

/// `model` with the head of a reward model, whose values do not matter here.
fn reward_model(model: &Path, folder: &Path) -> PathBuf {
    let checkpoint = Checkpoint::open(model).expect("a model");
    let device = DeviceName::Cpu;
    let opened = device.open().expect("the CPU is there");
    let backbone = CausalLm::load(&checkpoint, &opened, device.default_dtype()).expect("it loads");
    let path = folder.join("reward-model");
    std::fs::create_dir_all(&path).expect("a folder");
    ScalarModel::zero(backbone).save(&path, &checkpoint).expect("it is saved");
    path
}

/// The reward worker as its operator starts it, without a queue.
struct Server {
    address: SocketAddr,
    metrics: SocketAddr,
    shutdown: CancellationToken,
}

impl Server {
    async fn start(model: &Path, folder: &Path) -> Self {
        let logs =
            telemetry::Config { filter: "off".to_owned(), format: Format::Human, otlp: None };
        let who =
            Identity { service: Reward::NAME, version: "bench", instance: "bench".to_owned() };
        let registry = telemetry::init(&logs, &who).expect("nothing was set up before").registry();
        let layers = rlaif_worker::config::defaults::<Reward>();
        let mut config: Config<<Reward as Service>::Direct> =
            config::load(&layers, None).expect("the built-in configuration is valid");
        config.queue.url = Secret::new(format!("redis+unix://{}/none", folder.display()));
        config.artifacts.url = folder.join("artifacts").display().to_string();
        config.artifacts.cache = folder.join("cache");
        config.direct.model = Some(model.display().to_string());
        let host = Host::<Reward>::bind(config, registry).await.expect("a free port");
        let (address, metrics) = (host.address(), host.metrics_address());
        let shutdown = CancellationToken::new();
        tokio::spawn(host.run(shutdown.clone()));
        Self { address, metrics, shutdown }
    }

    /// Lets a child call and prints what it and the server say.
    fn phase(&self, name: &str, arrivals: Arrivals, deadline: Duration, peak: f64) -> Outcome {
        let endpoint = format!("http://{}", self.address);
        let plan = Plan { endpoint, arrivals, window: WINDOW, deadline, seed: SEED };
        let (before, memory_before) = (self.scrape(), process::resident_mib());
        let cpu = process::cpu_seconds();
        let started = std::time::Instant::now();
        let ended = AtomicBool::new(false);
        let (outcome, most) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| most_memory_until(&ended));
            let outcome = call(&plan);
            ended.store(true, Ordering::Relaxed);
            (outcome, watch.join().expect("watching does not panic"))
        });
        let cores = (process::cpu_seconds() - cpu) / started.elapsed().as_secs_f64();
        let after = self.scrape();
        let grown = |name: &str| {
            let value = |of: &HashMap<String, f64>| of.get(name).copied().unwrap_or_default();
            value(&after) - value(&before)
        };
        let batches = grown("rlaif_batcher_batch_items_count").max(1.0);
        println!(
            "{}",
            json!({
            "phase": name, "arrivals": arrivals, "deadline": deadline, "of_peak": (peak > 0.0).then(|| outcome.scored_per_s / peak),
                "callers": outcome,
                "batch_sequences": grown("rlaif_batcher_batch_items_sum") / batches,
                "batch_tokens": grown("rlaif_batcher_batch_tokens_sum") / batches,
                "batches": batches, "shed_by_batcher": grown("rlaif_batcher_shed_total"),
                "shed_by_server": grown("rlaif_server_shed_total"),
                "skipped": grown("rlaif_batcher_skipped_total"),
                "memory_grew_mib": most - memory_before, "server_cores": cores,
            })
        );
        outcome
    }

    /// The server's own metrics, summed over their labels.
    fn scrape(&self) -> HashMap<String, f64> {
        let mut stream = TcpStream::connect(self.metrics).expect("the endpoint listens");
        let request = "GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let mut text = String::new();
        stream.write_all(request.as_bytes()).expect("a request is sent");
        stream.read_to_string(&mut text).expect("an answer in UTF-8");
        let mut metrics = HashMap::new();
        for line in text.lines().filter(|line| line.starts_with("rlaif_")) {
            if let Some((name, value)) = line.rsplit_once(' ')
                && let Ok(value) = value.parse::<f64>()
            {
                let name = name.split('{').next().unwrap_or(name);
                *metrics.entry(name.to_owned()).or_default() += value;
            }
        }
        metrics
    }
}

/// Runs the callers' side in a child.
fn call(plan: &Plan) -> Outcome {
    let this = std::env::current_exe().expect("a bench has a path");
    let mut child = Command::new(this);
    let plan = serde_json::to_string(plan).expect("a plan is plain data");
    let output = child.arg("call").arg(plan).stderr(Stdio::inherit()).output();
    let output = output.expect("the child runs");
    serde_json::from_slice(&output.stdout).expect("the child prints what became of its calls")
}

fn most_memory_until(ended: &AtomicBool) -> f64 {
    let mut most = process::resident_mib();
    while !ended.load(Ordering::Relaxed) {
        most = most.max(process::resident_mib());
        std::thread::sleep(Duration::from_millis(20));
    }
    most
}
