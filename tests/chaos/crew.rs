//! The workers of the cluster, each at its wire, and the orchestrator that replaces those that fell.

use crate::plan::Scale;
use crate::tap::{Source, Tap};
use rlaif_testkit::{Cluster, Process};
use std::time::Duration;

/// A worker's process and its wire. It is replaced by one of another name when it dies.
pub struct Worker {
    service: &'static str,
    /// What it is called, in the queue too.
    pub name: String,
    /// Ends before its tap.
    pub process: Process,
    /// Between it and Redis.
    pub tap: Tap,
}

/// All of them.
pub struct Crew {
    source: Source,
    /// How long a result of the rollout worker takes on its way, or the pairs would be labelled before
    /// the storm has begun.
    pace: Duration,
    /// Where faults hit.
    pub labelers: Vec<Worker>,
    /// Where they hit, too.
    pub learner: Worker,
    others: Vec<Worker>,
    started: usize,
}

/// What the orchestrator found.
#[derive(Debug, Default)]
pub struct Fallen {
    /// Labelers that poison killed.
    pub struck: usize,
    /// Processes that ended and should not have.
    pub by_themselves: Vec<String>,
}

impl Crew {
    /// Starts as many labelers as the scale says, and one of each other kind.
    pub fn start(cluster: &Cluster, source: Source, scale: &Scale) -> Self {
        let started = &mut 0;
        let mut start = |service| start(cluster, &source, scale.pace, service, started);
        let labelers = (0..scale.labelers).map(|_| start("labeler")).collect();
        let (learner, others) = (start("learner"), vec![start("rollout"), start("reward")]);
        let (started, pace) = (*started, scale.pace);
        Self { source, pace, labelers, learner, others, started }
    }

    /// A new labeler in the place of one that was killed.
    pub fn replace_labeler(&mut self, cluster: &Cluster, slot: usize) {
        self.labelers[slot] = self.start_another(cluster, "labeler");
    }

    /// A new learner in the place of the one that was killed.
    pub fn replace_learner(&mut self, cluster: &Cluster) {
        self.learner = self.start_another(cluster, "learner");
    }

    fn start_another(&mut self, cluster: &Cluster, service: &'static str) -> Worker {
        start(cluster, &self.source, self.pace, service, &mut self.started)
    }

    /// Kills whom poison has struck, and replaces whoever has ended.
    pub fn replace_the_fallen(&mut self, cluster: &Cluster) -> Fallen {
        let mut fallen = Fallen::default();
        let Self { source, pace, started, .. } = self;
        let all = self.labelers.iter_mut().chain(&mut self.others).chain([&mut self.learner]);
        for worker in all {
            if worker.tap.is_struck() {
                worker.process.kill();
                fallen.struck += 1;
            } else if worker.process.is_running() {
                continue;
            } else {
                fallen.by_themselves.push(worker.name.clone());
            }
            *worker = start(cluster, source, *pace, worker.service, started);
        }
        fallen
    }
}

fn start(
    cluster: &Cluster,
    source: &Source,
    pace: Duration,
    service: &'static str,
    started: &mut usize,
) -> Worker {
    *started += 1;
    let name = format!("{service}-{started}");
    let pace = if service == "rollout" { pace } else { Duration::ZERO };
    let tap = Tap::open(cluster.folder().join(format!("{name}.sock")), source.clone(), pace);
    let mut command = cluster.worker(service, &name);
    command.env("RLAIF__QUEUE__URL", tap.url());
    Worker { service, process: Process::spawn(&mut command), name, tap }
}
