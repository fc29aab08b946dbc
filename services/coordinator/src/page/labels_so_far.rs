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
    /// The summary of the labels in the file at `path`, which are those of `job`. What is kept of a job that
    /// `was_deleted` goes, whichever is asked about.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(
        &self,
        job: &str,
        path: &Path,
        was_deleted: impl Fn(&str) -> bool,
    ) -> io::Result<LabelSummary> {
        let read = {
            let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.retain(|known, _| !was_deleted(known));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_job_that_was_deleted() {
        let (labels, nowhere) = (LabelsSoFar::default(), Path::new("no-such-folder/labels.jsonl"));
        for job in ["gone", "kept"] {
            labels.of(job, nowhere, |_| false).unwrap();
        }
        labels.of("kept", nowhere, |job| job == "gone").unwrap();
        let kept: Vec<String> = labels.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(kept, ["kept"]);
    }
}
