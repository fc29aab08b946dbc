//! What workers are told, and what they answer.
//!
//! A [`WorkItem`] is complete in itself: whichever worker takes it, on whichever machine, and however
//! often, makes the same [`WorkResult`]. It is computed in one call of an engine, because the last
//! bits of a number depend on what else is in the batch.

use crate::{
    Contest, EvaluationRecord, Judged, LabelRecord, LeftOut, RewardModelConfig, RewardSummary,
    SftConfig,
};
use crate::{SamplingConfig, TaskId};
use rlaif_template::{Asking, Template};
use rlaif_types::{
    ContentHash, Episode, Finish, Item, Judgement, LabelSource, LoraConfig, Pair, PolicyLearning,
    Prompt, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::AddAssign;

/// The kinds of worker. Each has a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerKind {
    /// Generates with a policy.
    Rollout,
    /// Judges with a labeler.
    Labeler,
    /// Trains and asks reward models.
    Reward,
    /// Trains policies.
    Learner,
}

impl WorkerKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Rollout, Self::Labeler, Self::Reward, Self::Learner];

    /// Name of the kind's queue.
    pub fn queue(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Labeler => "label",
            Self::Reward => "reward",
            Self::Learner => "learn",
        }
    }
}

/// One unit of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkItem {
    /// The job it belongs to; also the prefix of the job's artifacts.
    pub job: String,
    /// Which of the job's tasks it is.
    pub task: TaskId,
    /// What to do.
    pub work: Work,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // One lives at a time; boxes would only blur the reading.
pub enum Work {
    /// Look a policy over, before anything is spent on it.
    CheckPolicy(CheckPolicy),
    /// Look a labeler over, or a judge.
    CheckLabeler(CheckLabeler),
    /// Look over what a reward model is to start from.
    CheckReward(CheckReward),
    /// Supervised fine-tuning.
    FineTune(FineTune),
    /// Two responses to each prompt.
    SamplePairs(Generate),
    /// Compare pairs.
    Label(Label),
    /// Train a reward model.
    TrainReward(TrainReward),
    /// One response to each prompt, with log-probabilities.
    Rollout(Generate),
    /// Rewards from the labeler's ratings (d-RLAIF, paper section 4).
    Rate(Rate),
    /// Rewards from match-ups of a prompt's responses.
    MatchUps(MatchUps),
    /// Rewards from the reward model.
    Score(Score),
    /// One step of reinforcement learning.
    PolicyStep(PolicyStep),
    /// Save a version as the job's policy.
    SavePolicy(SavePolicy),
    /// Responses of the trained policy and of its start.
    Respond(Respond),
    /// Judge contests.
    Judge(JudgeContests),
}

impl Work {
    /// Name of the kind of work, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CheckPolicy(_) => "check_policy",
            Self::CheckLabeler(_) => "check_labeler",
            Self::CheckReward(_) => "check_reward",
            Self::FineTune(_) => "fine_tune",
            Self::SamplePairs(_) => "sample_pairs",
            Self::Label(_) => "label",
            Self::TrainReward(_) => "train_reward",
            Self::Rollout(_) => "rollout",
            Self::Rate(_) => "rate",
            Self::MatchUps(_) => "match_ups",
            Self::Score(_) => "score",
            Self::PolicyStep(_) => "policy_step",
            Self::SavePolicy(_) => "save_policy",
            Self::Respond(_) => "respond",
            Self::Judge(_) => "judge",
        }
    }

    /// Who does it.
    pub fn worker(&self) -> WorkerKind {
        match self {
            Self::CheckPolicy(_) | Self::SamplePairs(_) | Self::Rollout(_) | Self::Respond(_) => {
                WorkerKind::Rollout
            }
            Self::CheckLabeler(_) | Self::Label(_) | Self::Rate(_) => WorkerKind::Labeler,
            Self::MatchUps(_) | Self::Judge(_) => WorkerKind::Labeler,
            Self::CheckReward(_) | Self::TrainReward(_) | Self::Score(_) => WorkerKind::Reward,
            Self::FineTune(_) | Self::PolicyStep(_) | Self::SavePolicy(_) => WorkerKind::Learner,
        }
    }
}

/// Where a worker finds a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRef {
    /// A folder, a .gguf file, a pulled name or a hub's name, as in the job file.
    Named(String),
    /// A Hugging Face folder among the job's artifacts.
    Saved(String),
    /// `start` with the trainable parameters of one version put in.
    Version {
        /// What training started from.
        start: Box<ModelRef>,
        /// The adapters trained; all weights where there are none.
        lora: Option<LoraConfig>,
        /// Artifact that holds the parameters.
        parameters: String,
    },
}

/// A policy and how it reads prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its weights.
    pub model: ModelRef,
    /// Prompts go through its chat template.
    pub chat: bool,
}

/// A labeler and what it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labeler {
    /// Its weights.
    pub model: ModelRef,
    /// The question.
    pub template: Template,
    /// How it is asked.
    #[serde(default)]
    pub asking: Asking,
}

