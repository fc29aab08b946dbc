//! Whether a job, or a reward model without one, fits: what it takes at most, estimated before it starts, beside what the
//! machine has free.

use anyhow::{Context, Result, bail};
use rlaif_data::{Reader, preferences_of};
use rlaif_hub::{Store, is_endpoint};
use rlaif_job::{Job, Submission};
use rlaif_models::DeviceName;
use rlaif_types::{LoraConfig, Preference};
use rlaif_worker::memory::{
    Limit, Longest, Models, Place, Stage, Trainer, free, of_job, of_replicas, readable,
};
use rlaif_worker::open_checkpoint;
use std::io::Cursor;

/// Bytes of a text that make a token, about; fewer in most languages, so that estimates err to the safe side.
const BYTES_PER_TOKEN: usize = 3;

#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args)]
pub struct MemoryArgs {
    /// Memory that the run may take on each device, such as 12GB, instead of what is free there; "any" starts it
    /// whatever the estimate says.
    #[arg(long, value_name = "SIZE", env = "RLAIF_MAX_MEMORY")]
    max_memory: Option<Limit>,
}

impl MemoryArgs {
    /// Says what `job` takes at most on its device and on those that share its training, and refuses it where that is
    /// more than there is.
    ///
    /// # Errors
    /// When it does not fit, or a model cannot be opened.
    pub fn check(self, job: &Job, training_replicas: &[DeviceName]) -> Result<()> {
        let models = models_of(job)?;
        let device = job.device.parse::<DeviceName>().map_err(anyhow::Error::msg)?;
        let place = Place::on(device, training_replicas);
        self.compare(job, device, &|job| of_job(job, &models, place))?;
        for (i, other) in training_replicas.iter().enumerate() {
            if *other != device && !training_replicas[..i].contains(other) {
                let Place { replicas, .. } = Place::on(*other, training_replicas);
                self.compare(job, *other, &|job| of_replicas(job, &models, replicas))?;
            }
        }
        Ok(())
    }

    /// Says what training a reward model without a job takes at most, and refuses it where that is more than there is.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn check_trainer(self, trainer: &Trainer, device: DeviceName) -> Result<()> {
        let place = Place::on(device, &[]);
        self.compare(trainer, device, &|trainer| trainer.peak(place))
    }

    /// Holds what `estimate` says of `work` against what `device` has.
    fn compare<W: Work>(
        self,
        work: &W,
        device: DeviceName,
        estimate: &dyn Fn(&W) -> Stage,
    ) -> Result<()> {
        let stage = estimate(work);
        let free = match self.max_memory {
            Some(Limit::Bytes(bytes)) => Some(bytes),
            Some(Limit::Any) => None,
            None => free(device),
        };
        let beside = match (free, self.max_memory) {
            (Some(free), Some(_)) => format!("it may take {}", readable(free)),
            (Some(free), None) => format!("{} are free", readable(free)),
            (None, Some(_)) => "it may take any".to_owned(),
            (None, None) => format!("how much {device} has free is not known"),
        };
        let on = match device {
            DeviceName::Cpu => String::new(),
            DeviceName::Cuda(_) => format!(" on {device}"),
        };
        let (bytes, when) = (readable(stage.bytes()), stage.describe());
        eprintln!("memory     about {bytes}{on}, {when}: {beside}");
        match free {
            Some(free) if stage.bytes() > free => {
                let (what, instead) = (W::NAME, changes(work, stage.bytes(), estimate));
                bail!(
                    "the {what} takes about {bytes} of memory{on}, {when}, and {beside}: {instead}; --max-memory any \
                     starts it all the same"
                )
            }
            _ => Ok(()),
        }
    }
}

