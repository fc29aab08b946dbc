//! Agreement with people (paper section 1, "labeler alignment"), by confidence, and beside what
//! needs no labeler at all.

use crate::arm::Observation;
use crate::sample::{Scored, beside_people};
use rlaif_stats::{Estimate, McNemar, Share, bootstrap_mean};
use rlaif_types::SoftLabel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Equal parts of the labeler's confidence.
const BANDS: usize = 5;
/// Points of the coverage-accuracy curve.
const COVERAGES: usize = 10;

/// How often the labeler prefers what people prefer, over the scored pairs that people judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of pairs in which both prefer the same response; a tie is half an agreement.
    pub overall: Share,
    /// Labels of exactly one half among them.
    pub ties: usize,
    /// By the labeler's confidence `|2p - 1|`, in five equal parts; empty ones are left out.
    pub by_confidence: Vec<ConfidenceBand>,
    /// By people's confidence, for each value that occurs.
    pub by_human_confidence: Vec<HumanBand>,
    /// Agreement when only the surest labels are kept, fewest first.
    pub selective: Vec<SelectivePoint>,
    /// "The longer response wins", equal lengths being a tie.
    pub longer_wins: Baseline,
    /// "Response A wins", whatever it is. Near one half where sides are random; near 1 or 0 the
    /// file's order gives people's preference away.
    pub a_wins: Baseline,
}

/// Pairs about which the labeler was similarly sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceBand {
    /// Least confidence, included.
    pub from: f64,
    /// Most confidence; excluded, except 1.
    pub to: f64,
    /// Agreement within.
    pub agreement: Share,
}

/// Pairs about which people were equally sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HumanBand {
    /// On the data's own scale.
    pub confidence: u8,
    /// Agreement within.
    pub agreement: Share,
}

/// Selective classification (El-Yaniv and Wiener, 2010): what is left when labels below a
/// confidence are thrown away, as confidence filters of labels do (2404.09824).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectivePoint {
    /// Labels at least this sure are kept; equally sure ones stay or go together.
    pub min_confidence: f64,
    /// Share of pairs that are kept.
    pub coverage: f64,
    /// Agreement among those.
    pub agreement: Share,
}

/// A rule that needs no labeler, and the labeler against it on the same pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// How often the rule prefers what people prefer; a tie is half an agreement.
    pub agreement: Share,
    /// The labeler's agreement minus the rule's, with a paired bootstrap interval.
    pub advantage: Option<Estimate>,
    /// McNemar's test on pairs in which neither is tied, each group of pairs counting once: the labeler
    /// first, the rule second.
    pub test: McNemar,
}

impl Agreement {
    pub(crate) fn of(scored: &[Scored<'_>], seed: u64) -> Self {
        let pairs: Vec<Pair> = beside_people(scored)
            .iter()
            .filter_map(|(scored, human)| {
                let Observation { len_a, len_b, .. } = scored.observation;
                let (label, lengths) = (scored.answer.label, [*len_a, *len_b]);
                let pair = Pair::beside(human.label(), label.value(), lengths, scored.group)?;
                Some(Pair { human_confidence: human.confidence, ..pair })
            })
            .collect();
        Self {
            overall: agreement(&pairs),
            ties: pairs.iter().filter(|p| p.agreed == 0.5).count(),
            by_confidence: by_confidence(&pairs),
            by_human_confidence: by_human_confidence(&pairs),
            selective: selective(&pairs),
            longer_wins: Baseline::of(&pairs, |pair| pair.longer, seed),
            a_wins: Baseline::of(&pairs, |pair| pair.a, seed),
        }
    }
}

/// A pair reduced to what agreement needs; outcomes are 1, 0 or, for a tie, one half.
pub(crate) struct Pair {
    pub(crate) agreed: f64,
    pub(crate) confidence: f64,
    pub(crate) human_confidence: Option<u8>,
    pub(crate) longer: f64,
    pub(crate) a: f64,
    pub(crate) group: usize,
}

impl Pair {
    /// What a labeler, or a reward model, makes of a pair to which it gives this probability that A is
    /// preferred, and what the rules make of it, beside a label; none where that prefers neither.
    pub(crate) fn beside(
        label: SoftLabel,
        prefers_a: f64,
        [len_a, len_b]: [usize; 2],
        group: usize,
    ) -> Option<Self> {
        Some(Self {
            // Whose probability is above one half is preferred.
            agreed: label.agreement(prefers_a, 0.5)?,
            confidence: (2.0 * prefers_a - 1.0).abs(),
            human_confidence: None,
            longer: label.agreement(len_a as f64, len_b as f64)?,
            a: label.agreement(1.0, 0.0)?,
            group,
        })
    }
}

fn agreement<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Share {
    Share::of_outcomes(pairs.into_iter().map(|pair| (pair.group, pair.agreed)))
}

fn by_confidence(pairs: &[Pair]) -> Vec<ConfidenceBand> {
    let band = |pair: &Pair| ((pair.confidence * BANDS as f64) as usize).min(BANDS - 1);
    let bands = (0..BANDS).map(|number| ConfidenceBand {
        from: number as f64 / BANDS as f64,
        to: (number + 1) as f64 / BANDS as f64,
        agreement: agreement(pairs.iter().filter(|pair| band(pair) == number)),
    });
    bands.filter(|band| band.agreement.trials > 0).collect()
}

fn by_human_confidence(pairs: &[Pair]) -> Vec<HumanBand> {
    let mut bands: BTreeMap<u8, Vec<&Pair>> = BTreeMap::new();
    for pair in pairs {
        if let Some(confidence) = pair.human_confidence {
            bands.entry(confidence).or_default().push(pair);
        }
    }
    let band = |(confidence, pairs): (u8, Vec<&Pair>)| HumanBand {
        confidence,
        agreement: agreement(pairs),
    };
    bands.into_iter().map(band).collect()
}

fn selective(pairs: &[Pair]) -> Vec<SelectivePoint> {
    let mut surest_first: Vec<&Pair> = pairs.iter().collect();
    surest_first.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut points: Vec<SelectivePoint> = Vec::new();
    for step in 1..=COVERAGES {
        let wanted = (pairs.len() * step).div_ceil(COVERAGES);
        let Some(last) = wanted.checked_sub(1).and_then(|index| surest_first.get(index)) else {
            return points;
        };
        let min_confidence = last.confidence;
        if points.last().is_some_and(|point| point.min_confidence == min_confidence) {
            continue;
        }
        let kept = surest_first.partition_point(|pair| pair.confidence >= min_confidence);
        points.push(SelectivePoint {
            min_confidence,
            coverage: kept as f64 / pairs.len() as f64,
            agreement: agreement(surest_first[..kept].iter().copied()),
        });
    }
    points
}

impl Baseline {
    pub(crate) fn of(pairs: &[Pair], rule: impl Fn(&Pair) -> f64, seed: u64) -> Self {
        let advantage = pairs.iter().map(|pair| (pair.group, pair.agreed - rule(pair)));
        let decided = pairs.iter().filter(|pair| pair.agreed != 0.5 && rule(pair) != 0.5);
        Self {
            agreement: Share::of_outcomes(pairs.iter().map(|pair| (pair.group, rule(pair)))),
            advantage: bootstrap_mean(advantage, seed),
            test: McNemar::of(
                decided.map(|pair| (pair.group, pair.agreed == 1.0, rule(pair) == 1.0)),
            ),
        }
    }
}
