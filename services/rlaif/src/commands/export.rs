//! `rlaif export`: a job's labelled pairs, for trainers elsewhere.

use super::remote::{Remote, Server};
use anyhow::{Context, Result};
use rlaif_proto::coordinator::v1::{ExportPreferencesRequest, ExportPreferencesResponse};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use tonic::{Request, Streaming};

/// Fetch a job's labelled pairs as JSON lines in TRL's preference format.
#[derive(clap::Args)]
pub struct Args {
    /// The job's id.
    job: String,
    /// Where to write them; standard output by default.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Result<()> {
    let remote = args.server.connect()?;
    let request = ExportPreferencesRequest { job_id: args.job };
    let mut records = remote.call(|mut client, _| {
        let request = Request::new(request.clone());
        async move { client.export_preferences(request).await }
    })?;
    let Some(path) = &args.out else {
        return copy(&remote, &mut records, std::io::stdout().lock());
    };
    // The file has its name only once it is whole.
    let partial = path.with_added_extension("partial");
    let file = File::create(&partial).with_context(|| format!("creating {}", partial.display()))?;
    copy(&remote, &mut records, file)?;
    std::fs::rename(&partial, path).with_context(|| format!("writing {}", path.display()))
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
