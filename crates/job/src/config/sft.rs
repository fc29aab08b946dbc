//! `[sft]`: fine-tuning before everything else.

use super::is_default;
use rlaif_types::{OptimizerConfig, Problems};
use serde::{Deserialize, Serialize};

/// Supervised fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Whose answers are learned: those of `data.demonstrations` (`data`), or the labeler's own to
    /// `data.prompts` (`labeler`).
    #[serde(skip_serializing_if = "is_default")]
    pub by: DemonstratedBy,
    /// Passes over the demonstrations.
    pub epochs: usize,
    /// Demonstrations in a step.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
}

impl Default for SftConfig {
    fn default() -> Self {
        let (by, optimizer) = (DemonstratedBy::default(), OptimizerConfig::default());
        Self { by, epochs: 1, batch_size: 128, optimizer }
    }
}

impl SftConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("batch_size", self.batch_size);
        problems.section("optimizer", self.optimizer.problems());
        problems
    }
}

/// Whose answers are learned in fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemonstratedBy {
    /// Those of a file.
    #[default]
    Data,
    /// The labeler's own: the control that a policy trained on its judgement has to beat.
    Labeler,
}
