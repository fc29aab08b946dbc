//! What labelers are asked about, as an estimate sees it.

use anyhow::Result;
use rlaif_clerk::Clerk;
use rlaif_judge::Judge;
use rlaif_types::{ContentHash, Item, Pair};

/// A pair to compare, or a response to rate.
pub trait Question: Clone {
    /// What people call many of them.
    const MANY: &str;

    /// Its identity, asked by `judge`.
    fn id(&self, judge: &Judge) -> ContentHash;
    /// Tokens of each of its prompts; none where it cannot be asked about.
    fn prompt_tokens(&self, judge: &Judge) -> Option<f64>;
    /// Whether it fits the context of the labeler, as far as that is known.
    fn fits(&self, judge: &Judge) -> bool;
    /// What a person would have to read.
    fn texts(&self) -> Vec<String>;
    /// Of which of these the ledger has the answer.
    ///
    /// # Errors
    /// When the ledger fails.
    fn known(clerk: &Clerk, judge: &Judge, questions: &[Self]) -> Result<Vec<bool>>;
    /// Asks about this one.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn ask(&self, clerk: &Clerk, judge: &Judge) -> Result<()>;
}

impl Question for Pair {
    const MANY: &str = "pairs";

    fn id(&self, judge: &Judge) -> ContentHash {
        judge.label_id(self).0
    }

    fn prompt_tokens(&self, judge: &Judge) -> Option<f64> {
        judge.compare_prompt_tokens(self)
    }

    fn fits(&self, judge: &Judge) -> bool {
        judge.pair_fits(self)
    }

    fn texts(&self) -> Vec<String> {
        vec![self.prompt.as_context(), self.response_a.clone(), self.response_b.clone()]
    }

    fn known(clerk: &Clerk, judge: &Judge, pairs: &[Self]) -> Result<Vec<bool>> {
        Ok(clerk.knows_pairs(judge, pairs)?)
    }

    fn ask(&self, clerk: &Clerk, judge: &Judge) -> Result<()> {
        clerk.compare(judge, std::slice::from_ref(self), None)?;
        Ok(())
    }
}

impl Question for Item {
    const MANY: &str = "responses";

    fn id(&self, judge: &Judge) -> ContentHash {
        judge.rating_id(self).0
    }

    fn prompt_tokens(&self, judge: &Judge) -> Option<f64> {
        judge.rate_prompt_tokens(self)
    }

    fn fits(&self, judge: &Judge) -> bool {
        judge.item_fits(self)
    }

    fn texts(&self) -> Vec<String> {
        vec![self.prompt.as_context(), self.response.clone()]
    }

    fn known(clerk: &Clerk, judge: &Judge, items: &[Self]) -> Result<Vec<bool>> {
        Ok(clerk.knows_items(judge, items)?)
    }

    fn ask(&self, clerk: &Clerk, judge: &Judge) -> Result<()> {
        clerk.rate(judge, std::slice::from_ref(self), None)?;
        Ok(())
    }
}
