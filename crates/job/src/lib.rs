//! A job: what it is asked to do, what it has done, and the report that proves it.
//!
//! Plain data and pure functions; no model, no queue and no clock. Whatever runs a job keeps its
//! records here.

mod config;
mod error;
mod evaluation;
mod label_record;
mod label_summary;
mod left_out;
mod machine;
mod manifest;
mod mixture;
mod questions;
mod report;
mod reward_quality;
mod run_folder;
mod sample_record;
mod seed;
mod selection;
mod staleness;
mod submission;
mod task_id;
mod work;

pub use config::{
    DataConfig, DemonstratedBy, EvaluateConfig, Job, JudgeConfig, LabelerConfig, PolicyConfig,
    RewardModelConfig, RewardSource, RewardStart, RlConfig, SamplingConfig, SelectionConfig,
    SftConfig, StalenessConfig,
};
pub use error::Error;
pub use evaluation::{
    Contest, EvaluationRecord, Judged, Verdict, WinRate, strip_trailing_junk, win_rate,
};
pub use label_record::LabelRecord;
pub use label_summary::LabelSummary;
pub use left_out::{LeftOut, Unlearnable};
pub use machine::{Effect, Inputs, JobOutcome, Machine, StageProgress, figures_of_interest};
pub use manifest::{Manifest, RECORD_FILES, hash_file};
pub use mixture::{PART_METRICS, PartSource, RewardPart};
pub use questions::{Asked, Questions};
pub use report::write as write_report;
pub use reward_quality::{Predicted, RewardQuality, RewardSummary, SourceQuality, reward_quality};
pub use run_folder::RunFolder;
pub use sample_record::SampleRecord;
pub use seed::{batch_of_step, seed_for, shuffled};
pub use selection::{SelectionSummary, ValidatedVersion};
pub use staleness::{Staleness, StalenessRecord};
pub use submission::Submission;
pub use task_id::{Measure, TaskId};
pub use work::{
    Answer, CheckLabeler, CheckPolicy, CheckReward, CheckedModel, FineTune, Generate,
    JudgeContests, Label, Labeler, Lessons, MatchUps, ModelRef, Policy, PolicyStep, Rate, Respond,
    Rollout, SampledPair, SavePolicy, Score, Stepped, Tokens, TrainReward, Trained, Training, Work,
    WorkItem, WorkResult, WorkerKind,
};
