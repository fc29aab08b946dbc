//! Judgements for direct callers over gRPC.

use crate::account;
use crate::asking::asked;
use crate::panel::Panel;
use rlaif_job::{ModelRef, Tokens};
use rlaif_judge::Judge;
use rlaif_proto::common::v1::{ModelIdentity, TemplateIdentity};
use rlaif_proto::decode::{field, required};
use rlaif_proto::labeler::v1::label_service_server::LabelService;
use rlaif_proto::labeler::v1::{
    self as wire, CompareRequest, CompareResponse, CompareStreamRequest, CompareStreamResponse,
    ComparisonAnswer, ComparisonQuestion, RateRequest, RateResponse, RateStreamRequest,
    RateStreamResponse, RatingAnswer, RatingQuestion,
};
use rlaif_service::batcher::EngineThread;
use rlaif_template::{Asking, Kind, Template};
use rlaif_types::{Item, Pair};
use rlaif_worker::direct::{self, Answers, Batching, deadline, invalid};
use rlaif_worker::{Failure, JobResources, Resources};
use std::time::Instant;
use tonic::{Request, Response, Status, Streaming};

/// Answers direct callers with one model. Clones share it.
#[derive(Clone)]
pub(crate) struct Handler {
    batching: Batching,
    /// None where no model is configured for direct callers.
    panels: Option<Panels>,
}

#[derive(Clone)]
struct Panels {
    comparisons: Panel<Pair, ComparisonAnswer>,
    ratings: Panel<Item, RatingAnswer>,
}

impl Handler {
    /// Loads the model, so that a mistake shows at once, and starts the batchers before it.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    pub(crate) fn start(
        model: Option<ModelRef>,
        batching: Batching,
        resources: &Resources,
    ) -> Result<(Self, Vec<EngineThread>), String> {
        let Some(model) = model else {
            return Ok((Self { batching, panels: None }, Vec::new()));
        };
        let why = |failure: Failure| format!("direct.model: {}", failure.into_message());
        // A name among a job's artifacts has no meaning to direct callers, so any job will do.
        let job = || resources.job("").map_err(why);
        job()?.with_labeler(&model, |_| Ok(())).map_err(why)?;
        let (comparisons, comparing) =
            Panel::start("comparisons", &batching, job()?, model.clone(), compare)?;
        let (ratings, rating) = Panel::start("ratings", &batching, job()?, model, rate)?;
        let panels = Some(Panels { comparisons, ratings });
        Ok((Self { batching, panels }, vec![comparing, rating]))
    }

    fn panels(&self) -> Result<&Panels, Status> {
        self.panels.as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "this labeler has no model for direct callers; its operator sets direct.model",
            )
        })
    }

    async fn comparison(
        self,
        question: Option<ComparisonQuestion>,
        deadline: Option<Instant>,
    ) -> Result<ComparisonAnswer, Status> {
        let question = required(question, "question").map_err(invalid)?;
        let asked = self.asked(&question.template, &[Kind::Compare], question.asking)?;
        let pair: Pair = field(question.pair, "pair").map_err(|e| invalid(e.within("question")))?;
        // Both orders are asked.
        let shown = pair.prompt.as_context().len() + pair.response_a.len() + pair.response_b.len();
        let cost = self.cost(2 * shown, &asked);
        let comparisons = &self.panels()?.comparisons;
        let answer = comparisons.ask(asked, pair, cost, deadline).await?;
        Ok(ComparisonAnswer { id: question.id, ..answer })
    }

    async fn rating(
        self,
        question: Option<RatingQuestion>,
        deadline: Option<Instant>,
    ) -> Result<RatingAnswer, Status> {
        let question = required(question, "question").map_err(invalid)?;
        let kinds = [Kind::Rate, Kind::Rubric];
        let asked = self.asked(&question.template, &kinds, question.asking)?;
        let item: Item = field(question.item, "item").map_err(|e| invalid(e.within("question")))?;
        let cost = self.cost(item.prompt.as_context().len() + item.response.len(), &asked);
        let answer = self.panels()?.ratings.ask(asked, item, cost, deadline).await?;
        Ok(RatingAnswer { id: question.id, ..answer })
    }

    /// What is asked, and how. It writes no more than a batch may hold.
    fn asked(
        &self,
        template: &str,
        kinds: &[Kind],
        asking: Option<wire::Asking>,
    ) -> Result<(Template, Asking), Status> {
        asked(template, kinds, asking, self.batching.batcher.max_batch_tokens).map_err(invalid)
    }

    /// Tokens that a question is likely to take: what is shown, as often as it is asked.
    fn cost(&self, shown: usize, (template, asking): &(Template, Asking)) -> usize {
        let exemplars = template.exemplars.iter().take(asking.shots);
        let exemplars: usize =
            exemplars.map(|exemplar| exemplar.fill(&template.exemplar).len()).sum();
        let written = asking.reasoning.as_ref().map_or(0, |r| r.samples * r.max_tokens);
        (self.batching.cost(shown + exemplars) + written)
            .min(self.batching.batcher.max_batch_tokens)
    }
}

