//! The coordinator as its clients see it: over gRPC on loopback, with queues in memory and workers
//! that need no model.

mod support;

use rlaif_coordinator::service::RULES;
use rlaif_job::{Manifest, WorkerKind};
use rlaif_proto::coordinator::FILE_DESCRIPTOR_SET;
use rlaif_proto::coordinator::v1::job_event::Event;
use rlaif_proto::coordinator::v1::*;
use rlaif_proto::{Error, ErrorCode};
use rlaif_queue::{ItemId, Options, Position};
use rlaif_service::auth::AuthRules;
use rlaif_testkit::eventually;
use rlaif_types::Money;
use std::collections::BTreeSet;
use support::*;
use tonic::{Code, Status};

#[tokio::test]
async fn a_job_goes_from_its_submission_to_its_report() {
    for rating in [false, true] {
        let cluster = Cluster::new();
        let running = cluster.coordinator().await;
        let mut client = running.client();
        let id = submit(&mut client, &submission("whole", rating), "key").await;
        let watching = tokio::spawn({
            let (mut client, id) = (client.clone(), id.clone());
            async move { watched(&mut client, &id, 0).await }
        });
        cluster.workers.allow_all();
        let (events, job) = watching.await.unwrap();

        assert_eq!((job.state(), job.error.as_str()), (JobState::Succeeded, ""));
        assert!(job.stages.iter().all(|stage| stage.done == stage.total), "{:?}", job.stages);
        // The labeler answers a check, and its labels or ratings and contests by the chunk; each
        // answer says that it read 20 tokens.
        let answers = if rating { 1 + 2 * 2 + 2 } else { 1 + 2 + 2 };
        let amount = (!rating).then_some(f64::from(answers) * 20.0 / 1000.0 * 0.5);
        let prompt_tokens = answers as u64 * 20;
        assert_eq!(job.cost, Some(Cost { prompt_tokens, amount, ..Cost::default() }));
        assert_eq!(job.counts, Some(JobCounts::default()));
        assert!(events.is_sorted_by_key(|event| event.sequence), "{events:?}");
        let moved: BTreeSet<&str> = events
            .iter()
            .filter_map(|event| match event.event.as_ref()? {
                Event::StageProgress(stage) => Some(stage.stage.as_str()),
                _ => None,
            })
            .collect();
        assert!(moved.is_superset(&["sft", "policy", "evaluate"].into()), "{moved:?}");
        let metrics: Vec<(&str, f64)> = events
            .iter()
            .filter_map(|event| match event.event.as_ref()? {
                Event::Metrics(record) if record.stage == "policy" => {
                    Some((record.stage.as_str(), record.values["objective/kl"]))
                }
                _ => None,
            })
            .collect();
        assert_eq!(metrics, [("policy", 0.125); 2]);

        let markdown = report(&mut client, &id, ReportFormat::Markdown).await.unwrap();
        assert!(String::from_utf8(markdown).unwrap().contains("rlaif run: whole"));
        let html = report(&mut client, &id, ReportFormat::Html).await.unwrap();
        let on_disk = std::fs::read(cluster.run_folder(&id).path("report.html")).unwrap();
        assert_eq!(html, on_disk);
        let manifest = report(&mut client, &id, ReportFormat::ManifestJson).await.unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        assert!(manifest.files.contains_key("checkpoints/policy/model.safetensors"));

        let exported = export(&mut client, &id).await;
        assert_eq!(exported.len(), if rating { 0 } else { PAIRS });
        for record in &exported {
            assert_eq!(record.soft_label.unwrap().probability_a, Some(0.625));
            let line: serde_json::Value = serde_json::from_slice(&record.trl_json).unwrap();
            assert_eq!(line["label_id"], record.label_id.as_str());
            assert_eq!(
                (&line["finish_a"], line.get("finish_b")),
                (&serde_json::json!("length"), None)
            );
        }
        cluster.stop(running).await;
    }
}

async fn export(client: &mut Client, id: &str) -> Vec<PreferenceRecord> {
    let request = ExportPreferencesRequest { job_id: id.to_owned() };
    let mut stream = client.export_preferences(request).await.unwrap().into_inner();
    let mut records = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        records.push(part.record.unwrap());
    }
    records
}

