//! What a job still needs: which tasks can be worked on now, and what follows from a result.
//!
//! A [`Machine`] is a pure function of the results it was given, in whatever order and however often
//! they came. It is never saved: whoever restarts a coordinator gives it the journal's results again.
//!
//! ```text
//! check ─> (demonstrate? ─> sft)? ─┬─> (sample ─> label)? ─> reward ─┬─> policy: (rollout ─> score)* ─> step ─┐ ─> respond ─> judge
//!                └────────── d-RLAIF ──────────────┘             ^───────────────────────────┘
//! ```

mod demonstrate;
mod evaluate;
mod in_order;
mod judge;
mod label;
mod policy;
mod results;
mod selection;
mod staleness;

use crate::work::{
    CheckLabeler, CheckPolicy, CheckReward, CheckedModel, FineTune, Labeler, ModelRef, Policy,
    TrainReward, Trained, Training, Work, WorkItem, WorkResult,
};
use crate::{
    Asked, DemonstratedBy, Error, Job, LeftOut, Measure, RewardStart, RewardSummary,
    SelectionSummary, Submission, TaskId, WinRate, seed_for,
};
use demonstrate::Demonstrating;
use evaluate::Evaluation;
use label::Labeling;
use policy::PolicyTraining;
pub use policy::figures_of_interest;
use rlaif_template::Template;
use rlaif_types::{ContentHash, LoraConfig, Prompt};
use selection::Selecting;
pub(crate) use selection::split as split_heldout;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use staleness::Measuring;
use std::collections::{BTreeMap, HashSet};

/// Items of one job that workers may hold at once; more wait in the machine, which makes them when
/// they are wanted.
const MAX_OUTSTANDING: usize = 256;

/// What a job works on, read and checked.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Prompts to train on.
    pub prompts: Vec<Prompt>,
    /// Prompts to evaluate on.
    pub heldout: Vec<Prompt>,
    /// What the labeler is asked.
    pub template: Template,
    /// What judges the result.
    pub evaluation_templates: Vec<Template>,
    /// What the labeler is asked for each part of a mixture of rewards; none for parts that ask nobody.
    pub mixture_templates: Vec<Option<Template>>,
}

/// What is to be done outside the machine when a result has come. All of it may be done again.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Records that follow in a file of the run folder.
    Append {
        /// The file.
        file: &'static str,
        /// One a line.
        records: Vec<Value>,
    },
    /// A file of the run folder is complete, and workers need it.
    Publish {
        /// The file, and the artifact.
        file: &'static str,
    },
    /// An artifact that workers need.
    Put {
        /// Its name.
        artifact: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// An artifact that nobody needs any more.
    Delete {
        /// Its name.
        artifact: String,
    },
    /// A stage is finished.
    Finished {
        /// Which.
        stage: &'static str,
        /// What there is to say about it.
        summary: Value,
    },
}

/// How far a stage is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Its name.
    pub stage: String,
    /// Items or steps done.
    pub done: usize,
    /// In all.
    pub total: usize,
    /// The latest figure of interest.
    pub note: String,
    /// Items that could not be judged and are masked.
    #[serde(default)]
    pub unscorable: usize,
    /// Tasks that were given up; counted by who sees the queues.
    #[serde(default)]
    pub dead_letters: usize,
    /// Time to its end, in seconds, at the present pace; told by who has a clock, and absent where
    /// there is no pace to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<f64>,
}

impl StageProgress {
    /// A stage of which `done` of `total` is done.
    pub fn new(stage: &str, done: usize, total: usize) -> Self {
        Self { stage: stage.to_owned(), done, total, ..Self::default() }
    }
}

