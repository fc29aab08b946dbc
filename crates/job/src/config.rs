//! The job file: everything a run depends on.

use crate::Error;
use crate::mixture::{self, PartSource, RewardPart};
use rlaif_template::Asking;
use rlaif_types::{
    AdaptiveKl, Algorithm, AlgorithmKind, Ceiling, DpoConfig, GrpoConfig, LabelSource, LoraConfig,
    Money, OnlineDpoConfig, OptimizerConfig, PairOrder, PairWeighting, Plateau, PolicyLearning,
    PpoConfig, Price, Problem, Problems, ReinforceConfig, RewardObjective, RewardShaping,
    RlooConfig, amount,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A job, with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Name for people.
    pub name: String,
    /// Seed of everything drawn.
    #[serde(default)]
    pub seed: u64,
    /// Where models run: `cpu` or `cuda:N`.
    #[serde(default = "cpu")]
    pub device: String,
    /// Items computed together and made durable together: what one worker takes at once.
    #[serde(default = "default_chunk_size")]
    pub chunk_size: usize,
    /// The model to align.
    pub policy: PolicyConfig,
    /// The model that judges.
    pub labeler: LabelerConfig,
    /// Prompts and other data.
    pub data: DataConfig,
    /// How responses are drawn, in every stage.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// Adapters for everything that is trained; without this section all weights are.
    pub lora: Option<LoraConfig>,
    /// Fine-tuning before everything else; without this section the policy starts as it is.
    pub sft: Option<SftConfig>,
    /// The reward model; needed where `rl.reward` is `model`.
    pub reward_model: Option<RewardModelConfig>,
    /// Reinforcement learning.
    pub rl: RlConfig,
    /// The comparison of the trained policy with its start.
    #[serde(default)]
    pub evaluate: EvaluateConfig,
}

fn cpu() -> String {
    "cpu".into()
}

fn default_chunk_size() -> usize {
    16
}

/// The model to align.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// A folder, a .gguf file, or a pulled model by its name or `hf:` specification.
    pub model: String,
    /// Put prompts through the model's chat template.
    #[serde(default = "yes")]
    pub chat: bool,
}

fn yes() -> bool {
    true
}

/// The model that judges, and what it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelerConfig {
    /// A folder, a .gguf file, a pulled model by its name or `hf:` specification, or a .toml file that
    /// describes an endpoint, where the labelers run.
    pub model: String,
    /// A built-in template or a .toml file: for comparisons where a reward model is trained, for
    /// ratings where the labeler's rating is the reward.
    pub template: String,
    /// How the template is asked: exemplars, rationales. Evaluation asks for verdicts straight away.
    #[serde(default, skip_serializing_if = "Asking::is_plain")]
    pub asking: Asking,
    /// What it charges, in dollars, as in a table of prices: `{ input_per_1m = 0.15, output_per_1m = 0.6 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Money that the job may spend on it; raise it when resuming.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "amount")]
    pub max_cost: Option<Money>,
    /// Tokens that it may read and write for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

impl LabelerConfig {
    /// What it may be asked for.
    pub fn ceiling(&self) -> Ceiling {
        Ceiling { max_cost: self.max_cost, max_tokens: self.max_tokens }
    }
}

/// Prompts and other data, as JSONL. Relative paths start at the job file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Prompts to train on: `{"prompt": ...}`.
    pub prompts: PathBuf,
    /// Prompts to evaluate on, never trained on.
    pub heldout_prompts: PathBuf,
    /// For supervised fine-tuning on given demonstrations: `{"prompt", "completion"}` or `{"messages"}`.
    pub demonstrations: Option<PathBuf>,
    /// Preferences in any format that `rlaif data` reads, for `rl.reward = "preferences"` and for a reward
    /// model of people's labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<PathBuf>,
}

/// How responses are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Longest response.
    pub max_new_tokens: usize,
    /// No end of text before this many tokens.
    pub min_new_tokens: usize,
    /// Softmax temperature; also that of the policy being trained.
    pub temperature: f32,
    /// Texts that end a response, which keeps them: `["."]` asks for one sentence.
    pub stop: Vec<String>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { max_new_tokens: 128, min_new_tokens: 1, temperature: 0.9, stop: Vec::new() }
    }
}

