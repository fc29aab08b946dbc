//! The run folder's record files, written as results come, and the metrics once more as TensorBoard reads
//! them.
//!
//! They follow from the journal: after a restart they are made anew, so a torn or missing line never
//! matters.

use crate::Error;
use crate::event_file::{EVENT_FILE, EventFile};
use rlaif_job::{RECORD_FILES, RunFolder};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};

/// Where training steps are recorded.
pub const METRICS: &str = "metrics.jsonl";

/// The open files of one job.
pub struct Exports {
    folder: RunFolder,
    files: HashMap<&'static str, BufWriter<File>>,
    events: EventFile,
}

impl Exports {
    /// Begins anew.
    ///
    /// # Errors
    /// When an old file cannot be removed, or the disk is full or gone.
    pub fn begin(folder: RunFolder) -> Result<Self, Error> {
        for name in RECORD_FILES {
            let path = folder.path(name);
            if path.exists() {
                std::fs::remove_file(&path).map_err(rlaif_job::Error::io(&path))?;
            }
        }
        let path = folder.path(EVENT_FILE);
        let events = EventFile::create(&path).map_err(rlaif_job::Error::io(&path))?;
        Ok(Self { folder, files: HashMap::new(), events })
    }

    /// Adds records, one a line.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn append(&mut self, file: &'static str, records: &[Value]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let path = self.folder.path(file);
        let io = rlaif_job::Error::io(&path);
        let out = match self.files.entry(file) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(slot) => match File::create(&path) {
                Ok(created) => slot.insert(BufWriter::new(created)),
                Err(error) => return Err(io(error).into()),
            },
        };
        let mut write = || {
            for record in records {
                serde_json::to_writer(&mut *out, record)?;
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        write().map_err(io)?;
        if file == METRICS {
            let path = self.folder.path(EVENT_FILE);
            self.events.append(records).map_err(rlaif_job::Error::io(&path))?;
        }
        Ok(())
    }

    /// Puts everything on disk, before something that lasts refers to it.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn sync(&mut self) -> Result<(), Error> {
        for (name, out) in &mut self.files {
            let path = self.folder.path(name);
            out.get_ref().sync_all().map_err(rlaif_job::Error::io(&path))?;
        }
        Ok(())
    }
}
