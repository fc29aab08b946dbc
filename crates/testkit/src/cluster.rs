//! The cluster as its users run it: real processes of the program over a real Redis.

use crate::{Process, RedisServer, free_port};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything correct takes on a busy machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// One coordinator, its Redis, and the place where workers find both. Everything lies in one folder,
/// the log of each process too.
#[derive(Debug)]
pub struct Cluster {
    /// The queues.
    pub redis: RedisServer,
    program: PathBuf,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    coordinator: Option<Process>,
}

impl Cluster {
    /// Starts a coordinator. `settings` are configuration of every service, by their names as
    /// environment variables.
    ///
    /// # Panics
    /// When the folder cannot be made or the program does not start.
    pub fn start(
        program: impl Into<PathBuf>,
        folder: &Path,
        redis: RedisServer,
        settings: &[(&str, &str)],
    ) -> Self {
        std::fs::create_dir_all(folder).expect("the cluster's folder can be made");
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (program, folder) = (program.into(), folder.to_owned());
        let port = free_port();
        let mut cluster = Self { redis, program, folder, settings, port, coordinator: None };
        cluster.start_coordinator();
        cluster
    }

    fn service(&self, service: &str, name: &str) -> Command {
        let log = self.folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log);
        let mut command = Command::new(&self.program);
        command
            .arg(service)
            .env("RLAIF__QUEUE__URL", self.redis.url())
            .env("RLAIF__ARTIFACTS__URL", self.folder.join("jobs"))
            .env("RLAIF__METRICS__ADDRESS", "127.0.0.1:0")
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the cluster's folder can be written"));
        command
    }

    /// Starts the coordinator again where it was, after [`kill_coordinator`](Self::kill_coordinator).
    ///
    /// # Panics
    /// When the program does not start.
    pub fn start_coordinator(&mut self) {
        let mut command = self.service("coordinator", "coordinator");
        command
            .env("RLAIF__SERVER__ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("RLAIF__PAGE__ADDRESS", "127.0.0.1:0")
            .env("RLAIF__COORDINATOR__DATA_DIR", &self.folder);
        self.coordinator = Some(Process::spawn(&mut command));
    }

    /// False once the coordinator has ended, by itself or killed.
    pub fn coordinator_is_running(&mut self) -> bool {
        self.coordinator.as_mut().is_some_and(Process::is_running)
    }

    /// Ends the coordinator with SIGKILL.
    pub fn kill_coordinator(&mut self) {
        drop(self.coordinator.take());
    }

    /// Ends the coordinator as an operator does, with SIGTERM, and waits until it has.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop_coordinator(&mut self) {
        self.coordinator.take().expect("the coordinator runs").stop();
    }

    /// The coordinator's process.
    ///
    /// # Panics
    /// When there is none.
    pub fn coordinator(&self) -> &Process {
        self.coordinator.as_ref().expect("the coordinator runs")
    }

    /// Where clients reach the coordinator.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The command that starts a worker: `service` is its kind, `name` what it is called in results,
    /// attempts and the folder's logs.
    ///
    /// # Panics
    /// When its log cannot be made.
    pub fn worker(&self, service: &str, name: &str) -> Command {
        let mut command = self.service(service, name);
        command.env("RLAIF__WORKER__NAME", name);
        command
    }

    /// What a client command prints, once it succeeds: it is repeated while it fails, as while the
    /// coordinator is away.
    ///
    /// # Panics
    /// When it has not succeeded after three minutes, with what it said.
    pub fn ask(&self, args: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let mut command = Command::new(&self.program);
            let output = command.args(args).env("RLAIF_SERVER", self.address()).output();
            let output = output.expect("the program starts");
            if output.status.success() {
                return String::from_utf8(output.stdout).expect("the program prints UTF-8");
            }
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(started.elapsed() < PATIENCE, "rlaif {args:?}: {why}");
            std::thread::sleep(POLL);
        }
    }

    /// Submits a job file; the job's id.
    pub fn submit(&self, job: &Path) -> String {
        let job = job.to_str().expect("the test's folder is UTF-8");
        self.ask(&["submit", job]).trim().to_owned()
    }

    /// Where the coordinator keeps a job's files.
    pub fn run_folder(&self, job: &str) -> PathBuf {
        self.folder.join("jobs").join(job)
    }

    /// The manifest of a job, as JSON, once it has succeeded.
    pub fn manifest(&self, job: &str) -> String {
        self.ask(&["watch", job]);
        self.ask(&["report", job, "--format", "manifest"])
    }

    /// The coordinator's folder, with `journal.redb`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Runs a job with `rlaif run`, alone and undisturbed; its run folder is `out`.
///
/// # Panics
/// When it fails.
pub fn run_alone(program: impl Into<PathBuf>, job: &Path, out: &Path) {
    let mut command = Command::new(program.into());
    command.arg("run").arg(job).arg("--out").arg(out).stdin(Stdio::null());
    let output = command.output().expect("the program starts");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rlaif run {}: {why}", job.display());
}
