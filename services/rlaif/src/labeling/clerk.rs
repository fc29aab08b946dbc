//! Keeps the ledger while labelers are asked: what it knows is not asked again, what is asked is in it
//! before it counts, and nothing is begun that could pass the ceiling.

use anyhow::{Context, Result};
use clap::Args;
use rlaif_judge::{Accounted, Effort, Judge};
use rlaif_ledger::{
    Answer, Ceiling, Distinct, Entry, Ledger, Meter, Money, Price, Prices, Question, Refused,
    Reservation, Setup, Spend, Usage,
};
use rlaif_types::{Comparison, Item, Judgement, LabelId, Pair, Rating};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Args)]
#[command(next_help_heading = "Ledger and budget")]
pub struct ClerkArgs {
    /// A file that keeps every label with its provenance and cost: what it holds is not asked again.
    /// See `rlaif labels`.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Prices of endpoints' tokens, a .toml file; see docs/labeling.md.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Stop before more money than this is spent, by all runs with this ledger together.
    #[arg(long, value_name = "AMOUNT", requires = "prices")]
    max_cost: Option<String>,
    /// Stop before more tokens than this are read and written, by all runs with this ledger together.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
}

impl ClerkArgs {
    /// Whether anybody wants to know what was spent.
    pub fn keeps_account(&self) -> bool {
        self.ledger.is_some() || self.max_cost.is_some() || self.max_tokens.is_some()
    }
}

/// The ledger and the meter of a run.
pub struct Clerk {
    ledger: Option<Ledger>,
    prices: Prices,
    meter: Meter,
    /// Whether there is a ceiling to stay below.
    is_bounded: bool,
}

/// Answers to a batch of questions; none to those that were not begun.
pub struct Asked<T> {
    /// In the questions' order.
    pub answers: Vec<Option<Judgement<T>>>,
    /// Why some were not begun.
    pub refused: Option<Refused>,
}

/// A kind of question, as the clerk needs it.
trait Kind {
    type About: Clone;
    type Said: Clone;

    fn id(judge: &Judge, about: &Self::About) -> LabelId;
    fn question(about: &Self::About) -> Question;
    fn at_most(judge: &Judge, about: &Self::About) -> Effort;
    fn ask(judge: &Judge, about: &[Self::About]) -> Result<Vec<Accounted<Self::Said>>>;
    fn answer(said: Self::Said) -> Answer;
    fn said(answer: Answer) -> Option<Self::Said>;
}

struct Comparisons;

impl Kind for Comparisons {
    type About = Pair;
    type Said = Comparison;

    fn id(judge: &Judge, pair: &Pair) -> LabelId {
        judge.label_id(pair)
    }

    fn question(pair: &Pair) -> Question {
        Question::Compare(pair.clone())
    }

    fn at_most(judge: &Judge, pair: &Pair) -> Effort {
        judge.compare_at_most(pair)
    }

    fn ask(judge: &Judge, pairs: &[Pair]) -> Result<Vec<Accounted<Comparison>>> {
        Ok(judge.compare_accounted(pairs)?)
    }

    fn answer(said: Comparison) -> Answer {
        Answer::Comparison(said)
    }

    fn said(answer: Answer) -> Option<Comparison> {
        match answer {
            Answer::Comparison(said) => Some(said),
            Answer::Rating(_) => None,
        }
    }
}

struct Ratings;

impl Kind for Ratings {
    type About = Item;
    type Said = Rating;

    fn id(judge: &Judge, item: &Item) -> LabelId {
        judge.rating_id(item)
    }

    fn question(item: &Item) -> Question {
        Question::Rate(item.clone())
    }

    fn at_most(judge: &Judge, item: &Item) -> Effort {
        judge.rate_at_most(item)
    }

    fn ask(judge: &Judge, items: &[Item]) -> Result<Vec<Accounted<Rating>>> {
        Ok(judge.rate_accounted(items)?)
    }

    fn answer(said: Rating) -> Answer {
        Answer::Rating(said)
    }

    fn said(answer: Answer) -> Option<Rating> {
        match answer {
            Answer::Rating(said) => Some(said),
            Answer::Comparison(_) => None,
        }
    }
}

impl Clerk {
    /// # Errors
    /// When the ledger cannot be opened, or prices or amounts cannot be read.
    pub fn new(args: &ClerkArgs) -> Result<Self> {
        let ledger = args.ledger.as_ref().map(Ledger::open).transpose()?;
        let prices = match &args.prices {
            Some(path) => {
                let shown = path.display();
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
                Prices::parse(&text).with_context(|| format!("{shown}"))?
            }
            None => Prices::default(),
        };
        let max_cost = args.max_cost.as_deref().map(Money::parse).transpose();
        let max_cost = max_cost.context("--max-cost")?;
        let before = ledger.as_ref().map(|ledger| ledger.reader().spent()).transpose()?;
        let before = before.map(|spent| Spend::before(&spent)).unwrap_or_default();
        let ceiling = Ceiling { max_cost, max_tokens: args.max_tokens };
        let (meter, is_bounded) = (Meter::new(ceiling, before), ceiling != Ceiling::default());
        Ok(Self { ledger, prices, meter, is_bounded })
    }

    /// What was spent, by runs before this one too where a ledger remembers them.
    pub fn describe_spent(&self) -> String {
        let Spend { cost, tokens } = self.meter.spent();
        format!("{cost} {} and {tokens} tokens", self.prices.currency)
    }

