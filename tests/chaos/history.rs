//! What happened: noted by the storm while it rages, and read afterwards from what outlives every
//! process, namely Redis's append-only file, the coordinator's journal and the files of the run.

use crate::plan::Fault;
use rlaif_coordinator::Journal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// A fault that was done to the cluster.
#[derive(Debug, Clone)]
pub struct Inflicted {
    /// Which.
    pub fault: Fault,
    /// On whom, with what in hand.
    pub victim: String,
    /// Since the storm began: when it was done; of Redis and the coordinator, when they were started
    /// again, for how long they are away is the storm's choice.
    pub at: Duration,
    /// How long it took until a worker's item was in another's hand, or until the next result was in
    /// the coordinator's journal; none where that did not happen.
    pub recovery: Option<Duration>,
}

/// What a job came to, by the names that its tasks and labels have in every run of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Tasks with a result in the journal.
    pub tasks: BTreeSet<String>,
    /// Label ids in `labels.jsonl`.
    pub labels: Vec<String>,
    /// Label ids of the exported preferences.
    pub preferences: Vec<String>,
    /// Hashes of everything, trained weights too.
    pub manifest: Value,
}

/// What was ever written to the queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Task of each result.
    pub results: Vec<String>,
    /// Task of each dead letter, and how many starts it had.
    pub dead_letters: Vec<(String, usize)>,
}

/// Everything that the checker judges.
#[derive(Debug, Clone)]
pub struct History {
    /// Of the storm.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// Of the queues.
    pub lease: Duration,
    /// Starts that an item gets.
    pub max_starts: usize,
    /// What was to go wrong.
    pub planned: Vec<Fault>,
    /// What did.
    pub inflicted: Vec<Inflicted>,
    /// Tasks that are poison.
    pub poison: BTreeSet<String>,
    /// Labelers that poison killed.
    pub struck: usize,
    /// What nobody did, and nothing should do: a process that ended by itself, for example.
    pub surprises: Vec<String>,
    /// What was written to the queues.
    pub written: Written,
    /// What the job came to.
    pub outcome: Outcome,
    /// What it comes to when nothing goes wrong.
    pub undisturbed: Outcome,
}

impl Outcome {
    /// Of a job whose run folder is `run`; `preferences` are its exported lines. Nobody has the
    /// journal open.
    pub fn read(journal: &Path, job: &str, run: &Path, preferences: &str, manifest: &str) -> Self {
        let mut tasks = BTreeSet::new();
        let journal = Journal::open(journal).unwrap();
        let keep = |task: rlaif_job::TaskId, _: &[u8]| {
            tasks.insert(task.to_string());
            Ok::<_, rlaif_coordinator::Error>(())
        };
        journal.results(job, keep).unwrap();
        let labels = std::fs::read_to_string(run.join("labels.jsonl")).unwrap();
        Self {
            tasks,
            labels: label_ids(&labels),
            preferences: label_ids(preferences),
            manifest: serde_json::from_str(manifest).unwrap(),
        }
    }
}

fn label_ids(lines: &str) -> Vec<String> {
    let id = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["label_id"].as_str().unwrap().to_owned()
    };
    lines.lines().map(id).collect()
}

impl Written {
    /// Out of the commands in Redis's append-only file, as far as they are about the tasks of `job`.
    pub fn read(commands: &[Vec<Vec<u8>>], job: &str) -> Self {
        let mut written = Self::default();
        for words in commands {
            let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            // XADD stream id, then names and values: i(tem), h(eaders), and by the stream's kind.
            let [command, stream, _, _, item, _, _, _, value, ..] = words.as_slice() else {
                continue;
            };
            let Some(task) = item.strip_prefix(job).and_then(|task| task.strip_prefix('/')) else {
                continue;
            };
            match (command.as_ref(), stream.rsplit(':').next()) {
                ("XADD", Some("results")) if value == "done" => written.results.push(task.into()),
                ("XADD", Some("dead")) => {
                    written.dead_letters.push((task.into(), value.lines().count()));
                }
                _ => {}
            }
        }
        written
    }
}
