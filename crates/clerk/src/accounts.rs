//! What a clerk keeps account of, and within which bounds.

use rlaif_types::{Ceiling, PriceError, Prices};
use std::io;
use std::path::{Path, PathBuf};

/// Where labels are kept, what they cost and what they may cost. The default keeps nothing and bounds
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// A file that keeps every label with its provenance and cost.
    pub ledger: Option<PathBuf>,
    /// Prices of tokens and devices.
    pub prices: Prices,
    /// What all askers with this ledger together may spend.
    pub ceiling: Ceiling,
    /// Which answers of the ledger stand for asking again.
    pub reuse: Reuse,
    /// Who asks, for the ledger.
    pub worker: Option<String>,
}

/// Which answers of the ledger stand for asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// All: the same question is asked once in a ledger's lifetime.
    #[default]
    All,
    /// Only those of endpoints, which cost money and never come out the same. A model of this process is
    /// asked again: the last bits of its numbers depend on what is asked together, and a job must leave
    /// the same bytes whoever did which part of it before.
    Endpoints,
}

impl Account {
    /// The table of prices in the file `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is no such table.
    pub fn read_prices(path: &Path) -> Result<Prices, Error> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Prices::parse(&text).map_err(|source| Error::Prices { path: path.to_owned(), source })
    }
}

/// Why a clerk cannot ask.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table of prices that is none.
    #[error("{}: {source}", path.display())]
    Prices {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PriceError,
    },
    /// A ceiling without a price to keep it by.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] rlaif_ledger::Error),
    /// The judge.
    #[error(transparent)]
    Judge(#[from] rlaif_judge::Error),
}
