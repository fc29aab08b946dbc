//! Answers of endpoints between their coming and their question's label, in the ledger.

use crate::clerk::{lock, usage};
use rlaif_judge::{Accounted, Effort, Memory, Reading};
use rlaif_ledger::{Error, Kept, Ledger};
use rlaif_types::ContentHash;
use std::sync::Mutex;

/// The ledger's readings, as a judge remembers by. Without a ledger it remembers nothing.
pub(crate) struct Halves<'a> {
    ledger: Option<&'a Mutex<Ledger>>,
    failed: Option<Error>,
}

impl<'a> Halves<'a> {
    pub(crate) fn of(ledger: Option<&'a Mutex<Ledger>>) -> Self {
        Self { ledger, failed: None }
    }

    /// # Errors
    /// When the ledger has failed meanwhile.
    pub(crate) fn check(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
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

    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Accounted<Reading>>> {
        let kept = self.with(|ledger| ledger.recall(ids)).unwrap_or_default();
        let mut recalled: Vec<_> = kept.into_iter().map(|kept| kept.and_then(answer)).collect();
        recalled.resize(ids.len(), None);
        recalled
    }

    fn keep(&mut self, answers: &[(ContentHash, &Reading, Effort)]) {
        let kept: Vec<(ContentHash, Kept)> = answers
            .iter()
            .map(|(id, reading, effort)| (id.clone(), kept(reading, effort)))
            .collect();
        self.with(|ledger| ledger.keep(&kept));
    }
}

fn kept(reading: &Reading, effort: &Effort) -> Kept {
    // JSON has no infinity.
    let verdict_logprobs = reading.verdict_logprobs.iter().map(|l| l.max(f64::MIN)).collect();
    let finite = Reading { verdict_logprobs, ..reading.clone() };
    Kept {
        reading: serde_json::to_string(&finite).expect("a reading is plain data"),
        usage: usage(*effort, 0),
        attempts: effort.attempts,
        accounted: false,
    }
}

/// None where it is of another version, which then is asked anew.
fn answer(kept: Kept) -> Option<Accounted<Reading>> {
    let mut reading: Reading = serde_json::from_str(&kept.reading).ok()?;
    for logprob in &mut reading.verdict_logprobs {
        if *logprob == f64::MIN {
            *logprob = f64::NEG_INFINITY;
        }
    }
    let count = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
    let effort = match kept.accounted {
        true => Effort::default(),
        false => Effort {
            prompt_tokens: count(kept.usage.prompt_tokens),
            cached_tokens: count(kept.usage.cached_tokens),
            completion_tokens: count(kept.usage.completion_tokens),
            attempts: kept.attempts,
        },
    };
    Some(Accounted { outcome: Ok(reading), effort })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_to_the_bit_and_is_accounted_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Mutex::new(Ledger::open(folder.path().join("l.sqlite")).unwrap());
        let mut halves = Halves::of(Some(&ledger));
        let reading = Reading {
            verdict_logprobs: vec![
                -0.1 - 1e-17,
                f64::NEG_INFINITY,
                f64::from_bits(0xbff0_0000_0000_0001),
            ],
            rationale: Some("since\n\"it\" is".into()),
        };
        let effort =
            Effort { prompt_tokens: 7, cached_tokens: 2, completion_tokens: 3, attempts: 4 };
        let [known, unknown] = ["known", "unknown"].map(ContentHash::of);
        halves.keep(&[(known.clone(), &reading, effort)]);
        let recalled = halves.recall(&[unknown.clone(), known.clone()]);
        assert_eq!(recalled, [None, Some(Accounted { outcome: Ok(reading), effort })]);
        assert_eq!(Halves::of(None).recall(&[known]), [None]);
        halves.check().unwrap();
    }
}
