//! All numbers of an audit.

use crate::arm::{Arm, Labeler, Price, Question};
use crate::probes::Probed;
use crate::sample::scored;
use crate::{Agreement, Calibration, Census, Error, Labelers, Position, Stability, Verbosity};
use serde::{Deserialize, Serialize};

/// How an audit is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Of the bootstrap's draws.
    pub seed: u64,
    /// Verdict mass below which an answer counts as reluctant.
    pub mass_floor: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, mass_floor: 0.5 }
    }
}

impl Options {
    /// # Errors
    /// When the floor of verdict mass is no probability.
    pub fn check(&self) -> Result<(), Error> {
        match (0.0..=1.0).contains(&self.mass_floor) {
            true => Ok(()),
            false => Err(Error::MassFloor(self.mass_floor)),
        }
    }
}

/// One or several arms, audited: the comparison grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// How it was made.
    pub options: Options,
    /// The arms, in the order given.
    pub arms: Vec<ArmAudit>,
    /// Agreement between arms, for each task that several of them judged.
    pub labelers: Vec<Labelers>,
}

/// The numbers of one arm. Each is over the scored pairs that it needs, and says how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmAudit {
    /// What the pairs are about.
    pub task: String,
    /// Who was asked.
    pub labeler: Labeler,
    /// What was asked.
    pub question: Question,
    /// What the answers cost.
    pub price: Option<Price>,
    /// What was answered at all.
    pub census: Census,
    /// With people.
    pub agreement: Agreement,
    /// With itself in the other order.
    pub position: Position,
    /// With length.
    pub verbosity: Verbosity,
    /// Of its probabilities.
    pub calibration: Calibration,
    /// With itself when asked again; none where it was not.
    pub stability: Option<Stability>,
    /// Against tricks; none where no probe was tried.
    pub probes: Option<Probed>,
}

impl Audit {
    /// Audits the arms. Missing human labels, failures and ties leave numbers out; they never make
    /// one up.
    ///
    /// # Errors
    /// When a pair is there twice in an arm, or a mass, a price or the floor is not what it stands
    /// for.
    pub fn of(arms: &[Arm], options: Options) -> Result<Self, Error> {
        options.check()?;
        arms.iter().try_for_each(Arm::check)?;
        Ok(Self {
            options,
            arms: arms.iter().map(|arm| ArmAudit::of(arm, options)).collect(),
            labelers: Labelers::of(arms, options.seed),
        })
    }
}

impl ArmAudit {
    fn of(arm: &Arm, Options { seed, mass_floor }: Options) -> Self {
        let scored = scored(arm);
        Self {
            task: arm.task.clone(),
            labeler: arm.labeler.clone(),
            question: arm.question.clone(),
            price: arm.price,
            census: Census::of(arm, mass_floor),
            agreement: Agreement::of(&scored, seed),
            position: Position::of(&scored, seed),
            verbosity: Verbosity::of(&scored, seed),
            calibration: Calibration::of(&scored, seed),
            stability: Stability::of(arm, seed),
            probes: (!arm.probes.is_empty()).then(|| Probed::of(&arm.probes)),
        }
    }

    /// Task, labeler and question in one line.
    pub fn describe(&self) -> String {
        crate::arm::describe(&self.task, &self.labeler, &self.question)
    }
}