/// The sizes of a job's models and of its data.
fn models_of(job: &Job) -> Result<Models> {
    let store = Store::from_env();
    let open = |name: &str| -> Result<_> {
        let path = store.find(name)?;
        let checkpoint = open_checkpoint(&path).with_context(|| format!("opening {name}"))?;
        Ok((path, checkpoint.config))
    };
    let (place, policy) = open(&job.policy.model)?;
    // What runs here is loaded once, by whatever name and in whatever role.
    let mut loaded = vec![place.clone()];
    let mut another = |name: &str| -> Result<_> {
        if is_endpoint(name) {
            return Ok(None);
        }
        let (path, config) = open(name)?;
        let is_new = !loaded.contains(&path);
        loaded.push(path);
        Ok(is_new.then_some(config))
    };
    let labeler = another(&job.labeler.model)?;
    let judge = match &job.evaluate.judge {
        Some(judge) => another(&judge.model)?,
        None => None,
    };
    let longest = longest_of(&Submission::read(job.clone())?)?;
    let reward = job.reward_model.as_ref().and_then(|rm| rm.from.model()).map(|name| open(name));
    // The policy's own weights are loaded once, by whatever name.
    let reward = reward.transpose()?.filter(|(path, _)| *path != place).map(|(_, config)| config);
    Ok(Models { policy, labeler, judge, reward, longest })
}

/// What is longest in each of a job's files of data, which are read.
fn longest_of(submission: &Submission) -> Result<Longest> {
    let (mut longest, mut pairs) = (Longest::default(), Vec::new());
    for (name, bytes) in &submission.files {
        let lines = bytes.split(|byte| *byte == b'\n');
        let line = lines.map(<[u8]>::len).max().unwrap_or(0).div_ceil(BYTES_PER_TOKEN);
        match name.as_str() {
            Submission::DEMONSTRATIONS => longest.demonstration = line,
            Submission::PREFERENCES => {
                let reader = Reader::new(name.as_str(), Cursor::new(bytes.clone()));
                pairs = reader.read_all(|record| preferences_of(&record))?.concat();
            }
            _ if name.contains("prompts") => longest.prompt = longest.prompt.max(line),
            // Templates, which are no example.
            _ => {}
        }
    }
    for Preference { pair, .. } in &pairs {
        let prompt = pair.prompt.as_context().len();
        let both = pair.response_a.len() + pair.response_b.len();
        let tokens = |bytes: usize| bytes.div_ceil(BYTES_PER_TOKEN);
        longest.pair = longest.pair.max(tokens(2 * prompt + both));
        longest.sharing_pair = longest.sharing_pair.max(tokens(prompt + both));
    }
    Ok(longest)
}

/// What may take more memory than there is.
trait Work: Clone {
    /// What people call it.
    const NAME: &'static str;

    /// Settings that may take less, each alone, and the work with it.
    fn changed(&self) -> Vec<(String, Self)>;

    /// The work after `change`.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

impl Work for Job {
    const NAME: &'static str = "job";

    fn changed(&self) -> Vec<(String, Self)> {
        let mut changed = Vec::new();
        if self.lora.is_none() {
            let adapters = self.with(|job| job.lora = Some(LoraConfig::default()));
            changed.push(("a [lora] section".to_owned(), adapters));
        }
        if !self.rl.gradient_checkpointing {
            let again = self.with(|job| job.rl.gradient_checkpointing = true);
            changed.push(("rl.gradient_checkpointing = true".to_owned(), again));
        }
        let tokens = self.rl.micro_batch_tokens / 4;
        if tokens > 0 {
            let fewer = self.with(|job| job.rl.micro_batch_tokens = tokens);
            changed.push((format!("rl.micro_batch_tokens = {tokens}"), fewer));
        }
        changed
    }
}

impl Work for Trainer {
    const NAME: &'static str = "training";

