//! Every metric of every service, and who exports which. `docs/reference/metrics.md` shows them as
//! Prometheus names them.
//!
//! Names are those of OpenTelemetry's semantic conventions where these have one, and ours below `rlaif.`
//! otherwise. Durations are in seconds.

use super::definition::{Definition, Kind};
use super::names::*;

const fn counter(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Counter, unit, attributes, help }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Gauge, unit, attributes, help }
}

const fn histogram(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Histogram, unit, attributes, help }
}

/// How long a process runs; a restart is where it falls.
pub const PROCESS_UPTIME: Definition = gauge(
    "process.uptime",
    "s",
    &[],
    "Time since the process started; a restart is where it falls.",
);
/// Calls that a server answered.
pub const RPC_SERVER_CALL_DURATION: Definition = histogram(
    "rpc.server.call.duration",
    "s",
    &[RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE],
    "How long gRPC calls took, by method and status.",
);
/// Calls refused because the server was full, or full for their caller.
pub const SERVER_SHED: Definition = counter(
    "rlaif.server.shed",
    "{call}",
    &[RPC_METHOD],
    "Calls refused because the server was full, or full for their caller.",
);
/// Calls being answered.
pub const SERVER_ACTIVE: Definition =
    gauge("rlaif.server.active_calls", "{call}", &[], "Calls being answered.");

/// How long requests waited for their batch.
pub const BATCHER_WAIT: Definition =
    histogram("rlaif.batcher.wait", "s", &[ENGINE], "How long requests waited for their batch.");
/// How long the engine took for a batch.
pub const BATCHER_RUN: Definition = histogram(
    "rlaif.batcher.run",
    "s",
    &[ENGINE, ERROR_TYPE],
    "How long the engine took for a batch; `error_type` is there where it failed.",
);
/// Requests in a batch.
pub const BATCHER_ITEMS: Definition =
    histogram("rlaif.batcher.batch_items", "{request}", &[ENGINE], "Requests in a batch.");
/// Tokens in a batch.
pub const BATCHER_TOKENS: Definition =
    histogram("rlaif.batcher.batch_tokens", "{token}", &[ENGINE], "Tokens in a batch.");
/// Requests that were dropped before they were run.
pub const BATCHER_SKIPPED: Definition = counter(
    "rlaif.batcher.skipped",
    "{request}",
    &[ENGINE, REASON],
    "Requests dropped before they ran: `caller_left`, `deadline_passed` or `too_late`.",
);
/// Requests that were refused.
pub const BATCHER_SHED: Definition = counter(
    "rlaif.batcher.shed",
    "{request}",
    &[ENGINE],
    "Requests refused: the batcher's queue was full, or too long for them.",
);

/// Processing of a message.
pub const MESSAGING_PROCESS_DURATION: Definition = histogram(
    "messaging.process.duration",
    "s",
    &[
        MESSAGING_SYSTEM,
        MESSAGING_OPERATION_NAME,
        MESSAGING_DESTINATION_NAME,
        WORK_KIND,
        WORK_OUTCOME,
    ],
    "How long items of a queue took, by kind and outcome (`done`, `impossible`, `failed`, `released`, `lost`).",
);
/// Items in a worker's hands.
pub const WORK_ACTIVE: Definition = gauge(
    "rlaif.work.active",
    "{item}",
    &[MESSAGING_DESTINATION_NAME, WORK_KIND],
    "Items being worked on.",
);
/// Tokens that models read and wrote for items of a queue.
pub const WORK_TOKENS: Definition = counter(
    "rlaif.work.tokens",
    "{token}",
    &[WORK_KIND, GEN_AI_TOKEN_TYPE],
    "Tokens that models read (`input`) and wrote (`output`) for items of a queue.",
);
/// Items taken over from a worker that fell silent in the middle of them.
pub const QUEUE_TAKEOVERS: Definition = counter(
    "rlaif.queue.takeovers",
    "{item}",
    &[MESSAGING_DESTINATION_NAME],
    "Items taken over from a worker that fell silent in the middle of them.",
);

