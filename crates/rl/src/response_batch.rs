//! Prompts with their responses, packed so that each response token's prediction can be found.

use rlaif_models::PackedBatch;
use std::ops::Range;

/// A ragged batch of prompts and responses.
pub struct ResponseBatch {
    /// The tokens to run. A response's last token is predicted, never read, so it is left out.
    pub batch: PackedBatch,
    /// Row that predicts each response token, all sequences in order.
    pub rows: Vec<usize>,
    /// The response tokens.
    pub targets: Vec<u32>,
    /// Each sequence's share of `rows` and `targets`.
    pub spans: Vec<Range<usize>>,
}

impl ResponseBatch {
    /// Packs `(prompt, response)` pairs.
    ///
    /// # Panics
    /// When a prompt or a response is empty.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Self {
        let (mut sequences, mut first_predictor) = (Vec::new(), Vec::new());
        let (mut targets, mut spans) = (Vec::new(), Vec::new());
        for (prompt, response) in pairs {
            assert!(!prompt.is_empty() && !response.is_empty(), "an empty prompt or response");
            sequences.push([prompt, &response[..response.len() - 1]].concat());
            first_predictor.push(prompt.len() - 1);
            spans.push(targets.len()..targets.len() + response.len());
            targets.extend(response);
        }
        let batch = PackedBatch::from_sequences(&sequences);
        let starts = batch.spans().iter().zip(first_predictor).map(|(rows, at)| rows.start + at);
        let rows = starts.zip(&spans).flat_map(|(start, span)| start..start + span.len()).collect();
        Self { batch, rows, targets, spans }
    }

    /// Numbers of all response tokens, by response.
    pub fn split(&self, numbers: &[f32]) -> Vec<Vec<f32>> {
        self.spans.iter().map(|span| numbers[span.clone()].to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_response_token_is_predicted_by_the_token_before_it() {
        let batch = ResponseBatch::new([(&[1, 2, 3][..], &[4, 5][..]), (&[6][..], &[7][..])]);
        // Packed rows: 1 2 3 4 | 6.
        assert_eq!(batch.batch.num_tokens(), 5);
        assert_eq!(batch.rows, [2, 3, 4]);
        assert_eq!(batch.targets, [4, 5, 7]);
        assert_eq!(batch.spans, [0..2, 2..3]);
    }
}
