//! The run folder: what a run has done, on disk, in files that a kill cannot damage.
//!
//! ```text
//! job.toml           the resolved job
//! stages.json        finished stages
//! journal.jsonl      when what was done, how long it took (the only place for wall-clock times)
//! metrics.jsonl      one record a training step
//! pairs.jsonl        sampled pairs
//! labels.jsonl       every label with its provenance; preferences.jsonl: the same in TRL's format
//! samples.jsonl      rollouts of every policy step
//! evaluation.jsonl   both sides' responses to held-out prompts, with verdicts
//! checkpoints/       models as HF folders
//! state/             training state of the stage in progress
//! manifest.json      hashes of everything above
//! report.md, report.html
//! ```

use crate::Error;
use rlaif_data::{JsonlAppender, Reader, Record, write_atomic, write_jsonl_atomic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
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
            Ok(before) if !resume => {
                let _ = before;
                Err(Error::run_folder(
                    &self.root,
                    "holds a run already; add --resume to go on with it, or choose another --out",
                ))
            }
            Ok(before) if before != job_toml => Err(Error::run_folder(
                &job_path,
                "the run was started with another job; resume with the same job file, or choose \
                 another --out",
            )),
            Ok(_) => Ok(()),
            Err(_) => {
                fs::create_dir_all(self.path("state")).map_err(Error::io(&self.root))?;
                fs::create_dir_all(self.path("checkpoints")).map_err(Error::io(&self.root))?;
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
        write_atomic(&self.path("stages.json"), &text)?;
        let state = self.path(&format!("state/{stage}.safetensors"));
        if state.exists() {
            fs::remove_file(&state).map_err(Error::io(&state))?;
        }
        Ok(())
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

    /// Records of a file that was written in chunks of `chunk` records (the last may be shorter),
    /// and the file opened to go on with the next chunk. A chunk a crash tore is cut off: it was
    /// never acknowledged.
    ///
    /// # Errors
    /// When the file cannot be read or mended.
    pub fn open_chunked<T: DeserializeOwned>(
        &self,
        name: &str,
        total: usize,
        chunk: usize,
    ) -> Result<(Vec<T>, JsonlAppender), Error> {
        let path = self.path(name);
        drop(JsonlAppender::open(&path)?);
        let mut records: Vec<Record> = Reader::open(&path)?.read_all(Ok)?;
        let whole = if records.len() >= total { total } else { records.len() / chunk * chunk };
        if records.len() != whole {
            records.truncate(whole);
            write_jsonl_atomic(&path, &records)?;
        }
        let parsed = records
            .into_iter()
            .map(|record| serde_json::from_value(Value::Object(record)))
            .collect::<Result<_, _>>()
            .map_err(|e| Error::run_folder(&path, format!("not a record of this run: {e}")))?;
        Ok((parsed, JsonlAppender::open(&path)?))
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

    /// A step log opened to go on after `steps` steps of `stage`; records of later steps, whose
    /// state was lost in a crash, are dropped and will be made again.
    ///
    /// # Errors
    /// When the file cannot be read or mended.
    pub fn open_steps(
        &self,
        name: &str,
        stage: &str,
        steps: usize,
    ) -> Result<JsonlAppender, Error> {
        let path = self.path(name);
        drop(JsonlAppender::open(&path)?);
        let records = Reader::open(&path)?.read_all(Ok)?;
        let before = records.len();
        let kept: Vec<Record> = records
            .into_iter()
            .filter(|r| r["stage"] != stage || r["step"].as_u64() <= Some(steps as u64))
            .collect();
        if kept.len() != before {
            write_jsonl_atomic(&path, &kept)?;
        }
        Ok(JsonlAppender::open(&path)?)
    }

    /// Saves a training state.
    ///
    /// # Errors
    /// When writing fails; the state before it is intact.
    pub fn save_state(&self, stage: &str, state: &[u8]) -> Result<(), Error> {
        let path = self.path(&format!("state/{stage}.safetensors"));
        Ok(write_atomic(&path, state)?)
    }

    /// The training state saved last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load_state(&self, stage: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(&format!("state/{stage}.safetensors"));
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&path)(e)),
        }
    }

    /// Notes in the journal that `count` of `stage` took since `started`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn journal(&self, stage: &str, count: usize, started: Instant) -> Result<(), Error> {
        let mut journal = JsonlAppender::open(&self.path("journal.jsonl"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        journal.push(&json!({
            "unix_time": now.as_secs(),
            "stage": stage,
            "count": count,
            "seconds": started.elapsed().as_secs_f64(),
            "process": std::process::id(),
        }));
        Ok(journal.sync()?)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
