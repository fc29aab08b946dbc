//! Jobs whose steering is cut off in the middle, and jobs whose artifact store goes away and comes back.

mod support;

use rlaif_coordinator::{Coordinator, JobState, Limits, Places};
use rlaif_job::WorkerKind;
use rlaif_queue::{Item, Position};
use rlaif_testkit::eventually;
use rlaif_types::{Ceiling, ContentHash};
use std::path::PathBuf;
use std::sync::Arc;
use support::*;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A coordinator without its server, which runs until the guard is dropped.
async fn open(cluster: &Cluster) -> (Coordinator, DropGuard) {
    let places = Places::many_jobs(cluster.folder.path());
    let (queues, store) = (cluster.queues.clone(), cluster.store.clone());
    let coordinator = Coordinator::open(places, queues, store, Limits::default()).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn({
        let (coordinator, stop) = (coordinator.clone(), stop.clone());
        async move { coordinator.run(stop).await.unwrap() }
    });
    (coordinator, stop.drop_guard())
}

/// Begins what was asked for, and is gone at the first wait.
async fn ask_and_leave<T>(asked: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = asked => panic!("it is done without a wait"),
        () = std::future::ready(()) => {}
    }
}

async fn until_succeeded(coordinator: &Coordinator, id: &str) {
    eventually("the job has succeeded", async || {
        let state = coordinator.job(id).unwrap().state;
        assert!(!matches!(state, JobState::Failed { .. }), "{state:?}");
        (state == JobState::Succeeded).then_some(())
    })
    .await;
}

/// Makes everything fail that is stored under a name: a file lies where its folder would be.
struct Away(PathBuf);

impl Away {
    fn of(cluster: &Cluster, name: &str) -> Self {
        let path = cluster.folder.path().join("artifacts").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "in the way").unwrap();
        Self(path)
    }

    fn comes_back(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

#[tokio::test]
async fn what_a_caller_began_is_done_although_it_leaves() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let sent = Arc::new(submission("left", true));
    ask_and_leave(coordinator.submit(sent.clone(), "key")).await;
    let again = coordinator.submit(sent, "key").await.unwrap();
    assert!(again.already_submitted);
    eventually("its first tasks are handed out", async || {
        let outstanding = cluster.queues.of(WorkerKind::Labeler).outstanding().await.unwrap();
        (outstanding > 0).then_some(())
    })
    .await;

    coordinator.pause(&again.id).await.unwrap();
    ask_and_leave(coordinator.resume(&again.id, Ceiling::default())).await;
    cluster.workers.allow_all();
    until_succeeded(&coordinator, &again.id).await;
}

#[tokio::test]
async fn a_job_that_is_submitted_while_the_artifact_store_is_away_is_done_when_it_comes_back() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let (coordinator, _running) = open(&cluster).await;
    let places = Places::many_jobs(cluster.folder.path());
    let id = places.job_id("patient", &ContentHash::of("key"));
    let store = Away::of(&cluster, &id);
    let sent = Arc::new(submission("patient", true));
    let accepted = coordinator.submit(sent.clone(), "key").await.unwrap();
    assert_eq!((accepted.id.as_str(), accepted.already_submitted), (id.as_str(), false));
    assert!(coordinator.submit(sent, "key").await.unwrap().already_submitted);
    // Who wants to know why it stands still is told.
    let why = coordinator.resume(&id, Ceiling::default()).await.unwrap_err();
    assert!(why.is_store_away(), "{why}");
    assert_eq!(coordinator.job(&id).unwrap().state, JobState::Running);

    store.comes_back();
    until_succeeded(&coordinator, &id).await;
}

/// As with a network share that is not mounted: what is written then lies under it.
#[tokio::test]
async fn no_job_is_opened_while_the_whole_artifact_store_is_gone() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let (coordinator, _running) = open(&cluster).await;
    let folder = cluster.folder.path();
    let (there, elsewhere) = (folder.join("artifacts"), folder.join("elsewhere"));
    std::fs::rename(&there, &elsewhere).unwrap();
    let id = coordinator.submit(Arc::new(submission("patient", true)), "key").await.unwrap().id;
    let why = coordinator.resume(&id, Ceiling::default()).await.unwrap_err();
    assert!(why.is_store_away(), "{why}");
    assert!(!there.exists());

    std::fs::rename(elsewhere, there).unwrap();
    until_succeeded(&coordinator, &id).await;
}

