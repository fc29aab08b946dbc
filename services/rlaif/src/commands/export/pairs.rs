//! A job's labelled pairs, for trainers elsewhere.

use super::super::remote::{Remote, Server};
use anyhow::{Context, Result};
use rlaif_data::AtomicFile;
use rlaif_proto::coordinator::v1::{ExportPreferencesRequest, ExportPreferencesResponse};
use std::io::{BufWriter, Write};
use std::path::Path;
use tonic::{Request, Streaming};

/// Fetches the pairs of the job `job_id` into the file `out`, or to standard output.
pub fn fetch(job_id: String, out: Option<&Path>, server: &Server) -> Result<()> {
    let remote = server.connect()?;
    let request = ExportPreferencesRequest { job_id };
    let mut records = remote.call(|mut client, _| {
        let request = Request::new(request.clone());
        async move { client.export_preferences(request).await }
    })?;
    let Some(path) = out else {
        return copy(&remote, &mut records, std::io::stdout().lock());
    };
    let writing = || format!("writing {}", path.display());
    let mut file = AtomicFile::create(path).with_context(writing)?;
    copy(&remote, &mut records, &mut file)?;
    file.commit().with_context(writing)
}

fn copy(
    remote: &Remote,
    records: &mut Streaming<ExportPreferencesResponse>,
    out: impl Write,
) -> Result<()> {
    let mut out = BufWriter::new(out);
    while let Some(part) = remote.wait(records.message()).map_err(|s| remote.explain(s))? {
        let record = part.record.context("an answer has no record")?;
        out.write_all(&record.trl_json).context("writing the pairs")?;
        out.write_all(b"\n").context("writing the pairs")?;
    }
    out.flush().context("writing the pairs")
}
