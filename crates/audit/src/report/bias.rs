//! What moves a labeler that should not: position, length, being asked again.

use super::cells::{
    NOTHING, by_arm, estimate, p_value, percent, plot, points, shares, with_interval,
};
use crate::Audit;
use rlaif_report::{Block, Section, Style};
use rlaif_stats::Logistic;

pub(super) fn position(audit: &Audit) -> Section {
    let note = "Each pair is asked in both orders. Same: the same position wins both times, and of \
        these the first; p is the two-sided binomial test of an even split of pairs. Consistent: the same \
        response wins both times. Fairness: 0 is fair, -1 always the first position, 1 always the \
        second (after arXiv 2406.07791). Shares in per cent.";
    let columns = ["pairs", "same", "of these first", "p", "consistent", "fairness"];
    let rows = by_arm(audit, &columns, |arm| {
        let position = &arm.position;
        vec![
            position.bias.pairs.to_string(),
            percent(&position.same_position),
            percent(&position.prefers_first),
            p_value(position.bias.p_value),
            percent(&position.consistent),
            estimate(position.fairness.as_ref()),
        ]
    });
    let mut blocks = vec![Block::Text(note.into()), rows];
    blocks.extend(by_size(audit));
    Section { title: "Position bias".into(), blocks }
}

/// The paper finds that it grows as the labeler shrinks.
fn by_size(audit: &Audit) -> Option<Block> {
    let sized = audit.arms.iter().filter_map(|arm| {
        let parameters = arm.labeler.parameters.filter(|parameters| *parameters > 0)?;
        Some(((parameters as f64).log10(), &arm.position.same_position))
    });
    let series = shares("", Style::ErrorBars, sized);
    let labels = ("parameters, log10", "same position, per cent");
    let title = "Position bias by the labeler's size";
    (!series.points.is_empty()).then(|| plot(title, labels, vec![series], None))
}

pub(super) fn verbosity(audit: &Audit) -> Section {
    let note = "How often the longer response is preferred, in per cent; on the pairs that people \
        judged, by the labeler, by people, and the difference in percentage points. Accuracy gap: \
        agreement where people prefer the longer response minus where they prefer the shorter one \
        (after arXiv 2310.10076), in percentage points. Slope: what the log-odds of a response gain \
        when it is e times as long.";
    let columns = [
        "longer, all",
        "longer",
        "people",
        "difference",
        "accuracy gap",
        "slope",
        "people's slope",
    ];
    let slope = |fit: Option<&Logistic>| {
        fit.map_or(NOTHING.into(), |fit| with_interval(fit.slope, Some(&fit.slope_interval)))
    };
    let rows = by_arm(audit, &columns, |arm| {
        let beside = &arm.verbosity.beside_people;
        vec![
            percent(&arm.verbosity.prefers_longer),
            percent(&beside.labeler_prefers_longer),
            percent(&beside.people_prefer_longer),
            points(beside.excess.as_ref()),
            points(beside.accuracy_gap.as_ref()),
            slope(arm.verbosity.by_length.as_ref()),
            slope(beside.people_by_length.as_ref()),
        ]
    });
    Section { title: "Verbosity bias".into(), blocks: vec![Block::Text(note.into()), rows] }
}

pub(super) fn stability(audit: &Audit) -> Option<Section> {
    let note = "Asked the same again: share of answers that are the most frequent one, mean over \
        questions, and how many labels prefer the same response every time; in per cent.";
    let rows = by_arm(audit, &["pairs", "answers", "stability", "unanimous"], |arm| {
        let Some(stability) = &arm.stability else { return vec![NOTHING.into(); 4] };
        vec![
            stability.unanimous.trials.to_string(),
            format!("{} to {}", stability.fewest_answers, stability.most_answers),
            points(Some(&stability.stability)),
            percent(&stability.unanimous),
        ]
    });
    audit.arms.iter().any(|arm| arm.stability.is_some()).then(|| Section {
        title: "Repetition stability".into(),
        blocks: vec![Block::Text(note.into()), rows],
    })
}
