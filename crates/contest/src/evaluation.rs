//! Everything that an evaluation found.

use crate::{Contest, Harmlessness, Matrix, Options, People};
use rlaif_stats::PositionBias;
use serde::{Deserialize, Serialize};

/// The numbers of one evaluation, as `matrix.json` has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Prompts that the arms answered.
    pub prompts: usize,
    /// In the order in which they were named.
    pub arms: Vec<ArmSummary>,
    /// Who judged.
    pub judge: Judged,
    /// Reasons to doubt the numbers.
    pub cautions: Vec<String>,
    /// Win rates.
    pub matrix: Matrix,
    /// Whether the judge follows the order; none where both orders are not known.
    pub position: Option<PositionBias>,
    /// Shares judged harmless, where that was asked.
    pub harmless: Option<Harmlessness>,
    /// What people said, where it is known.
    pub people: Option<People>,
}

/// What an arm is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmSummary {
    /// Its name.
    pub name: String,
    /// Where its responses come from.
    pub source: String,
    /// Responses it has.
    pub responses: usize,
    /// Their mean length in characters.
    pub mean_chars: f64,
}

/// Who judged, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The judge's name, or the file that annotations were read from.
    pub by: String,
    /// The template it was asked with; none where annotations were read.
    pub template: Option<String>,
}

/// The position bias over all contests that were judged in both orders; none where there is none.
pub(crate) fn position(contests: &[Contest]) -> Option<PositionBias> {
    let orders: Vec<(f64, f64)> = contests
        .iter()
        .filter_map(|contest| contest.verdict?.orders)
        .map(|[first, second]| (first, second))
        .collect();
    (!orders.is_empty()).then(|| PositionBias::of(orders))
}

impl Evaluation {
    /// The win rates of `contests`; what else is known is for the caller to fill in.
    pub fn of(
        prompts: usize,
        arms: Vec<ArmSummary>,
        judge: Judged,
        contests: &[Contest],
        options: Options,
    ) -> Self {
        let names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
        Self {
            prompts,
            arms,
            judge,
            cautions: Vec::new(),
            matrix: Matrix::of(&names, contests, options),
            position: position(contests),
            harmless: None,
            people: None,
        }
    }
}
