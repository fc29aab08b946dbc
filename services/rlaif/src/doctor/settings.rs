//! What each service is told, read as the service reads it; and its ports taken as the service takes them,
//! but for their numbers, which are those of free ports: the service itself may be running.

use super::Finding;
use rlaif_cluster::{ArtifactsConfig, QueueConfig};
use rlaif_coordinator::service as coordinator;
use rlaif_job::WorkerKind;
use rlaif_labeler::Labeler;
use rlaif_learner::Learner;
use rlaif_reward::Reward;
use rlaif_rollout::Rollout;
use rlaif_service::config;
use rlaif_service::metrics::Registry;
use rlaif_worker::config::WorkerConfig;
use rlaif_worker::{Config, Host, Service};
use std::path::PathBuf;
use std::str::FromStr;
use tokio::runtime::Runtime;

/// A service, and the file that it is started with.
#[derive(Debug, Clone)]
pub struct Named {
    service: &'static str,
    file: Option<PathBuf>,
}

/// All of them, in the order of the loop.
pub const SERVICES: [&str; 5] = ["coordinator", "rollout", "labeler", "reward", "learner"];

impl Named {
    /// Every service, without a file.
    pub fn all() -> Vec<Self> {
        SERVICES.into_iter().map(|service| Self { service, file: None }).collect()
    }
}

/// `labeler`, or `labeler=FILE`.
impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (name, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let service = SERVICES.into_iter().find(|service| *service == name);
        let service = service
            .ok_or_else(|| format!("{name:?} is no service; use one of {}", SERVICES.join(", ")))?;
        Ok(Self { service, file })
    }
}

/// What a service is told, as far as others must be told the same or something must be there for it.
#[derive(Debug)]
pub struct Told {
    pub name: &'static str,
    pub queue: QueueConfig,
    pub artifacts: ArtifactsConfig,
    /// Of a worker.
    pub worker: Option<WorkerConfig>,
    /// The model for direct callers.
    pub model: Option<String>,
    /// Of the coordinator.
    pub data_dir: Option<PathBuf>,
    /// Queues that it uses.
    pub queues: Vec<&'static str>,
}

/// A service's settings, and how they are; none where they cannot be read.
pub fn read(named: &Named, runtime: &Runtime) -> (Finding, Option<Told>) {
    match named.service {
        "coordinator" => read_coordinator(named, runtime),
        "rollout" => worker::<Rollout>(named, runtime, |direct| direct.model.clone()),
        "labeler" => worker::<Labeler>(named, runtime, |direct| direct.model.clone()),
        "reward" => worker::<Reward>(named, runtime, |direct| direct.model.clone()),
        _ => worker::<Learner>(named, runtime, |_| None),
    }
}

fn read_coordinator(named: &Named, runtime: &Runtime) -> (Finding, Option<Told>) {
    let mut config = match coordinator::Config::load(named.file.as_deref()) {
        Ok(config) => config,
        Err(error) => return (unreadable(named, &error), None),
    };
    let told = Told {
        name: named.service,
        queue: config.queue.clone(),
        artifacts: config.artifacts.clone(),
        worker: None,
        model: None,
        data_dir: Some(config.coordinator.data_dir.clone()),
        queues: WorkerKind::ALL.map(WorkerKind::queue).into(),
    };
    free_ports(&mut config.server, &mut config.metrics);
    config.page.address.set_port(0);
    let bound = runtime.block_on(coordinator::Service::bind(config));
    (taken(named, bound.map(drop)), Some(told))
}

fn worker<S: Service>(
    named: &Named,
    runtime: &Runtime,
    model: impl Fn(&S::Direct) -> Option<String>,
) -> (Finding, Option<Told>) {
    let defaults = rlaif_worker::config::defaults::<S>();
    let mut config: Config<S::Direct> = match config::load(&defaults, named.file.as_deref()) {
        Ok(config) => config,
        Err(error) => return (unreadable(named, &error), None),
    };
    let told = Told {
        name: named.service,
        queue: config.queue.clone(),
        artifacts: config.artifacts.clone(),
        worker: Some(config.worker.clone()),
        model: model(&config.direct),
        data_dir: None,
        queues: vec![S::KIND.queue()],
    };
    free_ports(&mut config.server, &mut config.metrics);
    let bound = runtime.block_on(Host::<S>::bind(config, Registry::new()));
    (taken(named, bound.map(drop)), Some(told))
}

fn free_ports(
    server: &mut rlaif_service::server::Config,
    metrics: &mut rlaif_service::metrics::Config,
) {
    server.address.set_port(0);
    metrics.address.set_port(0);
    if let Some(probes) = &mut server.probes {
        probes.address.set_port(0);
    }
}

fn place(named: &Named) -> String {
    match &named.file {
        Some(file) => format!("{} from {}", named.service, file.display()),
        None => format!("{} from defaults and environment", named.service),
    }
}

fn unreadable(named: &Named, error: &config::Error) -> Finding {
    let mend = format!("correct it; rlaif {} --dump-config shows every setting", named.service);
    Finding::wrong("settings", place(named), error, mend)
}

fn taken<E: std::fmt::Display>(named: &Named, bound: Result<(), E>) -> Finding {
    match bound {
        Ok(()) => Finding::well("settings", place(named), "in order, certificates too"),
        Err(error) => {
            let mend = "correct the setting that is named; the service does not start before";
            Finding::wrong("settings", place(named), error, mend)
        }
    }
}
