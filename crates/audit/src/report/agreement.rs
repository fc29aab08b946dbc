//! Agreement with people as the paper's alignment table, and between arms.

use super::cells::{by_arm, estimate, name, p_value, percent, plot, points, shares, table};
use crate::{ArmAudit, Audit, Labelers};
use rlaif_report::{Block, Reference, Section, Style};

pub(super) fn section(audit: &Audit) -> Section {
    let note = "How often the labeler prefers the response that people prefer, in per cent. Beside \
        it on the same pairs: the longer response wins, and response A wins, whatever they say. \
        Advantage is the labeler's agreement minus that of \"the longer one wins\", in percentage \
        points; p is McNemar's exact test of it, each prompt counted once.";
    let columns = ["pairs", "agreement", "ties", "longer wins", "A wins", "advantage", "p"];
    let rows = by_arm(audit, &columns, |arm| {
        let agreement = &arm.agreement;
        vec![
            agreement.overall.trials.to_string(),
            percent(&agreement.overall),
            agreement.ties.to_string(),
            percent(&agreement.longer_wins.agreement),
            percent(&agreement.a_wins.agreement),
            points(agreement.longer_wins.advantage.as_ref()),
            p_value(agreement.longer_wins.test.p_value),
        ]
    });
    let mut blocks = vec![Block::Text(note.into())];
    if audit.arms.len() > 1 {
        blocks.push(grid(audit));
    }
    blocks.push(rows);
    blocks.push(bars(audit));
    Section { title: "Agreement with people".into(), blocks }
}

/// Rows are questions; columns are tasks, labelers, or both, whichever there are several of.
fn grid(audit: &Audit) -> Block {
    let several = |of: &dyn Fn(&ArmAudit) -> String| distinct(audit, of).len() > 1;
    let tasks = several(&|arm| arm.task.clone());
    let labelers = several(&|arm| arm.labeler.name.clone());
    let column = move |arm: &ArmAudit| match (tasks, labelers) {
        (true, true) => format!("{}, {}", arm.task, arm.labeler.name),
        (false, true) => arm.labeler.name.clone(),
        _ => arm.task.clone(),
    };
    let question = |arm: &ArmAudit| arm.question.describe();
    let columns = distinct(audit, &column);
    let rows = distinct(audit, &question).into_iter().map(|row| {
        let cell = |heading: &String| {
            let here = audit.arms.iter().filter(|a| question(a) == row && column(a) == *heading);
            let cells: Vec<String> = here.map(|arm| percent(&arm.agreement.overall)).collect();
            cells.join("; ")
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        [vec![row], cells].concat()
    });
    let rows = rows.collect();
    let headings: Vec<&str> = columns.iter().map(String::as_str).collect();
    table(&[vec!["prompt"], headings].concat(), rows)
}

/// In order of their first appearance.
fn distinct(audit: &Audit, of: &dyn Fn(&ArmAudit) -> String) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in audit.arms.iter().map(of) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn bars(audit: &Audit) -> Block {
    let arms = || audit.arms.iter().enumerate().map(|(number, arm)| (number as f64 + 1.0, arm));
    let labeler = arms().map(|(x, arm)| (x, &arm.agreement.overall));
    // A little to the right, so that bars do not hide each other.
    let longer = arms().map(|(x, arm)| (x + 0.1, &arm.agreement.longer_wins.agreement));
    let series = vec![
        shares("labeler", Style::ErrorBars, labeler),
        shares("the longer one wins", Style::ErrorBars, longer),
    ];
    let chance = Some(Reference::Horizontal(50.0));
    plot("Agreement with people", ("arm", "per cent"), series, chance)
}

pub(super) fn between_arms(audit: &Audit) -> Option<Section> {
    let blocks: Vec<Block> =
        audit.labelers.iter().flat_map(|of_task| task(audit, of_task)).collect();
    (!blocks.is_empty()).then(|| Section { title: "Agreement between arms".into(), blocks })
}

fn task(audit: &Audit, labelers: &Labelers) -> Vec<Block> {
    let note = format!(
        "Task {}: Krippendorff's alpha over all arms {}. For each two of them, on the pairs that \
         both decided: how often they prefer the same response, in per cent, and Cohen's kappa.",
        labelers.task,
        estimate(labelers.alpha.as_ref())
    );
    let rows = labelers.pairs.iter().map(|pair| {
        vec![
            name(pair.first, &audit.arms[pair.first]),
            name(pair.second, &audit.arms[pair.second]),
            pair.agreement.trials.to_string(),
            percent(&pair.agreement),
            estimate(pair.kappa.as_ref()),
        ]
    });
    let columns = ["arm", "and arm", "pairs", "agreement", "kappa"];
    vec![Block::Text(note), table(&columns, rows.collect())]
}