#[tokio::test]
async fn the_same_key_is_the_same_job_and_never_another_one() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let sent = submission("once", true);
    let id = submit(&mut client, &sent, "key").await;
    let again = client.submit_job(request(&sent, "key")).await.unwrap().into_inner();
    assert_eq!((again.job_id, again.already_submitted), (id.clone(), true));
    assert_ne!(submit(&mut client, &sent, "another key").await, id);

    let other = submission("another", true);
    let refused = client.submit_job(request(&other, "key")).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains(&id), "{refused}");
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_coordinator_that_is_stopped_anywhere_goes_on_to_the_same_files() {
    let sent = submission("survivor", false);
    let undisturbed = Cluster::new();
    undisturbed.workers.allow_all();
    let running = undisturbed.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &sent, "key").await;
    until(&mut client, &id, JobState::Succeeded).await;
    let expected = files(&undisturbed.run_folder(&id));

    let disturbed = Cluster::new();
    let mut first = true;
    loop {
        let running = disturbed.coordinator().await;
        let mut client = running.client();
        if std::mem::take(&mut first) {
            assert_eq!(submit(&mut client, &sent, "key").await, id);
        }
        // A few items a life: it is stopped in every stage.
        disturbed.workers.allow(4);
        let done = eventually("items are done", async || {
            let state = job(&mut client.clone(), &id).await.state();
            let done = state == JobState::Succeeded;
            (done || disturbed.workers.left() == 0).then_some(done)
        })
        .await;
        disturbed.stop(running).await;
        if done {
            break;
        }
    }
    assert_eq!(files(&disturbed.run_folder(&id)), expected);
}

#[tokio::test]
async fn a_paused_job_stands_still_and_a_resumed_one_goes_on() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("steered", false), "key").await;
    let named = || PauseJobRequest { job_id: id.clone() };
    let paused = client.pause_job(named()).await.unwrap().into_inner().job.unwrap();
    assert_eq!(paused.state(), JobState::Paused);
    assert_eq!(client.pause_job(named()).await.unwrap().into_inner().job.unwrap(), paused);
    for (_, queue) in cluster.queues.each() {
        assert_eq!(queue.outstanding().await.unwrap(), 0);
    }

    cluster.workers.allow_all();
    let resume = || ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    client.resume_job(resume()).await.unwrap();
    until(&mut client, &id, JobState::Succeeded).await;
    let late = client.pause_job(named()).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    cluster.stop(running).await;
}

