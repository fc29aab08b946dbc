//! Comparisons: both orders, softmax over the two verdicts, mean of the distributions (paper
//! section 1).

use crate::judge::Judge;
use crate::verdict::normalise;
use crate::{Error, Kind, Names};
use rlaif_types::{
    Comparison, Judgement, OrderScores, Pair, SoftLabel, Unscorable, UnscorableReason,
};

impl Judge {
    /// Labels each pair. Exchanging a pair's candidates gives exactly one minus its label: the
    /// same two prompts are asked, whichever candidate is called A.
    ///
    /// # Errors
    /// When the template is not for comparisons.
    pub fn compare(&self, pairs: &[Pair]) -> Result<Vec<Judgement<Comparison>>, Error> {
        self.expect_kind(&[Kind::Compare], "comparing two responses")?;
        let ending = &self.endings[0];
        let rendered: Vec<Judgement<[Vec<u32>; 2]>> = pairs
            .iter()
            .map(|pair| {
                let context = pair.prompt.as_context();
                let (a, b) = (pair.response_a.as_str(), pair.response_b.as_str());
                Ok([
                    self.render(&context, &[a, b], ending)?,
                    self.render(&context, &[b, a], ending)?,
                ])
            })
            .collect();
        let prompts: Vec<_> = rendered
            .iter()
            .flatten()
            .flatten()
            .map(|tokens| (tokens.as_slice(), &ending.verdicts))
            .collect();
        let mut answers = self.ask(&prompts).into_iter();
        let mut next = || answers.next().expect("one answer for each prompt asked");
        let comparisons = rendered.iter().map(|rendered| {
            let [ab_tokens, ba_tokens] = rendered.as_ref().map_err(Clone::clone)?;
            // Both are taken before either is looked at: a failure must not shift the others.
            let (ab, ba) = (next(), next());
            let ab = self.order_scores(&ab?, ab_tokens.len())?;
            let ba = self.order_scores(&ba?, ba_tokens.len())?;
            let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
            Ok(Comparison { label, ab, ba })
        });
        Ok(comparisons.collect())
    }

    fn order_scores(&self, logprobs: &[f64], prompt_tokens: usize) -> Judgement<OrderScores> {
        let unscorable = |what| Unscorable::new(UnscorableReason::NoVerdict, what);
        let probabilities = normalise(logprobs).map_err(unscorable)?;
        let named_first = SoftLabel::new(probabilities[0]).map_err(unscorable)?;
        let prefers_first = match self.template().names {
            Names::Preferred => named_first,
            Names::Rejected => named_first.swapped(),
        };
        // JSON has no infinity; a verdict that cannot happen is as unlikely as f64 can say.
        let verdict_logprobs = [logprobs[0].max(f64::MIN), logprobs[1].max(f64::MIN)];
        Ok(OrderScores { verdict_logprobs, prefers_first, prompt_tokens })
    }
}
