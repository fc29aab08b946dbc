//! Jobs that cannot be opened again when a coordinator starts, and those beside them.

mod support;

use rlaif_job::TaskId;
use rlaif_proto::coordinator::v1::{JobState, ResumeJobRequest};
use support::*;

/// Submits two jobs, of which nothing is done, and stops the coordinator.
async fn broken_and_sound(cluster: &Cluster) -> [String; 2] {
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let broken = submit(&mut client, &submission("broken", true), "one").await;
    let sound = submit(&mut client, &submission("sound", true), "two").await;
    cluster.stop(running).await;
    [broken, sound]
}

async fn resume(client: &mut Client, id: &str) -> Job_ {
    let request = ResumeJobRequest { job_id: id.to_owned(), ..Default::default() };
    client.resume_job(request).await.unwrap().into_inner().job.unwrap()
}

#[tokio::test]
async fn a_job_whose_opening_panics_fails_alone_and_goes_on_once_it_is_mended() {
    let cluster = Cluster::new();
    let [broken, sound] = broken_and_sound(&cluster).await;
    // That there are prompts was checked when the job was accepted, and is taken for granted since.
    let prompts = cluster.run_folder(&broken).path("data/prompts.jsonl");
    let whole = std::fs::read(&prompts).unwrap();
    std::fs::write(&prompts, "").unwrap();

    let running = cluster.coordinator().await;
    let mut client = running.client();
    let failed = until(&mut client, &broken, JobState::Failed).await;
    assert!(failed.error.contains("opening it panicked"), "{}", failed.error);
    let again = resume(&mut client, &broken).await;
    assert_eq!((again.state(), &again.error), (JobState::Failed, &failed.error));
    cluster.stop(running).await;

    let running = cluster.coordinator().await;
    let mut client = running.client();
    cluster.workers.allow_all();
    until(&mut client, &sound, JobState::Succeeded).await;
    assert_eq!(job(&mut client, &broken).await.error, failed.error);
    std::fs::write(&prompts, whole).unwrap();
    resume(&mut client, &broken).await;
    until(&mut client, &broken, JobState::Succeeded).await;
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_job_with_a_recorded_result_that_nobody_can_read_fails_alone() {
    let cluster = Cluster::new();
    let [broken, sound] = broken_and_sound(&cluster).await;
    let journal = cluster.journal();
    journal.record(&[(broken.clone(), TaskId::FineTune, b"torn".to_vec())]).unwrap();
    drop(journal);

    let running = cluster.coordinator().await;
    let mut client = running.client();
    cluster.workers.allow_all();
    let failed = until(&mut client, &broken, JobState::Failed).await;
    assert!(failed.error.contains("is unreadable"), "{}", failed.error);
    until(&mut client, &sound, JobState::Succeeded).await;
    cluster.stop(running).await;
}
