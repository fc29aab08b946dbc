//! Deleting jobs: what goes with one, what stays of the others, who may, and what is left when it is cut off.

mod support;

use rlaif_coordinator::Error;
use rlaif_job::{JudgeConfig, Submission, WorkerKind};
use rlaif_proto::coordinator::v1::*;
use rlaif_queue::{Item, Position};
use rlaif_testkit::eventually;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::*;
use tonic::{Code, Response, Status};

async fn delete(client: &mut Client, id: &str) -> Result<DeleteJobResponse, Status> {
    let request = DeleteJobRequest { job_id: id.to_owned() };
    client.delete_job(request).await.map(Response::into_inner)
}

/// Why a job is not shown.
async fn refused(client: &mut Client, id: &str) -> Status {
    client.get_job(GetJobRequest { job_id: id.to_owned() }).await.unwrap_err()
}

async fn cancel(client: &mut Client, id: &str) {
    client.cancel_job(CancelJobRequest { job_id: id.to_owned() }).await.unwrap();
}

/// Its run folder, and its artifacts.
fn places(cluster: &Cluster, id: &str) -> [PathBuf; 2] {
    let artifacts = cluster.folder.path().join("artifacts").join(id);
    [cluster.run_folder(id).root().to_owned(), artifacts]
}

fn has_files(cluster: &Cluster, id: &str) -> bool {
    places(cluster, id).iter().any(|folder| folder.exists())
}

async fn until_no_file_is_left(cluster: &Cluster, id: &str) {
    eventually("its files are gone", async || (!has_files(cluster, id)).then_some(())).await;
}

/// All files of a job, with what is in them.
fn kept(cluster: &Cluster, id: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    fn read(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, all);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    let mut all = BTreeMap::new();
    places(cluster, id).iter().for_each(|folder| read(folder, &mut all));
    all
}

/// How many results of a job it has.
fn results(cluster: &Cluster, id: &str) -> usize {
    let mut count = 0;
    let counted = cluster.journal().results(id, |_, _| {
        count += 1;
        Ok::<_, Error>(())
    });
    counted.unwrap();
    count
}

/// What both twins are.
fn twin() -> Submission {
    submission("twins", false)
}

/// Two finished jobs of the same content, so that whatever were shared by hash would be missed.
async fn twins(client: &mut Client) -> [String; 2] {
    let one = submit(client, &twin(), "one").await;
    let two = submit(client, &twin(), "two").await;
    for id in [&one, &two] {
        until(client, id, JobState::Succeeded).await;
    }
    [one, two]
}

