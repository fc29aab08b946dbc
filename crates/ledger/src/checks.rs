//! Checks whether a labeler is there. They are paid for like questions, but nobody's: no label is made of what is said,
//! and it is never served.

use crate::write::{integer, setup};
use crate::{Error, Ledger, Reader, Setup};
use rlaif_types::{Money, Usage};
use rusqlite::{Connection, Result as Rows, params};

impl Ledger {
    /// Records that a labeler was asked, as `asked` says, whether it is there, and what that took.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn record_check(
        &mut self,
        asked: &Setup,
        usage: &Usage,
        cost: Money,
        created_at_ms: u64,
    ) -> Result<(), Error> {
        let Reader { connection, path } = self.writer();
        let write = |connection: &mut Connection| -> Rows<()> {
            let transaction = connection.transaction()?;
            let setup = setup(&transaction, asked)?;
            transaction.execute(
                "INSERT INTO checks (setup, prompt_tokens, cached_tokens, completion_tokens, cost, created_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    setup,
                    integer(usage.prompt_tokens),
                    integer(usage.cached_tokens),
                    integer(usage.completion_tokens),
                    integer(cost.picodollars()),
                    integer(created_at_ms),
                ],
            )?;
            transaction.commit()
        };
        write(connection).map_err(Error::sqlite(path))
    }
}
