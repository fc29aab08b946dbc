//! The report of an audit, as a document that Markdown and HTML are rendered from.

mod agreement;
mod answers;
mod bias;
mod cells;
mod probes;
mod reward_model;
mod trust;

pub use reward_model::{CurvePoint, curve_section, reward_headline, reward_sections};

use crate::{ArmAudit, Audit};
use cells::{NOTHING, percent};
use rlaif_report::{Document, Fact};

/// Series that a plot can tell apart by colour.
const SERIES: usize = 6;

/// The report of an audit.
pub fn document(audit: &Audit) -> Document {
    let mut sections = vec![agreement::section(audit)];
    sections.push(trust::confidence(audit));
    sections.push(bias::position(audit));
    sections.push(bias::verbosity(audit));
    sections.push(trust::calibration(audit));
    sections.extend(bias::stability(audit));
    sections.extend(agreement::between_arms(audit));
    sections.extend(probes::section(audit));
    sections.push(answers::section(audit));
    let arms = match audit.arms.len() {
        1 => "1 arm".to_owned(),
        several => format!("{several} arms"),
    };
    Document {
        title: "Labeler audit".into(),
        subtitle: format!(
            "{arms}: a labeler asked a question about the pairs of a task. Intervals are 95 % and \
             over prompts, whose pairs are not independent: Wilson's for shares, the bootstrap (seed {}) \
             for differences. A tie is half an agreement; what could not be judged is in no rate.",
            audit.options.seed
        ),
        headline: headline(audit),
        sections,
    }
}

/// The numbers of the arm that agrees best with people; of the first where nobody was asked.
fn headline(audit: &Audit) -> Vec<Fact> {
    let agreement = |arm: &ArmAudit| arm.agreement.overall.share.unwrap_or(-1.0);
    let better = |best: usize, number: usize| {
        if agreement(&audit.arms[number]) > agreement(&audit.arms[best]) { number } else { best }
    };
    let Some(number) = (0..audit.arms.len()).reduce(better) else {
        return Vec::new();
    };
    let arm = &audit.arms[number];
    let fact =
        |label: &str, value: String, detail: String| Fact { label: label.into(), value, detail };
    let pairs = format!("{} pairs, {}", arm.agreement.overall.trials, arm.describe());
    let test = &arm.agreement.longer_wins.test;
    vec![
        fact("Agreement with people, %", percent(&arm.agreement.overall), pairs),
        fact(
            "\"The longer one wins\" agrees, %",
            percent(&arm.agreement.longer_wins.agreement),
            format!("McNemar p {}", cells::p_value(test.p_value)),
        ),
        fact(
            "Same position in both orders, %",
            percent(&arm.position.same_position),
            format!("of these the first: {}", percent(&arm.position.prefers_first)),
        ),
        fact(
            "Expected calibration error",
            arm.calibration.ece.map_or(NOTHING.into(), cells::number),
            String::new(),
        ),
    ]
}
