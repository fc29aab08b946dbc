//! `rlaif doctor`'s examination: what each service is told, and whether what it is told of is there and as
//! it must be. Where a service looks itself when it starts, its own code is asked.
//!
//! One file per check; each returns [`Finding`]s, and what is alike for several services is looked at once.

mod agreement;
mod artifacts;
mod device;
mod disk;
mod finding;
mod models;
mod redis;
mod settings;

pub use finding::Finding;
pub use settings::Named;

use settings::Told;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How thorough an examination is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long anybody may take to answer.
    pub patience: Duration,
    /// Bytes that must be free where services write.
    pub min_free: u64,
}

/// Examines the services with these files.
pub fn examine(named: &[Named], limits: &Limits, runtime: &Runtime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut told: Vec<Told> = Vec::new();
    for named in named {
        let (finding, service) = settings::read(named, runtime);
        findings.push(finding);
        told.extend(service);
    }
    findings.extend(agreement::check(&told));
    findings.extend(redis::check(&told, limits, runtime));
    findings.extend(artifacts::check(&told, limits, runtime));
    findings.extend(models::check(&told, runtime));
    findings.extend(device::check(&told));
    findings.extend(disk::check(&told, limits));
    findings
}

/// Values that several services have alike, each with those services, in order of appearance.
fn alike<'a, T: PartialEq>(
    told: &'a [Told],
    of: impl Fn(&'a Told) -> Option<T>,
) -> Vec<(T, Vec<&'a Told>)> {
    let mut groups: Vec<(T, Vec<&Told>)> = Vec::new();
    for service in told {
        let Some(value) = of(service) else { continue };
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, services)) => services.push(service),
            None => groups.push((value, vec![service])),
        }
    }
    groups
}

/// Services by name: `coordinator, labeler`.
fn names(services: &[&Told]) -> String {
    if services.len() == settings::SERVICES.len() {
        return "every service".to_owned();
    }
    services.iter().map(|service| service.name).collect::<Vec<_>>().join(", ")
}
