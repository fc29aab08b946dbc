//! What the arms were trained on and by whom: prompts to keep out of an evaluation, and labelers that
//! should not judge it.

use super::runs::{Named, Run};
use anyhow::{Context, Result, bail};
use rlaif_data::{PromptSet, Reader};
use rlaif_types::{ContentHash, Prompt};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Characters of a prompt in a message.
const SHOWN: usize = 120;

/// What is known of the arms' training.
#[derive(Debug, Default)]
pub struct Training {
    /// Files whose prompts were trained on.
    files: BTreeSet<PathBuf>,
    /// Such files that are not where they were.
    missing: BTreeSet<PathBuf>,
    /// Prompts by which the policy of a run was chosen among its versions, by the run's folder.
    chosen_by: BTreeMap<PathBuf, PromptSet>,
    /// Labelers by name.
    labelers: Vec<String>,
    /// Labelers of run folders.
    hashes: BTreeSet<ContentHash>,
    /// Folders of runs that were taken in.
    runs: BTreeSet<PathBuf>,
    /// Whether the options name prompts that were trained on; by which arm, they do not say.
    is_told: bool,
    /// Arms with a model that does not say what it was trained on.
    silent: Vec<String>,
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
                true => training.of_run(&Run::told(path)?)?,
                false => drop(training.files.insert(path.clone())),
            }
        }
        for name in by {
            match Run::at(Path::new(name)) {
                Some(run) => training.of_run(&run)?,
                None => training.labelers.push(name.clone()),
            }
        }
        training.is_told = !training.files.is_empty();
        Ok(training)
    }

    /// What these models were trained on, as far as their folders say.
    ///
    /// # Errors
    /// When the folder of a run is damaged.
    pub fn of_models(models: &[Named]) -> Result<Self> {
        let mut training = Self::default();
        models.iter().try_for_each(|model| training.of_model(model))?;
        Ok(training)
    }

    /// Takes in what the models behind an arm were trained on, as far as their folders say; texts have none.
    ///
    /// # Errors
    /// When the folder of a run is damaged.
    pub fn of_arm(&mut self, arm: &str, models: &[Named]) -> Result<()> {
        if !models.iter().all(Named::says_its_training) {
            self.silent.push(arm.to_owned());
        }
        models.iter().try_for_each(|model| self.of_model(model))
    }

    fn of_model(&mut self, model: &Named) -> Result<()> {
        if let Some(file) = model.training_file() {
            let known = if file.is_file() { &mut self.files } else { &mut self.missing };
            known.insert(file);
        }
        model.run.as_ref().map_or(Ok(()), |run| self.of_run(run))
    }

    /// Takes in what a run trained on, and who labelled it; also of the runs that its policy, its labeler and its reward
    /// model come from.
    ///
    /// # Errors
    /// When a run's folder is damaged.
    fn of_run(&mut self, run: &Run) -> Result<()> {
        if !self.runs.insert(run.place()) {
            return Ok(());
        }
        self.files.extend(run.training_files());
        let chosen_by = run.selection_prompts()?;
        if !chosen_by.is_empty() {
            self.chosen_by.insert(run.place(), chosen_by.iter().collect());
        }
        // A run that is not finished does not say.
        self.hashes.extend(run.labeler()?);
        run.began_with()?.iter().try_for_each(|model| self.of_model(model))
    }

    /// Arms with a model of which nobody says what it was trained on, neither its folder nor the options.
    pub fn unknown(&self) -> &[String] {
        if self.is_told { &[] } else { &self.silent }
    }

    /// Files of training prompts that are not where they were, so nobody can look into them.
    pub fn missing(&self) -> impl Iterator<Item = &Path> {
        self.missing.iter().map(PathBuf::as_path)
    }

    /// Runs whose policy was chosen among its versions by some of `prompts`, and by how many.
    pub fn chosen_by(&self, prompts: &[Prompt]) -> Vec<(&Path, usize)> {
        let counted = self.chosen_by.iter().map(|(run, chosen_by)| {
            (run.as_path(), prompts.iter().filter(|prompt| chosen_by.contains(prompt)).count())
        });
        counted.filter(|(_, count)| *count > 0).collect()
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
