//! What the arms were trained on and by whom: prompts to keep out of an evaluation, and labelers that
//! should not judge it.

use anyhow::{Context, Result, bail};
use rlaif_data::{PromptSet, Reader};
use rlaif_job::{Manifest, RunFolder, Submission};
use rlaif_types::{ContentHash, Prompt};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Characters of a prompt in a message.
const SHOWN: usize = 120;

/// What is known of the arms' training.
#[derive(Debug, Default)]
pub struct Training {
    /// Files whose prompts were trained on.
    files: BTreeSet<PathBuf>,
    /// Labelers by name.
    labelers: Vec<String>,
    /// Labelers of run folders.
    hashes: BTreeSet<ContentHash>,
}

impl Training {
    /// What the options `--training-prompts` and `--trained-by` say: files and names, or run folders.
    ///
    /// # Errors
    /// When a run folder is damaged.
    pub fn told(prompts: &[PathBuf], by: &[String]) -> Result<Self> {
        let mut training = Self::default();
        for path in prompts {
            match path.is_dir() {
                true => training.run(path)?,
                false => drop(training.files.insert(path.clone())),
            }
        }
        for name in by {
            match Path::new(name).is_dir() && is_run(Path::new(name)) {
                true => training.run(Path::new(name))?,
                false => training.labelers.push(name.clone()),
            }
        }
        Ok(training)
    }

    /// Takes in the run that a model lies in, if it lies in one.
    ///
    /// # Errors
    /// When that run is damaged.
    pub fn of_model(&mut self, model: &str) -> Result<()> {
        let model = Path::new(model);
        match model.ancestors().skip(1).take(2).find(|folder| is_run(folder)) {
            Some(run) => self.run(run),
            None => Ok(()),
        }
    }

    fn run(&mut self, path: &Path) -> Result<()> {
        let folder = RunFolder::new(path);
        let files = Submission::training_files(&folder);
        if files.is_empty() {
            bail!("{} is no run folder: it has no data/prompts.jsonl", path.display());
        }
        self.files.extend(files);
        // A run that is not finished has none yet.
        if folder.path("manifest.json").exists() {
            self.hashes.insert(Manifest::read(&folder)?.labeler_hash);
        }
        Ok(())
    }

    /// Whether any prompts that were trained on are known.
    pub fn is_known(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether the labeler of this name or hash labelled what an arm was trained on.
    pub fn is_by(&self, names: [&str; 2], hash: &ContentHash) -> bool {
        self.hashes.contains(hash)
            || names.iter().any(|name| self.labelers.iter().any(|l| l == name))
    }

    /// Checks that no prompt was trained on.
    ///
    /// # Errors
    /// When one was, or a file cannot be read.
    pub fn check(&self, prompts: &[Prompt]) -> Result<()> {
        for file in &self.files {
            let known = PromptSet::read(Reader::open(file)?)
                .with_context(|| format!("training prompts of {}", file.display()))?;
            let leaked: Vec<&Prompt> = prompts.iter().filter(|p| known.contains(p)).collect();
            if let Some(first) = leaked.first() {
                let shown: String = first.as_context().chars().take(SHOWN).collect();
                bail!(
                    "{} of {} evaluation prompts are among the training prompts of {}, the first of \
                     them {shown:?}; take them out by `rlaif data convert --not-in {}`",
                    leaked.len(),
                    prompts.len(),
                    file.display(),
                    file.display()
                );
            }
        }
        Ok(())
    }
}

fn is_run(folder: &Path) -> bool {
    !Submission::training_files(&RunFolder::new(folder)).is_empty()
}