/// Messages queued.
pub const MESSAGING_SENT: Definition = counter(
    "messaging.client.sent.messages",
    "{item}",
    &[MESSAGING_SYSTEM, MESSAGING_OPERATION_NAME, MESSAGING_DESTINATION_NAME],
    "Items handed out.",
);
/// Items whose results, or deaths, a coordinator has taken in.
pub const ITEMS_SETTLED: Definition = counter(
    "rlaif.items.settled",
    "{item}",
    &[MESSAGING_DESTINATION_NAME, WORK_OUTCOME],
    "Items whose results (`done`, `impossible`) or deaths (`dead`) were taken in.",
);
/// Time until what a coordinator's journal was given is on disk.
pub const JOURNAL_COMMIT_DURATION: Definition = histogram(
    "rlaif.journal.commit.duration",
    "s",
    &[],
    "How long it takes until what the journal was given is on disk.",
);
/// Items of a queue that are accepted and not settled.
pub const QUEUE_OUTSTANDING: Definition = gauge(
    "rlaif.queue.outstanding",
    "{item}",
    &[MESSAGING_DESTINATION_NAME],
    "Items accepted and not settled, whether or not a worker has them; absent while the queue is away.",
);
/// Age of the oldest of them.
pub const QUEUE_OLDEST_AGE: Definition = gauge(
    "rlaif.queue.oldest_age",
    "s",
    &[MESSAGING_DESTINATION_NAME],
    "Time since the oldest of these items was handed out; 0 where there is none.",
);
/// Items that were given up.
pub const QUEUE_DEAD_LETTERS: Definition = gauge(
    "rlaif.queue.dead_letters",
    "{item}",
    &[MESSAGING_DESTINATION_NAME],
    "Items that were given up and wait for an operator.",
);
/// Troubles with a queue.
pub const QUEUE_TROUBLE: Definition = gauge(
    "rlaif.queue.trouble",
    "",
    &[MESSAGING_DESTINATION_NAME, REASON],
    "1 while the queue does not answer or takes nothing that is written (`away`), while the artifact store \
     behind it does not answer (`store_away`), and of a coordinator also while it takes no more items (`full`); \
     else 0.",
);
/// Jobs of a coordinator.
pub const JOBS: Definition = gauge(
    "rlaif.jobs",
    "{job}",
    &[JOB_STATE],
    "Jobs, by where they stand: `running`, `paused`, `cancelled`, `failed` or `succeeded`.",
);
/// Whether a job has failed.
pub const JOB_FAILED: Definition = gauge(
    "rlaif.job.failed",
    "",
    &[JOB_ID],
    "1 where the job has failed and waits for an operator, else 0.",
);
/// What a stage has done.
pub const JOB_STAGE_DONE: Definition = gauge(
    "rlaif.job.stage.done",
    "{item}",
    &[JOB_ID, STAGE],
    "Items or steps that a job's stage has done.",
);
/// What a stage has to do.
pub const JOB_STAGE_SIZE: Definition = gauge(
    "rlaif.job.stage.size",
    "{item}",
    &[JOB_ID, STAGE],
    "Items or steps of the stage in all.",
);
/// What could not be judged in a stage.
pub const JOB_STAGE_UNSCORABLE: Definition = gauge(
    "rlaif.job.stage.unscorable",
    "{item}",
    &[JOB_ID, STAGE],
    "Items of the stage that could not be judged and are masked.",
);
/// What was given up in a stage.
pub const JOB_STAGE_DEAD_LETTERS: Definition = gauge(
    "rlaif.job.stage.dead_letters",
    "{item}",
    &[JOB_ID, STAGE],
    "Tasks of the stage that were given up and wait for an operator.",
);
/// What a job's judgements were.
pub const JOB_JUDGEMENTS: Definition = gauge(
    "rlaif.job.judgements",
    "{item}",
    &[JOB_ID, WORK_KIND, VERDICT],
    "Judgements so far. Of `label`: the same response won in both orders (`consistent`), a position did \
     (`first_position`, `second_position`), an order was even (`tied`), or `unscorable`. Of `rate` and \
     `score`: `scored` or `unscorable`.",
);
/// What a job's training measured last.
pub const JOB_TRAINING: Definition = gauge(
    "rlaif.job.training",
    "",
    &[JOB_ID, STAGE, MEASURE],
    "The newest figure of a training stage: `loss`, `accuracy`, `reward`, `reward_std`, `objective/kl` \
     or `value_loss`, or the `agreement` of labeler and reward model, as in metrics.jsonl.",
);
/// Tokens of a job's labeler.
pub const JOB_TOKENS: Definition = gauge(
    "rlaif.job.tokens",
    "{token}",
    &[JOB_ID, GEN_AI_TOKEN_TYPE],
    "Tokens that the job's labeler and its judge have read (`input`) and written (`output`).",
);
/// Tokens that a job's labeler may take.
pub const JOB_MAX_TOKENS: Definition = gauge(
    "rlaif.job.max_tokens",
    "{token}",
    &[JOB_ID],
    "Tokens that they may read and write together; absent where the job bounds none.",
);
/// Cost of a job's labeler.
pub const JOB_COST: Definition = gauge(
    "rlaif.job.cost",
    "",
    &[JOB_ID],
    "What they cost at the prices that the job names, in dollars; absent where it names none.",
);
/// What a job's labeler may cost.
pub const JOB_MAX_COST: Definition = gauge(
    "rlaif.job.max_cost",
    "",
    &[JOB_ID],
    "What they may cost, in dollars; absent where the job bounds no cost.",
);