/// Supervised fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Whose answers are learned: those of `data.demonstrations` (`data`), or the labeler's own to
    /// `data.prompts` (`labeler`).
    #[serde(skip_serializing_if = "is_default")]
    pub by: DemonstratedBy,
    /// Passes over the demonstrations.
    pub epochs: usize,
    /// Demonstrations in a step.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
}

impl Default for SftConfig {
    fn default() -> Self {
        let (by, optimizer) = (DemonstratedBy::default(), OptimizerConfig::default());
        Self { by, epochs: 1, batch_size: 128, optimizer }
    }
}

/// Whose answers are learned in fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemonstratedBy {
    /// Those of a file.
    #[default]
    Data,
    /// The labeler's own: the control that a policy trained on its judgement has to beat.
    Labeler,
}

/// The reward model and the labels it learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardModelConfig {
    /// Whose labels it learns from: the labeler's on sampled pairs (`ai`), people's in `data.preferences`
    /// (`human`: nothing is sampled or labelled), or both, with what models said there too (`mixed`).
    #[serde(skip_serializing_if = "is_default")]
    pub labels: LabelSource,
    /// Pairs of responses to sample and label.
    pub pairs: usize,
    /// Share of the labelled pairs kept back to measure accuracy and calibration.
    pub heldout_fraction: f64,
    /// Passes over the labels.
    pub epochs: usize,
    /// Pairs in a step.
    pub batch_size: usize,
    /// The order in which pairs are learned.
    #[serde(skip_serializing_if = "is_default")]
    pub order: PairOrder,
    /// How much a pair counts.
    #[serde(skip_serializing_if = "is_default")]
    pub weighting: PairWeighting,
    /// Compute a pair's prompt once for both responses: the same numbers but for the order of sums, in less
    /// time.
    #[serde(skip_serializing_if = "is_default")]
    pub share_prompts: bool,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// What is minimised beside the labels' cross-entropy.
    #[serde(skip_serializing_if = "is_default")]
    pub objective: RewardObjective,
    /// When it is enough; all epochs where this section is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
    /// Whether it is held against the labeler while the policy moves away; not without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<StalenessConfig>,
}

/// How often the reward model is held against the labeler on what the policy writes (paper section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StalenessConfig {
    /// Steps between measurements; the start and the last step are measured too.
    pub every: usize,
    /// Pairs of responses to held-out prompts that the labeler compares, each time.
    pub pairs: usize,
}

impl Default for StalenessConfig {
    fn default() -> Self {
        Self { every: 20, pairs: 64 }
    }
}

impl Default for RewardModelConfig {
    fn default() -> Self {
        Self {
            labels: LabelSource::default(),
            pairs: 1024,
            heldout_fraction: 0.1,
            epochs: 2,
            batch_size: 32,
            order: PairOrder::default(),
            weighting: PairWeighting::default(),
            // Jobs of before would make other bits.
            share_prompts: false,
            optimizer: OptimizerConfig::default(),
            objective: RewardObjective::default(),
            plateau: None,
            staleness: None,
        }
    }
}

/// Where rewards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The reward model trained on the labels (paper section 3).
    Model,
    /// The labeler's rating itself: d-RLAIF (paper section 4).
    Labeler,
    /// The share of match-ups against the group's other responses that the labeler gives it.
    Pairwise,
    /// None: the policy learns from the preferences of a file.
    Preferences,
    /// A weighted sum of the parts in `[[rl.mixture]]`.
    Mixture,
}

impl RewardSource {
    /// As job files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Labeler => "labeler",
            Self::Pairwise => "pairwise",
            Self::Preferences => "preferences",
            Self::Mixture => "mixture",
        }
    }
}

