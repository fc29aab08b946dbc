//! The sections of a reward model's report.

use super::cells::{
    NOTHING, estimate, number, p_value, percent, plot, points, shares, table, with_interval,
};
use super::trust::reliability_point;
use crate::{RewardAgreement, RewardAudit};
use rlaif_report::{Block, Fact, Reference, Section, Series, Style};

/// Both kinds of labels that there are, by name.
fn kinds(audit: &RewardAudit) -> impl Iterator<Item = (&'static str, &RewardAgreement)> {
    let kinds = [("people's", audit.human.as_ref()), ("a model's", audit.ai.as_ref())];
    kinds.into_iter().filter_map(|(name, agreement)| Some((name, agreement?)))
}

/// Accuracy on each kind of labels, for the top of a report.
pub fn reward_headline(audit: &RewardAudit) -> Vec<Fact> {
    let fact = |(name, agreement): (&str, &RewardAgreement)| Fact {
        label: format!("Accuracy on {name} labels, %"),
        value: percent(&agreement.accuracy),
        detail: format!(
            "{} held-out pairs; \"the longer one wins\": {}",
            agreement.accuracy.trials,
            percent(&agreement.longer_wins.agreement)
        ),
    };
    kinds(audit).map(fact).collect()
}

/// Accuracy and calibration of one reward model on held-out pairs.
pub fn reward_sections(audit: &RewardAudit) -> Vec<Section> {
    vec![accuracy(audit), calibration(audit)]
}

fn accuracy(audit: &RewardAudit) -> Section {
    let note = "How often the reward model prefers what a held-out label prefers, in per cent, beside \
        the rule that the longer response wins. The difference is in points. 95 % intervals are over \
        prompts, whose pairs are not independent: Wilson's of as many pairs as they are worth, and for \
        the difference a bootstrap. McNemar's test is of the same pairs, each prompt counted once. Labels \
        that prefer neither response are left out; equal lengths are half right.";
    let row = |(name, agreement): (&str, &RewardAgreement)| {
        let baseline = &agreement.longer_wins;
        vec![
            name.to_owned(),
            agreement.accuracy.trials.to_string(),
            percent(&agreement.accuracy),
            percent(&baseline.agreement),
            points(baseline.advantage.as_ref()),
            p_value(baseline.test.p_value),
        ]
    };
    let columns = ["labels", "pairs", "accuracy", "longer wins", "difference", "McNemar p"];
    let rows = kinds(audit).map(row).collect();
    let blocks = vec![Block::Text(note.into()), table(&columns, rows)];
    Section { title: "Accuracy on held-out pairs".into(), blocks }
}

fn calibration(audit: &RewardAudit) -> Section {
    let note = "The probability of the response that the model prefers, sigma(r_A - r_B), against what \
        labels say of it. The temperature divides reward differences and would fit the labels best: above \
        1 the model is too sure. ECE is the expected calibration error in ten bins, also at that \
        temperature, on the pairs that it was fitted to.";
    let row = |(name, agreement): (&str, &RewardAgreement)| {
        let fit = agreement.temperature.as_ref();
        vec![
            name.to_owned(),
            agreement.pairs.to_string(),
            number(agreement.ece),
            estimate(agreement.brier.as_ref()),
            fit.map_or(NOTHING.into(), |t| with_interval(t.temperature, Some(&t.interval))),
            number(agreement.calibrated_ece),
            fit.map_or(NOTHING.into(), |t| number(t.log_loss)),
            fit.map_or(NOTHING.into(), |t| number(t.calibrated_log_loss)),
        ]
    };
    let columns = [
        "labels",
        "pairs",
        "ECE",
        "Brier score",
        "temperature",
        "ECE there",
        "log loss",
        "log loss there",
    ];
    let rows = kinds(audit).map(row).collect();
    let series = kinds(audit).map(|(name, agreement)| Series {
        name: format!("{name} labels"),
        points: agreement.bins.iter().map(reliability_point).collect(),
        style: Style::ErrorBars,
    });
    let labels = ("probability of the preferred response", "what labels say of it");
    let plot = plot("Reliability", labels, series.collect(), Some(Reference::Diagonal));
    let blocks = vec![Block::Text(note.into()), table(&columns, rows), plot];
    Section { title: "Calibration on held-out pairs".into(), blocks }
}

/// One point of an accuracy curve.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CurvePoint {
    /// Whose labels were learned from.
    pub labels: String,
    /// How many.
    pub trained_on: usize,
    /// The reward model on the held-out pairs, the same in all points.
    pub audit: RewardAudit,
}

/// Accuracy against the number of labels learned from, one line for each source of labels and each kind of
/// labels to measure by.
pub fn curve_section(points: &[CurvePoint]) -> Section {
    let note = "Every model starts afresh and is measured on the same held-out pairs; a smaller training \
        set is part of the larger ones. Accuracy in per cent with its 95 % interval over prompts \
        (Wilson's, of as many pairs as they are worth).";
    let accuracy = |agreement: &Option<RewardAgreement>| {
        agreement.as_ref().map_or(NOTHING.into(), |agreement| percent(&agreement.accuracy))
    };
    let ece = |agreement: &Option<RewardAgreement>| {
        agreement.as_ref().map_or(NOTHING.into(), |agreement| number(agreement.ece))
    };
    let row = |point: &CurvePoint| {
        let RewardAudit { human, ai } = &point.audit;
        vec![
            point.labels.clone(),
            point.trained_on.to_string(),
            accuracy(human),
            ece(human),
            accuracy(ai),
            ece(ai),
        ]
    };
    let mut rows: Vec<Vec<String>> = points.iter().map(row).collect();
    if let Some(last) = points.last() {
        let longer = |agreement: &Option<RewardAgreement>| {
            agreement.as_ref().map_or(NOTHING.into(), |a| percent(&a.longer_wins.agreement))
        };
        let RewardAudit { human, ai } = &last.audit;
        let nothing = || NOTHING.to_owned();
        rows.push(vec![
            "the longer one wins".into(),
            "0".into(),
            longer(human),
            nothing(),
            longer(ai),
            nothing(),
        ]);
    }
    let columns =
        ["learned from", "labels", "accuracy on people's", "ECE", "accuracy on a model's", "ECE"];
    let mut sources: Vec<&str> = points.iter().map(|point| point.labels.as_str()).collect();
    sources.dedup();
    let line = |source: &str, on: &str, of: fn(&RewardAudit) -> Option<&RewardAgreement>| {
        let of_source = points.iter().filter(|point| point.labels == source);
        let measured = of_source
            .filter_map(|point| Some((point.trained_on as f64, &of(&point.audit)?.accuracy)));
        shares(&format!("from {source} labels, on {on}"), Style::Line, measured)
    };
    let lines = sources.iter().flat_map(|source| {
        [
            line(source, "people's", |audit| audit.human.as_ref()),
            line(source, "a model's", |audit| audit.ai.as_ref()),
        ]
    });
    let series = lines.filter(|line| !line.points.is_empty()).collect();
    let labels = ("labels learned from", "accuracy on held-out pairs, per cent");
    let half = Some(Reference::Horizontal(50.0));
    let plot = plot("Accuracy against number of labels", labels, series, half);
    Section {
        title: "Accuracy against number of labels".into(),
        blocks: vec![Block::Text(note.into()), table(&columns, rows), plot],
    }
}
