//! The reward worker as a network service: its queue, and rewards for direct callers.

use crate::handler::Handler;
use crate::normalisation::Normalisation;
use crate::{RewardExecutor, get_reward};
use rlaif_job::{Manifest, WorkerKind};
use rlaif_proto::reward::DESCRIPTOR_SET;
use rlaif_proto::reward::v1::reward_service_server::RewardServiceServer;
use rlaif_service::auth::{Access, Role, Rule};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::http;
use rlaif_service::server::Api;
use rlaif_worker::direct::Batching;
use rlaif_worker::{Parts, Resources, Service, Source};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tonic::service::Routes;

const CALLERS: Access = Access::Roles(&[Role::Client, Role::Worker, Role::Admin]);

/// Who may call each method.
pub const RULES: &[Rule] = &[
    ("/rlaif.reward.v1.RewardService/Score", CALLERS),
    ("/rlaif.reward.v1.RewardService/ScoreStream", CALLERS),
    ("/rlaif.reward.v1.RewardService/GetModelInfo", CALLERS),
];

/// The reward worker, for a [`Host`](rlaif_worker::Host).
pub struct Reward;

/// What direct callers are served.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {
    /// A folder or a pulled name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The job whose newest reward model it is, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Prompts go through the model's chat template.
    pub chat: bool,
    /// Mean of the model's outputs on its training responses, taken off. Without it and `std`, those
    /// that the model was published with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Their standard deviation, divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// How callers are batched.
    pub batching: Batching,
    /// Where trainers of OpenRLHF ask, over plain HTTP; nowhere where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<http::Config>,
}

impl Direct {
    pub(crate) fn source(&self) -> Option<Source> {
        Source::of(self.model.as_deref(), self.job.as_deref(), Manifest::REWARD)
    }

    /// What is set, instead of what a model was published with.
    pub(crate) fn normalisation(&self) -> Option<Normalisation> {
        Some(Normalisation { mean: self.mean?, std: self.std? })
    }
}

impl Validate for Direct {
    fn validate(&self, problems: &mut Problems) {
        Source::validate(self.model.as_deref(), self.job.as_deref(), problems);
        let together = self.mean.is_some() == self.std.is_some();
        problems.check(together, "std", "and mean are given together or not at all");
        let finite = self.mean.is_none_or(f64::is_finite);
        problems.check(finite, "mean", "must be a finite number");
        let divisor = self.std.is_none_or(|std| std.is_finite() && std > 0.0);
        problems.check(divisor, "std", "must be a number above 0");
        problems.section("batching", &self.batching);
        if let Some(http) = &self.http {
            problems.section("http", http);
        }
    }
}

impl Service for Reward {
    const NAME: &'static str = "rlaif-reward";
    const KIND: WorkerKind = WorkerKind::Reward;
    const DEFAULTS: &'static str = include_str!("default.toml");
    type Direct = Direct;

    fn build(direct: Direct, resources: &Resources) -> Result<Parts, String> {
        let http = direct.http.clone();
        let (handler, engines) = Handler::start(direct, resources)?;
        let remote = http.map(|http| get_reward::task(&http, handler.clone())).transpose()?;
        // The server bounds what it reads; tonic's own bound would be a second one.
        let service = RewardServiceServer::new(handler).max_decoding_message_size(usize::MAX);
        let api = Api { routes: Routes::new(service), descriptor: DESCRIPTOR_SET, rules: RULES };
        let executor = Arc::new(RewardExecutor::new(resources.clone()));
        let tasks = remote.map(|task| ("get_reward", task)).into_iter().collect();
        Ok(Parts { executor, api, engines, tasks })
    }
}
