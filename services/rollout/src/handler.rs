//! Completions for direct callers over gRPC.

use crate::direct_policy::{Asked, DirectPolicy, Drawn, Input, Refused, Served};
use crate::service::Direct;
use rlaif_models::{Finish, Sampling};
use rlaif_proto::DecodeError;
use rlaif_proto::common::v1::{ModelIdentity, Tensor};
use rlaif_proto::decode::{field, required};
use rlaif_proto::rollout::v1 as wire;
use rlaif_proto::rollout::v1::rollout_service_server::RolloutService;
use rlaif_proto::rollout::v1::{
    GenerateRequest, GenerateResponse, GetPolicyInfoRequest, GetPolicyInfoResponse,
};
use rlaif_service::batcher::EngineThread;
use rlaif_types::Prompt;
use rlaif_types::estimated_tokens;
use rlaif_worker::direct::{deadline, invalid, unserved};
use rlaif_worker::{Desk, Resources};
use std::sync::Mutex;
use tonic::{Request, Response, Status};

/// Name of the batcher and its thread.
const BATCHER: &str = "completions";

/// Answers direct callers with one policy. Clones share it.
#[derive(Clone)]
pub(crate) struct Handler {
    max_new_tokens: usize,
    max_batch_tokens: usize,
    /// None where no policy is configured for direct callers.
    desk: Option<Desk<DirectPolicy>>,
}

impl Handler {
    /// Opens the desk before the configured policy.
    ///
    /// # Errors
    /// When a named policy cannot be loaded.
    pub(crate) fn start(
        direct: Direct,
        resources: &Resources,
    ) -> Result<(Self, Vec<EngineThread>), String> {
        let max_batch_tokens = direct.batcher.max_batch_tokens;
        let this = |desk| Self { max_new_tokens: direct.max_new_tokens, max_batch_tokens, desk };
        let Some(source) = direct.source() else { return Ok((this(None), Vec::new())) };
        let (job, model) = (source.job(resources)?, source.model.clone());
        let policy = DirectPolicy { job, model, chat: direct.chat, served: Mutex::default() };
        let (desk, thread) = Desk::open(BATCHER, &source, policy, direct.batcher.clone())?;
        Ok((this(Some(desk)), vec![thread]))
    }

    fn desk(&self) -> Result<&Desk<DirectPolicy>, Status> {
        self.desk.as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "this rollout worker has no policy for direct callers; its operator sets \
                 direct.model or direct.job",
            )
        })
    }

    /// What is asked, and what it costs.
    fn read(&self, request: GenerateRequest) -> Result<(Asked, usize), DecodeError> {
        let sampling = required(request.sampling, "sampling")?;
        let sampling =
            sampling_of(sampling, self.max_new_tokens).map_err(|e| e.within("sampling"))?;
        let (prompt, tokens) = match required(request.input, "input")? {
            wire::generate_request::Input::Prompt(prompt) => {
                let prompt: Prompt = field(Some(prompt), "prompt")?;
                let tokens = estimated_tokens(prompt.as_context().len());
                (Input::Prompt(prompt), tokens)
            }
            wire::generate_request::Input::Tokens(tokens) => {
                let count = tokens.ids.len();
                (Input::Tokens(tokens.ids), count)
            }
        };
        // None costs more than a batch: what is too long for the policy is said so.
        let cost = (tokens + sampling.max_new_tokens).min(self.max_batch_tokens);
        Ok((Asked { prompt, sampling }, cost))
    }
}

/// How tokens are drawn, as the engine takes it: one senseless request would fail its whole batch.
fn sampling_of(sampling: wire::Sampling, most: usize) -> Result<Sampling, DecodeError> {
    let wrong = |field: &str, what: String| Err(DecodeError::new(field, what));
    let temperature = required(sampling.temperature, "temperature")?;
    if !(temperature >= 0.0 && temperature.is_finite()) {
        return wrong("temperature", format!("must be 0 or a positive number, not {temperature}"));
    }
    let max_new_tokens = sampling.max_new_tokens as usize;
    if max_new_tokens == 0 || max_new_tokens > most {
        return wrong("max_new_tokens", format!("must be 1 to {most}, not {max_new_tokens}"));
    }
    if sampling.top_k == Some(0) {
        return wrong("top_k", "must be at least 1".to_owned());
    }
    if sampling.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return wrong("top_p", "must be above 0 and at most 1".to_owned());
    }
    Ok(Sampling {
        max_new_tokens,
        min_new_tokens: sampling.min_new_tokens as usize,
        temperature,
        top_k: sampling.top_k.map(|k| k as usize),
        top_p: sampling.top_p,
        stop_tokens: sampling.stop_tokens,
        stop_texts: Vec::new(),
        seed: sampling.seed,
    })
}

fn refusal(refused: Refused) -> Status {
    match refused {
        Refused::Prompt(what) => invalid(DecodeError::new("input", what)),
        Refused::Policy(failure) => unserved(failure),
    }
}

#[tonic::async_trait]
impl RolloutService for Handler {
    async fn generate(
        &self,
        request: Request<GenerateRequest>,
    ) -> Result<Response<GenerateResponse>, Status> {
        let deadline = deadline(&request);
        let (asked, cost) = self.read(request.into_inner()).map_err(invalid)?;
        let drawn = self.desk()?.ask(asked, cost, deadline).await?;
        let Drawn { policy_version, generation, text, prompt_tokens } = drawn.map_err(refusal)?;
        let finish = match generation.finish {
            Finish::Stop => wire::Finish::Stop,
            Finish::Length => wire::Finish::Length,
        };
        Ok(Response::new(GenerateResponse {
            logprobs: Some(Tensor::vector(&generation.logprobs)),
            tokens: generation.tokens,
            text,
            finish: finish.into(),
            policy_version,
            prompt_tokens: prompt_tokens as u64,
        }))
    }

    async fn get_policy_info(
        &self,
        _: Request<GetPolicyInfoRequest>,
    ) -> Result<Response<GetPolicyInfoResponse>, Status> {
        let policy = self.desk()?.model().clone();
        // It may have to be loaded.
        let served = tokio::task::spawn_blocking(move || policy.served()).await;
        let Served { version, info, since } =
            served.map_err(|panic| Status::internal(panic.to_string()))?.map_err(unserved)?;
        Ok(Response::new(GetPolicyInfoResponse {
            policy_version: version,
            context_length_tokens: info.context_length as u64,
            model: Some(ModelIdentity { name: info.name, hash: info.hash.to_string() }),
            loaded_at: Some(since.into()),
        }))
    }
}