fn compare(
    job: &JobResources,
    judge: &Judge,
    pairs: &[Pair],
) -> Result<Vec<ComparisonAnswer>, Failure> {
    let comparisons = account::compare(job, judge, pairs, &mut Tokens::default())?;
    let answers = pairs.iter().zip(comparisons).map(|(pair, comparison)| ComparisonAnswer {
        id: String::new(),
        result: Some(comparison.into()),
        label_id: judge.label_id(pair).0.to_string(),
        template: Some(template_of(judge)),
        model: Some(model_of(judge)),
    });
    Ok(answers.collect())
}

fn rate(job: &JobResources, judge: &Judge, items: &[Item]) -> Result<Vec<RatingAnswer>, Failure> {
    let ratings = account::rate(job, judge, items, &mut Tokens::default())?;
    let answers = ratings.into_iter().map(|rating| RatingAnswer {
        id: String::new(),
        result: Some(rating.into()),
        template: Some(template_of(judge)),
        model: Some(model_of(judge)),
    });
    Ok(answers.collect())
}

fn template_of(judge: &Judge) -> TemplateIdentity {
    let (name, hash) = (judge.template().name.clone(), judge.template_hash().to_string());
    TemplateIdentity { name, hash }
}

fn model_of(judge: &Judge) -> ModelIdentity {
    let labeler = judge.labeler();
    ModelIdentity { name: labeler.name.clone(), hash: labeler.hash.to_string() }
}

#[tonic::async_trait]
impl LabelService for Handler {
    type CompareStreamStream = Answers<CompareStreamResponse>;
    type RateStreamStream = Answers<RateStreamResponse>;

    async fn compare(
        &self,
        request: Request<CompareRequest>,
    ) -> Result<Response<CompareResponse>, Status> {
        let deadline = deadline(&request);
        let answer = self.clone().comparison(request.into_inner().question, deadline).await?;
        Ok(Response::new(CompareResponse { answer: Some(answer) }))
    }

    async fn compare_stream(
        &self,
        request: Request<Streaming<CompareStreamRequest>>,
    ) -> Result<Response<Self::CompareStreamStream>, Status> {
        let (deadline, this) = (deadline(&request), self.clone());
        let in_flight = self.batching.max_stream_in_flight;
        let answers = direct::answers(request.into_inner(), in_flight, move |request| {
            let this = this.clone();
            async move {
                let answer = Some(this.comparison(request.question, deadline).await?);
                Ok(CompareStreamResponse { answer })
            }
        });
        Ok(Response::new(answers))
    }

    async fn rate(&self, request: Request<RateRequest>) -> Result<Response<RateResponse>, Status> {
        let deadline = deadline(&request);
        let answer = self.clone().rating(request.into_inner().question, deadline).await?;
        Ok(Response::new(RateResponse { answer: Some(answer) }))
    }

    async fn rate_stream(
        &self,
        request: Request<Streaming<RateStreamRequest>>,
    ) -> Result<Response<Self::RateStreamStream>, Status> {
        let (deadline, this) = (deadline(&request), self.clone());
        let in_flight = self.batching.max_stream_in_flight;
        let answers = direct::answers(request.into_inner(), in_flight, move |request| {
            let this = this.clone();
            async move {
                let answer = Some(this.rating(request.question, deadline).await?);
                Ok(RateStreamResponse { answer })
            }
        });
        Ok(Response::new(answers))
    }
}
