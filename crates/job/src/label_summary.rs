//! What labels come to, all of them or those there are so far.

use crate::LabelRecord;
use rlaif_stats::PositionBias;
use rlaif_types::{OrderScores, UnscorableReason};
use serde::Serialize;
use std::collections::BTreeMap;

/// Labels, summed up; may be added to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelSummary {
    /// Both orders against each other. Its pairs are those that could be judged.
    pub position: PositionBias,
    /// Pairs that could not be judged, by reason.
    pub unscorable: BTreeMap<UnscorableReason, usize>,
    /// Tokens read, both orders together.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
}

impl LabelSummary {
    /// Of all `labels`.
    pub fn of<'a>(labels: impl IntoIterator<Item = &'a LabelRecord>) -> Self {
        let (mut orders, mut unscorable) = (Vec::new(), BTreeMap::new());
        let (mut prompt_tokens, mut completion_tokens) = (0, 0);
        for label in labels {
            if let Some(why) = &label.unscorable {
                *unscorable.entry(why.reason).or_default() += 1;
            }
            let Some(compared) = &label.comparison else { continue };
            let of_order = |order: &OrderScores| order.prefers_first.value();
            orders.push((of_order(&compared.ab), of_order(&compared.ba)));
            for order in [&compared.ab, &compared.ba] {
                prompt_tokens += order.prompt_tokens;
                completion_tokens += order.completion_tokens;
            }
        }
        let position = PositionBias::of(orders);
        Self { position, unscorable, prompt_tokens, completion_tokens }
    }

    /// With further labels.
    pub fn add(&mut self, further: Self) {
        self.position = self.position.and(&further.position);
        for (reason, count) in further.unscorable {
            *self.unscorable.entry(reason).or_default() += count;
        }
        self.prompt_tokens += further.prompt_tokens;
        self.completion_tokens += further.completion_tokens;
    }
}
