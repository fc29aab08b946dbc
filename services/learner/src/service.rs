//! The learner as a network service: its queue, and what it does and published for who asks.

use crate::LearnerExecutor;
use crate::handler::Handler;
use crate::versions::Hashes;
use rlaif_job::WorkerKind;
use rlaif_proto::learner::DESCRIPTOR_SET;
use rlaif_proto::learner::v1::learner_service_server::LearnerServiceServer;
use rlaif_service::auth::{Access, Role, Rule};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::server::Api;
use rlaif_worker::{Parts, Resources, Service};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tonic::service::Routes;

const WATCHERS: Access = Access::Roles(&[Role::Client, Role::Admin]);
const READERS: Access = Access::Roles(&[Role::Client, Role::Worker, Role::Admin]);

/// Who may call each method.
pub const RULES: &[Rule] = &[
    ("/rlaif.learner.v1.LearnerService/GetStatus", WATCHERS),
    ("/rlaif.learner.v1.LearnerService/ListVersions", READERS),
];

/// The learner, for a [`Host`](rlaif_worker::Host).
pub struct Learner;

/// Nothing is configured for direct callers.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {}

impl Validate for Direct {
    fn validate(&self, _: &mut Problems) {}
}

impl Service for Learner {
    const NAME: &'static str = "rlaif-learner";
    const KIND: WorkerKind = WorkerKind::Learner;
    const DEFAULTS: &'static str = "[direct]\n";
    type Direct = Direct;

    fn build(_: Direct, resources: &Resources) -> Result<Parts, String> {
        let executor = Arc::new(LearnerExecutor::new(resources.clone()));
        let (status, hashes) = (executor.status.clone(), Hashes::default());
        let handler = Handler { status, resources: resources.clone(), hashes };
        let routes = Routes::new(LearnerServiceServer::new(handler));
        let api = Api { routes, descriptor: DESCRIPTOR_SET, rules: RULES };
        Ok(Parts { executor, api, engines: Vec::new(), tasks: Vec::new() })
    }
}