/// Each answer of the labeler costs 0.01 here: a check, two chunks of labels, two of contests.
#[tokio::test]
async fn a_job_that_has_spent_its_budget_stops_until_that_is_raised() {
    let cluster = Cluster::new();
    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let mut sent = submission("thrifty", false);
    sent.job.labeler.max_cost = Some(Money::parse("0.02").unwrap());
    let id = submit(&mut client, &sent, "key").await;
    let spent = until(&mut client, &id, JobState::Failed).await;
    assert!(spent.error.contains(" of max_cost = 0.02: raise it"), "{}", spent.error);
    assert_eq!(spent.cost.unwrap().max_cost, Some(0.02));

    // Nothing is asked while it is not raised; the other chunk of labels was at work already.
    let resume = |max_cost: &str, max_tokens| ResumeJobRequest {
        job_id: id.clone(),
        max_cost: max_cost.into(),
        max_tokens,
    };
    client.resume_job(resume("", None)).await.unwrap();
    let spent = until(&mut client, &id, JobState::Failed).await;
    assert!(spent.cost.unwrap().amount <= Some(0.03), "{spent:?}");
    let refused = client.resume_job(resume("much", None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    // A bound of another kind is a bound beside it.
    client.resume_job(resume("1.00", Some(60))).await.unwrap();
    let spent = until(&mut client, &id, JobState::Failed).await;
    assert!(spent.error.contains("60 tokens of max_tokens = 60"), "{}", spent.error);
    client.resume_job(resume("", Some(10_000))).await.unwrap();
    let done = until(&mut client, &id, JobState::Succeeded).await;
    assert_eq!(done.cost.unwrap().amount, Some(0.05), "and nothing was asked twice");
    cluster.stop(running).await;
}

#[tokio::test]
async fn the_cost_of_a_labeler_without_a_price_cannot_be_bounded() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("priceless", true), "key").await;
    let request = ResumeJobRequest { job_id: id, max_cost: "5".into(), max_tokens: None };
    let refused = client.resume_job(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("labeler.price"), "{refused}");
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_cancelled_job_ends_for_good() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("doomed", true), "key").await;
    let cancel = CancelJobRequest { job_id: id.clone() };
    let job = client.cancel_job(cancel).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), JobState::Cancelled);
    assert_eq!(watched(&mut client, &id, 0).await.1, job);
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    let refused = client.resume_job(resume).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let none = report(&mut client, &id, ReportFormat::Html).await.unwrap_err();
    assert_eq!(none.code(), Code::FailedPrecondition, "{none}");
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_poison_item_is_given_up_listed_requeued_and_done() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("poisoned", false), "key").await;
    let task = "3-label/00000001";
    cluster.workers.play(&format!("{id}/{task}"), Trick::Fail);
    cluster.workers.allow_all();
    let failed = until(&mut client, &id, JobState::Failed).await;
    assert!(failed.error.contains(task) && failed.error.contains("on fire"), "{}", failed.error);

    let dead_letters = |job: &Job_| {
        let of_stages = job.stages.iter().map(|stage| stage.dead_letters).sum::<u64>();
        (job.counts.unwrap().dead_letters, of_stages)
    };
    assert_eq!(dead_letters(&failed), (1, 1));

    let list = ListDeadLettersRequest { job_id: id.clone(), ..Default::default() };
    let dead = client.list_dead_letters(list.clone()).await.unwrap().into_inner().dead_letters;
    let [letter] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!((letter.dead_letter_id.as_str(), letter.stage.as_str()), (task, "label"));
    assert_eq!((letter.attempts, letter.error.as_str()), (3, "the device is on fire"));
    // To resume it as it is would be in vain.
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    let refused = client.resume_job(resume).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    cluster.workers.behave();
    let requeue = RequeueDeadLettersRequest {
        job_id: id.clone(),
        dead_letter_ids: vec![task.to_owned()],
        all: false,
    };
    let answer = client.requeue_dead_letters(requeue).await.unwrap().into_inner();
    assert_eq!(answer.requeued_count, 1);
    let done = until(&mut client, &id, JobState::Succeeded).await;
    assert_eq!(dead_letters(&done), (0, 0));
    let left = client.list_dead_letters(list).await.unwrap().into_inner().dead_letters;
    assert!(left.is_empty(), "{left:?}");
    cluster.stop(running).await;
}

/// As when a coordinator is killed between putting a letter back and acknowledging the death.
#[tokio::test]
async fn a_death_that_is_told_after_its_letter_was_put_back_fails_nobody() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let id = submit(&mut running.client(), &submission("revived", false), "key").await;
    let labels = cluster.queues.of(WorkerKind::Labeler);
    // Two checks, fine-tuning, and the first of two chunks of pairs.
    cluster.workers.allow(4);
    let sampled = async || {
        let pairs = cluster.run_folder(&id).path("pairs.jsonl").exists();
        (pairs && labels.outstanding().await.unwrap() == 1).then_some(())
    };
    eventually("the first chunk is to be labelled", sampled).await;
    cluster.stop(running).await;
    let item = ItemId::from(format!("{id}/3-label/00000000"));
    cluster.workers.play(item.as_str(), Trick::Fail);
    // Its three starts, and the second chunk of pairs.
    cluster.workers.allow(4);
    let dead = async || {
        let letters = labels.dead_letters(Position::START, 1).await.unwrap();
        (!letters.is_empty()).then_some(())
    };
    eventually("the item is given up", dead).await;
    cluster.workers.behave();
    assert_eq!(labels.requeue(&[item]).await.unwrap(), 1);

    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    until(&mut running.client(), &id, JobState::Succeeded).await;
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_result_that_is_none_fails_its_job_alone_and_only_until_it_is_resumed() {
    for (trick, says) in [
        (Trick::LoseResult, "payloads/lost"),
        (Trick::AnswerAsNewer, "do all workers have this version?"),
        (Trick::AnswerAnother, "Rewards(0) where it asks for FineTuned"),
    ] {
        let cluster = Cluster::new();
        let running = cluster.coordinator().await;
        let mut client = running.client();
        let broken = submit(&mut client, &submission("broken", true), "one").await;
        let sound = submit(&mut client, &submission("sound", true), "two").await;
        cluster.workers.play(&format!("{broken}/1-sft"), trick);
        cluster.workers.allow_all();
        let failed = until(&mut client, &broken, JobState::Failed).await;
        assert!(failed.error.contains(says), "{}", failed.error);
        until(&mut client, &sound, JobState::Succeeded).await;

        cluster.workers.behave();
        client
            .resume_job(ResumeJobRequest { job_id: broken.clone(), ..Default::default() })
            .await
            .unwrap();
        until(&mut client, &broken, JobState::Succeeded).await;
        cluster.stop(running).await;
    }
}