/// See [`Work::CheckPolicy`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckPolicy {
    /// The policy as the job names it.
    pub policy: Policy,
    /// Every prompt must leave room for a response.
    pub sampling: SamplingConfig,
    /// Artifacts of prompt files as the user wrote them, each with its name on the user's disk.
    pub prompts: Vec<(String, String)>,
}

/// See [`Work::CheckLabeler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckLabeler {
    /// The labeler's weights.
    pub model: ModelRef,
    /// Everything it will be asked.
    pub templates: Vec<Template>,
}

/// See [`Work::CheckReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReward {
    /// The model, and how it will read prompts.
    pub start: Policy,
}

/// How a model is trained, beside its own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// What it starts from.
    pub start: Policy,
    /// Adapters; all weights where there are none.
    pub lora: Option<LoraConfig>,
    /// Tokens in memory at once.
    pub micro_batch_tokens: usize,
    /// What happens within layers is computed again for its gradients instead of kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gradient_checkpointing: bool,
    /// Steps between saved states.
    pub checkpoint_every: usize,
    /// The job's seed.
    pub seed: u64,
}

/// See [`Work::FineTune`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FineTune {
    /// How to train.
    pub training: Training,
    /// What to do.
    pub config: SftConfig,
    /// Artifact of the demonstrations, as the job's file has them.
    pub demonstrations: String,
}

/// Prompts to respond to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// Whose responses.
    pub policy: Policy,
    /// How they are drawn.
    pub sampling: SamplingConfig,
    /// Seed of the draws.
    pub seed: u64,
    /// Number of the first prompt in the stage; a draw's seed depends on its prompt's number.
    pub first: usize,
    /// The prompts.
    pub prompts: Vec<Prompt>,
}

/// See [`Work::Label`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Who compares.
    pub labeler: Labeler,
    /// What is compared.
    pub pairs: Vec<Pair>,
}

/// See [`Work::TrainReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReward {
    /// How to train.
    pub training: Training,
    /// What to do.
    pub config: RewardModelConfig,
    /// Artifact of the labeler's labels, one [`LabelRecord`] a line, where it was asked.
    pub labels: Option<String>,
    /// Artifact of given preferences, as the job's file has them, where they are learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferences: Option<String>,
}

/// See [`Work::Rate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Who rates.
    pub labeler: Labeler,
    /// What is rated.
    pub items: Vec<Item>,
}

/// See [`Work::MatchUps`]. A response's reward is the share of its group's match-ups that it wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchUps {
    /// Who compares.
    pub labeler: Labeler,
    /// Responses to each prompt.
    pub group_size: usize,
    /// Whole groups, whose members follow each other.
    pub items: Vec<Item>,
}

/// See [`Work::Score`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The reward model, which reads prompts as the policy does.
    pub reward_model: Policy,
    /// Mean of its outputs on its training responses, taken off.
    pub mean: f64,
    /// Their standard deviation, divided by.
    pub std: f64,
    /// What is scored.
    pub items: Vec<Item>,
}

/// See [`Work::PolicyStep`]. A learner that has just made step `step - 1` goes on from memory; any
/// other starts from the checkpoint and repeats the steps since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyStep {
    /// How to train.
    pub training: Training,
    /// The algorithm and its settings.
    pub learning: PolicyLearning,
    /// Number of the step, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Step of the newest checkpoint, 0 for the start.
    pub checkpoint: usize,
    /// What is learned from.
    pub lessons: Lessons,
    /// The version that it makes is one of those that the job will choose from, and is kept beside what
    /// rollouts are drawn with. The last step of such a job leaves no model: the chosen one is saved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub candidate: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What policy steps learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lessons {
    /// Artifacts of the batches of steps `checkpoint + 1 ..= step`, each a list of [`Episode`]s.
    Rollouts(Vec<String>),
    /// Preferences that were given; each step's batch follows from its number.
    Preferences {
        /// Artifact, as the job's file has them.
        file: String,
        /// Whose labels of them.
        #[serde(default = "mixed")]
        labels: LabelSource,
        /// Pairs in a step.
        batch_size: usize,
    },
}

fn mixed() -> LabelSource {
    LabelSource::Mixed
}

/// See [`Work::SavePolicy`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavePolicy {
    /// The version.
    pub policy: Policy,
}

/// See [`Work::Respond`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Respond {
    /// The trained policy and how it is asked.
    pub trained: Generate,
    /// Where it started.
    pub start: Policy,
    /// Strip trailing junk from both sides.
    pub strip_trailing_junk: bool,
}

/// See [`Work::Judge`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeContests {
    /// Who judges.
    pub model: ModelRef,
    /// What is asked; every contest is judged by each.
    pub templates: Vec<Template>,
    /// What is judged.
    pub contests: Vec<Contest>,
}

/// A result, with what its making took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What was made.
    pub result: WorkResult,
    /// How long it took.
    pub seconds: f64,
    /// Who made it.
    pub worker: String,
    /// What models read and wrote for it; nothing in journals from before this was counted.
    #[serde(default)]
    pub tokens: Tokens,
}