    /// Labels pairs, as [`Judge::compare`].
    ///
    /// # Errors
    /// When the judge is for something else, the ledger fails, or a ceiling has no price to keep it by.
    pub fn compare(
        &mut self,
        judge: &Judge,
        engine: &str,
        pairs: &[Pair],
    ) -> Result<Asked<Comparison>> {
        self.ask::<Comparisons>(judge, engine, pairs)
    }

    /// Rates items, as [`Judge::rate`].
    ///
    /// # Errors
    /// As [`Clerk::compare`].
    pub fn rate(&mut self, judge: &Judge, engine: &str, items: &[Item]) -> Result<Asked<Rating>> {
        self.ask::<Ratings>(judge, engine, items)
    }

    fn ask<K: Kind>(
        &mut self,
        judge: &Judge,
        engine: &str,
        about: &[K::About],
    ) -> Result<Asked<K::Said>> {
        let ids: Vec<LabelId> = about.iter().map(|about| K::id(judge, about)).collect();
        let price = self.price(engine, judge)?;
        // The same question of the same batch is asked once.
        let distinct = Distinct::of(&ids);
        let mut known = self.known::<K>(&ids)?;
        let mut answers: Vec<Option<Judgement<K::Said>>> =
            distinct.firsts().iter().map(|first| known.remove(&ids[*first]).map(Ok)).collect();
        let mut unknown: Vec<usize> =
            (0..answers.len()).filter(|i| answers[*i].is_none()).collect();
        let mut refused = None;
        while !unknown.is_empty() && refused.is_none() {
            let questions = unknown.iter().map(|i| &about[distinct.firsts()[*i]]);
            let (reserved, refusal) = self.reserve::<K>(judge, &price, questions);
            // What is in flight may turn out cheaper than its worst case.
            refused = refusal.filter(|refusal| reserved.is_empty() || !refusal.may_fit_later());
            let begun: Vec<usize> = unknown.drain(..reserved.len()).collect();
            if begun.is_empty() {
                break;
            }
            let asked: Vec<K::About> =
                begun.iter().map(|i| about[distinct.firsts()[*i]].clone()).collect();
            let started = Instant::now();
            let said = K::ask(judge, &asked)?;
            let latency_ms = started.elapsed().as_millis() as u64;
            // A batch is asked at once: each question has its share of the device.
            let device_ms = if engine == "local" { latency_ms / begun.len() as u64 } else { 0 };
            let mut entries = Vec::new();
            for (((i, asked), said), reservation) in
                begun.iter().zip(&asked).zip(said).zip(reserved)
            {
                let usage = usage(said.effort, device_ms);
                reservation.settle(Spend::of(&price, &usage));
                answers[*i] = Some(said.outcome.clone());
                entries.push(Entry {
                    label_id: ids[distinct.firsts()[*i]].clone(),
                    question: K::question(asked),
                    outcome: said.outcome.map(K::answer),
                    setup: setup(judge, engine),
                    cost: price.cost(&usage),
                    usage,
                    latency_ms,
                    attempts: said.effort.attempts,
                    worker: None,
                    trace_id: None,
                    created_at_ms: now_ms(),
                });
            }
            if let Some(ledger) = &mut self.ledger {
                ledger.record(&entries)?;
            }
        }
        Ok(Asked { answers: distinct.spread(&answers), refused })
    }

    /// Sets the worst cases of the first questions aside, up to one that could pass the ceiling.
    fn reserve<'a, K: Kind>(
        &self,
        judge: &Judge,
        price: &Price,
        questions: impl Iterator<Item = &'a K::About>,
    ) -> (Vec<Reservation>, Option<Refused>)
    where
        K::About: 'a,
    {
        let mut reserved = Vec::new();
        for about in questions {
            // Its prompts are made for it, which without a ceiling would be in vain.
            let worst = match self.is_bounded {
                true => Spend::of(price, &usage(K::at_most(judge, about), 0)),
                false => Spend::default(),
            };
            match self.meter.reserve(worst) {
                Ok(reservation) => reserved.push(reservation),
                Err(refused) => return (reserved, Some(refused)),
            }
        }
        (reserved, None)
    }

    /// What the ledger knows; failures are asked again.
    fn known<K: Kind>(&self, ids: &[LabelId]) -> Result<HashMap<LabelId, K::Said>> {
        let Some(ledger) = &self.ledger else { return Ok(HashMap::new()) };
        let found = ledger.reader().find(ids)?;
        let label = |(id, entry): (LabelId, Entry)| Some((id, K::said(entry.outcome.ok()?)?));
        Ok(found.into_iter().filter_map(label).collect())
    }

    /// Without a table, endpoints cost tokens alone.
    fn price(&self, engine: &str, judge: &Judge) -> Result<Price> {
        match self.prices.of(engine, &judge.labeler().name) {
            Ok(price) => Ok(price),
            Err(_) if self.prices.is_empty() => Ok(Price::default()),
            Err(error) => Err(error.into()),
        }
    }
}

fn setup(judge: &Judge, engine: &str) -> Setup {
    Setup {
        template: judge.template().name.clone(),
        template_hash: judge.template_hash().clone(),
        model: judge.labeler().name.clone(),
        model_hash: judge.labeler().hash.clone(),
        engine: engine.to_owned(),
        options: judge.asking().options(),
    }
}

fn usage(effort: Effort, device_ms: u64) -> Usage {
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