#[tokio::test]
async fn a_labeler_that_could_label_nothing_is_asked_again_once_it_is_mended() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("blind", false), "key").await;
    for chunk in 0..2 {
        cluster.workers.play(&format!("{id}/3-label/{chunk:08}"), Trick::LabelNothing);
    }
    cluster.workers.allow_all();
    let failed = until(&mut client, &id, JobState::Failed).await;
    assert!(failed.error.contains("not one pair could be labelled"), "{}", failed.error);

    cluster.workers.behave();
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    client.resume_job(resume).await.unwrap();
    let done = until(&mut client, &id, JobState::Succeeded).await;
    assert_eq!(export(&mut client, &id).await.len(), PAIRS);
    // A check, two chunks of labels twice, two of contests: what is forgotten was paid all the same.
    assert_eq!(done.cost.unwrap().prompt_tokens, (1 + 2 * 2 + 2) * 20);
    cluster.stop(running).await;
}

/// As when a wrong answer comes while its job is paused: nobody is there to judge it.
#[tokio::test]
async fn a_recorded_result_that_answers_nothing_is_forgotten_and_made_again() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("mistaken", true), "key").await;
    client.pause_job(PauseJobRequest { job_id: id.clone() }).await.unwrap();
    cluster.stop(running).await;
    let wrong = rlaif_job::Answer {
        result: rlaif_job::WorkResult::Rewards(Vec::new()),
        seconds: 0.5,
        worker: "confused".to_owned(),
        tokens: rlaif_job::Tokens::default(),
    };
    let bytes = serde_json::to_vec(&wrong).unwrap();
    let journal = rlaif_coordinator::Places::many_jobs(cluster.folder.path()).journal().to_owned();
    let journal = rlaif_coordinator::Journal::open(&journal).unwrap();
    journal.record(&[(id.clone(), rlaif_job::TaskId::FineTune, bytes)]).unwrap();
    drop(journal);

    cluster.workers.allow_all();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let resume = ResumeJobRequest { job_id: id.clone(), ..Default::default() };
    client.resume_job(resume).await.unwrap();
    until(&mut client, &id, JobState::Succeeded).await;
    cluster.stop(running).await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_job_comes_back_at_once() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut sent = submission("wrong", true);
    sent.job.rl.batch_size = 0;
    sent.job.rl.reinforce.as_mut().unwrap().beta = 2.0;
    let mut request = request(&sent, "");
    request.attachments[0].content = "torn".into();
    request.attachments[1].name = "../../etc/passwd".into();
    let refused = running.client().submit_job(request).await.unwrap_err();
    let error = Error::from(refused);
    assert_eq!(error.code, ErrorCode::Invalid);
    let fields: BTreeSet<&str> = error.violations.iter().map(|v| v.field.as_str()).collect();
    let expected = [
        "idempotency_key",
        "attachments[0].sha256",
        "attachments.../../etc/passwd",
        "attachments.data/demonstrations.jsonl",
        "attachments.data/heldout_prompts.jsonl",
        "job_toml.rl.batch_size",
        "job_toml.rl.reinforce.beta",
    ];
    assert_eq!(fields, expected.into(), "{error}");
    assert!(
        running
            .client()
            .list_jobs(ListJobsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .jobs
            .is_empty()
    );
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_coordinator_with_enough_to_do_says_when_to_come_again() {
    let cluster = Cluster::with(Options { max_outstanding: 1, ..options() });
    let running = cluster.coordinator_with(|config| config.coordinator.max_running_jobs = 2).await;
    let mut client = running.client();
    // Two checks for queues of one item each fit; two jobs' do not.
    let sent = submission("busy", true);
    for key in ["one", "two"] {
        submit(&mut client, &sent, key).await;
    }
    let refused = client.submit_job(request(&sent, "three")).await;
    let error = Error::from(refused.unwrap_err());
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.retry_after.is_some() && error.message.contains("2 jobs"), "{error}");
    cluster.stop(running).await;

    let running = cluster.coordinator().await;
    let mut client = running.client();
    let mut tries = 0;
    eventually("a full queue refuses jobs", async || {
        tries += 1;
        let another = request(&sent, &format!("try {tries}"));
        let error = Error::from(client.clone().submit_job(another).await.err()?);
        assert_eq!(error.code, ErrorCode::Busy);
        (error.retry_after.is_some() && error.message.contains("full")).then_some(())
    })
    .await;
    // Whoever waited is served once there is room.
    cluster.workers.allow_all();
    for job in client.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner().jobs {
        until(&mut client, &job.job_id, JobState::Succeeded).await;
    }
    cluster.stop(running).await;
}

