//! Questions to the ledger: the cache, one label, a stream of many, and what was spent.

use crate::read::{self, SELECT};
use crate::{Entry, Error, Reader};
use rlaif_types::{LabelId, Money, Spend, Usage};
use rusqlite::{Row, ToSql, named_params};
use serde::Serialize;
use std::collections::HashMap;

/// Entries fetched at a time: a stream holds no more, and leaves the log free to be checkpointed
/// between pages.
const PAGE: i64 = 256;

/// Which entries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Labels, failures, or both.
    pub outcomes: Outcomes,
    /// A labeler's name, or how its hash begins.
    pub model: Option<String>,
    /// A template's name, or how its hash begins.
    pub template: Option<String>,
    /// Recorded at this time or later; milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Labels whose verdicts have less probability than this: the labeler wanted to say something
    /// else.
    pub verdict_mass_below: Option<f64>,
    /// Labels no further than this from 0.5: the labeler could not tell.
    pub margin: Option<f64>,
}

/// Labels, failures, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcomes {
    /// Labels alone; failures are never among them.
    #[default]
    Labels,
    /// Failures alone.
    Unscorable,
    /// Both, in the order in which they were recorded.
    All,
}

const FILTER: &str = "
    AND (:labels OR a.reason IS NOT NULL)
    AND (:unscorable OR a.reason IS NULL)
    AND (:model IS NULL OR s.model = :model OR substr(s.model_hash, 1, length(:model)) = :model)
    AND (:template IS NULL OR s.template = :template
         OR substr(s.template_hash, 1, length(:template)) = :template)
    AND (:since IS NULL OR a.created_at_ms >= :since)
    AND (:mass IS NULL OR l.verdict_mass < :mass)
    AND (:margin IS NULL OR abs(l.soft_label - 0.5) <= :margin)";

impl Filter {
    /// Runs `f` with the values of [`FILTER`].
    fn bind<T>(&self, f: impl FnOnce(&[(&str, &dyn ToSql)]) -> T) -> T {
        f(named_params! {
            ":labels": self.outcomes != Outcomes::Unscorable,
            ":unscorable": self.outcomes != Outcomes::Labels,
            ":model": self.model,
            ":template": self.template,
            ":since": self.since_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            ":mass": self.verdict_mass_below,
            ":margin": self.margin,
        })
    }
}

/// What one labeler did with one template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// `local`, or the endpoint's URL.
    pub engine: String,
    /// The labeler's name.
    pub model: String,
    /// The template's name.
    pub template: String,
    /// Questions that have their label from here.
    pub labels: u64,
    /// Questions that failed, each time counted.
    pub unscorable: u64,
    /// Answers to questions that had their label.
    pub repeated: u64,
    /// Answers to single prompts that no label or failure has counted yet: their question is being asked, or
    /// whoever asked it was killed.
    pub unsettled: u64,
    /// How often it was asked whether it is there.
    pub checks: u64,
    /// Tokens and time of all of them.
    pub usage: Usage,
    /// What they cost.
    pub cost: Money,
}

impl Spending {
    /// All of them together.
    pub fn total(spendings: &[Self]) -> Spend {
        spendings.iter().fold(Spend::default(), |sum, spending| {
            sum.with(Spend { cost: spending.cost, tokens: spending.usage.tokens() })
        })
    }
}

