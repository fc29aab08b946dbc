//! The rollout worker as a network service: its queue, and completions for direct callers.

use crate::RolloutExecutor;
use crate::handler::Handler;
use rlaif_job::{Manifest, WorkerKind};
use rlaif_proto::rollout::DESCRIPTOR_SET;
use rlaif_proto::rollout::v1::rollout_service_server::RolloutServiceServer;
use rlaif_service::auth::{Access, Role, Rule};
use rlaif_service::batcher;
use rlaif_service::config::{Problems, Validate};
use rlaif_service::server::Api;
use rlaif_worker::{Parts, Resources, Service, Source};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tonic::service::Routes;

const CALLERS: Access = Access::Roles(&[Role::Client, Role::Worker, Role::Admin]);

/// Who may call each method.
pub const RULES: &[Rule] = &[
    ("/rlaif.rollout.v1.RolloutService/Generate", CALLERS),
    ("/rlaif.rollout.v1.RolloutService/GetPolicyInfo", CALLERS),
];

/// The rollout worker, for a [`Host`](rlaif_worker::Host).
pub struct Rollout;

/// What direct callers are served.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {
    /// A folder, a `.gguf` file or a pulled name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The job whose final policy it is, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Prompts go through the policy's chat template.
    pub chat: bool,
    /// Longest completion, in tokens.
    pub max_new_tokens: usize,
    /// How callers are batched.
    pub batcher: batcher::Options,
}

impl Direct {
    pub(crate) fn source(&self) -> Option<Source> {
        Source::of(self.model.as_deref(), self.job.as_deref(), Manifest::POLICY)
    }
}

impl Validate for Direct {
    fn validate(&self, problems: &mut Problems) {
        Source::validate(self.model.as_deref(), self.job.as_deref(), problems);
        problems.check(self.max_new_tokens > 0, "max_new_tokens", "must be at least 1");
        problems.section("batcher", &self.batcher);
    }
}

impl Service for Rollout {
    const NAME: &'static str = "rlaif-rollout";
    const KIND: WorkerKind = WorkerKind::Rollout;
    const DEFAULTS: &'static str = include_str!("default.toml");
    type Direct = Direct;

    fn build(direct: Direct, resources: &Resources) -> Result<Parts, String> {
        let (handler, engines) = Handler::start(direct, resources)?;
        // The server bounds what it reads; tonic's own bound would be a second one.
        let service = RolloutServiceServer::new(handler).max_decoding_message_size(usize::MAX);
        let api = Api { routes: Routes::new(service), descriptor: DESCRIPTOR_SET, rules: RULES };
        let executor = Arc::new(RolloutExecutor::new(resources.clone()));
        Ok(Parts { executor, api, engines, tasks: Vec::new() })
    }
}