#[tokio::test]
async fn jobs_are_listed_by_the_page_newest_first() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let mut submitted = Vec::new();
    for key in ["one", "two", "three"] {
        submitted.push(submit(&mut client, &submission("listed", true), key).await);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListJobsRequest { page_size: 2, page_token };
        let page = client.list_jobs(request).await.unwrap().into_inner();
        listed.extend(page.jobs.into_iter().map(|job| job.job_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    submitted.reverse();
    assert_eq!(listed, submitted);
    let odd = ListJobsRequest { page_size: 2, page_token: "odd".into() };
    assert_eq!(client.list_jobs(odd).await.unwrap_err().code(), Code::InvalidArgument);
    cluster.stop(running).await;
}

/// What each call that names a job answers.
async fn of_every_call(client: &mut Client, id: &str) -> Vec<Result<(), Status>> {
    let job_id = id.to_owned();
    let job_id = || job_id.clone();
    let requeue = RequeueDeadLettersRequest { job_id: job_id(), all: true, ..Default::default() };
    let list = ListDeadLettersRequest { job_id: job_id(), ..Default::default() };
    let watch = WatchJobRequest { job_id: job_id(), after_sequence: 0 };
    vec![
        client.get_job(GetJobRequest { job_id: job_id() }).await.map(drop),
        client.watch_job(watch).await.map(drop),
        client.cancel_job(CancelJobRequest { job_id: job_id() }).await.map(drop),
        client.pause_job(PauseJobRequest { job_id: job_id() }).await.map(drop),
        client.delete_job(DeleteJobRequest { job_id: job_id() }).await.map(drop),
        client
            .resume_job(ResumeJobRequest { job_id: job_id(), ..Default::default() })
            .await
            .map(drop),
        client.export_preferences(ExportPreferencesRequest { job_id: job_id() }).await.map(drop),
        report(client, id, ReportFormat::Html).await.map(drop),
        client.list_dead_letters(list).await.map(drop),
        client.requeue_dead_letters(requeue).await.map(drop),
    ]
}

fn codes(answers: Vec<Result<(), Status>>) -> BTreeSet<String> {
    answers
        .into_iter()
        .map(|a| format!("{:?}", a.map_or_else(|s| s.code(), |()| Code::Ok)))
        .collect()
}

#[tokio::test]
async fn an_unknown_job_is_not_found_by_any_call() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let answers = of_every_call(&mut running.client(), "../etc").await;
    assert_eq!(codes(answers), ["NotFound".to_owned()].into());
    cluster.stop(running).await;
}

#[tokio::test]
async fn every_method_has_a_rule_and_wrong_roles_are_refused() {
    AuthRules::new(FILE_DESCRIPTOR_SET, RULES).unwrap();
    let cluster = Cluster::new();
    let running = cluster.coordinator_with(with_roles).await;
    let worker = of_every_call(&mut running.client_as("worker"), "any").await;
    assert_eq!(codes(worker), ["PermissionDenied".to_owned()].into());
    let stranger = of_every_call(&mut running.client(), "any").await;
    assert_eq!(codes(stranger), ["Unauthenticated".to_owned()].into());
    let requeue = RequeueDeadLettersRequest { all: true, ..Default::default() };
    let client = running.client_as("client").requeue_dead_letters(requeue.clone()).await;
    assert_eq!(client.unwrap_err().code(), Code::PermissionDenied);
    let admin = running.client_as("admin").requeue_dead_letters(requeue).await;
    assert_eq!(admin.unwrap_err().code(), Code::NotFound);
    cluster.stop(running).await;
}
