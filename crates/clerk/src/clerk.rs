//! The clerk itself.

use crate::accounts::{Account, Error, Reuse};
use crate::halves::{self, Halves};
use crate::in_flight::InFlight;
use crate::kind::{Comparisons, Kind, Ratings};
use rlaif_judge::{Accounted, Effort, Judge, Keys};
use rlaif_ledger::{Entry, Ledger, Meter, Refused, Reservation, Setup, Spending};
use rlaif_types::{
    Comparison, ContentHash, Distinct, Item, Judgement, LabelId, Pair, Price, Prices, Rating,
    Spend, UnscorableReason, Usage,
};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Asks judges on account. Several threads may ask at a time. The default keeps no ledger and no ceiling.
#[derive(Default)]
pub struct Clerk {
    ledger: Option<Mutex<Ledger>>,
    in_flight: InFlight,
    account: Account,
    meter: Meter,
}

/// Answers to a batch of questions; none to those that were not begun.
#[derive(Debug)]
pub struct Asked<T> {
    /// In the questions' order.
    pub answers: Vec<Option<Judgement<T>>>,
    /// What they took, failures included; what the ledger knew took nothing.
    pub effort: Effort,
    /// Why some were not begun.
    pub refused: Option<Refused>,
}

/// A judge, and what its answers cost.
struct Asking<'a> {
    judge: &'a Judge,
    setup: Setup,
    price: Price,
    trace_id: Option<&'a str>,
}

impl Clerk {
    /// # Errors
    /// When the ledger cannot be opened.
    pub fn new(account: Account) -> Result<Self, Error> {
        let ledger = account.ledger.as_ref().map(Ledger::open).transpose()?;
        let before = ledger.as_ref().map(|ledger| ledger.reader().spent()).transpose()?;
        let before = before.map(|spent| Spending::total(&spent)).unwrap_or_default();
        let meter = Meter::new(account.ceiling, before);
        Ok(Self { ledger: ledger.map(Mutex::new), in_flight: InFlight::default(), account, meter })
    }

    /// What was spent, by earlier askers too where a ledger remembers them.
    pub fn spent(&self) -> Spend {
        self.meter.spent()
    }

    /// The prices that count.
    pub fn prices(&self) -> &Prices {
        &self.account.prices
    }

    /// Labels pairs, as [`Judge::compare`]. The ledger notes `trace_id`.
    ///
    /// # Errors
    /// When the judge is for something else, the ledger fails, or a ceiling has no price to keep it by.
    pub fn compare(
        &self,
        judge: &Judge,
        pairs: &[Pair],
        trace_id: Option<&str>,
    ) -> Result<Asked<Comparison>, Error> {
        self.ask::<Comparisons>(judge, pairs, trace_id)
    }

    /// Rates items, as [`Judge::rate`]. The ledger notes `trace_id`.
    ///
    /// # Errors
    /// As [`Clerk::compare`].
    pub fn rate(
        &self,
        judge: &Judge,
        items: &[Item],
        trace_id: Option<&str>,
    ) -> Result<Asked<Rating>, Error> {
        self.ask::<Ratings>(judge, items, trace_id)
    }

    /// Asks the judge's labeler whether it is there, as [`Judge::check_presence`]. What that takes counts below the
    /// ceiling and in the ledger, as a check: nothing on record answers it, and it makes no label.
    ///
    /// # Errors
    /// As [`Clerk::compare`].
    pub fn check_presence(&self, judge: &Judge) -> Result<Asked<()>, Error> {
        let price = self.price(judge)?;
        let worst = Spend::of(&price, &usage(judge.presence_at_most(), 0));
        let reservation = match self.meter.reserve(worst) {
            Ok(reservation) => reservation,
            Err(refused) => {
                let effort = Effort::default();
                return Ok(Asked { answers: vec![None], effort, refused: Some(refused) });
            }
        };
        let Accounted { outcome, effort } = judge.check_presence();
        let usage = usage(effort, 0);
        reservation.settle(Spend::of(&price, &usage));
        if let Some(mut ledger) = self.ledger() {
            ledger.record_check(&setup(judge), &usage, price.cost(&usage), now_ms())?;
        }
        Ok(Asked { answers: vec![Some(outcome)], effort, refused: None })
    }

    /// Of which of these pairs the ledger has the label, or all the answers to make it of.
    ///
    /// # Errors
    /// When the ledger fails.
    pub fn knows_pairs(&self, judge: &Judge, pairs: &[Pair]) -> Result<Vec<bool>, Error> {
        self.knows::<Comparisons>(judge, pairs)
    }

