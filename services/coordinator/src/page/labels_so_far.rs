//! What a job's labels come to so far. Each is read once, however often that is asked.

use super::records::following;
use rlaif_job::{LabelRecord, LabelSummary};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Labels read together.
const TOGETHER: usize = 1024;

/// Summaries by job.
#[derive(Default)]
pub struct LabelsSoFar(Mutex<HashMap<String, Arc<Mutex<Read>>>>);

/// What was read of one file.
struct Read {
    summary: LabelSummary,
    end: u64,
}

impl Default for Read {
    fn default() -> Self {
        Self { summary: LabelSummary::of([]), end: 0 }
    }
}

impl LabelsSoFar {
    /// The summary of the labels in the file at `path`, which are those of `job`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(&self, job: &str, path: &Path) -> io::Result<LabelSummary> {
        let read = {
            let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(jobs.entry(job.to_owned()).or_default())
        };
        // Who asks at the same time waits, and finds all read. What was added before a panic is whole.
        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        if bytes < read.end {
            // A job that is resumed writes its files anew.
            *read = Read::default();
        }
        loop {
            let stretch = following(path, read.end, TOGETHER)?;
            if stretch.records.is_empty() {
                return Ok(read.summary.clone());
            }
            let labels = stretch.records.into_iter().map(serde_json::from_value);
            let labels: Vec<LabelRecord> = labels.collect::<Result<_, _>>()?;
            read.summary.add(LabelSummary::of(&labels));
            read.end = stretch.end;
        }
    }
}
