//! Options for keeping account of what labelers are asked.

use crate::commands::files::Files;
use anyhow::{Result, bail};
use clap::Args;
use rlaif_clerk::{Account, Clerk};
use rlaif_ledger::Ledger;
use rlaif_types::{Ceiling, Money, Prices, Spend};
use std::path::PathBuf;

#[derive(Args)]
#[command(next_help_heading = "Ledger and budget")]
pub struct ClerkArgs {
    /// A file that keeps every label with its provenance and cost: what it holds is not asked again.
    /// See `rlaif labels`.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    #[command(flatten)]
    pub budget: BudgetArgs,
}

#[derive(Args)]
pub struct BudgetArgs {
    /// Prices of endpoints' tokens, a .toml file; see docs/labeling.md.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Stop before more money than this is spent, by all runs with this ledger together.
    #[arg(long, value_name = "AMOUNT", value_parser = Money::parse)]
    max_cost: Option<Money>,
    /// Stop before more tokens than this are read and written, by all runs with this ledger together.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
}

impl ClerkArgs {
    /// Whether anybody wants to know what was spent.
    pub fn keeps_account(&self) -> bool {
        self.ledger.is_some() || self.budget.max_cost.is_some() || self.budget.max_tokens.is_some()
    }

    /// With the files that the options name.
    pub fn files(&self, files: Files) -> Files {
        let ledger = self.ledger.iter().flat_map(|path| Ledger::files(path));
        files.reads("--prices", &self.budget.prices).writes("--ledger", ledger)
    }

    /// The clerk that the options ask for.
    ///
    /// # Errors
    /// When the ledger cannot be opened, or prices or amounts cannot be read.
    pub fn clerk(&self) -> Result<Clerk> {
        self.keeping(self.ledger.clone())
    }

    /// The same with this ledger where the options name none.
    ///
    /// # Errors
    /// As [`ClerkArgs::clerk`].
    pub fn clerk_with(&self, ledger: PathBuf) -> Result<Clerk> {
        self.keeping(Some(self.ledger.clone().unwrap_or(ledger)))
    }

    fn keeping(&self, ledger: Option<PathBuf>) -> Result<Clerk> {
        let account = Account { ledger, ..self.budget.account(|| Ok(None))? };
        Ok(Clerk::new(account)?)
    }
}

impl BudgetArgs {
    /// The bounds that were given.
    pub fn ceiling(&self) -> Ceiling {
        Ceiling { max_cost: self.max_cost, max_tokens: self.max_tokens }
    }

    /// An account within this budget; labelers have the prices of `job`, which is asked where no table was given.
    ///
    /// # Errors
    /// Those of `job`; when prices cannot be read, or there are none to keep --max-cost by.
    pub fn account(&self, job: impl FnOnce() -> Result<Option<Prices>>) -> Result<Account> {
        let prices = match &self.prices {
            Some(table) => Account::read_prices(table)?,
            None => job()?.unwrap_or_default(),
        };
        if self.max_cost.is_some() && prices.is_empty() {
            bail!("--max-cost needs prices to count by: --prices FILE, see docs/labeling.md");
        }
        Ok(Account {
            prices,
            ceiling: self.ceiling(),
            worker: this_machine(),
            ..Account::default()
        })
    }
}

/// The machine's name, where it has one.
fn this_machine() -> Option<String> {
    let told = std::env::var("HOSTNAME").ok();
    let name = told.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What was spent, for people.
pub fn describe_spent(clerk: &Clerk) -> String {
    let Spend { cost, tokens } = clerk.spent();
    format!("{cost} {} and {tokens} tokens", clerk.prices().currency)
}
