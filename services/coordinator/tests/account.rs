//! What a job's labeler has taken, over failures of the job and restarts of its coordinator.

mod support;

use rlaif_artifacts::Payload;
use rlaif_coordinator::Error;
use rlaif_job::{Answer, TaskId, Tokens, WorkResult, WorkerKind};
use rlaif_proto::coordinator::v1::{JobState, ResumeJobRequest};
use rlaif_queue::{Enqueued, Item};
use rlaif_testkit::eventually;
use std::time::Duration;
use support::*;

/// Tokens that each answer of the labeler says it read.
const ANSWER: u64 = 20;

async fn paid(client: &mut Client, id: &str) -> u64 {
    job(client, id).await.cost.unwrap().prompt_tokens
}

async fn until_paid(client: &Client, id: &str, tokens: u64) {
    eventually(&format!("{tokens} tokens are paid"), async || {
        (paid(&mut client.clone(), id).await == tokens).then_some(())
    })
    .await;
}

/// What another labeler says to a chunk of pairs, of which it read so many tokens.
fn another_answer(read: usize) -> Vec<u8> {
    let (result, tokens) = (WorkResult::Labels(Vec::new()), Tokens::read(read));
    let answer = Answer { result, seconds: 0.5, worker: "another".to_owned(), tokens };
    serde_json::to_vec(&answer).unwrap()
}

/// The first chunk of pairs is handed out although it was answered, and answered with this.
async fn is_answered_again(cluster: &Cluster, id: &str, answer: Vec<u8>) {
    let (labels, item) = (cluster.queues.of(WorkerKind::Labeler), format!("{id}/3-label/00000000"));
    eventually("its first answer is acknowledged", async || {
        let item = Item::new(item.clone(), b"of no matter".to_vec());
        (labels.enqueue(vec![item]).await.unwrap() == [Enqueued::Added]).then_some(())
    })
    .await;
    let mut labeler = labels.consumer("another");
    let delivery = labeler.lease(1, Duration::from_secs(10)).await.unwrap().remove(0);
    let payload = Payload::of(&cluster.store.job(id).unwrap(), answer).await.unwrap();
    delivery.start().await.unwrap().unwrap().commit(payload.to_wire()).await.unwrap();
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
    until_paid(&client, &id, all).await;
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

/// As after a crash of Redis that undid its last second, with a labeler that draws what it says.
#[tokio::test]
async fn another_answer_to_an_answered_task_is_paid_once_however_often_it_comes() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("twice", false), "key").await;
    // Two checks, fine-tuning, two chunks of pairs and of labels.
    cluster.workers.allow(7);
    until_paid(&client, &id, (1 + 2) * ANSWER).await;
    // Answers are taken in one after the other, so the last says that all were.
    for read in [7, 7, 1] {
        is_answered_again(&cluster, &id, another_answer(read)).await;
    }
    let all = (1 + 2) * ANSWER + 7 + 1;
    until_paid(&client, &id, all).await;
    cluster.stop(running).await;
    let mut first = None;
    let keep = |task: TaskId, answer: &[u8]| {
        first = first.take().or((task == TaskId::Label(0)).then(|| answer.to_vec()));
        Ok::<_, Error>(())
    };
    cluster.journal().results(&id, keep).unwrap();

    let running = cluster.coordinator().await;
    let mut client = running.client();
    assert_eq!(paid(&mut client, &id).await, all);
    for answer in [another_answer(7), first.unwrap(), another_answer(2)] {
        is_answered_again(&cluster, &id, answer).await;
    }
    until_paid(&client, &id, all + 2).await;
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;
    // Two chunks of contests.
    assert_eq!(paid(&mut client, &id).await, all + 2 + 2 * ANSWER);
    cluster.stop(running).await;
}