/// Reinforcement learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RlConfig {
    /// Where rewards come from.
    pub reward: RewardSource,
    /// The parts of `reward = "mixture"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixture: Vec<RewardPart>,
    /// What learns from them; its settings are the table of the same name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: AlgorithmKind,
    /// Optimisation steps.
    pub steps: usize,
    /// Responses in a step, those of all groups together; pairs, where the policy learns from given
    /// preferences.
    pub batch_size: usize,
    /// Responses to each of a step's prompts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub group_size: usize,
    /// Tokens in memory at once while training, in every trainer.
    #[serde(default = "default_micro_batch_tokens")]
    pub micro_batch_tokens: usize,
    /// Keep only what goes into each layer while training, in every trainer, and compute the rest again for its
    /// gradients: the same bits in less memory and more time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between saved training states.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: usize,
    /// Mean divergence from the start per token, in nats, at which the run stops.
    #[serde(default = "default_max_kl", skip_serializing_if = "is_default_max_kl")]
    pub max_kl_per_token: f64,
    /// Keep an exponential moving average of the policy's weights with this decay, 0.99 for example; it is what
    /// is evaluated and saved in the end, while rollouts are drawn with the policy itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// What is made of rewards before they are learned from.
    #[serde(default, skip_serializing_if = "RewardShaping::is_plain")]
    pub shaping: RewardShaping,
    /// Which of the policy's versions the job leaves; the last without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionConfig>,
    /// Moves `beta` towards a target; it is fixed without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_kl: Option<AdaptiveKl>,
    /// Settings of `algorithm = "reinforce"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinforce: Option<ReinforceConfig>,
    /// Settings of `algorithm = "rloo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rloo: Option<RlooConfig>,
    /// Settings of `algorithm = "grpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpo: Option<GrpoConfig>,
    /// Settings of `algorithm = "ppo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppo: Option<PpoConfig>,
    /// Settings of `algorithm = "online_dpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_dpo: Option<OnlineDpoConfig>,
    /// Settings of `algorithm = "dpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpo: Option<DpoConfig>,
}

/// The choice among a policy's versions, by the paper's rule (section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// Steps between versions that are validated by the reward that trains; the last is, too.
    pub every: usize,
    /// Versions with the highest validation reward that the evaluation's judge compares with the start.
    pub candidates: usize,
    /// Held-out prompts that the choice goes by; evaluation uses the others.
    pub prompts: usize,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        // Four as in the paper.
        Self { every: 20, candidates: 4, prompts: 64 }
    }
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_max_kl() -> f64 {
    PolicyLearning::MAX_KL_PER_TOKEN
}

fn is_default_max_kl(limit: &f64) -> bool {
    *limit == default_max_kl()
}

impl RlConfig {
    fn selection_problems(&self, selection: &SelectionConfig) -> Problems {
        let mut problems = Problems::default();
        let SelectionConfig { every, candidates, prompts } = *selection;
        for (field, count) in [("every", every), ("candidates", candidates), ("prompts", prompts)] {
            problems.check_positive(field, count);
        }
        problems.check(self.steps > 0, "", "chooses among versions, and rl.steps = 0 makes none");
        let what =
            "goes by the reward that trains the policy; rl.reward = \"preferences\" has none";
        problems.check(self.reward != RewardSource::Preferences, "", what);
        let what = "goes by the reward that trains the policy; a share of match-ups within a group is 0.5 on \
            average, whatever the policy";
        problems.check(!self.rewards_by(PartSource::Pairwise), "", what);
        problems
    }

    /// What the reward is the sum of; nothing where the policy learns from given preferences.
    pub fn reward_parts(&self) -> Vec<RewardPart> {
        mixture::parts_of(self.reward, &self.mixture)
    }

    /// Whether one of them is given by `source`.
    pub fn rewards_by(&self, source: PartSource) -> bool {
        self.reward_parts().iter().any(|part| part.source == source)
    }

    /// The algorithm with its settings.
    pub fn algorithm(&self) -> Algorithm {
        fn of<T: Clone + Default>(table: Option<&T>) -> T {
            table.cloned().unwrap_or_default()
        }
        match self.algorithm {
            AlgorithmKind::Reinforce => Algorithm::Reinforce(of(self.reinforce.as_ref())),
            AlgorithmKind::Rloo => Algorithm::Rloo(of(self.rloo.as_ref())),
            AlgorithmKind::Grpo => Algorithm::Grpo(of(self.grpo.as_ref())),
            AlgorithmKind::Ppo => Algorithm::Ppo(of(self.ppo.as_ref())),
            AlgorithmKind::OnlineDpo => Algorithm::OnlineDpo(of(self.online_dpo.as_ref())),
            AlgorithmKind::Dpo => Algorithm::Dpo(of(self.dpo.as_ref())),
        }
    }

