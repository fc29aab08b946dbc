//! The labeler as a network service: its queue, and judgements for direct callers.

use crate::LabelerExecutor;
use crate::handler::Handler;
use rlaif_job::{ModelRef, WorkerKind};
use rlaif_proto::labeler::DESCRIPTOR_SET;
use rlaif_proto::labeler::v1::label_service_server::LabelServiceServer;
use rlaif_service::auth::{Access, Role, Rule};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::server::Api;
use rlaif_worker::direct::Batching;
use rlaif_worker::{Parts, Resources, Service};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tonic::service::Routes;

// Workers reach labelers through the queue.
const CALLERS: Access = Access::Roles(&[Role::Client, Role::Admin]);

/// Who may call each method.
pub const RULES: &[Rule] = &[
    ("/rlaif.labeler.v1.LabelService/Compare", CALLERS),
    ("/rlaif.labeler.v1.LabelService/CompareStream", CALLERS),
    ("/rlaif.labeler.v1.LabelService/Rate", CALLERS),
    ("/rlaif.labeler.v1.LabelService/RateStream", CALLERS),
];

/// The labeler, for a [`Host`](rlaif_worker::Host).
pub struct Labeler;

/// What direct callers are served.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {
    /// What judges: a folder, a `.gguf` file, a pulled name, or a `.toml` file that describes an endpoint;
    /// without it callers are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How callers are batched.
    pub batching: Batching,
}

impl Validate for Direct {
    fn validate(&self, problems: &mut Problems) {
        problems.section("batching", &self.batching);
    }
}

impl Service for Labeler {
    const NAME: &'static str = "rlaif-labeler";
    const KIND: WorkerKind = WorkerKind::Labeler;
    const DEFAULTS: &'static str = include_str!("default.toml");
    type Direct = Direct;

    fn build(direct: Direct, resources: &Resources) -> Result<Parts, String> {
        let model = direct.model.map(ModelRef::Named);
        let (handler, engines) = Handler::start(model, direct.batching, resources)?;
        // The server bounds what it reads; tonic's own bound would be a second one.
        let service = LabelServiceServer::new(handler).max_decoding_message_size(usize::MAX);
        let api = Api { routes: Routes::new(service), descriptor: DESCRIPTOR_SET, rules: RULES };
        Ok(Parts {
            executor: Arc::new(LabelerExecutor::new(resources.clone())),
            api,
            engines,
            tasks: Vec::new(),
        })
    }
}