/// Metrics that the same services export, for the same reason.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Of what.
    pub title: &'static str,
    /// Who exports them, as `service.name` has it.
    pub services: &'static [&'static str],
    /// The metrics.
    pub metrics: &'static [&'static Definition],
}

const EVERY_SERVICE: &[&str] =
    &["rlaif-coordinator", "rlaif-labeler", "rlaif-rollout", "rlaif-reward", "rlaif-learner"];

/// All metrics.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Every service",
        services: EVERY_SERVICE,
        metrics: &[&PROCESS_UPTIME, &RPC_SERVER_CALL_DURATION, &SERVER_SHED, &SERVER_ACTIVE],
    },
    Group {
        title: "Every service: its queues",
        services: EVERY_SERVICE,
        metrics: &[&QUEUE_TROUBLE],
    },
    Group {
        title: "Coordinator: queues",
        services: &["rlaif-coordinator"],
        metrics: &[
            &QUEUE_OUTSTANDING,
            &QUEUE_OLDEST_AGE,
            &QUEUE_DEAD_LETTERS,
            &MESSAGING_SENT,
            &ITEMS_SETTLED,
            &JOURNAL_COMMIT_DURATION,
        ],
    },
    Group {
        title: "Coordinator: jobs",
        services: &["rlaif-coordinator"],
        metrics: &[
            &JOBS,
            &JOB_FAILED,
            &JOB_STAGE_DONE,
            &JOB_STAGE_SIZE,
            &JOB_STAGE_UNSCORABLE,
            &JOB_STAGE_DEAD_LETTERS,
            &JOB_JUDGEMENTS,
            &JOB_TRAINING,
            &JOB_TOKENS,
            &JOB_MAX_TOKENS,
            &JOB_COST,
            &JOB_MAX_COST,
        ],
    },
    Group {
        title: "Workers: items of their queue",
        services: &["rlaif-labeler", "rlaif-rollout", "rlaif-reward", "rlaif-learner"],
        metrics: &[&MESSAGING_PROCESS_DURATION, &WORK_ACTIVE, &WORK_TOKENS, &QUEUE_TAKEOVERS],
    },
    Group {
        title: "Workers: batches of direct callers",
        services: &["rlaif-labeler", "rlaif-rollout", "rlaif-reward"],
        metrics: &[
            &BATCHER_WAIT,
            &BATCHER_RUN,
            &BATCHER_ITEMS,
            &BATCHER_TOKENS,
            &BATCHER_SKIPPED,
            &BATCHER_SHED,
        ],
    },
];