    /// Fills in the chosen algorithm's table.
    fn resolve(&mut self, temperature: f32) {
        match self.algorithm {
            AlgorithmKind::Reinforce => {
                self.reinforce.get_or_insert_default().temperature = temperature;
            }
            AlgorithmKind::Rloo => _ = self.rloo.get_or_insert_default(),
            AlgorithmKind::Grpo => _ = self.grpo.get_or_insert_default(),
            AlgorithmKind::Ppo => _ = self.ppo.get_or_insert_default(),
            AlgorithmKind::OnlineDpo => _ = self.online_dpo.get_or_insert_default(),
            AlgorithmKind::Dpo => _ = self.dpo.get_or_insert_default(),
        }
    }

    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (field, count) in [
            ("batch_size", self.batch_size),
            ("group_size", self.group_size),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            problems.check_positive(field, count);
        }
        let kind = self.algorithm;
        if self.group_size > 0 {
            let what = format!(
                "counts responses and must be a multiple of rl.group_size = {}, not {}",
                self.group_size, self.batch_size
            );
            let whole = self.batch_size.is_multiple_of(self.group_size);
            problems.check(whole, "batch_size", what);
            let what = format!(
                "must be at least 2 with rl.algorithm = \"{kind}\", which compares a prompt's responses"
            );
            problems.check(self.group_size > 1 || !kind.needs_groups(), "group_size", what);
        }
        problems.0.extend(mixture::problems(self.reward, &self.mixture).0);
        let limit = self.max_kl_per_token;
        let what = format!("must be positive, not {limit}");
        problems.check(limit > 0.0, "max_kl_per_token", what);
        if let Some(decay) = self.ema_decay {
            let what = format!("must be between 0 and 1, not {decay}");
            problems.check(decay > 0.0 && decay < 1.0, "ema_decay", what);
        }
        problems.section("shaping", self.shaping.problems());
        if let Some(selection) = &self.selection {
            problems.section("selection", self.selection_problems(selection));
        }
        if let Some(adaptive) = &self.adaptive_kl {
            problems.section("adaptive_kl", adaptive.problems());
            let what =
                format!("moves the beta of a divergence; rl.algorithm = \"{kind}\" has none");
            problems.check(self.algorithm().kl().is_some(), "adaptive_kl", what);
        }
        problems.section(kind.as_str(), self.algorithm().problems());
        let tables = [
            (AlgorithmKind::Reinforce, self.reinforce.is_some()),
            (AlgorithmKind::Rloo, self.rloo.is_some()),
            (AlgorithmKind::Grpo, self.grpo.is_some()),
            (AlgorithmKind::Ppo, self.ppo.is_some()),
            (AlgorithmKind::OnlineDpo, self.online_dpo.is_some()),
            (AlgorithmKind::Dpo, self.dpo.is_some()),
        ];
        for (table, given) in tables {
            let what = format!(
                "is the table of another algorithm than rl.algorithm = \"{kind}\"; remove it, or \
                 choose that algorithm"
            );
            problems.check(!given || table == kind, table.as_str(), what);
        }
        problems
    }
}

fn default_micro_batch_tokens() -> usize {
    2048
}

fn default_checkpoint_every() -> usize {
    10
}

/// The comparison of the trained policy with its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Templates that judge it; the labeler's where empty. The first makes the headline.
    pub templates: Vec<String>,
    /// Responses to each held-out prompt.
    pub samples_per_prompt: usize,
    /// Strip trailing junk symbols from both sides before judging (paper section 3).
    pub strip_trailing_junk: bool,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self { templates: Vec::new(), samples_per_prompt: 1, strip_trailing_junk: true }
    }
}

