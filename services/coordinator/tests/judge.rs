//! A job that names its own judge: whom its tasks ask, and what both cost it.

mod support;

use rlaif_job::{JudgeConfig, Manifest, Submission};
use rlaif_proto::Error;
use rlaif_proto::coordinator::v1::*;
use rlaif_types::{ContentHash, Money, Price};
use support::*;

/// A job whose labeler takes 0.01 for an answer here, and whose judge takes twice as much.
fn judged(name: &str) -> Submission {
    let mut sent = submission(name, false);
    let input = Money::parse("0.001").unwrap();
    let price = Price { input, cached_input: input, ..Price::default() };
    sent.job.evaluate.judge = Some(JudgeConfig { model: "judge".into(), price: Some(price) });
    sent
}

#[tokio::test]
async fn the_judge_counts_under_the_jobs_budget_at_its_own_price() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let mut sent = judged("judged");
    sent.job.labeler.max_cost = Some(Money::parse("0.05").unwrap());
    let id = submit(&mut client, &sent, "key").await;
    // Both are looked over, two chunks of pairs are labelled; then the judge would be asked.
    let spent = until(&mut client, &id, JobState::Failed).await;
    assert!(spent.error.contains("0.05 of max_cost = 0.05: raise it"), "{}", spent.error);

    let request =
        ResumeJobRequest { job_id: id.clone(), max_cost: "1.00".into(), max_tokens: None };
    client.resume_job(request).await.unwrap();
    // Three answers of the labeler, three of the judge: its check and two chunks of contests.
    let cost = until(&mut client, &id, JobState::Succeeded).await.cost.unwrap();
    assert_eq!((cost.amount, cost.prompt_tokens), (Some(0.09), 120));

    let manifest = Manifest::read(&cluster.run_folder(&id)).unwrap();
    let of = |name: &str| ContentHash::of(name);
    assert_eq!((manifest.labeler_hash, manifest.judge_hash), (of("labeler"), Some(of("judge"))));
    assert!(manifest.cautions.is_empty(), "{:?}", manifest.cautions);
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_judge_without_a_price_beside_a_labeler_with_one_is_refused_when_it_is_submitted() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut sent = judged("priceless");
    sent.job.evaluate.judge.as_mut().unwrap().price = None;
    let refused = running.client().submit_job(request(&sent, "key")).await.unwrap_err();
    let violations = Error::from(refused).violations;
    let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["job_toml.evaluate.judge.price"]);
    cluster.stop(running).await;
}
