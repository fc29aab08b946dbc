//! How far a label's probability can be trusted: agreement by confidence, and calibration.

use super::SERIES;
use super::cells::{NOTHING, by_arm, estimate, name, number, percent, plot, shares, with_interval};
use crate::{Agreement, ArmAudit, Audit};
use rlaif_report::{Block, Point, Reference, Section, Series, Style};
use rlaif_stats::{CalibrationBin, Share};
use std::collections::BTreeSet;

pub(super) fn confidence(audit: &Audit) -> Section {
    let note = "Agreement in per cent by the labeler's confidence |2p - 1|, and by people's own \
        where it is known. The curve is what is left when only the surest labels are kept.";
    let bands = by_arm(audit, &["0 to 0.2", "to 0.4", "to 0.6", "to 0.8", "to 1"], |arm| {
        let band = |from: f64| {
            let band = arm.agreement.by_confidence.iter().find(|band| band.from == from);
            counted(band.map(|band| &band.agreement))
        };
        (0..5).map(|number| band(f64::from(number) / 5.0)).collect()
    });
    let mut blocks = vec![Block::Text(note.into()), bands];
    blocks.extend(by_people(audit));
    let curve = |(number, arm): (usize, &ArmAudit)| {
        let points = arm.agreement.selective.iter().map(|p| (100.0 * p.coverage, &p.agreement));
        shares(&name(number, arm), Style::Line, points)
    };
    let series = audit.arms.iter().enumerate().take(SERIES).map(curve).collect();
    let labels = ("labels kept, per cent", "agreement, per cent");
    blocks.push(plot("Agreement against coverage", labels, series, None));
    Section { title: "By confidence".into(), blocks }
}

fn by_people(audit: &Audit) -> Option<Block> {
    let of = |agreement: &Agreement, value: u8| {
        let band = agreement.by_human_confidence.iter().find(|band| band.confidence == value);
        counted(band.map(|band| &band.agreement))
    };
    let bands = audit.arms.iter().flat_map(|arm| &arm.agreement.by_human_confidence);
    let values: BTreeSet<u8> = bands.map(|band| band.confidence).collect();
    let columns: Vec<String> = values.iter().map(|value| format!("people {value}")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    (!values.is_empty()).then(|| {
        by_arm(audit, &columns, |arm| values.iter().map(|v| of(&arm.agreement, *v)).collect())
    })
}

/// `81.0 [60.0, 92.3] of 21`.
fn counted(share: Option<&Share>) -> String {
    share.map_or(NOTHING.into(), |share| format!("{} of {}", percent(share), share.trials))
}

pub(super) fn calibration(audit: &Audit) -> Section {
    let note = "The probability of the response that a label prefers against how often people \
        prefer it. The temperature divides log-odds and would make labels fit people best: above 1 \
        the labeler is too sure. ECE is the expected calibration error in ten bins, also at that \
        temperature, on the pairs that it was fitted to.";
    let columns =
        ["pairs", "ECE", "Brier score", "temperature", "ECE there", "log loss", "log loss there"];
    let or_nothing = |value: Option<f64>| value.map_or(NOTHING.into(), number);
    let rows = by_arm(audit, &columns, |arm| {
        let calibration = &arm.calibration;
        let fit = calibration.temperature.as_ref();
        vec![
            calibration.pairs.to_string(),
            or_nothing(calibration.ece),
            estimate(calibration.brier.as_ref()),
            fit.map_or(NOTHING.into(), |t| with_interval(t.temperature, Some(&t.interval))),
            or_nothing(calibration.calibrated_ece),
            or_nothing(fit.map(|t| t.log_loss)),
            or_nothing(fit.map(|t| t.calibrated_log_loss)),
        ]
    });
    let series = audit.arms.iter().enumerate().take(SERIES).map(|(number, arm)| Series {
        name: name(number, arm),
        points: arm.calibration.bins.iter().map(reliability_point).collect(),
        style: Style::ErrorBars,
    });
    let labels = ("probability of the preferred response", "share of people who prefer it");
    let plot = plot("Reliability", labels, series.collect(), Some(Reference::Diagonal));
    Section { title: "Calibration".into(), blocks: vec![Block::Text(note.into()), rows, plot] }
}

pub(super) fn reliability_point(bin: &CalibrationBin) -> Point {
    Point {
        x: bin.predicted,
        y: bin.observed,
        low: bin.interval.map(|i| i.low),
        high: bin.interval.map(|i| i.high),
    }
}
