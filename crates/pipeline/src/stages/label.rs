//! Labels with their provenance.

use rlaif_judge::{Comparison, Error, Judge};
use rlaif_types::{ContentHash, Judgement, LabelId, Pair};
use serde::{Deserialize, Serialize};

/// One line of `labels.jsonl`: the pair, the verdict, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Identity of the question.
    pub label_id: LabelId,
    /// What was compared.
    pub pair: Pair,
    /// The verdict with both orders' log-probabilities; none where it is unscorable.
    pub comparison: Option<Comparison>,
    /// Why there is none.
    pub unscorable: Option<rlaif_types::Unscorable>,
    /// Name of the template.
    pub template: String,
    /// Hash of the template.
    pub template_hash: ContentHash,
    /// Name of the labeler.
    pub labeler: String,
    /// Hash of the labeler.
    pub labeler_hash: ContentHash,
}

/// Labels pairs in one batch.
///
/// # Errors
/// When the judge's template is not for comparisons.
pub fn label(judge: &Judge, pairs: &[Pair]) -> Result<Vec<LabelRecord>, Error> {
    let comparisons = judge.compare(pairs)?;
    Ok(pairs.iter().zip(comparisons).map(|(pair, c)| record(judge, pair, c)).collect())
}

fn record(judge: &Judge, pair: &Pair, comparison: Judgement<Comparison>) -> LabelRecord {
    let (comparison, unscorable) = match comparison {
        Ok(comparison) => (Some(comparison), None),
        Err(unscorable) => (None, Some(unscorable)),
    };
    LabelRecord {
        label_id: judge.label_id(pair),
        pair: pair.clone(),
        comparison,
        unscorable,
        template: judge.template().name.clone(),
        template_hash: judge.template_hash().clone(),
        labeler: judge.model().info().name.clone(),
        labeler_hash: judge.model().info().hash.clone(),
    }
}