#[tokio::test]
async fn a_finished_job_is_deleted_with_all_that_it_left_and_no_other_loses_anything() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let [id, other] = twins(&mut client).await;
    let before = kept(&cluster, &other);
    let its_own = kept(&cluster, &id);

    let gone = delete(&mut client, &id).await.unwrap();
    assert!(gone.swept && gone.result_count > 0, "{gone:?}");
    let bytes = its_own.values().map(|file| file.len() as u64).sum::<u64>();
    assert_eq!((gone.file_count, gone.freed_bytes), (its_own.len() as u64, bytes));
    assert!(!has_files(&cluster, &id));
    let again = delete(&mut client, &id).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    assert!(again.message().contains("was deleted"), "{again}");
    let listed = client.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| &job.job_id).collect::<Vec<_>>(), [&other]);
    // A client that lost the answer to its submission does not bring it back.
    let late = client.submit_job(request(&twin(), "one")).await.unwrap_err();
    assert_eq!(late.code(), Code::AlreadyExists, "{late}");
    assert!(late.message().contains("was deleted"), "{late}");
    cluster.stop(running).await;
    assert_eq!(results(&cluster, &id), 0);
    assert!(results(&cluster, &other) > 0);

    let running = cluster.coordinator().await;
    let mut client = running.client();
    assert_eq!(refused(&mut client, &id).await.code(), Code::NotFound);
    assert_eq!(job(&mut client, &other).await.state(), JobState::Succeeded);
    assert_eq!(kept(&cluster, &other), before);
    let anew = submit(&mut client, &twin(), "three").await;
    assert_ne!(anew, id);
    until(&mut client, &anew, JobState::Succeeded).await;
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_job_that_may_still_go_on_is_not_deleted() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("alive", true), "key").await;
    for pauses in [false, true] {
        if pauses {
            client.pause_job(PauseJobRequest { job_id: id.clone() }).await.unwrap();
        }
        let refused = delete(&mut client, &id).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("cancel it first"), "{refused}");
    }
    // It has lost nothing.
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    client.resume_job(resume).await.unwrap();
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;
    delete(&mut client, &id).await.unwrap();
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_job_whose_model_another_names_stays_until_that_is_over() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("ancestor", true), "one").await;
    cancel(&mut client, &id).await;
    let model = format!("/artifacts/{id}/checkpoints/policy");
    let (mut learns, mut is_judged) = (submission("heir", true), submission("judged", true));
    learns.job.policy.model = model.clone();
    is_judged.job.evaluate.judge = Some(JudgeConfig { model, price: None });
    for (sent, key) in [(learns, "two"), (is_judged, "three")] {
        let other = submit(&mut client, &sent, key).await;
        let refused = delete(&mut client, &id).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(&other), "{refused}");
        cancel(&mut client, &other).await;
    }
    delete(&mut client, &id).await.unwrap();
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_failed_job_goes_with_its_dead_letters() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("poisoned", false), "key").await;
    cluster.workers.play(&format!("{id}/3-label/00000001"), Trick::Fail);
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Failed).await;
    let labels = cluster.queues.of(WorkerKind::Labeler);
    assert_eq!(labels.dead_letters(Position::START, 9).await.unwrap().len(), 1);

    let gone = delete(&mut client, &id).await.unwrap();
    assert_eq!(gone.dead_letter_count, 1);
    assert!(labels.dead_letters(Position::START, 9).await.unwrap().is_empty());
    cluster.stop(running).await;
}

/// As a kill leaves it that comes after the journal's transaction, in the middle of removing files.
#[tokio::test]
async fn a_coordinator_that_is_killed_in_the_middle_ends_the_deletion_when_it_is_back() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let [id, other] = twins(&mut client).await;
    let before = kept(&cluster, &other);
    cluster.stop(running).await;
    cluster.journal().delete(&id).unwrap();
    std::fs::remove_file(cluster.run_folder(&id).path("job.toml")).unwrap();
    assert!(has_files(&cluster, &id));

    let running = cluster.coordinator().await;
    let mut client = running.client();
    let gone = refused(&mut client, &id).await;
    assert_eq!(gone.code(), Code::NotFound);
    assert!(gone.message().contains("was deleted"), "{gone}");
    until_no_file_is_left(&cluster, &id).await;
    assert_eq!(job(&mut client, &other).await.state(), JobState::Succeeded);
    assert_eq!(kept(&cluster, &other), before);
    cluster.stop(running).await;
}

/// By a worker whose step took longer than the files of a deleted job are looked for.
#[tokio::test]
async fn what_is_stored_of_a_job_long_after_its_deletion_goes_at_the_next_start() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("late", true), "key").await;
    cancel(&mut client, &id).await;
    assert!(delete(&mut client, &id).await.unwrap().swept);
    cluster.stop(running).await;
    let journal = cluster.journal();
    journal.swept(&id, u64::MAX, u64::MAX).unwrap();
    assert!(journal.to_sweep(u64::MAX).unwrap().is_empty(), "nobody would look again");
    drop(journal);
    let late = cluster.store.job(&id).unwrap();
    late.put("payloads/late", "stored by a worker").await.unwrap();
    assert!(has_files(&cluster, &id));

    let running = cluster.coordinator().await;
    until_no_file_is_left(&cluster, &id).await;
    cluster.stop(running).await;
}

