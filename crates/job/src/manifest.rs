//! The manifest: hashes of everything a run used and made, by which two runs are known to be equal.

use crate::machine::JobOutcome;
use crate::run_folder::RunFolder;
use crate::selection::SelectionSummary;
use crate::{Error, Job, LeftOut, Submission};
use rlaif_data::write_atomic;
use rlaif_types::{ContentHash, Hasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a run used and made. Wall-clock times are in no hashed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program.
    pub version: String,
    /// The job's seed.
    pub seed: u64,
    /// Hash of the policy's starting checkpoint, before any fine-tuning.
    pub policy_hash: ContentHash,
    /// Hash of the labeler.
    pub labeler_hash: ContentHash,
    /// Hash of the judge, where the job names one; else the labeler judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_hash: Option<ContentHash>,
    /// Hash of what the reward model started from, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_start_hash: Option<ContentHash>,
    /// The labeler *is* the policy's starting checkpoint: strict self-improvement (paper section 5).
    pub strict_self_improvement: bool,
    /// Why its numbers may say less than they seem to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
    /// Hashes of templates, by name.
    pub templates: BTreeMap<String, ContentHash>,
    /// Hashes of the data files, by what they are for.
    pub data: BTreeMap<String, ContentHash>,
    /// How the policy was chosen among its versions, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionSummary>,
    /// Examples that were not learned from, by stage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, LeftOut>,
    /// Hashes of the run's files.
    pub files: BTreeMap<String, ContentHash>,
}

/// Files of a run folder that hold a job's records. Their content depends only on the job, its data and
/// its models.
pub const RECORD_FILES: [&str; 9] = [
    "demonstrations.jsonl",
    "pairs.jsonl",
    "labels.jsonl",
    "preferences.jsonl",
    "metrics.jsonl",
    "samples.jsonl",
    "staleness.jsonl",
    "selection.jsonl",
    "evaluation.jsonl",
];

impl Manifest {
    /// Artifact folders of trained models, where a job has them.
    pub const CHECKPOINTS: [&str; 3] = [Self::SFT, Self::REWARD, Self::POLICY];
    /// The fine-tuned model's.
    pub const SFT: &str = "checkpoints/sft";
    /// The reward model's.
    pub const REWARD: &str = "checkpoints/reward";
    /// The trained policy's.
    pub const POLICY: &str = "checkpoints/policy";
    /// Artifact of its adapter's factors, where adapters were trained.
    pub const ADAPTER: &str = "checkpoints/policy-adapter.safetensors";
    /// That of the last good policy, where its training came apart.
    pub const LAST_GOOD: &str = "checkpoints/last-good";

    /// The manifest of a finished job; `checkpoints` are hashes of weights by artifact.
    ///
    /// # Errors
    /// When the submission is damaged.
    pub fn new(
        submission: &Submission,
        outcome: &JobOutcome,
        checkpoints: BTreeMap<String, ContentHash>,
    ) -> Result<Self, Error> {
        let inputs = submission.inputs()?;
        let templates = inputs.evaluation_templates.iter().chain([&inputs.template]);
        let templates = templates.chain(inputs.mixture_templates.iter().flatten());
        let data = submission.files.iter();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: submission.job.seed,
            policy_hash: outcome.policy.hash.clone(),
            labeler_hash: outcome.labeler.hash.clone(),
            judge_hash: outcome.judge.as_ref().map(|judge| judge.hash.clone()),
            reward_start_hash: outcome.reward_start.clone(),
            strict_self_improvement: outcome.policy.hash == outcome.labeler.hash
                && submission.job.sft.is_none(),
            cautions: cautions(&submission.job, outcome),
            templates: templates.map(|t| (t.name.clone(), t.hash())).collect(),
            data: data.map(|(name, bytes)| (name.clone(), ContentHash::of(bytes))).collect(),
            selection: outcome.selection.clone(),
            left_out: outcome.left_out.clone(),
            files: checkpoints,
        })
    }

    /// Hashes the run's files and writes `manifest.json`.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn write(mut self, folder: &RunFolder) -> Result<Self, Error> {
        for name in ["job.toml"].into_iter().chain(RECORD_FILES) {
            let path = folder.path(name);
            if path.exists() {
                self.files.insert(name.to_owned(), hash_file(&path)?);
            }
        }
        let text = serde_json::to_vec_pretty(&self).expect("hashes and strings serialise");
        write_atomic(&folder.path("manifest.json"), &text)?;
        Ok(self)
    }

    /// Reads what [`Manifest::write`] wrote.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(folder: &RunFolder) -> Result<Self, Error> {
        folder.json("manifest.json")
    }

    /// Hash of the whole manifest.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(serde_json::to_vec(self).expect("hashes and strings serialise"))
    }
}

/// What is left open by who judged, said since the numbers do not show it. Models are told apart by their hashes, since
/// one may have two names.
fn cautions(job: &Job, outcome: &JobOutcome) -> Vec<String> {
    let judge = outcome.judge.as_ref().unwrap_or(&outcome.labeler);
    let name = &judge.name;
    let by_another =
        "name another as evaluate.judge, or compare the run with its start by rlaif eval --judge";
    let mut cautions = Vec::new();
    if judge.hash == outcome.labeler.hash && job.learns_from_its_labeler() {
        cautions.push(format!(
            "the judge {name} is also the labeler that the policy learned from: a win may show no more than that the \
             policy learned to please it; {by_another}"
        ));
    }
    if judge.hash == outcome.policy.hash {
        cautions.push(format!(
            "the judge {name} is the model that the policy began as: models like their own; {by_another}"
        ));
    }
    cautions
}

/// Hash of a file's content.
pub fn hash_file(path: &Path) -> Result<ContentHash, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hasher.finish()),
            read => hasher.bytes(&buffer[..read]),
        };
    }
}
