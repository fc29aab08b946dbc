//! A generated client calls a generated server in the same process, without a socket: what the
//! labeler answers, and what a caller learns when it is refused.

use rlaif_proto::labeler::v1::label_service_client::LabelServiceClient;
use rlaif_proto::labeler::v1::label_service_server::{LabelService, LabelServiceServer};
use rlaif_proto::labeler::v1::{
    CompareRequest, CompareResponse, CompareStreamRequest, CompareStreamResponse, ComparisonAnswer,
    ComparisonQuestion, RateRequest, RateResponse, RateStreamRequest, RateStreamResponse,
};
use rlaif_proto::{DecodeError, Error, ErrorCode, decode};
use rlaif_types::{
    Comparison, Judgement, OrderScores, Pair, Prompt, SoftLabel, Unscorable, UnscorableReason,
};
use std::time::Duration;
use tonic::codegen::BoxStream;
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Prefers the longer response. Has no room for ratings.
struct PrefersLonger;

fn answer(question: Option<ComparisonQuestion>) -> Result<ComparisonAnswer, DecodeError> {
    let question = decode::required(question, "question")?;
    let pair = decode::field(question.pair, "pair").map_err(|e| e.within("question"))?;
    let result = Some(judge(&pair).into());
    Ok(ComparisonAnswer { id: question.id, result, ..Default::default() })
}

fn judge(pair: &Pair) -> Judgement<Comparison> {
    if pair.response_a.is_empty() || pair.response_b.is_empty() {
        return Err(Unscorable::new(UnscorableReason::BadItem, "a response is empty"));
    }
    let (a, b) = (pair.response_a.len() as f64, pair.response_b.len() as f64);
    let order = |first: f64, second: f64| OrderScores {
        verdict_logprobs: [first, second],
        prefers_first: SoftLabel::from_logprobs(first, second).unwrap(),
        prompt_tokens: 7,
        completion_tokens: 0,
        rationales: Vec::new(),
    };
    let (ab, ba) = (order(a, b), order(b, a));
    let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
    Ok(Comparison { label, ab, ba })
}

#[tonic::async_trait]
impl LabelService for PrefersLonger {
    async fn compare(
        &self,
        request: Request<CompareRequest>,
    ) -> Result<Response<CompareResponse>, Status> {
        let answer = answer(request.into_inner().question).map_err(Error::from)?;
        Ok(Response::new(CompareResponse { answer: Some(answer) }))
    }

    type CompareStreamStream = BoxStream<CompareStreamResponse>;

    async fn compare_stream(
        &self,
        request: Request<Streaming<CompareStreamRequest>>,
    ) -> Result<Response<Self::CompareStreamStream>, Status> {
        let answers = request.into_inner().map(|request| {
            let answer = answer(request?.question).map_err(Error::from)?;
            Ok(CompareStreamResponse { answer: Some(answer) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn rate(&self, _: Request<RateRequest>) -> Result<Response<RateResponse>, Status> {
        Err(Error::busy("the queue of ratings is full", Duration::from_millis(250)).into())
    }

    type RateStreamStream = BoxStream<RateStreamResponse>;

    async fn rate_stream(
        &self,
        _: Request<Streaming<RateStreamRequest>>,
    ) -> Result<Response<Self::RateStreamStream>, Status> {
        Err(Error::new(ErrorCode::Unavailable, "the labeler is stopping").into())
    }
}

fn client() -> LabelServiceClient<LabelServiceServer<PrefersLonger>> {
    LabelServiceClient::new(LabelServiceServer::new(PrefersLonger))
}

fn pair(response_a: &str, response_b: &str) -> Pair {
    let prompt = Prompt::Text("Say hello".into());
    Pair { prompt, response_a: response_a.into(), response_b: response_b.into() }
}

fn question(id: &str, pair: Pair) -> Option<ComparisonQuestion> {
    let template = "helpful/base".into();
    Some(ComparisonQuestion { id: id.into(), template, pair: Some(pair.into()), asking: None })
}

#[tokio::test]
async fn a_label_arrives_as_it_was_made() {
    let pair = pair("Hello there", "Hi");
    let request = CompareRequest { question: question("7", pair.clone()) };
    let answer = client().compare(request).await.unwrap().into_inner().answer.unwrap();
    assert_eq!(answer.id, "7");
    assert_eq!(answer.judgement(), Ok(judge(&pair)));
}

#[tokio::test]
async fn a_failed_judgement_is_an_answer_among_others_of_a_stream() {
    let questions = [("1", pair("Hello", "Hi")), ("2", pair("", "Hi"))]
        .map(|(id, pair)| CompareStreamRequest { question: question(id, pair) });
    let answers = client().compare_stream(tokio_stream::iter(questions)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(|a| a.unwrap().answer.unwrap()).collect().await;
    assert_eq!(answers.len(), 2);
    assert!(answers[0].judgement().unwrap().is_ok());
    let failed = answers[1].judgement().unwrap().unwrap_err();
    assert_eq!((answers[1].id.as_str(), failed.reason), ("2", UnscorableReason::BadItem));
}

#[tokio::test]
async fn a_refusal_says_which_field_is_wrong_or_when_to_come_back() {
    let mut question = question("7", pair("Hello", "Hi"));
    question.as_mut().unwrap().pair.as_mut().unwrap().prompt = None;
    let refused = Error::from(client().compare(CompareRequest { question }).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert_eq!(refused.violations[0].field, "question.pair.prompt");

    let refused = Error::from(client().rate(RateRequest::default()).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::Busy);
    assert_eq!(refused.retry_after, Some(Duration::from_millis(250)));
}
