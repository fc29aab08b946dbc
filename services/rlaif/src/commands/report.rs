//! `rlaif report`: what a job came to.

use super::remote::Server;
use anyhow::{Context, Result};
use rlaif_proto::coordinator::v1::{GetReportRequest, ReportFormat};
use std::io::Write;
use std::path::PathBuf;
use tonic::Request;

/// Fetch a job's report.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif report JOB --format html --out report.html")]
pub struct Args {
    /// The job's id.
    job: String,
    /// Its form: md, html (one file that needs no other), or manifest (hashes of everything).
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
    /// Where to write it; standard output by default.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Md,
    Html,
    Manifest,
}

pub fn run(args: Args) -> Result<()> {
    let remote = args.server.connect()?;
    let format = match args.format {
        Format::Md => ReportFormat::Markdown,
        Format::Html => ReportFormat::Html,
        Format::Manifest => ReportFormat::ManifestJson,
    };
    let request = GetReportRequest { job_id: args.job, format: format.into() };
    let mut chunks = remote.call(|mut client, _| {
        let request = Request::new(request.clone());
        async move { client.get_report(request).await }
    })?;
    let mut report = Vec::new();
    while let Some(part) = remote.wait(chunks.message()).map_err(|s| remote.explain(s))? {
        report.extend_from_slice(&part.chunk);
    }
    match &args.out {
        Some(path) => Ok(rlaif_data::write_atomic(path, &report)?),
        None => std::io::stdout().write_all(&report).context("writing the report"),
    }
}
