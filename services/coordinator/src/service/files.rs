//! A job's files as streams, read on threads of their own, no faster than the client takes them.

use rlaif_job::RunFolder;
use rlaif_proto::coordinator::v1::{
    ExportPreferencesResponse, GetReportResponse, PreferenceRecord, ReportFormat,
};
use rlaif_types::SoftLabel;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Records or chunks read ahead of the client.
const AHEAD: usize = 16;
/// Bytes of a report in one message.
const CHUNK_BYTES: usize = 64 << 10;

/// Where what was read goes.
type Sender<T> = mpsc::Sender<Result<T, Status>>;
/// What a handler answers.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

/// The labelled pairs as far as they are; none before there are any.
pub fn preferences(folder: &RunFolder) -> Answers<ExportPreferencesResponse> {
    stream(folder.path("preferences.jsonl"), send_preferences)
}

/// The file of a report.
pub fn report_file(format: ReportFormat) -> Option<&'static str> {
    match format {
        ReportFormat::Unspecified => None,
        ReportFormat::Markdown => Some("report.md"),
        ReportFormat::Html => Some("report.html"),
        ReportFormat::ManifestJson => Some("manifest.json"),
    }
}

/// A report's file in chunks.
pub fn report(path: PathBuf) -> Answers<GetReportResponse> {
    stream(path, send_chunks)
}

fn stream<T: Send + 'static>(
    path: PathBuf,
    send: fn(&Path, &Sender<T>) -> io::Result<()>,
) -> Answers<T> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(&path, &sender) {
            let message = format!("{}: {error}", path.display());
            tracing::error!("{message}");
            // A client that left needs no status.
            let _ = sender.blocking_send(Err(Status::internal(message)));
        }
    });
    ReceiverStream::new(receiver)
}

/// What of a line of `preferences.jsonl` is said apart.
#[derive(Deserialize)]
struct Preference {
    soft_label: SoftLabel,
    label_id: String,
}

fn send_preferences(path: &Path, to: &Sender<ExportPreferencesResponse>) -> io::Result<()> {
    let mut lines = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        // The last line of a job that runs may be half written.
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        let Preference { soft_label, label_id } = serde_json::from_slice(&line)?;
        let soft_label = Some(soft_label.into());
        let record = PreferenceRecord { trl_json: line.into(), soft_label, label_id };
        if to.blocking_send(Ok(ExportPreferencesResponse { record: Some(record) })).is_err() {
            return Ok(());
        }
    }
}

fn send_chunks(path: &Path, to: &Sender<GetReportResponse>) -> io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        if to.blocking_send(Ok(GetReportResponse { chunk: chunk.into() })).is_err() {
            return Ok(());
        }
    }
}
