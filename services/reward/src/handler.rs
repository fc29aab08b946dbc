//! Rewards for direct callers over gRPC.

use crate::scorer::{Asked, Scored, Scorer, Served};
use crate::service::Direct;
use futures_util::future::try_join_all;
use rlaif_proto::DecodeError;
use rlaif_proto::common::v1::ModelIdentity;
use rlaif_proto::decode::{field, required};
use rlaif_proto::reward::v1::reward_service_server::RewardService;
use rlaif_proto::reward::v1::score_question::Input;
use rlaif_proto::reward::v1::{
    GetModelInfoRequest, GetModelInfoResponse, Normalisation, ScoreAnswer, ScoreQuestion,
    ScoreRequest, ScoreResponse, ScoreStreamRequest, ScoreStreamResponse,
};
use rlaif_service::batcher::EngineThread;
use rlaif_worker::direct::{self, Answers, Batching, deadline, invalid, unserved};
use rlaif_worker::{Desk, Resources};
use std::time::Instant;
use tonic::{Request, Response, Status, Streaming};

/// Name of the batcher and its thread.
const BATCHER: &str = "scores";

/// Answers direct callers with one reward model. Clones share it.
#[derive(Clone)]
pub(crate) struct Handler {
    batching: Batching,
    /// None where no model is configured for direct callers.
    desk: Option<Desk<Scorer>>,
}

impl Handler {
    /// Opens the desk before the configured model.
    ///
    /// # Errors
    /// When a named model cannot be loaded.
    pub(crate) fn start(
        direct: Direct,
        resources: &Resources,
    ) -> Result<(Self, Vec<EngineThread>), String> {
        let Some(source) = direct.source() else {
            return Ok((Self { batching: direct.batching, desk: None }, Vec::new()));
        };
        let (job, model) = (source.job(resources)?, source.model.clone());
        let scorer = Scorer::new(job, model, direct.chat, direct.normalisation());
        let options = direct.batching.batcher.clone();
        let (desk, thread) = Desk::open(BATCHER, &source, scorer, options)?;
        Ok((Self { batching: direct.batching, desk: Some(desk) }, vec![thread]))
    }

    fn desk(&self) -> Result<&Desk<Scorer>, Status> {
        self.desk.as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "this reward worker has no model for direct callers; its operator sets \
                 direct.model or direct.job",
            )
        })
    }

    async fn answer(
        self,
        question: ScoreQuestion,
        path: String,
        deadline: Option<Instant>,
    ) -> Result<ScoreAnswer, Status> {
        let (asked, cost) = self.read(question.input).map_err(|e| invalid(e.within(&path)))?;
        let (judgement, model_version) = self.score_one(asked, cost, deadline).await?;
        Ok(ScoreAnswer { id: question.id, result: Some(judgement.into()), model_version })
    }

    /// The reward of one question, batched with those of others.
    pub(crate) async fn score_one(
        &self,
        asked: Asked,
        cost: usize,
        deadline: Option<Instant>,
    ) -> Result<Scored, Status> {
        let scored = self.desk()?.ask(asked, cost, deadline).await?;
        scored.map_err(unserved)
    }

    /// What `bytes` of text cost.
    pub(crate) fn cost(&self, bytes: usize) -> usize {
        self.batching.cost(bytes)
    }

    /// What is asked, and what it costs.
    fn read(&self, input: Option<Input>) -> Result<(Asked, usize), DecodeError> {
        match required(input, "input")? {
            Input::Item(item) => {
                let item: rlaif_types::Item = field(Some(item), "item")?;
                let bytes = item.prompt.as_context().len() + item.response.len();
                Ok((Asked::Item(item), self.cost(bytes)))
            }
            Input::Tokens(tokens) => {
                let mut all = required(tokens.prompt, "tokens.prompt")?.ids;
                all.extend(required(tokens.response, "tokens.response")?.ids);
                let cost = all.len().clamp(1, self.batching.batcher.max_batch_tokens);
                Ok((Asked::Tokens(all), cost))
            }
        }
    }
}

#[tonic::async_trait]
impl RewardService for Handler {
    type ScoreStreamStream = Answers<ScoreStreamResponse>;

    async fn score(
        &self,
        request: Request<ScoreRequest>,
    ) -> Result<Response<ScoreResponse>, Status> {
        let deadline = deadline(&request);
        let questions = request.into_inner().questions.into_iter().enumerate();
        let answers = questions.map(|(i, question)| {
            self.clone().answer(question, format!("questions[{i}]"), deadline)
        });
        Ok(Response::new(ScoreResponse { answers: try_join_all(answers).await? }))
    }

    async fn score_stream(
        &self,
        request: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let (deadline, this) = (deadline(&request), self.clone());
        let in_flight = self.batching.max_stream_in_flight;
        let answers = direct::answers(request.into_inner(), in_flight, move |request| {
            let this = this.clone();
            async move {
                let question = required(request.question, "question").map_err(invalid)?;
                let answer = this.answer(question, "question".to_owned(), deadline).await?;
                Ok(ScoreStreamResponse { answer: Some(answer) })
            }
        });
        Ok(Response::new(answers))
    }

    async fn get_model_info(
        &self,
        _: Request<GetModelInfoRequest>,
    ) -> Result<Response<GetModelInfoResponse>, Status> {
        let scorer = self.desk()?.model().clone();
        // It may have to be loaded.
        let served = tokio::task::spawn_blocking(move || scorer.served()).await;
        let Served { version, name, hash, context_length, normalisation, since, .. } =
            served.map_err(|panic| Status::internal(panic.to_string()))?.map_err(unserved)?;
        Ok(Response::new(GetModelInfoResponse {
            model_version: version,
            model: Some(ModelIdentity { name, hash: hash.to_string() }),
            normalisation: Some(Normalisation {
                mean: Some(normalisation.mean),
                std: Some(normalisation.std),
            }),
            context_length_tokens: context_length as u64,
            loaded_at: Some(since.into()),
        }))
    }
}
