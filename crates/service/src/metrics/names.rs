//! Names of metrics and keys of attributes: OpenTelemetry's semantic conventions (1.42 for `rpc` and
//! `messaging`; `gen_ai` is kept apart from them since) where they have one, ours below `rlaif.`
//! otherwise. Units are seconds, tokens and items.

/// Attribute: the service, as `rlaif-labeler`.
pub const SERVICE_NAME: &str = "service.name";
/// Attribute: its version.
pub const SERVICE_VERSION: &str = "service.version";
/// Attribute: which of several.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// Attribute: the class of an error; absent where there was none.
pub const ERROR_TYPE: &str = "error.type";
/// Attribute: `grpc`.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// Attribute: the method as `package.Service/Method`.
pub const RPC_METHOD: &str = "rpc.method";
/// Attribute: the status code as `DEADLINE_EXCEEDED`.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// Histogram, seconds: calls that a server answered.
pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
/// Attribute: `redis`, or `memory` for the queue of a single process.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// Attribute: `send`, `receive`, `process` or `settle`.
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// Attribute, for spans: the same where it is one of the conventions' types.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// Attribute: the queue.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// Attribute: the group of consumers.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// Attribute, for spans: the message.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Attribute, for spans: messages of an operation on several.
pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// Counter: messages queued.
pub const MESSAGING_SENT: &str = "messaging.client.sent.messages";
/// Counter: messages delivered.
pub const MESSAGING_CONSUMED: &str = "messaging.client.consumed.messages";
/// Histogram, seconds: operations on a queue.
pub const MESSAGING_OPERATION_DURATION: &str = "messaging.client.operation.duration";
/// Histogram, seconds: processing of a message.
pub const MESSAGING_PROCESS_DURATION: &str = "messaging.process.duration";
/// Attribute: `chat`, `text_completion`; ours, for reward models: `score`.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// Attribute: the model.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Attribute: who runs the model; `rlaif` for models in our process.
pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// Attribute, for spans: tokens that a model read.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Attribute, for spans: tokens that a model wrote.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Attribute: `input` or `output`.
pub const GEN_AI_TOKEN_TYPE: &str = "gen_ai.token.type";
/// Histogram: tokens of a request to a model elsewhere.
pub const GEN_AI_CLIENT_TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// Histogram, seconds: requests to a model of ours.
pub const GEN_AI_SERVER_REQUEST_DURATION: &str = "gen_ai.server.request.duration";
/// Histogram, seconds: to the first token.
pub const GEN_AI_SERVER_TIME_TO_FIRST_TOKEN: &str = "gen_ai.server.time_to_first_token";
/// Histogram, seconds: for each token after the first.
pub const GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN: &str = "gen_ai.server.time_per_output_token";

/// Attribute: which delivery of a message this is, counted from 1.
pub const DELIVERY: &str = "rlaif.messaging.delivery";
/// Attribute: which batcher.
pub const ENGINE: &str = "rlaif.engine";
/// Attribute: why a request was skipped.
pub const REASON: &str = "rlaif.reason";

/// Counter: calls refused because the server was full.
pub const SERVER_SHED: &str = "rlaif.server.shed";
/// Up-down counter: calls being answered.
pub const SERVER_ACTIVE: &str = "rlaif.server.active_calls";
/// Histogram, seconds: how long requests waited for their batch.
pub const BATCHER_WAIT: &str = "rlaif.batcher.wait";
/// Histogram, seconds: how long the engine took for a batch.
pub const BATCHER_RUN: &str = "rlaif.batcher.run";
/// Histogram: requests in a batch.
pub const BATCHER_ITEMS: &str = "rlaif.batcher.batch_items";
/// Histogram: tokens in a batch.
pub const BATCHER_TOKENS: &str = "rlaif.batcher.batch_tokens";
/// Counter: requests that were dropped before they were run.
pub const BATCHER_SKIPPED: &str = "rlaif.batcher.skipped";
/// Counter: requests that were refused because the queue was full, or too long for them.
pub const BATCHER_SHED: &str = "rlaif.batcher.shed";

/// Attribute, for spans: the job that something belongs to.
pub const JOB_ID: &str = "rlaif.job.id";
/// Attribute, for spans: a training step, counted from 1.
pub const STEP: &str = "rlaif.step";
/// Attribute, for spans: training steps of a stage.
pub const STEPS: &str = "rlaif.steps";
/// Attribute: the kind of work that an item of a queue is.
pub const WORK_KIND: &str = "rlaif.work.kind";
/// Attribute: what came of it: `done`, `impossible`, `failed`, `released` or `lost`.
pub const WORK_OUTCOME: &str = "rlaif.work.outcome";
/// Counter: tokens that models read and wrote for items of a queue.
pub const WORK_TOKENS: &str = "rlaif.work.tokens";
/// Counter: items whose results, or deaths, a coordinator has taken in.
pub const ITEMS_SETTLED: &str = "rlaif.items.settled";
/// Gauge: jobs of a coordinator.
pub const JOBS: &str = "rlaif.jobs";
/// Attribute: where jobs stand: `running`, `paused`, `cancelled`, `failed` or `succeeded`.
pub const JOB_STATE: &str = "rlaif.job.state";
/// Histogram, seconds: until what a coordinator's journal was given is on disk.
pub const JOURNAL_COMMIT_DURATION: &str = "rlaif.journal.commit.duration";
/// Gauge: items of a queue that are accepted and not settled.
pub const QUEUE_OUTSTANDING: &str = "rlaif.queue.outstanding";
