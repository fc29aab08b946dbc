//! Answers of endpoints to single prompts, in the ledger: each is paid for once, whatever labels are made of it.

use crate::clerk::{lock, usage};
use rlaif_judge::{Effort, Memory, Reading, Recalled};
use rlaif_ledger::{Error, Kept, Ledger, Setup};
use rlaif_types::{ContentHash, Price};
use std::collections::HashMap;
use std::sync::Mutex;

/// The ledger's readings, as a judge remembers by. Without a ledger it remembers nothing.
pub(crate) struct Halves<'a> {
    ledger: Option<&'a Mutex<Ledger>>,
    /// How they are asked for.
    setup: &'a Setup,
    price: Price,
    /// What was recalled and nobody had accounted for. Its cost was counted when it was paid.
    due: HashMap<ContentHash, Effort>,
    failed: Option<Error>,
}

impl<'a> Halves<'a> {
    pub(crate) fn of(ledger: Option<&'a Mutex<Ledger>>, setup: &'a Setup, price: Price) -> Self {
        Self { ledger, setup, price, due: HashMap::new(), failed: None }
    }

    /// What was recalled and nobody had accounted for.
    ///
    /// # Errors
    /// When the ledger has failed meanwhile.
    pub(crate) fn due(self) -> Result<HashMap<ContentHash, Effort>, Error> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.due),
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Ledger) -> Result<T, Error>) -> Option<T> {
        // After a failure nothing more is tried: the caller hears of the first.
        let ledger = self.ledger.filter(|_| self.failed.is_none())?;
        f(&mut lock(ledger)).map_err(|error| self.failed = Some(error)).ok()
    }
}

impl Memory for Halves<'_> {
    fn remembers(&self) -> bool {
        self.ledger.is_some()
    }

    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>> {
        let mut recalled = self.with(|ledger| recall(ledger, ids)).unwrap_or_default();
        recalled.resize(ids.len(), None);
        for (id, recalled) in ids.iter().zip(&recalled) {
            if let Some(recalled) = recalled.as_ref().filter(|recalled| !recalled.accounted) {
                self.due.insert(id.clone(), recalled.took);
            }
        }
        recalled
    }

    fn keep(&mut self, answers: &[(ContentHash, &Reading, Effort)]) {
        let (setup, price) = (self.setup, self.price);
        let kept: Vec<(ContentHash, Kept)> = answers
            .iter()
            .map(|(id, reading, effort)| (id.clone(), kept(reading, effort, &price)))
            .collect();
        self.with(|ledger| ledger.keep(setup, &kept));
    }
}

/// The answers that `ledger` has, in the order of `ids`.
///
/// # Errors
/// When the ledger cannot be read.
pub(crate) fn recall(ledger: &Ledger, ids: &[ContentHash]) -> Result<Vec<Option<Recalled>>, Error> {
    let kept = ledger.recall(ids)?.into_iter();
    Ok(kept.map(|kept| kept.and_then(recalled)).collect())
}

fn kept(reading: &Reading, effort: &Effort, price: &Price) -> Kept {
    // JSON has no infinity.
    let verdict_logprobs = reading.verdict_logprobs.iter().map(|l| l.max(f64::MIN)).collect();
    let finite = Reading { verdict_logprobs, ..reading.clone() };
    let usage = usage(*effort, 0);
    Kept {
        reading: serde_json::to_string(&finite).expect("a reading is plain data"),
        usage,
        cost: price.cost(&usage),
        attempts: effort.attempts,
        accounted: false,
    }
}

/// None where it is of another version, which then is asked anew.
fn recalled(kept: Kept) -> Option<Recalled> {
    let mut reading: Reading = serde_json::from_str(&kept.reading).ok()?;
    for logprob in &mut reading.verdict_logprobs {
        if *logprob == f64::MIN {
            *logprob = f64::NEG_INFINITY;
        }
    }
    let count = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
    let took = Effort {
        prompt_tokens: count(kept.usage.prompt_tokens),
        cached_tokens: count(kept.usage.cached_tokens),
        completion_tokens: count(kept.usage.completion_tokens),
        attempts: kept.attempts,
    };
    if (reading.prompt_tokens, reading.completion_tokens) == (0, 0) {
        // The oldest do not say it themselves.
        reading.prompt_tokens = took.prompt_tokens;
        reading.completion_tokens = took.completion_tokens;
    }
    Some(Recalled { reading, took, accounted: kept.accounted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Money;

    #[test]
    fn an_answer_comes_back_to_the_bit_with_what_is_due_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Mutex::new(Ledger::open(folder.path().join("l.sqlite")).unwrap());
        let setup = Setup {
            template: "t".into(),
            template_hash: ContentHash::of("t"),
            model: "m".into(),
            model_hash: ContentHash::of("m"),
            engine: "https://example.com/v1".into(),
            options: serde_json::json!({}),
        };
        let price = Price { input: Money::from_picodollars(3), ..Price::default() };
        let mut halves = Halves::of(Some(&ledger), &setup, price);
        let reading = Reading {
            verdict_logprobs: vec![
                -0.1 - 1e-17,
                f64::NEG_INFINITY,
                f64::from_bits(0xbff0_0000_0000_0001),
            ],
            rationale: Some("since\n\"it\" is".into()),
            prompt_tokens: 5,
            completion_tokens: 2,
        };
        let took = Effort { prompt_tokens: 7, cached_tokens: 0, completion_tokens: 3, attempts: 4 };
        let [known, unknown] = ["known", "unknown"].map(ContentHash::of);
        halves.keep(&[(known.clone(), &reading, took)]);
        let recalled = halves.recall(&[unknown.clone(), known.clone()]);
        assert_eq!(recalled, [None, Some(Recalled { reading, took, accounted: false })]);
        assert_eq!(halves.due().unwrap(), HashMap::from([(known.clone(), took)]));
        let [spent] = &lock(&ledger).reader().spent().unwrap()[..] else { panic!("one setup") };
        assert_eq!((spent.unsettled, spent.cost), (1, Money::from_picodollars(21)));
        assert_eq!(Halves::of(None, &setup, price).recall(&[known]), [None]);
    }
}