/// As with a network share that is not mounted: what is removed then would be nothing.
#[tokio::test]
async fn nothing_is_deleted_while_the_artifact_store_is_gone() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("kept", true), "key").await;
    until(&mut client, &id, JobState::Succeeded).await;
    let before = kept(&cluster, &id);
    let folder = cluster.folder.path();
    let (there, elsewhere) = (folder.join("artifacts"), folder.join("elsewhere"));
    std::fs::rename(&there, &elsewhere).unwrap();
    let away = delete(&mut client, &id).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away}");

    std::fs::rename(elsewhere, there).unwrap();
    assert_eq!(job(&mut client, &id).await.state(), JobState::Succeeded);
    assert_eq!(kept(&cluster, &id), before);
    assert!(delete(&mut client, &id).await.unwrap().swept);
    cluster.stop(running).await;
}

/// As with items that a queue kept which was away when their job failed.
#[tokio::test]
async fn what_workers_still_do_for_a_deleted_job_is_thrown_away() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("haunted", false), "key").await;
    cancel(&mut client, &id).await;
    delete(&mut client, &id).await.unwrap();

    let [done, dies] = [0, 1].map(|chunk| format!("{id}/3-label/{chunk:08}"));
    cluster.workers.play(&done, Trick::LoseResult);
    cluster.workers.play(&dies, Trick::Fail);
    let late = cluster.store.job(&id).unwrap();
    late.put("payloads/late", "stored by a worker").await.unwrap();
    let labels = cluster.queues.of(WorkerKind::Labeler);
    let items = [done, dies].map(|item| Item::new(item, b"of no matter".to_vec()));
    labels.enqueue(items.into()).await.unwrap();
    cluster.workers.allow_all();
    eventually("both are settled", async || {
        (labels.outstanding().await.unwrap() == 0).then_some(())
    })
    .await;
    eventually("the dead letter is gone", async || {
        labels.dead_letters(Position::START, 9).await.unwrap().is_empty().then_some(())
    })
    .await;
    until_no_file_is_left(&cluster, &id).await;
    cluster.stop(running).await;
    assert_eq!(results(&cluster, &id), 0);
}

#[tokio::test]
async fn administrators_alone_delete_over_grpc() {
    let cluster = Cluster::new();
    let running = cluster.coordinator_with(with_roles).await;
    let mut client = running.client_as("client");
    let id = submit(&mut client, &submission("guarded", true), "key").await;
    cancel(&mut client, &id).await;
    for (mut caller, code) in [
        (running.client(), Code::Unauthenticated),
        (running.client_as("worker"), Code::PermissionDenied),
        (running.client_as("client"), Code::PermissionDenied),
    ] {
        assert_eq!(delete(&mut caller, &id).await.unwrap_err().code(), code);
    }
    delete(&mut running.client_as("admin"), &id).await.unwrap();
    cluster.stop(running).await;
}

#[tokio::test]
async fn the_page_deletes_for_administrators_alone_and_tells_all_who_look() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator_with(with_roles).await;
    let mut client = running.client_as("client");
    let id = submit(&mut client, &submission("shown", true), "key").await;
    until(&mut client, &id, JobState::Succeeded).await;
    let path = format!("/api/jobs/{id}/delete");
    for (browser, status) in [
        (running.browser(), 401),
        (running.browser_as("worker"), 403),
        (running.browser_as("client"), 403),
    ] {
        assert_eq!(browser.post(&path, "{}").await.status, status);
    }
    let admin = running.browser_as("admin");
    assert_eq!(admin.data("/api/session").await["may_delete"], true);
    // What a site from elsewhere may send without being asked.
    let form = admin.send("POST", &path, &[("content-type", "text/plain")], "{}").await;
    assert_eq!((form.status, admin.get(&path).await.status), (415, 405));
    assert_eq!(job(&mut client, &id).await.state(), JobState::Succeeded);

    let mut events = running.browser_as("client").events(None).await;
    let (_, hello, _) = events.next().await.unwrap();
    assert_eq!(hello, "hello");
    let gone = admin.post(&path, "{}").await;
    assert_eq!((gone.status, &gone.json()["swept"]), (200, &json!(true)), "{gone:?}");
    let (_, name, event) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &event["job"]), ("deleted", &json!(id)));
    assert_eq!(admin.get(&format!("/api/jobs/{id}")).await.status, 404);
    assert_eq!(admin.post(&path, "{}").await.status, 404);
    cluster.stop(running).await;
}
