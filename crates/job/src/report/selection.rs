//! How the policy was chosen among its versions, as the report tells it.

use super::{interval, percent};
use crate::selection::{SelectionSummary, ValidatedVersion};
use rlaif_report::{Block, Plot, Point, Section, Series, Style, Table};

/// The rule, the versions with their rewards, and the win rates of those that were compared.
pub(super) fn section(summary: &SelectionSummary) -> Section {
    let text = format!(
        "The policy that the job leaves is that after step {}. Rule: {}. It went by {} held-out prompts that \
         are not among those of the evaluation below, as the paper's rule has it (section 3), but for a \
         person's look.",
        summary.chosen, summary.rule, summary.prompts
    );
    let columns =
        ["Step", "Validation reward", "Unscorable", "Win rate", "95 % interval", "Contests", ""];
    let rows = summary.versions.iter().map(|version| row(version, summary.chosen)).collect();
    let rewards = summary.versions.iter().filter_map(|version| {
        let (x, y) = (version.step as f64, version.reward?);
        Some(Point { x, y, low: None, high: None })
    });
    let plot = Plot {
        title: "Validation reward".into(),
        x_label: "step".into(),
        y_label: "mean reward".into(),
        series: vec![Series {
            name: "versions".into(),
            points: rewards.collect(),
            style: Style::Line,
        }],
        reference: None,
    };
    Section {
        title: "Choice of the checkpoint".into(),
        blocks: vec![
            Block::Text(text),
            Block::Table(Table { columns: columns.map(String::from).to_vec(), rows }),
            Block::Plot(plot),
        ],
    }
}

fn row(version: &ValidatedVersion, chosen: usize) -> Vec<String> {
    let rate = version.win_rate.as_ref();
    vec![
        version.step.to_string(),
        version.reward.map_or("-".into(), |reward| format!("{reward:.4}")),
        version.unscorable.to_string(),
        rate.map_or("-".into(), |rate| percent(rate.win_rate)),
        rate.map_or("-".into(), |rate| interval(&rate.interval)),
        rate.map_or("-".into(), |rate| rate.contests.to_string()),
        if version.step == chosen { "chosen" } else { "" }.into(),
    ]
}
