//! What several judges made together of their answers, noted beside these.

use crate::{Clerk, Error};
use rlaif_ledger::PanelLabel;

impl Clerk {
    /// Notes panels' labels in the ledger, where there is one.
    ///
    /// # Errors
    /// When the ledger fails.
    pub fn note_panels(&self, panels: &[PanelLabel]) -> Result<(), Error> {
        match self.ledger() {
            Some(mut ledger) => Ok(ledger.record_panels(panels)?),
            None => Ok(()),
        }
    }
}