#[tokio::test]
async fn a_job_that_is_resumed_while_the_artifact_store_is_away_goes_on_when_it_comes_back() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let id = coordinator.submit(Arc::new(submission("resumed", true)), "key").await.unwrap().id;
    coordinator.pause(&id).await.unwrap();
    let data = cluster.folder.path().join("artifacts").join(&id).join("data");
    std::fs::remove_dir_all(&data).unwrap();
    let store = Away::of(&cluster, &format!("{id}/data"));
    let why = coordinator.resume(&id, Ceiling::default()).await.unwrap_err();
    assert!(why.is_store_away(), "{why}");

    store.comes_back();
    cluster.workers.allow_all();
    until_succeeded(&coordinator, &id).await;
}

#[tokio::test]
async fn a_job_waits_for_an_artifact_store_that_goes_away_between_its_tasks() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let id = coordinator.submit(Arc::new(submission("patient", true)), "key").await.unwrap().id;
    let store = Away::of(&cluster, &format!("{id}/batches"));
    cluster.workers.allow_all();
    // The labeler has looked its model over and rated two chunks: the first batch is to be stored.
    eventually("the batch is rated", async || {
        (coordinator.job(&id).unwrap().used.labeler.read == 60).then_some(())
    })
    .await;

    store.comes_back();
    until_succeeded(&coordinator, &id).await;
}

/// As with a file that its disk cannot read any more.
#[tokio::test]
async fn a_result_that_the_store_never_gives_fails_its_job_alone() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let broken = coordinator.submit(Arc::new(submission("broken", true)), "one").await.unwrap().id;
    let sound = coordinator.submit(Arc::new(submission("sound", true)), "two").await.unwrap().id;
    let _stays_away = Away::of(&cluster, &format!("{broken}/payloads"));
    cluster.workers.play(&format!("{broken}/1-sft"), Trick::LoseResult);
    cluster.workers.allow_all();
    let error =
        eventually("the job has failed", async || match coordinator.job(&broken).unwrap().state {
            JobState::Failed { error } => Some(error),
            _ => None,
        })
        .await;
    assert!(error.contains("payloads/lost"), "{error}");
    until_succeeded(&coordinator, &sound).await;
}

/// Has an item die in the labeler's queue, whatever its job's state.
async fn let_die(cluster: &Cluster, item: &str) {
    let labels = cluster.queues.of(WorkerKind::Labeler);
    cluster.workers.play(item, Trick::Fail);
    labels.enqueue(vec![Item::new(item.to_owned(), b"of no matter".to_vec())]).await.unwrap();
    cluster.workers.allow(3);
    eventually("the item is given up", async || {
        let letters = labels.dead_letters(Position::START, 1).await.unwrap();
        (!letters.is_empty()).then_some(())
    })
    .await;
    cluster.workers.behave();
}

/// As when Redis goes away between a cancellation and the removal of the letters.
#[tokio::test]
async fn cancelling_again_removes_the_letters_that_are_left() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let id = coordinator.submit(Arc::new(submission("doomed", false)), "key").await.unwrap().id;
    coordinator.cancel(&id).await.unwrap();
    let_die(&cluster, &format!("{id}/3-label/00000001")).await;
    let refused = coordinator.requeue(&id, None).await.unwrap_err();
    assert!(refused.to_string().contains("was cancelled"), "{refused}");

    coordinator.cancel(&id).await.unwrap();
    let labels = cluster.queues.of(WorkerKind::Labeler);
    assert!(labels.dead_letters(Position::START, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn requeued_letters_of_a_paused_job_wait_until_it_is_resumed() {
    let cluster = Cluster::new();
    let (coordinator, _running) = open(&cluster).await;
    let id = coordinator.submit(Arc::new(submission("paused", false)), "key").await.unwrap().id;
    coordinator.pause(&id).await.unwrap();
    let_die(&cluster, &format!("{id}/3-label/00000001")).await;
    assert_eq!(coordinator.requeue(&id, None).await.unwrap(), 1);
    let labels = cluster.queues.of(WorkerKind::Labeler);
    assert_eq!(labels.outstanding().await.unwrap(), 0, "nothing of it is at work");
    assert_eq!(coordinator.job(&id).unwrap().state, JobState::Paused);

    cluster.workers.allow_all();
    coordinator.resume(&id, Ceiling::default()).await.unwrap();
    until_succeeded(&coordinator, &id).await;
}
