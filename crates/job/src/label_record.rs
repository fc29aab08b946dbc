//! Labels with their provenance.

use crate::SampledPair;
use rlaif_template::Asking;
use rlaif_types::{Comparison, ContentHash, Finish, LabelId, Pair, Unscorable};
use serde::{Deserialize, Serialize};

/// One line of `labels.jsonl`: the pair, the verdict, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Identity of the question.
    pub label_id: LabelId,
    /// What was compared.
    pub pair: Pair,
    /// How response A ended. Labelers are not told; the job adds it to what they answer.
    #[serde(default, skip_serializing_if = "Finish::is_stop")]
    pub finish_a: Finish,
    /// How response B ended.
    #[serde(default, skip_serializing_if = "Finish::is_stop")]
    pub finish_b: Finish,
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

/// Says of the labels of these pairs, which stand in the same order, how the responses ended.
pub(crate) fn add_finishes(labels: &mut [LabelRecord], pairs: &[SampledPair]) {
    for (label, sampled) in labels.iter_mut().zip(pairs) {
        (label.finish_a, label.finish_b) = (sampled.finish_a, sampled.finish_b);
    }
}
