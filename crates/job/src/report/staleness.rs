//! How far the reward model agreed with the labeler on what the policy wrote, by step.

use super::{interval, percent};
use crate::staleness::Staleness;
use rlaif_report::{Block, Plot, Point, Reference, Section, Series, Style, Table};
use rlaif_stats::Interval;
use serde::Deserialize;
use serde_json::Value;

/// The reward model against the labeler on what the policy wrote, by step.
pub(super) fn section(metrics: &[Value]) -> Option<Section> {
    let measured = metrics.iter().filter(|m| m["stage"] == "staleness");
    let measured =
        measured.filter_map(|m| Some((m["step"].as_f64()?, Staleness::deserialize(m).ok()?)));
    let measured: Vec<(f64, Staleness)> = measured.collect();
    if measured.is_empty() {
        return None;
    }
    let rows = measured.iter().map(|(step, found)| {
        let Staleness { pairs, ties, unscorable, agreement, agreement_low, agreement_high } = found;
        let ends = Interval { low: *agreement_low, high: *agreement_high };
        vec![
            step.to_string(),
            agreement.map_or("-".into(), percent),
            interval(&ends),
            pairs.to_string(),
            ties.to_string(),
            unscorable.to_string(),
        ]
    });
    let columns = ["Step", "Agreement", "95 % interval", "Pairs", "Ties", "Unscorable"];
    let points = measured.iter().filter_map(|(step, found)| {
        let (low, high) = (Some(100.0 * found.agreement_low), Some(100.0 * found.agreement_high));
        Some(Point { x: *step, y: 100.0 * found.agreement?, low, high })
    });
    let plot = Plot {
        title: "Agreement with the labeler, with 95 % intervals".into(),
        x_label: "step".into(),
        y_label: "% of pairs ranked alike".into(),
        series: vec![Series {
            name: "reward model".into(),
            points: points.collect(),
            style: Style::Line,
        }],
        reference: Some(Reference::Horizontal(50.0)),
    };
    let text = "Pairs of the policy's own responses to held-out prompts, the same prompts and seeds at every \
        step, compared by the labeler and scored by the reward model. A reward model that agrees less as \
        the policy moves away has gone stale (paper section 4). Pairs that the labeler finds equal, or \
        that one of the two could not judge, are in no share.";
    Some(Section {
        title: "Staleness of the reward model".into(),
        blocks: vec![
            Block::Text(text.into()),
            Block::Table(Table {
                columns: columns.map(String::from).to_vec(),
                rows: rows.collect(),
            }),
            Block::Plot(plot),
        ],
    })
}
