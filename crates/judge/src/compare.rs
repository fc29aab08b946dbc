//! Comparisons: both orders, softmax over the two verdicts, mean of the distributions (paper
//! section 1).

use crate::Error;
use crate::engine::{Accounted, Effort};
use crate::judge::{Groups, Judge, Verdict, no_verdict};
use crate::memory::{Forgetful, Keys, Memory};
use crate::verdict::normalise;
use rlaif_template::{Kind, Names};
use rlaif_types::{Comparison, Judgement, OrderScores, Pair, SoftLabel};

impl Judge {
    /// Labels each pair. Exchanging a pair's candidates gives exactly one minus its label: the
    /// same prompts are asked, whichever candidate is called A.
    ///
    /// # Errors
    /// When the template is not for comparisons.
    pub fn compare(&self, pairs: &[Pair]) -> Result<Vec<Judgement<Comparison>>, Error> {
        Ok(self
            .compare_accounted(pairs, &mut Forgetful)?
            .into_iter()
            .map(|said| said.outcome)
            .collect())
    }

    /// [`Judge::compare`] with what each label took, or the attempt at it. Answers in `memory` are not asked
    /// for again.
    ///
    /// # Errors
    /// When the template is not for comparisons.
    pub fn compare_accounted(
        &self,
        pairs: &[Pair],
        memory: &mut dyn Memory,
    ) -> Result<Vec<Accounted<Comparison>>, Error> {
        self.expect_kind(&[Kind::Compare], "comparing two responses")?;
        let asked = pairs.iter().map(|pair| self.both_orders(pair)).collect();
        let verdicts = self.ask(asked, memory).into_iter();
        Ok(verdicts.map(|said| said.and_then(|both| self.comparison(both))).collect())
    }

    /// The most that one label can take; what a budget has to set aside.
    pub fn compare_at_most(&self, pair: &Pair) -> Effort {
        self.at_most(&self.both_orders(pair))
    }

    /// What a [`Memory`] keeps the answers about a pair by; nothing where it cannot be asked about.
    pub fn compare_keys(&self, pair: &Pair) -> Vec<Keys> {
        self.keys(&self.both_orders(pair))
    }

    /// Tokens of a pair's prompt, mean of both orders; none where it cannot be asked about.
    pub fn compare_prompt_tokens(&self, pair: &Pair) -> Option<f64> {
        self.mean_prompt_tokens(&self.both_orders(pair))
    }

    /// Whether a pair and its answer fit the labeler's context, in both orders; taken for granted where its length is
    /// not known.
    pub fn pair_fits(&self, pair: &Pair) -> bool {
        self.fits(&self.both_orders(pair))
    }

    fn both_orders(&self, pair: &Pair) -> Judgement<Groups> {
        let (context, ending) = (pair.prompt.as_context(), &self.endings[0]);
        let (a, b) = (pair.response_a.as_str(), pair.response_b.as_str());
        let orders = [[a, b], [b, a]];
        orders.iter().map(|order| self.questions(&context, order, ending)).collect()
    }

    fn comparison(&self, both: Vec<Verdict>) -> Judgement<Comparison> {
        let [ab, ba] = <[Verdict; 2]>::try_from(both).expect("one verdict for each order");
        let (ab, ba) = (self.order_scores(ab)?, self.order_scores(ba)?);
        let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
        Ok(Comparison { label, ab, ba })
    }

    fn order_scores(&self, verdict: Verdict) -> Judgement<OrderScores> {
        let mut rationales = verdict.rationales;
        for rationale in &mut rationales {
            let named = normalise(&rationale.verdict_logprobs).map_err(no_verdict)?;
            rationale.prefers_first = Some(self.prefers_first(named[0])?);
        }
        Ok(OrderScores {
            verdict_logprobs: [verdict.logprobs[0], verdict.logprobs[1]],
            prefers_first: self.prefers_first(verdict.distribution[0])?,
            prompt_tokens: verdict.tokens[0],
            completion_tokens: verdict.tokens[1],
            rationales,
        })
    }

    /// From the probability that the response shown first is named: polarity and clamp applied.
    fn prefers_first(&self, named_first: f64) -> Judgement<SoftLabel> {
        let named_first = SoftLabel::new(named_first).map_err(no_verdict)?;
        let prefers_first = match self.template().names {
            Names::Preferred => named_first,
            Names::Rejected => named_first.swapped(),
        };
        let clamp = self.asking().reasoning.as_ref().and_then(|reasoning| reasoning.clamp);
        Ok(clamp.map_or(prefers_first, |clamp| prefers_first.clamped(clamp)))
    }
}