impl Reader {
    /// The labels of those of `ids` that have one: what need not be asked again. Failures are not
    /// among them, so what failed is asked again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find(&self, ids: &[LabelId]) -> Result<HashMap<LabelId, Entry>, Error> {
        let sql = format!("{SELECT} AND a.reason IS NULL AND q.label_id = ?1");
        let find = || -> rusqlite::Result<_> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut found = HashMap::new();
            for id in ids {
                let mut rows = statement.query([id.0.as_str()])?;
                if let Some(row) = rows.next()? {
                    found.insert(id.clone(), read::entry(row)?);
                }
            }
            Ok(found)
        };
        find().map_err(Error::sqlite(&self.path))
    }

    /// The question whose id begins with `prefix`.
    ///
    /// # Errors
    /// When none or several do, or the file cannot be read.
    pub fn resolve(&self, prefix: &str) -> Result<LabelId, Error> {
        let sql = "SELECT label_id FROM questions
                   WHERE label_id >= ?1 AND label_id < ?1 || 'g' ORDER BY label_id LIMIT 2";
        let look = || {
            self.connection
                .prepare_cached(sql)?
                .query_map([prefix], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        };
        let found = look().map_err(Error::sqlite(&self.path))?;
        match found.as_slice() {
            [one] => one
                .parse()
                .map(LabelId)
                .map_err(|what| Error::Damaged { path: self.path.clone(), what }),
            [] => Err(Error::Unknown { prefix: prefix.to_owned() }),
            _ => Err(Error::Ambiguous { prefix: prefix.to_owned() }),
        }
    }

    /// All that is known of the question whose id begins with `prefix`: its failures and its label, in
    /// the order in which they were recorded.
    ///
    /// # Errors
    /// When none or several do, or the file cannot be read.
    pub fn explain(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let id = self.resolve(prefix)?;
        let sql = format!("{SELECT} AND q.label_id = ?1 ORDER BY a.id");
        let read = || {
            self.connection
                .prepare_cached(&sql)?
                .query_map([id.0.as_str()], read::entry)?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(Error::sqlite(&self.path))
    }

    /// The entries that `filter` lets through, in the order in which they were recorded. Memory stays
    /// flat however many there are; what is recorded meanwhile comes too.
    pub fn entries(&self, filter: Filter) -> Entries<'_> {
        Entries { reader: self, filter, last: 0, page: Vec::new().into_iter(), ended: false }
    }

    /// How many entries `filter` lets through.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let sql = format!("SELECT count(*) AS entries FROM ({SELECT} {FILTER})");
        filter
            .bind(|values| {
                self.connection
                    .prepare_cached(&sql)?
                    .query_row(values, |row| read::count(row, "entries"))
            })
            .map_err(Error::sqlite(&self.path))
    }

    /// What was spent on what: labels, failures, repetitions, checks, and answers that are part of no label yet.
    /// So what a killed run has paid for is there, and only once when a later run makes its labels of it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn spent(&self) -> Result<Vec<Spending>, Error> {
        let sql = "
            WITH paid (engine, model, template, labels, unscorable, repeated, unsettled, checks,
                       prompt_tokens, cached_tokens, completion_tokens, device_ms, cost) AS (
                SELECT s.engine, s.model, s.template,
                       l.attempt IS NOT NULL, a.reason IS NOT NULL,
                       l.attempt IS NULL AND a.reason IS NULL, 0, 0,
                       a.prompt_tokens, a.cached_tokens, a.completion_tokens, a.device_ms, a.cost
                FROM attempts a
                JOIN setups s ON s.id = a.setup
                LEFT JOIN labels l ON l.attempt = a.id AND l.question = a.question
                UNION ALL
                SELECT coalesce(s.engine, 'unknown'), coalesce(s.model, 'unknown'),
                       coalesce(s.template, 'unknown'), 0, 0, 0, 1, 0,
                       r.prompt_tokens, r.cached_tokens, r.completion_tokens, 0, r.cost
                FROM readings r
                LEFT JOIN setups s ON s.id = r.setup
                WHERE r.accounted = 0
                UNION ALL
                SELECT s.engine, s.model, s.template, 0, 0, 0, 0, 1,
                       c.prompt_tokens, c.cached_tokens, c.completion_tokens, 0, c.cost
                FROM checks c
                JOIN setups s ON s.id = c.setup
            )
            SELECT engine, model, template, sum(labels) AS labels, sum(unscorable) AS unscorable,
                   sum(repeated) AS repeated, sum(unsettled) AS unsettled, sum(checks) AS checks,
                   sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens,
                   sum(completion_tokens) AS completion_tokens, sum(device_ms) AS device_ms,
                   sum(cost) AS cost
            FROM paid GROUP BY engine, model, template ORDER BY engine, model, template";
        let spending = |row: &Row<'_>| {
            Ok(Spending {
                engine: row.get("engine")?,
                model: row.get("model")?,
                template: row.get("template")?,
                labels: read::count(row, "labels")?,
                unscorable: read::count(row, "unscorable")?,
                repeated: read::count(row, "repeated")?,
                unsettled: read::count(row, "unsettled")?,
                checks: read::count(row, "checks")?,
                usage: read::usage(row)?,
                cost: Money::from_picodollars(read::count(row, "cost")?),
            })
        };
        let read = || {
            self.connection
                .prepare_cached(sql)?
                .query_map([], spending)?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(Error::sqlite(&self.path))
    }

    fn page(&self, filter: &Filter, last: i64) -> Result<Vec<(i64, Entry)>, Error> {
        let sql = format!("{SELECT} {FILTER} AND a.id > {last} ORDER BY a.id LIMIT {PAGE}");
        filter
            .bind(|values| {
                self.connection
                    .prepare(&sql)?
                    .query_map(values, |row| Ok((row.get("attempt")?, read::entry(row)?)))?
                    .collect::<rusqlite::Result<_>>()
            })
            .map_err(Error::sqlite(&self.path))
    }
}

/// A stream of entries; see [`Reader::entries`]. It ends after an error.
pub struct Entries<'a> {
    reader: &'a Reader,
    filter: Filter,
    /// Last attempt that was fetched.
    last: i64,
    page: std::vec::IntoIter<(i64, Entry)>,
    ended: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() && !self.ended {
            match self.reader.page(&self.filter, self.last) {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let next = self.page.next();
        match next {
            Some((attempt, entry)) => {
                self.last = attempt;
                Some(Ok(entry))
            }
            None => {
                self.ended = true;
                None
            }
        }
    }
}
