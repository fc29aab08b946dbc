//! Keys of attributes of metrics and spans: OpenTelemetry's semantic conventions (1.42 for `rpc` and
//! `messaging`; `gen_ai` is kept apart from them since) where they have one, ours below `rlaif.`
//! otherwise. Metrics themselves are in [`definitions`](super::definitions).

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

/// Attribute: which delivery of a message this is, counted from 1.
pub const DELIVERY: &str = "rlaif.messaging.delivery";
/// Attribute: which batcher.
pub const ENGINE: &str = "rlaif.engine";
/// Attribute: why a request was skipped, or what is wrong with a queue.
pub const REASON: &str = "rlaif.reason";

/// Attribute: the job that something belongs to.
pub const JOB_ID: &str = "rlaif.job.id";
/// Attribute, for spans: a training step, counted from 1.
pub const STEP: &str = "rlaif.step";
/// Attribute, for spans: training steps of a stage.
pub const STEPS: &str = "rlaif.steps";
/// Attribute: the kind of work that an item of a queue is.
pub const WORK_KIND: &str = "rlaif.work.kind";
/// Attribute: what came of it: `done`, `impossible`, `failed`, `released` or `lost`.
pub const WORK_OUTCOME: &str = "rlaif.work.outcome";
/// Attribute: where jobs stand: `running`, `paused`, `cancelled`, `failed` or `succeeded`.
pub const JOB_STATE: &str = "rlaif.job.state";
/// Attribute: a stage of a job, as `label`.
pub const STAGE: &str = "rlaif.job.stage";
/// Attribute: what a judgement was.
pub const VERDICT: &str = "rlaif.verdict";
/// Attribute: what training measured, as `kl`.
pub const MEASURE: &str = "rlaif.measure";
