//! A labeler for direct callers: what it says is what `rlaif label` says.

use crate::{MODEL, Running, TEMPLATE, config, no_redis, start};
use rlaif_labeler::Labeler;
use rlaif_proto::labeler::v1::label_service_client::LabelServiceClient;
use rlaif_proto::labeler::v1::{
    Asking, CompareRequest, CompareStreamRequest, ComparisonAnswer, ComparisonQuestion,
    RateRequest, RatingQuestion, Reasoning,
};
use rlaif_service::client::Channel;
use rlaif_types::{Pair, UnscorableReason};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

async fn labeler(folder: &Path) -> Running {
    let config = config::<Labeler>(&no_redis(folder), folder, |config| {
        config.direct.model = Some(MODEL.to_owned());
    });
    start::<Labeler>(config).await
}

pub(crate) fn pair(a: &str, b: &str) -> Pair {
    let prompt = rlaif_types::Prompt::Text("Say something.".to_owned());
    Pair { prompt, response_a: a.to_owned(), response_b: b.to_owned() }
}

fn question(id: &str, pair: Pair) -> ComparisonQuestion {
    let (id, template) = (id.to_owned(), TEMPLATE.to_owned());
    ComparisonQuestion { id, template, pair: Some(pair.into()), asking: None }
}

async fn compare(channel: &Channel, a: &str, b: &str) -> ComparisonAnswer {
    let request = CompareRequest { question: Some(question("q", pair(a, b))) };
    let mut client = LabelServiceClient::new(channel.clone());
    client.compare(request).await.unwrap().into_inner().answer.unwrap()
}

/// What `rlaif label` says about the same pair.
fn label_command(a: &str, b: &str, how: &[&str]) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(["label", "--model", MODEL])
        .args(how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let record = json!({"prompt": "Say something.", "response_a": a, "response_b": b});
    writeln!(child.stdin.take().unwrap(), "{record}").unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_over_the_wire_is_the_commands_bit_for_bit_and_exchanges_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let channel = worker.channel(None);
    for (a, b) in [("A fine day.", "A grim day."), ("x", "naïve 🚀")] {
        let forward = compare(&channel, a, b).await;
        let label = forward.judgement().unwrap().unwrap().label;
        // Alone in its batch, as in the command's.
        let expected = label_command(a, b, &["--template", TEMPLATE]);
        assert_eq!(label.value(), expected["soft_label"].as_f64().unwrap());
        assert_eq!(forward.label_id, expected["label_id"].as_str().unwrap());
        assert_eq!(forward.template.unwrap().hash, expected["template_hash"].as_str().unwrap());
        assert_eq!(forward.model.unwrap().hash, expected["model_hash"].as_str().unwrap());

        let backward = compare(&channel, b, a).await.judgement().unwrap().unwrap().label;
        assert_eq!(label.value(), 1.0 - backward.value());
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_way_of_asking_is_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let mut client = LabelServiceClient::new(worker.channel(None));
    let reasoning =
        Reasoning { max_tokens: 12, samples: 2, temperature: 0.9, top_k: 5, clamp: Some(0.4) };
    let asking = Asking { reasoning: Some(reasoning), seed: 3, ..Asking::default() };
    let template = "helpful/base".to_owned();
    let asked = question("q", pair("A fine day.", "A grim day."));
    let question = ComparisonQuestion { template, asking: Some(asking), ..asked };
    let request = CompareRequest { question: Some(question) };
    let answer = client.compare(request).await.unwrap().into_inner().answer.unwrap();
    let comparison = answer.judgement().unwrap().unwrap();
    let how = ["--cot", "--max-rationale-tokens=12", "--samples=2", "--temperature=0.9"];
    let how = [&how[..], &["--top-k=5", "--clamp=0.4", "--seed=3"]].concat();
    let expected = label_command("A fine day.", "A grim day.", &how);
    assert_eq!(json!(comparison.ab), expected["order_ab"]);
    assert_eq!(json!(comparison.label), expected["soft_label"]);
    assert_eq!(answer.label_id, expected["label_id"].as_str().unwrap());
    assert_eq!(comparison.ab.rationales.len(), 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_every_question_and_what_cannot_be_judged_has_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let asked = [
        ("fine", pair("fine", "good")),
        ("empty", pair("", "good")),
        ("long", pair("bad", &"long ".repeat(600))),
    ];
    let questions =
        asked.map(|(id, pair)| CompareStreamRequest { question: Some(question(id, pair)) });
    let mut client = LabelServiceClient::new(worker.channel(None));
    let answers = client.compare_stream(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().answer.unwrap()).collect().await;
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let reason = answer.judgement().unwrap().err().map(|unscorable| unscorable.reason);
        let expected = match answer.id.as_str() {
            "fine" => None,
            "empty" => Some(UnscorableReason::BadItem),
            _ => Some(UnscorableReason::PromptTooLong),
        };
        assert_eq!(reason, expected, "{}", answer.id);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_template_is_built_in_and_of_the_right_kind() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let mut client = LabelServiceClient::new(worker.channel(None));
    // A path is no name; a rating is no comparison.
    for template in ["/etc/passwd", "helpful/rating", ""] {
        let question =
            ComparisonQuestion { template: template.to_owned(), ..question("", pair("a", "b")) };
        let refused =
            client.compare(CompareRequest { question: Some(question) }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{template}");
        let violations =
            refused.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(violations[0].field, "question.template");
    }
    let item = rlaif_types::Item { prompt: pair("", "").prompt, response: "Hello".to_owned() };
    let question = RatingQuestion {
        id: "r".to_owned(),
        template: "helpful/rating".to_owned(),
        item: Some(item.into()),
        asking: None,
    };
    let rated = client.rate(RateRequest { question: Some(question) }).await.unwrap().into_inner();
    let rating = rated.answer.unwrap().judgement().unwrap().unwrap();
    assert!((-1.0..=1.0).contains(&rating.reward), "{rating:?}");
    worker.stop().await;
}
