//! What was answered at all, how willingly, and what it cost.

use super::cells::{NOTHING, by_arm, number, percent};
use crate::{Audit, Census};
use rlaif_report::{Block, Section};
use rlaif_types::UnscorableReason;
use std::collections::BTreeSet;

pub(super) fn section(audit: &Audit) -> Section {
    let note = format!(
        "Repetitions included. Mass is the probability that the verdict tokens had together before \
         they were normalised, the smaller of both orders; low mass, in per cent of answers, is \
         less than {}. Dollars are those of the scored answers at the arm's price.",
        audit.options.mass_floor
    );
    let mut blocks = vec![Block::Text(note), answers(audit), tokens(audit)];
    blocks.extend(failures(audit));
    Section { title: "Answers, mass, cost".into(), blocks }
}

fn answers(audit: &Audit) -> Block {
    let columns = [
        "pairs",
        "prompts",
        "by people",
        "answers",
        "unscorable",
        "least mass",
        "5 %",
        "median",
        "low mass",
    ];
    by_arm(audit, &columns, |arm| {
        let census = &arm.census;
        let quantile = |index: usize| {
            census.mass.as_ref().map_or(NOTHING.into(), |mass| number(mass.quantiles[index]))
        };
        vec![
            census.pairs.to_string(),
            census.groups.to_string(),
            census.with_human.to_string(),
            census.answers.to_string(),
            percent(&census.unscorable),
            quantile(0),
            quantile(1),
            quantile(3),
            census.mass.as_ref().map_or(NOTHING.into(), |mass| percent(&mass.below_floor)),
        ]
    })
}

fn tokens(audit: &Audit) -> Block {
    let columns = ["prompt tokens", "generated", "rationale, characters", "dollars", "per label"];
    let dollars = |dollars: Option<f64>| dollars.map_or(NOTHING.into(), |d| format!("{d:.4}"));
    by_arm(audit, &columns, |arm| {
        let census = &arm.census;
        vec![
            census.prompt_tokens.to_string(),
            census.completion_tokens.to_string(),
            census.mean_rationale_chars.map_or(NOTHING.into(), |mean| format!("{mean:.0}")),
            dollars(census.dollars),
            dollars(census.dollars_per_label),
        ]
    })
}

/// Failures by reason, where there are any.
fn failures(audit: &Audit) -> Option<Block> {
    let all = |census: &Census| census.unscorable_by_reason.keys().copied().collect::<Vec<_>>();
    let reasons: BTreeSet<UnscorableReason> =
        audit.arms.iter().flat_map(|arm| all(&arm.census)).collect();
    let columns: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    (!reasons.is_empty()).then(|| {
        by_arm(audit, &columns, |arm| {
            let count = |reason| arm.census.unscorable_by_reason.get(reason).copied().unwrap_or(0);
            reasons.iter().map(|reason| count(reason).to_string()).collect()
        })
    })
}