/// What a finished job comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutcome {
    /// Win rates, the headline first.
    pub win_rates: Vec<WinRate>,
    /// The policy as it was named.
    pub policy: CheckedModel,
    /// The labeler.
    pub labeler: CheckedModel,
    /// The judge, where the job names one of its own.
    pub judge: Option<CheckedModel>,
    /// Hash of what the reward model started from, where there is one.
    pub reward_start: Option<ContentHash>,
    /// How the policy was chosen among its versions, where it was.
    pub selection: Option<SelectionSummary>,
    /// Examples that were not learned from, by stage.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// A job in progress.
pub struct Machine {
    id: String,
    job: Job,
    inputs: Inputs,
    applied: HashSet<TaskId>,
    handed_out: HashSet<TaskId>,
    policy: Option<CheckedModel>,
    labeler: Option<CheckedModel>,
    /// Where it is not the labeler.
    judge: Option<CheckedModel>,
    /// Where everything starts from, once it is known.
    start: Option<ModelRef>,
    demonstrating: Option<Demonstrating>,
    labeling: Option<Labeling>,
    reward: Option<(Trained, RewardSummary)>,
    training: PolicyTraining,
    staleness: Option<Measuring>,
    selection: Option<Selecting>,
    evaluation: Evaluation,
    /// Items that could not be judged, by stage.
    unscorable: BTreeMap<&'static str, usize>,
    /// Examples that were not learned from, by stage.
    left_out: BTreeMap<String, LeftOut>,
}

