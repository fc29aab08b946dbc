//! The job file: everything a run depends on.
//!
//! A [`Job`] is the whole file: it is read, its defaults are filled in, and all that is senseless is said at once.
//! Large sections check themselves; small ones, and how sections go with each other, are checked here.

mod data;
mod differences;
mod evaluate;
mod models;
mod reward_model;
mod rl;
mod sft;

use crate::mixture::PartSource;
use crate::{Asked, Error};
pub use data::{DataConfig, SamplingConfig};
pub use evaluate::{EvaluateConfig, SelectionConfig};
pub use models::{JudgeConfig, LabelerConfig, PolicyConfig};
pub use reward_model::{RewardModelConfig, RewardStart, StalenessConfig};
pub use rl::{RewardSource, RlConfig};
use rlaif_types::{
    AlgorithmKind, LabelSource, LoraConfig, PolicyLearning, Precision, Problem, Problems,
};
use serde::{Deserialize, Serialize};
pub use sft::{DemonstratedBy, SftConfig};
use std::iter;
use std::path::Path;

/// A job, with every default filled in: settings that stand before all tables of its file, and the tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Name for people; it begins the name of the run's folder.
    pub name: String,
    /// Seed of everything drawn: the same seed, the same run.
    #[serde(default)]
    pub seed: u64,
    /// Where models run: `cpu` or `cuda:N`.
    #[serde(default = "cpu")]
    pub device: String,
    /// What they compute in: `f32`, or on a GPU `bf16`. Like the device of one process; a cluster's workers have
    /// their own.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Items computed together and made durable together: what one worker takes at once.
    #[serde(default = "default_chunk_size")]
    pub chunk_size: usize,
    /// The model to align.
    pub policy: PolicyConfig,
    /// The model that the policy learns from.
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