    /// Of which of these items the ledger has the rating, or all the answers to make it of.
    ///
    /// # Errors
    /// When the ledger fails.
    pub fn knows_items(&self, judge: &Judge, items: &[Item]) -> Result<Vec<bool>, Error> {
        self.knows::<Ratings>(judge, items)
    }

    fn knows<K: Kind>(&self, judge: &Judge, about: &[K::About]) -> Result<Vec<bool>, Error> {
        let ids: Vec<LabelId> = about.iter().map(|about| K::id(judge, about)).collect();
        let known = self.known::<K>(&ids)?;
        let questions = ids.iter().zip(about);
        questions
            .map(|(id, about)| Ok(known.contains_key(id) || self.has_answers::<K>(judge, about)?))
            .collect()
    }

    /// Without a table, endpoints cost tokens alone.
    ///
    /// # Errors
    /// When the table has no price for the judge.
    pub fn price(&self, judge: &Judge) -> Result<Price, Error> {
        let (labeler, prices) = (judge.labeler(), &self.account.prices);
        match prices.of(&labeler.place, &labeler.name) {
            Ok(price) => Ok(price),
            Err(_) if prices.is_empty() => Ok(Price::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn ask<K: Kind>(
        &self,
        judge: &Judge,
        about: &[K::About],
        trace_id: Option<&str>,
    ) -> Result<Asked<K::Said>, Error> {
        let asking = Asking { judge, setup: setup(judge), price: self.price(judge)?, trace_id };
        let ids: Vec<LabelId> = about.iter().map(|about| K::id(judge, about)).collect();
        let reuses = match self.account.reuse {
            Reuse::All => true,
            Reuse::Endpoints => !judge.labeler().is_local(),
        };
        if !reuses {
            return self.ask_each::<K>(&asking, &ids, about, vec![None; about.len()]);
        }
        // The same question is asked once, whoever asks it a second time meanwhile.
        let _claim = self.in_flight.claim(&ids);
        let distinct = Distinct::of(&ids);
        let mut known = self.known::<K>(&ids)?;
        let firsts = distinct.firsts().iter();
        let (about, answers): (Vec<_>, Vec<_>) =
            firsts.map(|first| (about[*first].clone(), known.remove(&ids[*first]).map(Ok))).unzip();
        let ids: Vec<LabelId> = distinct.firsts().iter().map(|first| ids[*first].clone()).collect();
        let asked = self.ask_each::<K>(&asking, &ids, &about, answers)?;
        Ok(Asked { answers: distinct.spread(&asked.answers), ..asked })
    }

    /// Asks what has no answer yet, as much as the ceiling allows.
    fn ask_each<K: Kind>(
        &self,
        asking: &Asking<'_>,
        ids: &[LabelId],
        about: &[K::About],
        mut answers: Vec<Option<Judgement<K::Said>>>,
    ) -> Result<Asked<K::Said>, Error> {
        let mut unknown: Vec<usize> =
            (0..answers.len()).filter(|i| answers[*i].is_none()).collect();
        let (mut effort, mut refused) = (Effort::default(), None);
        while !unknown.is_empty() && refused.is_none() {
            let questions = unknown.iter().map(|i| &about[*i]);
            let (reserved, refusal) = self.reserve::<K>(asking, questions)?;
            // What is in flight may turn out cheaper than its worst case.
            refused = refusal.filter(|refusal| reserved.is_empty() || !refusal.may_fit_later());
            let begun: Vec<usize> = unknown.drain(..reserved.len()).collect();
            if begun.is_empty() {
                break;
            }
            let questions: Vec<K::About> = begun.iter().map(|i| about[*i].clone()).collect();
            let started = Instant::now();
            // Only what an endpoint was paid for is worth more than asking again.
            let is_local = asking.judge.labeler().is_local();
            let kept = self.ledger.as_ref().filter(|_| !is_local);
            let mut halves = Halves::of(kept, &asking.setup, asking.price);
            let said = K::ask(asking.judge, &questions, &mut halves)?;
            let mut due = halves.due()?;
            let latency_ms = started.elapsed().as_millis() as u64;
            // A batch is asked at once: each question has its share of the device.
            let device_ms = if is_local { latency_ms / begun.len() as u64 } else { 0 };
            let (mut entries, mut readings) = (Vec::new(), Vec::new());
            for (((i, question), said), reservation) in
                begun.iter().zip(&questions).zip(said).zip(reserved)
            {
                effort += said.effort;
                let keys = match kept {
                    Some(_) => K::keys(asking.judge, question),
                    None => Vec::new(),
                };
                let made_of: Vec<ContentHash> = keys.into_iter().flat_map(Keys::all).collect();
                // The meter has what was recalled since it was paid, or since the ledger was opened.
                let mut recalled = Effort::default();
                for took in made_of.iter().filter_map(|id| due.remove(id)) {
                    recalled += took;
                }
                let fresh = usage(said.effort.without(recalled), device_ms);
                reservation.settle(Spend::of(&asking.price, &fresh));
                answers[*i] = Some(said.outcome.clone());
                // What a refusal left unasked is no failure of anybody.
                let is_unasked = said.effort.attempts == 0
                    && said
                        .outcome
                        .as_ref()
                        .is_err_and(|why| why.reason == UnscorableReason::EngineRefused);
                if self.ledger.is_some() && !is_unasked {
                    let (label_id, question) = (ids[*i].clone(), K::question(question));
                    let usage = usage(said.effort, device_ms);
                    let outcome = said.outcome.map(K::answer);
                    let said = Accounted { outcome, effort: said.effort };
                    entries.push(self.entry(asking, label_id, question, said, usage, latency_ms));
                    readings.push(made_of);
                }
            }
            if let Some(mut ledger) = self.ledger() {
                ledger.record_with(&entries, &readings)?;
            }
        }
        Ok(Asked { answers, effort, refused })
    }

    /// Sets the worst cases of the first questions aside, up to one that could pass the ceiling.
    ///
    /// # Errors
    /// When the ledger fails.
    fn reserve<'a, K: Kind>(
        &self,
        asking: &Asking<'_>,
        questions: impl Iterator<Item = &'a K::About>,
    ) -> Result<(Vec<Reservation>, Option<Refused>), Error>
    where
        K::About: 'a,
    {
        let is_bounded = !self.account.ceiling.is_none();
        let mut reserved = Vec::new();
        for about in questions {
            // Its prompts are made for it, which without a ceiling would be in vain.
            let is_free = !is_bounded || self.has_answers::<K>(asking.judge, about)?;
            let worst = match is_free {
                false => Spend::of(&asking.price, &usage(K::at_most(asking.judge, about), 0)),
                true => Spend::default(),
            };
            match self.meter.reserve(worst) {
                Ok(reservation) => reserved.push(reservation),
                Err(refused) => return Ok((reserved, Some(refused))),
            }
        }
        Ok((reserved, None))
    }

    /// Whether the ledger has all the answers that the question needs, so that asking it takes nothing.
    fn has_answers<K: Kind>(&self, judge: &Judge, about: &K::About) -> Result<bool, Error> {
        let is_local = judge.labeler().is_local();
        let Some(ledger) = self.ledger.as_ref().filter(|_| !is_local) else { return Ok(false) };
        let ids: Vec<ContentHash> =
            K::keys(judge, about).into_iter().map(|keys| keys.answer).collect();
        let known = halves::recall(&lock(ledger), &ids)?;
        Ok(!known.is_empty() && known.iter().all(Option::is_some))
    }

    fn entry(
        &self,
        asking: &Asking<'_>,
        label_id: LabelId,
        question: rlaif_ledger::Question,
        said: Accounted<rlaif_ledger::Answer>,
        usage: Usage,
        latency_ms: u64,
    ) -> Entry {
        Entry {
            label_id,
            question,
            outcome: said.outcome,
            setup: asking.setup.clone(),
            cost: asking.price.cost(&usage),
            usage,
            latency_ms,
            attempts: said.effort.attempts,
            worker: self.account.worker.clone(),
            trace_id: asking.trace_id.map(str::to_owned),
            created_at_ms: now_ms(),
        }
    }

    /// What the ledger knows; failures are asked again.
    fn known<K: Kind>(&self, ids: &[LabelId]) -> Result<HashMap<LabelId, K::Said>, Error> {
        let Some(ledger) = self.ledger() else { return Ok(HashMap::new()) };
        let found = ledger.reader().find(ids)?;
        let label = |(id, entry): (LabelId, Entry)| Some((id, K::said(entry.outcome.ok()?)?));
        Ok(found.into_iter().filter_map(label).collect())
    }

    pub(crate) fn ledger(&self) -> Option<MutexGuard<'_, Ledger>> {
        self.ledger.as_ref().map(lock)
    }
}

/// A ledger is whole between calls, so one that a panic left locked is taken over.
pub(crate) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setup(judge: &Judge) -> Setup {
    Setup {
        template: judge.template().name.clone(),
        template_hash: judge.template_hash().clone(),
        model: judge.labeler().name.clone(),
        model_hash: judge.labeler().hash.clone(),
        engine: judge.labeler().place.clone(),
        options: judge.asking().options(),
    }
}

pub(crate) fn usage(effort: Effort, device_ms: u64) -> Usage {
    Usage {
        prompt_tokens: effort.prompt_tokens as u64,
        cached_tokens: effort.cached_tokens as u64,
        completion_tokens: effort.completion_tokens as u64,
        device_ms,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
