//! The run folder: what a run has done, on disk, in files that a kill cannot damage.
//!
//! ```text
//! job.toml           the resolved job
//! data/              what the job works on, as it was submitted
//! journal.redb       every result; all record files below follow from it (one process only)
//! stages.json        finished stages
//! journal.jsonl      what took how long (the only place for wall-clock times)
//! metrics.jsonl      one record a training step; tensorboard/: the same for TensorBoard, by TRL's names
//! demonstrations.jsonl  the labeler's answers, where the policy is fine-tuned on them
//! pairs.jsonl        sampled pairs
//! labels.sqlite      the ledger: all that labelers were asked, and what it took (one process only)
//! labels.jsonl       every label with its provenance; preferences.jsonl: the same in TRL's format
//! samples.jsonl      rollouts of every policy step
//! staleness.jsonl    pairs of the policy's responses, judged by reward model and labeler, where that is asked
//! selection.jsonl    candidates against the start, where the policy is chosen among versions
//! evaluation.jsonl   both sides' responses to held-out prompts, with verdicts
//! checkpoints/       models as HF folders
//! state/, versions/, candidates/, batches/    of training in progress
//! manifest.json      hashes of everything above
//! report.md, report.html
//! ```

use crate::Error;
use rlaif_data::{Reader, write_atomic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The ledger of all that labelers were asked.
    pub const LEDGER: &str = "labels.sqlite";

    /// A folder that may or may not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Starts a run here, or goes on with one.
    ///
    /// # Errors
    /// When there is a run and `resume` is false, or a run of another job.
    pub fn prepare(&self, job_toml: &str, resume: bool) -> Result<(), Error> {
        let job_path = self.path("job.toml");
        match fs::read_to_string(&job_path) {
            Ok(_) if !resume => Err(Error::run_folder(
                &self.root,
                "holds a run already; add --resume to go on with it, or choose another --out",
            )),
            Ok(before) if before != job_toml => Err(Error::run_folder(
                &job_path,
                "the run was started with another job; resume with the same job file, or choose \
                 another --out",
            )),
            Ok(_) => Ok(()),
            Err(_) => {
                fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
                Ok(write_atomic(&job_path, job_toml.as_bytes())?)
            }
        }
    }

    /// What a finished stage left as its summary; none where it is not finished.
    ///
    /// # Errors
    /// When the record of stages is damaged.
    pub fn finished<T: DeserializeOwned>(&self, stage: &str) -> Result<Option<T>, Error> {
        let path = self.path("stages.json");
        let Some(summary) = self.stages()?.remove(stage) else { return Ok(None) };
        serde_json::from_value(summary)
            .map(Some)
            .map_err(|e| Error::run_folder(&path, format!("stage {stage}: {e}")))
    }

    /// Records that a stage is finished.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(&self, stage: &str, summary: &impl Serialize) -> Result<(), Error> {
        let mut stages = self.stages()?;
        let summary = serde_json::to_value(summary).expect("summaries are plain data");
        stages.insert(stage.to_owned(), summary);
        let text = serde_json::to_vec_pretty(&stages).expect("summaries are plain data");
        Ok(write_atomic(&self.path("stages.json"), &text)?)
    }

    fn stages(&self) -> Result<Map<String, Value>, Error> {
        let path = self.path("stages.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|e| Error::run_folder(&path, format!("damaged: {e}"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
            Err(e) => Err(Error::io(&path)(e)),
        }
    }

    /// All records of a file; empty where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Error> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(Vec::new());
        }
        Ok(Reader::open(&path)?.read_all(|record| {
            serde_json::from_value(Value::Object(record)).map_err(|e| e.to_string())
        })?)
    }

    /// What a file of one JSON value says.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let path = self.path(name);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        serde_json::from_slice(&text).map_err(|e| Error::run_folder(&path, e.to_string()))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
