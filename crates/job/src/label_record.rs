//! Labels with their provenance.

use rlaif_template::Asking;
use rlaif_types::{Comparison, ContentHash, LabelId, Pair, Unscorable};
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
    pub unscorable: Option<Unscorable>,
    /// Name of the template.
    pub template: String,
    /// Hash of the template.
    pub template_hash: ContentHash,
    /// How it was asked.
    #[serde(default, skip_serializing_if = "Asking::is_plain")]
    pub asking: Asking,
    /// Name of the labeler.
    pub labeler: String,
    /// Hash of the labeler.
    pub labeler_hash: ContentHash,
}
