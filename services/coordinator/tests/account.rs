//! What a job's labeler has taken, over failures of the job and restarts of its coordinator.

mod support;

use rlaif_job::Tokens;
use rlaif_proto::coordinator::v1::{JobState, ResumeJobRequest};
use rlaif_testkit::eventually;
use support::*;

/// Tokens that each answer of the labeler says it read.
const ANSWER: u64 = 20;

async fn paid(client: &mut Client, id: &str) -> u64 {
    job(client, id).await.cost.unwrap().prompt_tokens
}

#[tokio::test]
async fn labels_that_came_to_nothing_stay_on_the_account_over_a_restart() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("blind", false), "key").await;
    for chunk in 0..2 {
        cluster.workers.play(&format!("{id}/3-label/{chunk:08}"), Trick::LabelNothing);
    }
    // Two checks, fine-tuning, two chunks of pairs and of labels.
    cluster.workers.allow(7);
    until(&mut client, &id, JobState::Failed).await;
    assert_eq!(paid(&mut client, &id).await, (1 + 2) * ANSWER);

    cluster.workers.behave();
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    client.resume_job(resume).await.unwrap();
    // The labels again.
    cluster.workers.allow(2);
    let all = (1 + 2 + 2) * ANSWER;
    eventually("they are paid", async || {
        (paid(&mut client.clone(), &id).await == all).then_some(())
    })
    .await;
    // Its record was last written when it was resumed.
    cluster.stop(running).await;

    let running = cluster.coordinator().await;
    let mut client = running.client();
    assert_eq!(paid(&mut client, &id).await, all);
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;
    assert_eq!(paid(&mut client, &id).await, all + 2 * ANSWER);
    cluster.stop(running).await;
}

/// As before the journal kept account of them: what they took is in the job's record, and nowhere else.
#[tokio::test]
async fn labels_that_came_to_nothing_in_an_older_journal_stay_on_the_account() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let id = submit(&mut running.client(), &submission("older", false), "key").await;
    cluster.stop(running).await;
    let journal = cluster.journal();
    let mut record = journal.jobs().unwrap().remove(0);
    record.used.labeler = Tokens::read(100);
    journal.update(&record).unwrap();
    drop(journal);

    let running = cluster.coordinator().await;
    let mut client = running.client();
    assert_eq!(paid(&mut client, &id).await, 100);
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;
    // One check of the labeler, two chunks of labels and two of contests.
    assert_eq!(paid(&mut client, &id).await, 100 + 5 * ANSWER);
    cluster.stop(running).await;
}