/// Tokens that models read and wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of prompts, each as often as it was asked about.
    pub read: u64,
    /// Of responses.
    pub written: u64,
}

impl Tokens {
    /// Tokens read and written.
    pub fn new(read: usize, written: usize) -> Self {
        Self { read: read as u64, written: written as u64 }
    }

    /// As an account counts them.
    pub fn usage(self) -> Usage {
        Usage { prompt_tokens: self.read, completion_tokens: self.written, ..Usage::default() }
    }

    /// Tokens that were only read.
    pub fn read(tokens: usize) -> Self {
        Self::new(tokens, 0)
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, more: Self) {
        self.read += more.read;
        self.written += more.written;
    }
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "result", rename_all = "snake_case")]
pub enum WorkResult {
    /// Of a check: the model's identity.
    Checked(CheckedModel),
    /// Of fine-tuning.
    FineTuned(Trained),
    /// Of sampling.
    Pairs(Vec<SampledPair>),
    /// Of labeling.
    Labels(Vec<LabelRecord>),
    /// Of reward training.
    RewardTrained {
        /// The model and its metrics.
        trained: Trained,
        /// How good it is.
        summary: RewardSummary,
    },
    /// Of a rollout.
    Rollouts(Vec<Rollout>),
    /// Of rating and scoring, in the items' order.
    Rewards(Vec<Judgement<f64>>),
    /// Of a policy step.
    Stepped(Stepped),
    /// Of saving a policy: its artifact folder.
    Saved(String),
    /// Of evaluation's responses.
    Contests(Vec<Contest>),
    /// Of their judgement.
    Evaluations(Vec<EvaluationRecord>),
    /// The work cannot be done, by anyone, however often: the job must be mended.
    Impossible(String),
}

impl WorkResult {
    /// Items or steps done by it, as a stage counts them.
    pub fn count(&self) -> usize {
        match self {
            Self::Checked(_) | Self::Rollouts(_) | Self::Rewards(_) | Self::Contests(_) => 0,
            Self::Impossible(_) => 0,
            Self::FineTuned(trained) | Self::RewardTrained { trained, .. } => trained.metrics.len(),
            Self::Pairs(pairs) => pairs.len(),
            Self::Labels(labels) => labels.len(),
            Self::Stepped(_) | Self::Saved(_) => 1,
            Self::Evaluations(records) => records.len(),
        }
    }

    /// Examples of its stage that are not learned from.
    pub fn left_out(&self) -> Option<&LeftOut> {
        let left_out = match self {
            Self::FineTuned(trained) | Self::RewardTrained { trained, .. } => &trained.left_out,
            Self::Stepped(stepped) => &stepped.left_out,
            _ => return None,
        };
        (!left_out.is_empty()).then_some(left_out)
    }

    /// Items of it that could not be judged.
    pub fn unscorable(&self) -> usize {
        let has_none = |record: &&EvaluationRecord| {
            record.verdicts.values().any(|verdict| matches!(verdict, Judged::Unscorable(_)))
        };
        match self {
            Self::Labels(labels) => labels.iter().filter(|l| l.comparison.is_none()).count(),
            Self::Rewards(rewards) => rewards.iter().filter(|reward| reward.is_err()).count(),
            Self::Evaluations(records) => records.iter().filter(has_none).count(),
            _ => 0,
        }
    }
}

/// Identity of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedModel {
    /// Name for people.
    pub name: String,
    /// Hash of weights, configuration, tokenizer and chat template.
    pub hash: ContentHash,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Artifact folder in Hugging Face format.
    pub model: String,
    /// One record a step.
    pub metrics: Vec<Value>,
    /// Examples trained on.
    pub examples: usize,
    /// Examples that were not.
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
}

/// A drawn response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Tokens and log-probabilities; the reward is still to come.
    pub episode: Episode,
    /// The response as text.
    pub text: String,
    /// How it ended; all came to their end in journals from before this was told.
    #[serde(default, skip_serializing_if = "Finish::is_stop")]
    pub finish: Finish,
}

/// Two drawn responses to a prompt; also a line of `pairs.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampledPair {
    /// Prompt and responses.
    #[serde(flatten)]
    pub pair: Pair,
    /// How response A ended; both came to their end in journals from before this was told.
    #[serde(default, skip_serializing_if = "Finish::is_stop")]
    pub finish_a: Finish,
    /// How response B ended.
    #[serde(default, skip_serializing_if = "Finish::is_stop")]
    pub finish_b: Finish,
}

/// What a policy step leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    /// What it measured.
    pub metrics: Value,
    /// Artifact of the new version's trainable parameters.
    pub parameters: String,
    /// The training state after this step is saved.
    pub checkpointed: bool,
    /// Artifact folder of the final model, after the last step.
    pub model: Option<String>,
    /// Artifact of the same parameters, kept for the job to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Given preferences that no step learns from.
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
}
