//! How well an AI labeler agrees with people, and how biased it is: the numbers of `rlaif align`
//! and their report; and how well a reward model predicts the labels of both.
//!
//! Observations in, an [`Audit`] out, a document from that; no inference, no files. The questions
//! of [`probes`] are made here as well, and asked by whoever has a labeler.
//!
//! Two rules hold in every number. A judgement that failed is counted by its reason and is in no
//! rate. A tie, a label of exactly one half, is half an agreement, half a win, half a preference
//! for the longer response: what a coin thrown for it would make of it on average.

mod agreement;
mod arm;
mod audit;
mod calibration;
mod census;
mod error;
mod labelers;
mod position;
pub mod probes;
mod report;
mod reward_model;
mod sample;
mod stability;
mod verbosity;

#[cfg(test)]
mod tests;

pub use agreement::{Agreement, Baseline, ConfidenceBand, HumanBand, SelectivePoint};
pub use arm::{Answer, Arm, Human, Labeler, Observation, Price, Question, Rationales};
pub use audit::{ArmAudit, Audit, Options};
pub use calibration::Calibration;
pub use census::{Census, Mass};
pub use error::Error;
pub use labelers::{Labelers, PairOfArms};
pub use position::Position;
pub use report::{CurvePoint, curve_section, document, reward_headline, reward_sections};
pub use reward_model::{RewardAgreement, RewardAudit, RewardObservation};
pub use stability::Stability;
pub use verbosity::{BesidePeople, Verbosity};