    fn changed(&self) -> Vec<(String, Self)> {
        let mut changed = Vec::new();
        if self.lora.is_none() {
            let lora = LoraConfig::default();
            let setting = format!("--lora-rank {}", lora.rank);
            changed.push((setting, self.with(|trainer| trainer.lora = Some(lora))));
        }
        if !self.gradient_checkpointing {
            let again = self.with(|trainer| trainer.gradient_checkpointing = true);
            changed.push(("--gradient-checkpointing".to_owned(), again));
        }
        let tokens = self.micro_batch_tokens / 4;
        if tokens > 0 {
            let fewer = self.with(|trainer| trainer.micro_batch_tokens = tokens);
            changed.push((format!("--micro-batch-tokens {tokens}"), fewer));
        }
        changed
    }
}

/// What to change of work that takes so many bytes, each alone, with what it takes then; the least first.
fn changes<W: Work>(work: &W, bytes: u64, estimate: &dyn Fn(&W) -> Stage) -> String {
    let changed = work.changed().into_iter();
    let changed = changed.map(|(setting, work)| (setting, estimate(&work).bytes()));
    let mut changes: Vec<(String, u64)> = changed.filter(|(_, then)| *then < bytes).collect();
    changes.sort_by_key(|(_, bytes)| *bytes);
    let changes = changes.into_iter();
    let changes: Vec<String> = changes
        .map(|(setting, bytes)| format!("about {} with {setting}", readable(bytes)))
        .collect();
    match changes.is_empty() {
        true => "a smaller model takes less".to_owned(),
        false => format!("it takes {}", changes.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_testkit::{ANOTHER_TINY_MODEL, TINY_MODEL, TinyJob};
    use std::path::Path;

    #[test]
    fn a_reward_model_that_starts_from_the_policys_own_model_loads_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.toml");
        let started_from = |model: &str| {
            let settings = format!(
                "[reward_model]\nfrom = {model:?}\n[rl]\nreward = 'model'\nsteps = 1\nbatch_size = 2\n"
            );
            TinyJob { template: "sentiment/compare", ..TinyJob::default() }.write(&file, &settings);
            models_of(&Job::load(&file).unwrap()).unwrap().reward
        };
        assert!(started_from(TINY_MODEL).is_none());
        let other = Path::new(TINY_MODEL).with_file_name("tiny-qwen2");
        assert!(started_from(&other.to_string_lossy()).is_some());
    }

    #[test]
    fn the_longest_example_of_every_file_of_data_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.toml");
        let settings = "[sft]\n[reward_model]\nlabels = 'human'\n\
            [rl]\nreward = 'model'\nsteps = 1\nbatch_size = 2\n";
        let job = TinyJob {
            template: "sentiment/compare",
            demonstrations: 1,
            preferences: 1,
            ..TinyJob::default()
        };
        job.write(&file, settings);
        let append = |name: &str, line: &str| {
            let path = dir.path().join(name);
            let before = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, format!("{before}{line}\n")).unwrap();
        };
        let [prompt, better, worse] = [300, 600, 330].map(|bytes| "x".repeat(bytes));
        let demonstration = format!(r#"{{"prompt": "Say it", "completion": "{better}"}}"#);
        append("demonstrations.jsonl", &demonstration);
        let pair =
            format!(r#"{{"prompt": "{prompt}", "chosen": "{better}", "rejected": "{worse}"}}"#);
        append("preferences.jsonl", &pair);
        let heldout = format!(r#"{{"prompt": "What is {worse}"}}"#);
        append("heldout.jsonl", &heldout);
        let tokens = |bytes: usize| bytes.div_ceil(BYTES_PER_TOKEN);
        let expected = Longest {
            prompt: tokens(heldout.len()),
            demonstration: tokens(demonstration.len()),
            pair: tokens(2 * 300 + 930),
            sharing_pair: tokens(300 + 930),
        };
        assert_eq!(models_of(&Job::load(&file).unwrap()).unwrap().longest, expected);
    }

    #[test]
    fn a_judge_that_another_role_has_too_is_loaded_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("job.toml");
        let third = Path::new(TINY_MODEL).with_file_name("tiny-qwen3");
        let judged_by = |model: &str| {
            let settings = format!(
                "[evaluate.judge]\nmodel = {model:?}\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 2\n"
            );
            let job = TinyJob { labeler: ANOTHER_TINY_MODEL, ..TinyJob::default() };
            job.write(&file, &settings);
            let models = models_of(&Job::load(&file).unwrap()).unwrap();
            assert!(models.labeler.is_some());
            models.judge
        };
        assert!(judged_by(TINY_MODEL).is_none(), "the policy's");
        assert!(judged_by(&third.to_string_lossy()).is_some());
        // An endpoint takes no memory here.
        assert!(judged_by("judge.toml").is_none());
    }
}
