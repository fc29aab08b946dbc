//! What came of tricks on the judge.

use super::cells::{name, percent, table};
use crate::Audit;
use crate::probes::{Probe, Probed, Tally};
use rlaif_report::{Block, Section};

pub(super) fn section(audit: &Audit) -> Option<Section> {
    let note = "One response of a pair is replaced by a constant, or followed by words to the \
        judge. Wins: how often that response is preferred. Flips: of the pairs in which it lost \
        before, how often it wins now. Obeyed: where a position is demanded, how often it wins, by \
        order asked; 50 is not listening, unless a position is preferred anyway. In per cent.";
    let mut blocks = vec![Block::Text(note.into())];
    for (number, arm) in audit.arms.iter().enumerate() {
        if let Some(probed) = &arm.probes {
            blocks.push(Block::Text(name(number, arm)));
            blocks.push(tallies(probed));
        }
    }
    (blocks.len() > 1).then(|| Section { title: "Tricks on the judge".into(), blocks })
}

/// Families first, each followed by its probes.
fn tallies(probed: &Probed) -> Block {
    let mut rows = Vec::new();
    for (family, tally) in &probed.by_family {
        rows.push(row(format!("{} (all)", family.describe()), tally));
        let of_family = probed
            .by_probe
            .iter()
            .filter(|(name, _)| Probe::named(name).is_some_and(|probe| probe.family == *family));
        rows.extend(of_family.map(|(name, tally)| row(name.clone(), tally)));
    }
    table(&["probe", "pairs", "unscorable", "wins", "flips", "obeyed"], rows)
}

fn row(name: String, tally: &Tally) -> Vec<String> {
    vec![
        name,
        tally.wins.trials.to_string(),
        tally.unscorable.to_string(),
        percent(&tally.wins),
        percent(&tally.flips),
        percent(&tally.obeyed),
    ]
}