impl Job {
    /// Reads a job file, makes its paths absolute and checks it.
    ///
    /// # Errors
    /// When it cannot be read, or says something senseless.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let bad = |what: String| Error::Job { path: path.to_owned(), what };
        let mut job: Self = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let file = std::path::absolute(path).map_err(Error::io(path))?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        for file in [&mut job.data.prompts, &mut job.data.heldout_prompts] {
            *file = folder.join(&file);
        }
        let optional = [&mut job.data.demonstrations, &mut job.data.preferences];
        for file in optional.into_iter().flatten() {
            *file = folder.join(&file);
        }
        let parts = job.rl.mixture.iter_mut().filter_map(|part| part.template.as_mut());
        let templates = job.evaluate.templates.iter_mut().chain([&mut job.labeler.template]);
        let templates = templates.chain(parts);
        for template in templates.filter(|name| name.ends_with(".toml")) {
            *template = folder.join(&template).to_string_lossy().into_owned();
        }
        job.fill_in();
        let problems = job.problems();
        if problems.is_empty() { Ok(job) } else { Err(bad(problems.to_string())) }
    }

    /// Defaults that follow from other settings.
    fn fill_in(&mut self) {
        if self.evaluate.templates.is_empty() {
            self.evaluate.templates = vec![self.labeler.template.clone()];
        }
        self.rl.resolve(self.sampling.temperature);
    }

    /// Reads a job that [`Job::to_toml`] wrote.
    ///
    /// # Errors
    /// When it cannot be read, or says something senseless.
    pub fn parse(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let bad =
            |problems: Problems| Error::Job { path: path.to_owned(), what: problems.to_string() };
        Self::from_toml(&text).map_err(bad)
    }

    /// Reads what [`Job::to_toml`] made, or a job file as it was written; names of files stay as they are.
    ///
    /// # Errors
    /// All that is senseless, by the path of the setting; one without a path where it is not a job
    /// at all.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        let mut job: Self =
            toml::from_str(text).map_err(|e| Problems(vec![Problem::new("", e.to_string())]))?;
        job.fill_in();
        let problems = job.problems();
        if problems.is_empty() { Ok(job) } else { Err(problems) }
    }

    /// The job as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a job has string keys and plain values")
    }

    /// All that is senseless.
    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (field, count) in [
            ("chunk_size", self.chunk_size),
            ("sampling.max_new_tokens", self.sampling.max_new_tokens),
            ("evaluate.samples_per_prompt", self.evaluate.samples_per_prompt),
        ] {
            problems.check_positive(field, count);
        }
        let priced = self.labeler.max_cost.is_none() || self.labeler.price.is_some();
        problems.check(priced, "labeler.max_cost", "needs labeler.price, to count by");
        let stops = !self.sampling.stop.iter().any(String::is_empty);
        let what = "holds an empty text, which would stop every response at once";
        problems.check(stops, "sampling.stop", what);
        problems.section("rl", self.rl.problems());
        if let Some(lora) = &self.lora {
            problems.check_positive("lora.rank", lora.rank);
            problems.check_positive("lora.targets", lora.targets.len());
        }
        if let Some(sft) = &self.sft {
            problems.section("sft", sft.problems());
            let given = self.data.demonstrations.is_some() || sft.by == DemonstratedBy::Labeler;
            problems.check(given, "sft", "needs data.demonstrations, or by = \"labeler\"");
            let what = "= \"labeler\" needs a labeler.model whose weights are here: an endpoint is \
                asked for verdicts alone";
            let is_endpoint =
                Path::new(&self.labeler.model).extension().is_some_and(|e| e == "toml");
            let asked = sft.by == DemonstratedBy::Labeler;
            problems.check(!(asked && is_endpoint), "sft.by", what);
        }
        problems.0.extend(self.reward_problems().0);
        problems
    }

    /// How the reward source goes with the rest.
    fn reward_problems(&self) -> Problems {
        let mut problems = Problems::default();
        let (source, kind) = (self.rl.reward, self.rl.algorithm);
        match (&self.reward_model, self.rl.rewards_by(PartSource::Model)) {
            (Some(rm), true) => {
                problems.section("reward_model", rm.problems());
                let by_people = rm.labels != LabelSource::Ai;
                let what = "needs margins, which people give and labelers do not; leave it out";
                let none = rm.objective.margin == 0.0;
                problems.check(none || by_people, "reward_model.objective.margin", what);
                let what = format!("= \"{}\" needs data.preferences", rm.labels.as_str());
                let there = self.data.preferences.is_some();
                problems.check(there || !by_people, "reward_model.labels", what);
            }
            (None, true) => {
                let what = match source {
                    RewardSource::Mixture => {
                        "= \"mixture\" with a part of source \"model\" needs a [reward_model] section"
                    }
                    _ => "= \"model\" needs a [reward_model] section",
                };
                problems.check(false, "rl.reward", what);
            }
            (Some(_), false) => {
                let without = match source {
                    RewardSource::Mixture => " without a part of source \"model\"",
                    _ => "",
                };
                let what = format!(
                    "= \"{}\"{without} trains no [reward_model]; remove that section",
                    source.as_str()
                );
                problems.check(false, "rl.reward", what);
            }
            (None, false) => {}
        }
        let offline = kind == AlgorithmKind::Dpo;
        let given = source == RewardSource::Preferences;
        let what = format!(
            "= \"{}\" does not go with rl.algorithm = \"{kind}\": \"dpo\" learns from \
             \"preferences\", everything else from rewards",
            source.as_str()
        );
        problems.check(offline == given, "rl.reward", what);
        if given {
            let there = self.data.preferences.is_some();
            problems.check(there, "rl.reward", "= \"preferences\" needs data.preferences");
            let alone = self.rl.group_size == 1;
            problems.check(alone, "rl.group_size", "must be 1 where nothing is drawn");
        }
        if self.rl.rewards_by(PartSource::Pairwise) {
            let groups = self.rl.group_size > 1;
            let what = "must be at least 2 with rewards that are \"pairwise\", which match a prompt's \
                responses against each other";
            problems.check(groups, "rl.group_size", what);
        }
        problems
    }

    /// How the policy learns.
    pub fn learning(&self) -> PolicyLearning {
        PolicyLearning {
            algorithm: self.rl.algorithm(),
            group_size: self.rl.group_size,
            // One temperature: the policy trained is the one sampled from.
            temperature: self.sampling.temperature,
            shaping: self.rl.shaping,
            adaptive_kl: self.rl.adaptive_kl,
            max_kl_per_token: self.rl.max_kl_per_token,
            ema_decay: self.rl.ema_decay,
        }
    }
}

