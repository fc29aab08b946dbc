//! Comparisons: both orders, softmax over the two verdicts, mean of the distributions (paper
//! section 1).

use crate::Error;
use crate::engine::Question;
use crate::judge::{Judge, Verdict};
use rlaif_template::{Kind, Names};
use rlaif_types::{
    Comparison, Judgement, OrderScores, Pair, SoftLabel, Unscorable, UnscorableReason,
};

impl Judge {
    /// Labels each pair. Exchanging a pair's candidates gives exactly one minus its label: the
    /// same prompts are asked, whichever candidate is called A.
    ///
    /// # Errors
    /// When the template is not for comparisons.
    pub fn compare(&self, pairs: &[Pair]) -> Result<Vec<Judgement<Comparison>>, Error> {
        self.expect_kind(&[Kind::Compare], "comparing two responses")?;
        let asked: Vec<Judgement<[Vec<Question>; 2]>> =
            pairs.iter().map(|pair| self.both_orders(pair)).collect();
        let mut verdicts =
            self.ask(asked.iter().flatten().flatten().cloned().collect()).into_iter();
        let mut next = || verdicts.next().expect("one verdict for each order asked");
        let comparisons = asked.iter().map(|asked| {
            asked.as_ref().map_err(Clone::clone)?;
            // Both are taken before either is looked at: a failure must not shift the others.
            let (ab, ba) = (next(), next());
            let (ab, ba) = (self.order_scores(ab?)?, self.order_scores(ba?)?);
            let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
            Ok(Comparison { label, ab, ba })
        });
        Ok(comparisons.collect())
    }

    fn both_orders(&self, pair: &Pair) -> Judgement<[Vec<Question>; 2]> {
        let (context, ending) = (pair.prompt.as_context(), &self.endings[0]);
        let (a, b) = (pair.response_a.as_str(), pair.response_b.as_str());
        Ok([self.questions(&context, &[a, b], ending)?, self.questions(&context, &[b, a], ending)?])
    }

    fn order_scores(&self, verdict: Verdict) -> Judgement<OrderScores> {
        let unscorable = |what| Unscorable::new(UnscorableReason::NoVerdict, what);
        let named_first = SoftLabel::new(verdict.distribution[0]).map_err(unscorable)?;
        let prefers_first = match self.template().names {
            Names::Preferred => named_first,
            Names::Rejected => named_first.swapped(),
        };
        let clamp = self.asking().reasoning.as_ref().and_then(|reasoning| reasoning.clamp);
        Ok(OrderScores {
            verdict_logprobs: [verdict.logprobs[0], verdict.logprobs[1]],
            prefers_first: clamp.map_or(prefers_first, |clamp| prefers_first.clamped(clamp)),
            prompt_tokens: verdict.prompt_tokens,
            completion_tokens: verdict.completion_tokens,
            rationales: verdict.rationales,
        })
    }
}
