//! Labels that several labelers made together: by which rule, and of whose answers.
//!
//! Each member's answer is an entry like others. What a panel makes of them costs nothing, so it is no
//! attempt; it is kept for whoever wants to know where a label came from.

use crate::read::{self, count};
use crate::write::integer;
use crate::{Error, Ledger, Reader};
use rlaif_types::{LabelId, SoftLabel};
use rusqlite::{Connection, Result as Rows, Row, params};
use serde::Serialize;

/// A label that several labelers made together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanelLabel {
    /// Identity of the question, asked by all of them together.
    pub label_id: LabelId,
    /// How their labels became one.
    pub rule: String,
    /// How many of them had to be able to judge.
    pub quorum: u64,
    /// The label.
    pub label: SoftLabel,
    /// Each member's question, in the panel's order; what was said to it is among the entries.
    pub members: Vec<LabelId>,
}

impl Ledger {
    /// Records panels' labels. Where a member could judge that could not before, the later label stands.
    ///
    /// # Errors
    /// When the disk is full or gone. Nothing of the batch is recorded then.
    pub fn record_panels(&mut self, panels: &[PanelLabel]) -> Result<(), Error> {
        if panels.is_empty() {
            return Ok(());
        }
        let Reader { connection, path } = self.writer();
        let write = |connection: &mut Connection| -> Rows<()> {
            let transaction = connection.transaction()?;
            for panel in panels {
                insert(&transaction, panel)?;
            }
            transaction.commit()
        };
        write(connection).map_err(Error::sqlite(path))
    }
}

impl Reader {
    /// The panel's label whose id begins with `prefix`; none where no panel's does.
    ///
    /// # Errors
    /// When several panels' or questions' ids do, or the file cannot be read.
    pub fn panel(&self, prefix: &str) -> Result<Option<PanelLabel>, Error> {
        let sql = "SELECT label_id, rule, quorum, soft_label, members FROM panels
                   WHERE label_id >= ?1 AND label_id < ?1 || 'g' ORDER BY label_id LIMIT 2";
        let look = || {
            self.connection
                .prepare_cached(sql)?
                .query_map([prefix], from_row)?
                .collect::<Rows<Vec<PanelLabel>>>()
        };
        let mut found = look().map_err(Error::sqlite(&self.path))?;
        let ambiguous = || Error::Ambiguous { prefix: prefix.to_owned() };
        match (found.pop(), found.len()) {
            (None, _) => Ok(None),
            (Some(panel), 0) => match self.resolve(prefix) {
                Err(Error::Unknown { .. }) => Ok(Some(panel)),
                Ok(_) => Err(ambiguous()),
                Err(error) => Err(error),
            },
            (Some(_), _) => Err(ambiguous()),
        }
    }
}

fn insert(db: &Connection, panel: &PanelLabel) -> Rows<()> {
    let members = serde_json::to_string(&panel.members).expect("ids are texts, written to memory");
    db.prepare_cached(
        "INSERT INTO panels (label_id, rule, quorum, soft_label, members)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (label_id) DO UPDATE SET soft_label = excluded.soft_label",
    )?
    .execute(params![
        panel.label_id.0.as_str(),
        panel.rule,
        integer(panel.quorum),
        panel.label.value(),
        members,
    ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Rows<PanelLabel> {
    let label: f64 = row.get("soft_label")?;
    Ok(PanelLabel {
        label_id: LabelId(read::hash(row, "label_id")?),
        rule: row.get("rule")?,
        quorum: count(row, "quorum")?,
        label: SoftLabel::try_from(label).map_err(read::odd)?,
        members: read::json(row, "members")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::entries;
    use rlaif_types::ContentHash;

    fn panel(of: &str, label: f64) -> PanelLabel {
        PanelLabel {
            label_id: LabelId(ContentHash::of(of)),
            rule: "mean".into(),
            quorum: 1,
            label: SoftLabel::new(label).unwrap(),
            members: entries(0..2).into_iter().map(|entry| entry.label_id).collect(),
        }
    }

    #[test]
    fn a_panels_label_is_found_by_how_its_id_begins_and_its_members_are_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.sqlite");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.record(&entries(0..2)).unwrap();
        ledger.record_panels(&[panel("one", 0.25), panel("another", 0.5)]).unwrap();
        // A member could judge this time that could not before.
        ledger.record_panels(&[panel("one", 0.75)]).unwrap();
        drop(ledger);

        let reader = Reader::open(&path).unwrap();
        let id = panel("one", 0.75).label_id;
        let found = reader.panel(&id.0.as_str()[..12]).unwrap().unwrap();
        assert_eq!(found, panel("one", 0.75));
        for member in &found.members {
            assert_eq!(reader.explain(member.0.as_str()).unwrap().len(), 1);
            assert_eq!(reader.panel(member.0.as_str()).unwrap(), None);
        }
        assert!(matches!(reader.panel(""), Err(Error::Ambiguous { .. })));
        // A panel costs nothing beyond its members.
        assert_eq!(reader.spent().unwrap()[0].labels, 2);
    }
}