impl SftConfig {
    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("batch_size", self.batch_size);
        problems.section("optimizer", self.optimizer.problems());
        problems
    }
}

impl RewardModelConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.check_positive("pairs", self.pairs);
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("batch_size", self.batch_size);
        let fraction = (0.0..1.0).contains(&self.heldout_fraction);
        problems.check(fraction, "heldout_fraction", "must be in [0, 1)");
        problems.section("optimizer", self.optimizer.problems());
        problems.section("objective", self.objective.problems());
        if let Some(plateau) = &self.plateau {
            problems.section("plateau", plateau.problems());
        }
        if let Some(staleness) = &self.staleness {
            problems.check_positive("staleness.every", staleness.every);
            problems.check_positive("staleness.pairs", staleness.pairs);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: &str = "name = 't'\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\n\
        template = 'sentiment/rubric'\n[data]\nprompts = 'p.jsonl'\nheldout_prompts = 'h.jsonl'\n\
        [rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 2\n";

    fn load(text: &str) -> Result<Job, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        Job::load(&path)
    }

    #[test]
    fn a_resolved_job_reads_back_as_itself() {
        let job = load(DIRECT).unwrap();
        assert!(job.data.prompts.is_absolute());
        assert_eq!(load(&job.to_toml()).unwrap(), job);
    }

    #[test]
    fn a_job_that_names_no_algorithm_is_written_as_it_always_was() {
        let text = load(DIRECT).unwrap().to_toml();
        let rl = text.split("[rl]").nth(1).unwrap().split("[evaluate]").next().unwrap();
        for new in [
            "gradient_checkpointing",
            "ema_decay",
            "algorithm",
            "group_size",
            "max_kl",
            "shaping",
            "adaptive",
            "grpo",
            "estimator",
            "selection",
        ] {
            assert!(!rl.contains(new), "{rl}");
        }
        assert!(rl.contains("[rl.reinforce]") && rl.contains("kl_placement"), "{rl}");
    }

    #[test]
    fn an_algorithm_is_chosen_by_its_name_and_has_the_table_of_that_name() {
        let text = DIRECT.replacen("batch_size = 2", "batch_size = 8\ngroup_size = 4", 1);
        let text = text + "algorithm = 'grpo'\nadaptive_kl.target = 6.0\n[rl.grpo]\nepochs = 2\n";
        let job = load(&text).unwrap();
        let Algorithm::Grpo(grpo) = job.learning().algorithm else { panic!("{:?}", job.rl) };
        assert_eq!((grpo.epochs, job.rl.group_size), (2, 4));
        assert_eq!(job.rl.reinforce, None, "another algorithm's table is not filled in");
        assert_eq!(load(&job.to_toml()).unwrap(), job);
    }

    #[test]
    fn what_a_reward_model_does_not_use_is_not_in_its_job() {
        let plain = toml::to_string(&RewardModelConfig::default()).unwrap();
        for field in
            ["labels", "objective", "order", "weighting", "plateau", "share_prompts", "staleness"]
        {
            assert!(!plain.contains(field), "jobs of before would have another hash: {plain}");
        }
        let used = "order = 'easy_first'\nweighting = 'sureness'\n[objective]\ncenter = 0.01\n\
            [plateau]\npatience = 2\n[staleness]\nevery = 5\n";
        let config: RewardModelConfig = toml::from_str(used).unwrap();
        assert_eq!((config.order, config.objective.center), (PairOrder::EasyFirst, 0.01));
        assert_eq!(config.plateau.unwrap().patience, 2);
        assert_eq!(config.staleness, Some(StalenessConfig { every: 5, pairs: 64 }));
        let again = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<RewardModelConfig>(&again).unwrap(), config);
    }

    /// A mixture with these parts.
    fn mixed(parts: &[&str]) -> String {
        let parts = parts.iter().map(|part| format!("[[rl.mixture]]\n{part}\n"));
        DIRECT.replace("'labeler'", "'mixture'") + &parts.collect::<String>()
    }

    const RATING: &str = "source = 'labeler'\ntemplate = 'sentiment/rating'\nweight = 0.25";

    #[test]
    fn a_mixture_reads_back_as_itself_and_calls_its_parts_by_name_template_or_source() {
        let rubric = "source = 'labeler'\nname = 'tone'\ntemplate = 'own.toml'\nweight = -1.0";
        let text = mixed(&["source = 'model'\nweight = 0.75", RATING, rubric]) + "[reward_model]\n";
        let job = load(&text).unwrap();
        let names: Vec<String> = job.rl.mixture.iter().map(RewardPart::metric).collect();
        let expected = ["model", "sentiment/rating", "tone"].map(|n| format!("rewards/{n}/mean"));
        assert_eq!(names, expected);
        assert!(Path::new(job.rl.mixture[2].template.as_deref().unwrap()).is_absolute());
        assert_eq!(load(&job.to_toml()).unwrap(), job);
        assert!(
            !load(DIRECT).unwrap().to_toml().contains("mixture"),
            "jobs of before keep their hash"
        );
    }

    #[test]
    fn a_senseless_mixture_is_refused_with_the_part_named() {
        let model = "source = 'model'\nweight = 1.0";
        let pairwise = "source = 'pairwise'\ntemplate = 'sentiment/compare'\nweight = 1.0";
        for (parts, complaint) in [
            (
                &[RATING, RATING][..],
                "rl.mixture[1].name \"sentiment/rating\" is that of another part",
            ),
            (&["source = 'labeler'\nweight = 1.0"], "rl.mixture[0].template is missing"),
            (
                &["source = 'model'\nweight = 0.0"],
                "rl.mixture[0].weight must be a number other than 0",
            ),
            (&["source = 'model'\nweight = nan"], "rl.mixture[0].weight must be"),
            (
                &["source = 'model'\ntemplate = 'x'\nweight = 1.0"],
                "rl.mixture[0].template is for parts",
            ),
            (&[model, RATING], "with a part of source \"model\" needs a [reward_model] section"),
            (&[model, "source = 'model'\nname = 'b'\nweight = 1.0"], "trains one reward model"),
            (&[RATING, pairwise], "rl.group_size must be at least 2"),
            (&["source = 'human'\nweight = 1.0"], "human"),
        ] {
            let error = load(&mixed(parts)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let text = format!("{}[reward_model]\n", mixed(&[RATING]));
        let error = load(&text).unwrap_err().to_string();
        assert!(
            error.contains("without a part of source \"model\" trains no [reward_model]"),
            "{error}"
        );
        let text = format!("{DIRECT}[[rl.mixture]]\n{RATING}\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("rl.mixture has parts of rl.reward = \"mixture\""), "{error}");
    }

    #[test]
    fn senseless_jobs_are_refused_with_the_setting_named() {
        for (from, to, complaint) in [
            ("steps", "stepz", "stepz"),
            ("'labeler'", "'model'", "[reward_model]"),
            ("batch_size = 2", "batch_size = 0", "rl.batch_size"),
            ("batch_size = 2", "batch_size = 2\n[rl.reinforce]\nbeta = 1.5", "beta"),
            (
                "batch_size = 2",
                "batch_size = 2\nalgorithm = 'grpo'",
                "rl.group_size must be at least 2",
            ),
            (
                "batch_size = 2",
                "batch_size = 6\ngroup_size = 4",
                "multiple of rl.group_size = 4, not 6",
            ),
            (
                "batch_size = 2",
                "batch_size = 2\ngroup_size = 0",
                "rl.group_size must be at least 1",
            ),
            (
                "batch_size = 2",
                "batch_size = 2\n[rl.ppo]\nclip = 0.3",
                "rl.ppo is the table of another",
            ),
            ("batch_size = 2", "batch_size = 2\nalgorithm = 'ppo'\nppo.clip = 1.5", "rl.ppo.clip"),
            ("batch_size = 2", "batch_size = 2\nalgorithm = 'sarsa'", "sarsa"),
            ("batch_size = 2", "batch_size = 2\nshaping.clip = -1.0", "rl.shaping.clip"),
            ("batch_size = 2", "batch_size = 2\nema_decay = 1.0", "rl.ema_decay must be between"),
            ("batch_size = 2", "batch_size = 2\nadaptive_kl.target = 0.0", "rl.adaptive_kl.target"),
            ("batch_size = 2", "batch_size = 2\nalgorithm = 'dpo'", "learns from \"preferences\""),
            ("'labeler'", "'preferences'", "learns from \"preferences\""),
            ("'labeler'", "'pairwise'", "rl.group_size must be at least 2"),
            ("'labeler'", "'mixture'", "rl.reward = \"mixture\" needs [[rl.mixture]] parts"),
            (
                "[rl]\nreward = 'labeler'",
                "[reward_model]\nlabels = 'human'\n[rl]\nreward = 'model'",
                "reward_model.labels = \"human\" needs data.preferences",
            ),
            (
                "[labeler]",
                "[labeler]\nmax_cost = 5",
                "labeler.max_cost needs labeler.price, to count by",
            ),
            ("[labeler]", "[labeler]\nprice = { input_per_1k = -1 }", "not negative"),
            (
                "[rl]\nreward = 'labeler'",
                "[reward_model.staleness]\nevery = 0\n[rl]\nreward = 'model'",
                "reward_model.staleness.every must be at least 1",
            ),
            (
                "batch_size = 2",
                "batch_size = 2\n[rl.selection]\ncandidates = 0",
                "rl.selection.candidates must be at least 1",
            ),
            (
                "'labeler'\nsteps = 1\nbatch_size = 2",
                "'pairwise'\nsteps = 0\nbatch_size = 2\ngroup_size = 2\n[rl.selection]",
                "rl.selection chooses among versions, and rl.steps = 0 makes none; rl.selection goes by",
            ),
            ("batch_size = 2", "batch_size = 2\n[sft]", "data.demonstrations"),
            (
                "labeler]\nmodel = 'm'",
                "sft]\nby = 'labeler'\n[labeler]\nmodel = 'gpt.toml'",
                "sft.by = \"labeler\" needs a labeler.model whose weights are here",
            ),
            ("batch_size = 2", "batch_size = 2\n[sampling]\nstop = ['']", "sampling.stop"),
        ] {
            let error = load(&DIRECT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn all_that_is_senseless_is_said_at_once() {
        let text = DIRECT.replacen("name = 't'", "name = 't'\nchunk_size = 0", 1)
            + "[rl.reinforce]\nbeta = 1.5\npolicy = { lr = -1.0 }\n[lora]\nrank = 0\n";
        let problems = Job::from_toml(&text).unwrap_err();
        let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        let expected = ["chunk_size", "rl.reinforce.beta", "rl.reinforce.policy.lr", "lora.rank"];
        assert_eq!(fields, expected);
    }
}