impl Machine {
    /// A job before its first task. `id` names it in its items.
    pub fn new(id: impl Into<String>, job: Job, inputs: Inputs) -> Self {
        let reward_model = job.reward_model.as_ref().filter(|rm| rm.samples_pairs());
        let labeling = reward_model.map(|rm| Labeling::new(rm, job.chunk_size));
        let by_the_labeler = job.sft.as_ref().is_some_and(|sft| sft.by == DemonstratedBy::Labeler);
        let demonstrating =
            by_the_labeler.then(|| Demonstrating::new(inputs.prompts.len(), job.chunk_size));
        let training = PolicyTraining::new(&job, &inputs);
        let staleness = job.reward_model.as_ref().and_then(|rm| rm.staleness.as_ref());
        let staleness = staleness.map(|config| Measuring::new(&job, config));
        let (prompts, heldout) = split_heldout(&job, &inputs.heldout);
        let inputs = Inputs { heldout, ..inputs };
        let selection = job.rl.selection.as_ref();
        let selection = selection.map(|config| Selecting::new(&job, config, prompts, &inputs));
        let evaluation = Evaluation::new(&job, &inputs);
        Self {
            id: id.into(),
            job,
            inputs,
            applied: HashSet::new(),
            handed_out: HashSet::new(),
            policy: None,
            labeler: None,
            judge: None,
            start: None,
            demonstrating,
            labeling,
            reward: None,
            training,
            staleness,
            selection,
            evaluation,
            unscorable: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Tasks that can be worked on now and were not handed out yet.
    pub fn ready(&mut self) -> Vec<WorkItem> {
        let outstanding = self.handed_out.len();
        let room = MAX_OUTSTANDING.saturating_sub(outstanding);
        let candidates = self.candidates(room);
        let fresh = candidates
            .into_iter()
            .filter(|(task, _)| !self.applied.contains(task) && self.handed_out.insert(*task));
        fresh.map(|(task, work)| WorkItem { job: self.id.clone(), task, work }).collect()
    }

    /// Takes back what was handed out and not answered, as after a restart of the queue; what that
    /// was.
    pub fn forget_handed_out(&mut self) -> Vec<TaskId> {
        self.handed_out.drain().collect()
    }

    /// Whether the task's result was taken in.
    pub fn has(&self, task: TaskId) -> bool {
        self.applied.contains(&task)
    }

    fn candidates(&self, room: usize) -> Vec<(TaskId, Work)> {
        // Before anything is paid for.
        if !self.is_looked_over() {
            return self.checks();
        }
        let Some(start) = &self.start else {
            return match self.demonstrating.as_ref().filter(|d| !d.is_complete()) {
                Some(demonstrating) => demonstrating.candidates(self, room),
                None => vec![(TaskId::FineTune, self.fine_tune())],
            };
        };
        if self.job.reward_model.is_some() && self.reward.is_none() {
            return match self.labeling.as_ref().filter(|labeling| !labeling.is_complete()) {
                Some(labeling) => labeling.candidates(self, start, room),
                None => vec![(TaskId::Reward, self.train_reward(start))],
            };
        }
        let measuring = self.measuring(start);
        match self.training.is_complete() {
            false => {
                let training = self.training.candidates(self, start, room);
                measuring.into_iter().chain(training).take(room).collect()
            }
            true if !self.is_measured(self.training.learned()) => {
                measuring.into_iter().take(room).collect()
            }
            true => match self.selection.as_ref().filter(|selection| selection.saved().is_none()) {
                Some(selection) => {
                    let contests = selection.contests(self, start).into_iter();
                    let open = contests.filter(|(task, _)| !self.handed_out.contains(task));
                    open.take(room).collect()
                }
                None => self.evaluation.candidates(self, start, room),
            },
        }
    }

    /// What is measured of the policy as it is, before its next step: one thing after the other, so that what
    /// they leave stands in the same order whoever is fast.
    fn measuring(&self, start: &ModelRef) -> Vec<(TaskId, Work)> {
        let step = self.training.learned();
        let stale = self.staleness.as_ref().filter(|staleness| !staleness.is_done(step));
        if let Some(staleness) = stale {
            return staleness.candidates(self, &self.training.version(self, start), step);
        }
        self.selection.iter().flat_map(|s| s.validation(self, start, step)).collect()
    }

    /// Whether nothing is left to be measured of the policy after `steps` steps.
    fn is_measured(&self, steps: usize) -> bool {
        self.staleness.as_ref().is_none_or(|staleness| staleness.is_done(steps))
            && self.selection.as_ref().is_none_or(|selection| selection.is_validated(steps))
    }

    /// The start with the trainable parameters of that artifact put in.
    fn version_of(&self, start: &ModelRef, parameters: &str) -> ModelRef {
        ModelRef::Version {
            start: Box::new(start.clone()),
            lora: self.adapters_of("policy"),
            parameters: parameters.to_owned(),
        }
    }

    /// The policy as it is now; at the end, the one that the job leaves.
    fn current_policy(&self, start: &ModelRef) -> ModelRef {
        match self.selection.as_ref().and_then(Selecting::saved) {
            Some(model) => ModelRef::Saved(model.to_owned()),
            None => self.training.version(self, start),
        }
    }

    /// Whether nothing that the job names is left to be looked over. What the reward model starts from is not once
    /// that is trained: results from before there was this check have none of it.
    fn is_looked_over(&self) -> bool {
        let checks =
            [TaskId::CheckPolicy, TaskId::CheckJudge, TaskId::CheckLabeler, TaskId::CheckReward];
        let is_over = |task: TaskId| match task {
            TaskId::CheckReward if self.reward.is_some() => true,
            _ => self.has(task) || self.due(task).is_none(),
        };
        checks.into_iter().all(is_over)
    }

    /// A look at all that the job names and that is on its workers' machines.
    fn checks(&self) -> Vec<(TaskId, Work)> {
        let prompts = [
            ("data/prompts.jsonl", &self.job.data.prompts),
            ("data/heldout_prompts.jsonl", &self.job.data.heldout_prompts),
        ];
        let prompts = prompts.map(|(artifact, file)| (artifact.into(), file.display().to_string()));
        let policy = CheckPolicy {
            policy: self.named_policy(),
            sampling: self.job.sampling.clone(),
            prompts: prompts.to_vec(),
        };
        let mut asked = vec![self.inputs.template.clone()];
        asked.extend(self.inputs.mixture_templates.iter().flatten().cloned());
        let judging = self.inputs.evaluation_templates.clone();
        let look_over = |model, templates| Work::CheckLabeler(CheckLabeler { model, templates });
        let mut checks = vec![(TaskId::CheckPolicy, Work::CheckPolicy(policy))];
        match self.job.judged_by() {
            Asked::Labeler => asked.extend(judging),
            Asked::Judge => {
                checks.push((TaskId::CheckJudge, look_over(self.judge_model(), judging)));
            }
        }
        checks.push((TaskId::CheckLabeler, look_over(self.labeler_model(), asked)));
        let reward = self.reward_start_named().map(|model| {
            let start = self.policy_of(ModelRef::Named(model.clone()));
            (TaskId::CheckReward, Work::CheckReward(CheckReward { start }))
        });
        checks.extend(reward);
        checks
    }

    /// The model that the reward model starts from, where that is neither the policy nor its base.
    fn reward_start_named(&self) -> Option<&String> {
        self.job.reward_model.as_ref()?.from.model()
    }

    fn named_policy(&self) -> Policy {
        let model = ModelRef::Named(self.job.policy.model.clone());
        Policy { model, chat: self.job.policy.chat }
    }

    fn policy_of(&self, model: ModelRef) -> Policy {
        Policy { model, chat: self.job.policy.chat }
    }

    fn labeler_model(&self) -> ModelRef {
        ModelRef::Named(self.job.labeler.model.clone())
    }

    /// Who judges what the policy has learned.
    fn judge_model(&self) -> ModelRef {
        let judge = self.job.evaluate.judge.as_ref();
        judge.map_or_else(|| self.labeler_model(), |judge| ModelRef::Named(judge.model.clone()))
    }

    fn labeler_asked(&self) -> Labeler {
        Labeler {
            model: self.labeler_model(),
            template: self.inputs.template.clone(),
            asking: self.job.labeler.asking.clone(),
        }
    }

    /// How the model of a stage is trained.
    fn training_of(&self, stage: &str, start: &ModelRef) -> Training {
        Training {
            start: self.policy_of(start.clone()),
            lora: self.adapters_of(stage),
            micro_batch_tokens: self.job.rl.micro_batch_tokens,
            gradient_checkpointing: self.job.rl.gradient_checkpointing,
            checkpoint_every: self.job.rl.checkpoint_every,
            seed: self.job.seed,
        }
    }

    /// The adapters of a stage's model, drawn for it alone.
    fn adapters_of(&self, stage: &str) -> Option<LoraConfig> {
        let lora = self.job.lora.clone()?;
        let seed = seed_for(self.job.seed, &format!("{stage} adapters"), lora.seed);
        Some(LoraConfig { seed, ..lora })
    }

    fn fine_tune(&self) -> Work {
        Work::FineTune(FineTune {
            training: self.training_of("sft", &self.named_policy().model),
            config: self.job.sft.clone().unwrap_or_default(),
            demonstrations: match self.demonstrating {
                Some(_) => demonstrate::FILE.into(),
                None => Submission::DEMONSTRATIONS.into(),
            },
        })
    }

    fn train_reward(&self, start: &ModelRef) -> Work {
        let config = self.job.reward_model.clone().unwrap_or_default();
        let given = self.job.data.preferences.is_some();
        let start = match &config.from {
            RewardStart::Sft => start.clone(),
            RewardStart::Base => self.named_policy().model,
            RewardStart::Model(name) => ModelRef::Named(name.clone()),
        };
        Work::TrainReward(TrainReward {
            training: self.training_of("reward", &start),
            labels: self.labeling.is_some().then(|| "labels.jsonl".into()),
            preferences: given.then(|| Submission::PREFERENCES.into()),
            config,
        })
    }

    /// Takes in a result and says what follows. One that was taken in before changes nothing.
    ///
    /// # Errors
    /// When it is [no answer](Machine::judge), or the job cannot go on; the machine is then as it was
    /// before.
    pub fn complete(&mut self, task: TaskId, result: WorkResult) -> Result<Vec<Effect>, Error> {
        if self.has(task) {
            return Ok(Vec::new());
        }
        self.judge(task, &result)?;
        // What several judged is counted once, by who mixes it.
        let unscorable = match task {
            TaskId::Score { .. } | TaskId::Staleness { .. } => 0,
            TaskId::ValidateScore { .. } | TaskId::JudgeCandidate { .. } => 0,
            _ => result.unscorable(),
        };
        // Every step of a stage says the same.
        let left_out = result.left_out().cloned();
        let effects = self.apply(task, result)?;
        self.left_out.extend(left_out.map(|left_out| (task.stage().to_owned(), left_out)));
        *self.unscorable.entry(task.stage()).or_default() += unscorable;
        self.applied.insert(task);
        self.handed_out.remove(&task);
        Ok(effects)
    }

    /// Every stage, in order.
    pub fn progress(&self) -> Vec<StageProgress> {
        let one = |stage: &str, done: bool| StageProgress::new(stage, usize::from(done), 1);
        let mut stages = Vec::new();
        stages.extend(self.demonstrating.as_ref().map(Demonstrating::progress));
        if self.job.sft.is_some() {
            stages.push(one("sft", self.start.is_some()));
        }
        if let Some(labeling) = &self.labeling {
            stages.extend(labeling.progress());
        }
        if self.job.reward_model.is_some() {
            stages.push(one("reward", self.reward.is_some()));
        }
        stages.push(self.training.progress());
        stages.extend(self.staleness.as_ref().map(Measuring::progress));
        stages.extend(self.selection.as_ref().map(Selecting::progress));
        stages.push(self.evaluation.progress());
        for stage in &mut stages {
            stage.unscorable += self.unscorable.get(stage.stage.as_str()).copied().unwrap_or(0);
        }
        stages
    }

    /// Whom the task asks, so that its tokens are the job's cost; none where it asks neither labeler nor judge.
    pub fn asks(&self, task: TaskId) -> Option<Asked> {
        let asks_the_labeler = match task {
            TaskId::CheckJudge | TaskId::Judge(_) | TaskId::JudgeCandidate { .. } => {
                return Some(self.job.judged_by());
            }
            TaskId::CheckLabeler | TaskId::Demonstrate(_) | TaskId::Label(_) => true,
            TaskId::Staleness { part, .. } => part == Measure::Label,
            TaskId::ValidateScore { part, .. } => self.training.is_the_labelers(part),
            TaskId::Score { part, .. } => self.training.is_the_labelers(part),
            _ => false,
        };
        asks_the_labeler.then_some(Asked::Labeler)
    }

    /// Whether a task that was handed out, and is not answered, asks labeler or judge.
    pub fn waits_for_judgement(&self) -> bool {
        self.handed_out.iter().any(|task| self.asks(*task).is_some())
    }

    /// What it comes to, once everything is done.
    pub fn outcome(&self) -> Option<JobOutcome> {
        let win_rates = self.evaluation.win_rates()?;
        Some(JobOutcome {
            win_rates,
            policy: self.policy.clone()?,
            labeler: self.labeler.clone()?,
            judge: self.judge.clone(),
            reward_start: self.reward.as_ref().and_then(|(_, summary)| summary.start_hash.clone()),
            selection: self.selection.as_ref().and_then(Selecting::summary),
            left_out: self.left_out.clone(),
        })
    }
}

/// A stage's summary, with what the stage did not learn from.
fn with_left_out(mut summary: Value, left_out: &LeftOut) -> Value {
    if !left_out.is_empty() {
        summary["left_out"] = plain(left_out);
    }
    summary
}

/// A record as JSON.
fn plain(record: &impl Serialize) -> Value {
    serde_json::to_value(record).expect("records have string keys and plain values")
}
