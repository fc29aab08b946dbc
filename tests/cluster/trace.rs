//! The trace of a job, as a collector receives it from the services that worked on it.

use super::processes::{Crewed, write_job};
use rlaif_testkit::{Collector, Exported, SpanKind};
use tokio::runtime::Runtime;

const SUBMIT: &str = "rlaif.coordinator.v1.JobService/SubmitJob";

/// Who does which kind of work, and a span that this shows below the item's own.
const WORK: [(&str, &str, &str); 5] = [
    ("rlaif-labeler", "label", "text_completion tiny-llama"),
    ("rlaif-reward", "train_reward", "train reward"),
    ("rlaif-rollout", "rollout", "text_completion tiny-llama"),
    ("rlaif-reward", "score", "score reward"),
    ("rlaif-learner", "policy_step", "train policy"),
];

const COORDINATOR_METRICS: [&str; 5] = [
    "messaging.client.sent.messages",
    "rlaif.items.settled",
    "rlaif.jobs",
    "rlaif.journal.commit.duration",
    "rlaif.queue.outstanding",
];

impl Crewed {
    /// Items of the labelers' queue that somebody has started.
    fn labeling_started(&self) -> usize {
        let client = redis::Client::open(self.cluster.redis.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("HLEN").arg("{rlaif:label}:tokens").query(&mut connection).unwrap()
    }

    /// Starts labelers and kills them (SIGKILL) until one dies with an item in its hands.
    fn kill_a_labeler_at_work(&mut self) {
        while self.labeling_started() == 0 {
            self.start_worker("labeler");
            self.wait_until("labeling", |crewed| crewed.labeling_started() > 0);
            drop(self.workers.pop());
        }
    }
}

/// The processing of an item of this kind of work.
fn processing<'a>(spans: &'a [Exported], service: &str, kind: &str) -> Option<&'a Exported> {
    spans.iter().find(|exported| {
        exported.service == service
            && exported.span.kind() == SpanKind::Consumer
            && exported.attribute("rlaif.work.kind").as_deref() == Some(kind)
    })
}

/// The span that queued an item, by its processing.
fn sender<'a>(spans: &'a [Exported], processing: &Exported) -> Option<&'a Exported> {
    spans.iter().find(|exported| exported.span.span_id == processing.span.parent_span_id)
}

#[test]
fn a_job_is_one_trace_from_its_submission_to_the_learners_steps_with_a_link_for_each_redelivery() {
    let runtime = Runtime::new().unwrap();
    let collector = runtime.block_on(Collector::start());
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 16);
    let mut crewed = Crewed::start(&dir.path().join("traced"), 0, collector.endpoint());
    let id = crewed.cluster.submit(&dir.path().join("job.toml"));
    crewed.kill_a_labeler_at_work();
    // The trace is the job's, not the coordinator's: it goes on under the next one.
    crewed.cluster.stop_coordinator();
    crewed.cluster.start_coordinator();
    crewed.start_worker("labeler");
    crewed.manifest(&id);
    // Each service exports in its own time.
    crewed.wait_until("a span of each kind of work, and who asked for it", |_| {
        let spans = collector.spans();
        WORK.iter().all(|(service, kind, _)| {
            processing(&spans, service, kind).is_some_and(|item| sender(&spans, item).is_some())
        })
    });

    for metric in COORDINATOR_METRICS {
        let named = ("rlaif-coordinator".to_owned(), metric.to_owned());
        crewed.wait_until(metric, |_| collector.metrics().contains(&named));
    }

    let spans = collector.spans();
    // The one that was accepted: a coordinator that is still starting refuses, in a trace of its own.
    let accepted = |exported: &&Exported| {
        exported.span.name == SUBMIT
            && exported.attribute("rpc.response.status_code").as_deref() == Some("OK")
    };
    let submit = spans.iter().find(accepted).unwrap();
    assert_eq!(
        (submit.service.as_str(), submit.span.kind()),
        ("rlaif-coordinator", SpanKind::Server)
    );
    let trace = &submit.span.trace_id;
    let of_job = |exported: &&Exported| exported.attribute("rlaif.job.id").as_ref() == Some(&id);
    for exported in spans.iter().filter(of_job) {
        assert_eq!(&exported.span.trace_id, trace, "{exported:#?}");
    }
    for (service, kind, below) in WORK {
        let item = processing(&spans, service, kind).unwrap();
        assert!(of_job(&item), "{item:#?}");
        let sent = sender(&spans, item).unwrap();
        assert_eq!(
            (sent.service.as_str(), sent.span.kind()),
            ("rlaif-coordinator", SpanKind::Producer)
        );
        assert_eq!(sent.span.parent_span_id, submit.span.span_id);
        assert_eq!(item.attribute("messaging.system").as_deref(), Some("redis"));
        let done = spans.iter().filter(|s| s.span.parent_span_id == item.span.span_id);
        assert!(
            done.clone().any(|s| s.span.name == below),
            "{kind}: {:#?}",
            done.collect::<Vec<_>>()
        );
    }
    let read: u64 = spans
        .iter()
        .filter(|exported| exported.service == "rlaif-labeler")
        .filter_map(|exported| exported.attribute("gen_ai.usage.input_tokens")?.parse::<u64>().ok())
        .sum();
    assert!(read > 0);

    let deliveries = spans.iter().filter(|s| s.attribute("rlaif.messaging.delivery").is_some());
    let redelivered = deliveries
        .filter(|s| s.attribute("rlaif.messaging.delivery").as_deref() != Some("1"))
        .map(|redelivered| match redelivered.span.links.as_slice() {
            [link] => link,
            links => panic!("{redelivered:#?} has the links {links:?}"),
        });
    let redelivered: Vec<_> = redelivered.collect();
    assert!(redelivered.iter().all(|link| &link.trace_id == trace));
    // To the attempt that was killed, whose own span died with it.
    let died = |id: &[u8]| spans.iter().all(|exported| exported.span.span_id != id);
    assert!(redelivered.iter().any(|link| died(&link.span_id)), "{redelivered:?}");
}