/// Whether a setting is left out of a job that is written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        for template in job.template_names_mut().filter(|name| name.ends_with(".toml")) {
            *template = folder.join(&template).to_string_lossy().into_owned();
        }
        job.fill_in();
        let problems = job.problems();
        if problems.is_empty() { Ok(job) } else { Err(bad(problems.to_string())) }
    }

    /// The names of all templates: of the labeler, of the evaluation, of a mixture's parts.
    pub(crate) fn template_names_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let parts = self.rl.mixture.iter_mut().filter_map(|part| part.template.as_mut());
        iter::once(&mut self.labeler.template).chain(&mut self.evaluate.templates).chain(parts)
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
        let temperature = self.sampling.temperature;
        let drawn = self.rl.algorithm != AlgorithmKind::Dpo;
        // Draws that are all alike teach nothing; where none are learned from, they only have to be made.
        let sensible = temperature > 0.0 || (temperature == 0.0 && !drawn);
        let what = match drawn {
            true => format!("must be positive, not {temperature}"),
            false => format!("must be 0 or positive, not {temperature}"),
        };
        problems.check(sensible && temperature.is_finite(), "sampling.temperature", what);
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
        if let Some(judge) = &self.evaluate.judge {
            problems.section("evaluate.judge", judge.problems(&self.labeler));
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
                let what = "must be at least 1 where no data.preferences are given";
                problems.check(there || rm.pairs > 0, "reward_model.pairs", what);
                let given = there || rm.weight_field.is_none();
                let what = "is a field of data.preferences, of which there are none";
                problems.check(given, "reward_model.weight_field", what);
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

    /// All models that it names, which have to be where its workers are.
    pub fn models(&self) -> impl Iterator<Item = &String> {
        let judge = self.evaluate.judge.iter().map(|judge| &judge.model);
        let reward = self.reward_model.iter().filter_map(|rm| rm.from.model());
        [&self.policy.model, &self.labeler.model].into_iter().chain(judge).chain(reward)
    }

    /// Whom it asks to judge its result.
    pub fn judged_by(&self) -> Asked {
        self.evaluate.judge.as_ref().map_or(Asked::Labeler, |_| Asked::Judge)
    }

    /// Whether it names nobody else to judge than whom the policy learns from.
    pub fn is_judged_by_its_teacher(&self) -> bool {
        self.judged_by() == Asked::Labeler && self.learns_from_its_labeler()
    }

    /// Whether the labeler is whom the policy learns from: by its answers, its labels, or its ratings and verdicts.
    /// Without a step nothing is learned from the latter.
    pub(crate) fn learns_from_its_labeler(&self) -> bool {
        let answers = self.sft.as_ref().is_some_and(|sft| sft.by == DemonstratedBy::Labeler);
        let labels = self.reward_model.as_ref().is_some_and(RewardModelConfig::samples_pairs);
        let mut rewards = [PartSource::Labeler, PartSource::Pairwise].into_iter();
        let judges = labels || rewards.any(|source| self.rl.rewards_by(source));
        answers || (judges && self.rl.steps > 0)
    }

    /// Whether a stage learns from `data.demonstrations`.
    pub(crate) fn learns_demonstrations(&self) -> bool {
        self.sft.as_ref().is_some_and(|sft| sft.by == DemonstratedBy::Data)
    }

    /// Whose labels of `data.preferences` a stage learns from, by the setting that says so; none where no stage
    /// reads them.
    pub(crate) fn given_labels(&self) -> Option<(&'static str, LabelSource)> {
        match self.rl.reward {
            RewardSource::Preferences => Some(("rl.labels", self.rl.given_labels())),
            _ => self.reward_model.as_ref().map(|rm| ("reward_model.labels", rm.labels)),
        }
    }

    /// How the policy learns.
    pub fn learning(&self) -> PolicyLearning {
        PolicyLearning {
            algorithm: self.rl.algorithm(),
            group_size: self.rl.group_size,
            // The policy trained is the one sampled from; where nothing is sampled, it is the model as it is.
            temperature: match self.rl.algorithm {
                AlgorithmKind::Dpo => 1.0,
                _ => self.sampling.temperature,
            },
            shaping: self.rl.shaping,
            adaptive_kl: self.rl.adaptive_kl,
            max_kl_per_token: self.rl.max_kl_per_token,
            ema_decay: self.rl.ema_decay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rewards straight from the labeler, everything else by default.
    pub(super) const DIRECT: &str = "name = 't'\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\n\
        template = 'sentiment/rubric'\n[data]\nprompts = 'p.jsonl'\nheldout_prompts = 'h.jsonl'\n\
        [rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 2\n";

    /// The job of a file with this text.
    pub(super) fn load(text: &str) -> Result<Job, Error> {
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
    fn given_preferences_are_learned_at_temperature_1_whatever_answers_are_drawn_at() {
        let given = DIRECT
            .replace("'labeler'\n", "'preferences'\nalgorithm = 'dpo'\n")
            .replace("prompts = 'p.jsonl'", "prompts = 'p.jsonl'\npreferences = 'f.jsonl'");
        for temperature in ["0.0", "0.5"] {
            let text = format!("{given}[sampling]\ntemperature = {temperature}\n");
            assert_eq!(load(&text).unwrap().learning().temperature, 1.0);
        }
        let error = load(&format!("{given}[sampling]\ntemperature = inf\n")).unwrap_err();
        let complaint = "sampling.temperature must be 0 or positive, not inf";
        assert!(error.to_string().contains(complaint), "{error}");
        let drawn = format!("{DIRECT}[sampling]\ntemperature = 0.5\n");
        assert_eq!(load(&drawn).unwrap().learning().temperature, 0.5);
    }

    /// [`DIRECT`] with other settings, `; ` between them: each has its whole key, and replaces what that was set to.
    fn direct_with(settings: &str) -> String {
        fn key(line: &str) -> Option<&str> {
            line.split(' ').next()
        }
        let mut lines = vec![
            "name = 't'",
            "policy.model = 'm'",
            "labeler.model = 'm'",
            "labeler.template = 'sentiment/rubric'",
            "data.prompts = 'p.jsonl'",
            "data.heldout_prompts = 'h.jsonl'",
            "rl.reward = 'labeler'",
            "rl.steps = 1",
            "rl.batch_size = 2",
        ];
        for setting in settings.split("; ") {
            lines.retain(|line| key(line) != key(setting));
            lines.push(setting);
        }
        lines.join("\n")
    }

    /// Settings, and words of what is said of them.
    const SENSELESS: &str = r#"
        rl.stepz = 1                                       => stepz
        rl.batch_size = 0                                  => rl.batch_size
        rl.reinforce.beta = 1.5                            => beta
        rl.ppo.clip = 0.3                                  => rl.ppo is the table of another
        rl.algorithm = 'ppo'; rl.ppo.clip = 1.5            => rl.ppo.clip
        rl.algorithm = 'sarsa'                             => sarsa
        rl.algorithm = 'dpo'                               => learns from "preferences"
        rl.algorithm = 'grpo'                              => rl.group_size must be at least 2
        rl.group_size = 0                                  => rl.group_size must be at least 1
        rl.group_size = 4; rl.batch_size = 6               => multiple of rl.group_size = 4, not 6
        rl.shaping.clip = -1.0                             => rl.shaping.clip
        rl.ema_decay = 1.0                                 => rl.ema_decay must be between
        rl.adaptive_kl.target = 0.0                        => rl.adaptive_kl.target
        rl.adaptive_kl.target = 6.0; rl.reinforce.beta = 0.0 => rl.reinforce.beta = 0 is what rl.adaptive_kl multiplies
        rl.reward = 'model'                                => [reward_model]
        rl.reward = 'preferences'                          => learns from "preferences"
        rl.reward = 'pairwise'                             => rl.group_size must be at least 2
        rl.reward = 'mixture'                              => rl.reward = "mixture" needs [[rl.mixture]] parts
        rl.reward = 'model'; reward_model.labels = 'human' => reward_model.labels = "human" needs data.preferences
        rl.reward = 'model'; reward_model.pairs = 0        => must be at least 1 where no data.preferences are given
        rl.reward = 'model'; reward_model.weight_field = 'w' => reward_model.weight_field is a field of data.preferences
        rl.reward = 'model'; reward_model.weight_field = 'w'; reward_model.weighting = 'sureness' => leave one out
        rl.reward = 'model'; reward_model.staleness.every = 0 => reward_model.staleness.every must be at least 1
        rl.labels = 'human'                                => rl.labels goes with rl.reward = "preferences" alone
        rl.selection.candidates = 0                        => rl.selection.candidates must be at least 1
        rl.selection.every = 1; rl.steps = 0               => rl.selection chooses among versions
        rl.selection.every = 1; rl.reward = 'pairwise'; rl.group_size = 2 => rl.selection goes by
        labeler.max_cost = 5                               => labeler.max_cost needs labeler.price, to count by
        labeler.price = { input_per_1k = -1 }              => not negative
        evaluate.judge.model = 'm'                         => evaluate.judge.model is labeler.model, which judges without
        evaluate.judge.model = ''                          => evaluate.judge.model must name a model
        evaluate.judge = {}                                => missing field `model`
        evaluate.judge = { model = 'j', price = { input_per_1m = 1 } } => evaluate.judge.price goes with labeler.price
        labeler.price = { input_per_1m = 1 }; evaluate.judge.model = 'j' => evaluate.judge.price goes with labeler.price
        sft.epochs = 1                                     => data.demonstrations
        sft.by = 'labeler'; labeler.model = 'gpt.toml'     => sft.by = "labeler" needs a labeler.model
        sampling.stop = ['']                               => sampling.stop
        sampling.temperature = nan                         => sampling.temperature must be positive, not NaN
        sampling.temperature = -1.0; rl.algorithm = 'ppo'  => sampling.temperature must be positive, not -1
        sampling.temperature = 0.0; rl.algorithm = 'grpo'; rl.group_size = 2 => temperature must be positive, not 0
    "#;

    #[test]
    fn senseless_jobs_are_refused_with_the_setting_named() {
        let unchanged = Job::from_toml(&direct_with("rl.steps = 1")).unwrap();
        assert_eq!(unchanged, Job::from_toml(DIRECT).unwrap());
        for row in SENSELESS.trim().lines() {
            let (settings, words) = row.split_once("=>").unwrap();
            let error = load(&direct_with(settings.trim())).unwrap_err().to_string();
            assert!(error.contains(words.trim()), "{settings}: {error}");
        }
    }

    #[test]
    fn a_labeler_that_only_judges_is_no_teacher() {
        let model = |labels: &str, data: &str| {
            format!("{data}[reward_model]\nlabels = '{labels}'\n[rl]\nreward = 'model'")
        };
        let given = "preferences = 'f.jsonl'\n";
        let dpo = format!("{given}[rl]\nreward = 'preferences'\nalgorithm = 'dpo'");
        for (learns, teaches) in [
            ("[rl]\nreward = 'labeler'".to_owned(), true),
            (model("ai", ""), true),
            (model("mixed", given), true),
            (model("human", given), false),
            (dpo, false),
        ] {
            let mut job = load(&DIRECT.replacen("[rl]\nreward = 'labeler'", &learns, 1)).unwrap();
            assert_eq!(job.is_judged_by_its_teacher(), teaches, "{learns}");
            job.rl.steps = 0;
            assert!(!job.is_judged_by_its_teacher(), "{learns}: no step learns from it");
        }
    }

    #[test]
    fn who_names_another_judge_is_not_judged_by_the_teacher() {
        let judge = "[evaluate.judge]\nmodel = 'j'\n";
        let job = load(&format!("{DIRECT}{judge}")).unwrap();
        assert_eq!(job.judged_by(), Asked::Judge);
        assert!(job.learns_from_its_labeler() && !job.is_judged_by_its_teacher());
        assert_eq!(load(&job.to_toml()).unwrap(), job);
        let before = load(DIRECT).unwrap().to_toml();
        assert!(!before.contains("judge"), "jobs of before would have another hash: {before}");
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
