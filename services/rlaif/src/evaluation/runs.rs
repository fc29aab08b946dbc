//! Models that a run trained or began with, and what else the run's folder says of them.

use crate::commands::reward::trained_on;
use anyhow::{Result, anyhow, bail};
use rlaif_job::{Job, Manifest, RunFolder, SamplingConfig, Submission};
use rlaif_types::{ContentHash, Prompt};
use std::path::{Path, PathBuf};

/// Stands before a run's folder where its starting point is meant.
const START: &str = "start-of:";

/// A model as the command line names it.
pub struct Named {
    /// A folder, a file, or a name of the hub.
    pub model: String,
    /// The run that trained it or began with it, where that is known.
    pub run: Option<Run>,
    /// The hash that it has to have, where the run says so.
    pub expected: Option<ContentHash>,
}

/// A run's folder.
pub struct Run(RunFolder);

/// How a run put prompts to its policy.
pub struct Asked {
    /// Through the model's chat template.
    pub chat: bool,
    /// Lengths and stops.
    pub sampling: SamplingConfig,
}

impl Named {
    /// A policy: a run's folder for what the run trained, `start-of:` and the folder for where it began, or
    /// any model.
    ///
    /// # Errors
    /// When a run has no such policy.
    pub fn policy(spec: &str) -> Result<Self> {
        match spec.strip_prefix(START) {
            Some(root) => Run::told(Path::new(root))?.start(),
            None => Self::made(spec, Manifest::POLICY),
        }
    }

    /// A reward model: a run's folder for the one that it trained, or any.
    ///
    /// # Errors
    /// When a run has none.
    pub fn reward(spec: &str) -> Result<Self> {
        Self::made(spec, Manifest::REWARD)
    }

    /// The models that a job's policy comes from: where it begins, its labeler, and what its reward model starts from.
    pub fn begun_with(job: &Job) -> Vec<Self> {
        let reward = job.reward_model.as_ref().and_then(|rm| rm.from.model());
        let models = [&job.policy.model, &job.labeler.model].into_iter().chain(reward);
        models.map(|model| Self::as_named(model)).collect()
    }

    /// The file that a reward model was trained on, where its folder names one.
    pub fn training_file(&self) -> Option<PathBuf> {
        trained_on(Path::new(&self.model))
    }

    /// Whether a run or its own folder says what it was trained on.
    pub fn says_its_training(&self) -> bool {
        self.run.is_some() || self.training_file().is_some()
    }

    fn made(spec: &str, checkpoint: &str) -> Result<Self> {
        let Some(run) = Run::at(Path::new(spec)) else { return Ok(Self::as_named(spec)) };
        let path = run.0.path(checkpoint);
        if !path.is_dir() {
            bail!("{spec} is a run without {checkpoint}: it is not finished, or makes none");
        }
        Ok(Self { model: path.to_string_lossy().into_owned(), run: Some(run), expected: None })
    }

    /// A model as it is named, with the run that it lies in.
    fn as_named(model: &str) -> Self {
        let run = Run::around(Path::new(model));
        Self { model: model.to_owned(), run, expected: None }
    }
}

impl Run {
    /// The run in this folder; none where it holds no run.
    pub fn at(root: &Path) -> Option<Self> {
        let folder = RunFolder::new(root);
        (!Submission::training_files(&folder).is_empty()).then_some(Self(folder))
    }

    /// The same of a folder that is said to be one.
    ///
    /// # Errors
    /// When it is none.
    pub fn told(root: &Path) -> Result<Self> {
        let what = || anyhow!("{} is no run folder: it has no data/prompts.jsonl", root.display());
        Self::at(root).ok_or_else(what)
    }

    /// The run that a model lies in; a mere name lies in none.
    fn around(model: &Path) -> Option<Self> {
        let model = model.exists().then_some(model)?;
        model.ancestors().skip(1).take(2).find_map(Self::at)
    }

    /// Its folder, whichever way leads there.
    pub fn place(&self) -> PathBuf {
        let root = self.0.root();
        root.canonicalize().unwrap_or_else(|_| root.to_owned())
    }

    /// The models that its policy comes from.
    ///
    /// # Errors
    /// When the job cannot be read.
    pub fn began_with(&self) -> Result<Vec<Named>> {
        Ok(self.job()?.map(|job| Named::begun_with(&job)).unwrap_or_default())
    }

    /// Prompts by which its policy is chosen among its versions.
    ///
    /// # Errors
    /// When the folder is damaged.
    pub fn selection_prompts(&self) -> Result<Vec<Prompt>> {
        let Some(job) = self.job()? else { return Ok(Vec::new()) };
        Ok(Submission::selection_prompts(&job, &self.0)?)
    }

    /// Files whose prompts it trains on.
    pub fn training_files(&self) -> Vec<PathBuf> {
        Submission::training_files(&self.0)
    }

    /// Hash of its labeler; none where it is not finished.
    ///
    /// # Errors
    /// When the folder is damaged.
    pub fn labeler(&self) -> Result<Option<ContentHash>> {
        Ok(self.manifest()?.map(|manifest| manifest.labeler_hash))
    }

    /// How it put prompts to its policy; none where the folder holds no job.
    ///
    /// # Errors
    /// When the job cannot be read.
    pub fn asked(&self) -> Result<Option<Asked>> {
        let of = |job: Job| Asked { chat: job.policy.chat, sampling: job.sampling };
        Ok(self.job()?.map(of))
    }

    /// Where policy learning began: the fine-tuned model where the job fine-tunes first, else the job's own.
    fn start(self) -> Result<Named> {
        let job = self.job()?.ok_or_else(|| {
            anyhow!(
                "{} does not exist: nothing says where the run began",
                self.0.path("job.toml").display()
            )
        })?;
        if job.sft.is_some() {
            let path = self.0.path(Manifest::SFT);
            if !path.is_dir() {
                bail!("{} is not there: the run is not that far", path.display());
            }
            let model = path.to_string_lossy().into_owned();
            return Ok(Named { model, run: Some(self), expected: None });
        }
        let expected = self.manifest()?.map(|manifest| manifest.policy_hash);
        Ok(Named { model: job.policy.model, run: Some(self), expected })
    }

    fn job(&self) -> Result<Option<Job>> {
        let path = self.0.path("job.toml");
        Ok(path.is_file().then(|| Job::parse(&path)).transpose()?)
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        let is_there = self.0.path("manifest.json").is_file();
        Ok(is_there.then(|| Manifest::read(&self.0)).transpose()?)
    }
}
