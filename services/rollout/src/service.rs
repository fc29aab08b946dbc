//! The rollout worker as a network service: its queue, with health and metrics. It has no direct callers.

use crate::RolloutExecutor;
use rlaif_job::WorkerKind;
use rlaif_service::config::{Problems, Validate};
use rlaif_service::server::Api;
use rlaif_worker::{Parts, Resources, Service};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tonic::service::Routes;

/// The rollout worker, for a [`Host`](rlaif_worker::Host).
pub struct Rollout;

/// Nothing is configured for direct callers.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {}

impl Validate for Direct {
    fn validate(&self, _: &mut Problems) {}
}

impl Service for Rollout {
    const NAME: &'static str = "rlaif-rollout";
    const KIND: WorkerKind = WorkerKind::Rollout;
    const DEFAULTS: &'static str = "[direct]\n";
    type Direct = Direct;

    fn build(_: Direct, resources: &Resources) -> Result<Parts, String> {
        let api = Api { routes: Routes::default(), descriptor: &[], rules: &[] };
        let executor = Arc::new(RolloutExecutor::new(resources.clone()));
        Ok(Parts { executor, api, engines: Vec::new(), tasks: Vec::new() })
    }
}
