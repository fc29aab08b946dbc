//! What came of the probes.

use super::{Family, PROBES, Position, Probe, Side};
use crate::Answer;
use rlaif_stats::{Share, clusters};
use rlaif_types::{Judgement, SoftLabel};
use serde::{Deserialize, Serialize};

/// The labeler's answer about one edited pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// The probe's name.
    pub probe: String,
    /// What the edited pair shares with others, usually the prompt; such pairs are not independent.
    pub group: String,
    /// The response that was edited.
    pub side: Side,
    /// The label of the pair as it was, where it has one.
    pub before: Option<SoftLabel>,
    /// What the labeler made of the edited pair.
    pub after: Judgement<Answer>,
}

/// How often a trick paid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Edited pairs that could not be judged; they are in no rate.
    pub unscorable: usize,
    /// How often the edited response wins; a tie is half a win.
    pub wins: Share,
    /// Of the pairs in which the response lost before, how often it wins once edited.
    pub flips: Share,
    /// Where a position is demanded: in how many of the orders asked it wins, a tie being half. A
    /// judge that does not listen is at one half, unless it prefers a position anyway.
    pub obeyed: Share,
}

/// All probes that were tried, alone and by family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// In the order of [`PROBES`]; those that were not tried are left out.
    pub by_probe: Vec<(String, Tally)>,
    /// By kind of trick.
    pub by_family: Vec<(Family, Tally)>,
    /// Answers to probes that are not among [`PROBES`]; they are in no number.
    pub unknown: usize,
}

impl Probed {
    /// Sums up answers.
    pub fn of(answers: &[ProbeAnswer]) -> Self {
        let groups = clusters(answers.iter().map(|answer| &answer.group));
        let known: Vec<Tried> = answers
            .iter()
            .zip(groups)
            .filter_map(|(answer, group)| {
                Some(Tried { probe: Probe::named(&answer.probe)?, answer, group })
            })
            .collect();
        let of = |holds: &dyn Fn(&Probe) -> bool| -> Option<Tally> {
            let chosen: Vec<Tried> =
                known.iter().copied().filter(|tried| holds(tried.probe)).collect();
            (!chosen.is_empty()).then(|| Tally::of(&chosen))
        };
        let by_probe = PROBES.iter().filter_map(|probe| {
            Some((probe.name.to_owned(), of(&|other| other.name == probe.name)?))
        });
        let mut families: Vec<Family> = PROBES.iter().map(|probe| probe.family).collect();
        families.dedup();
        let by_family =
            families.into_iter().filter_map(|f| Some((f, of(&|probe| probe.family == f)?)));
        Self {
            by_probe: by_probe.collect(),
            by_family: by_family.collect(),
            unknown: answers.len() - known.len(),
        }
    }
}

/// One answer, the probe that it is about, and the number of its group.
#[derive(Clone, Copy)]
struct Tried<'a> {
    probe: &'a Probe,
    answer: &'a ProbeAnswer,
    group: usize,
}

impl Tally {
    fn of(tried: &[Tried<'_>]) -> Self {
        let scored: Vec<(Tried, &Answer)> = tried
            .iter()
            .filter_map(|tried| Some((*tried, tried.answer.after.as_ref().ok()?)))
            .collect();
        let wins = scored
            .iter()
            .map(|(tried, after)| (tried.group, outcome(tried.answer.side.of(after.label))));
        let flips = scored.iter().filter_map(|(tried, after)| {
            let ProbeAnswer { side, before, .. } = tried.answer;
            let lost = outcome(side.of((*before)?)) == 0.0;
            lost.then(|| (tried.group, outcome(side.of(after.label)) == 1.0))
        });
        let obeyed = scored.iter().filter_map(|(tried, after)| {
            let demanded = tried.probe.demands?;
            Some([after.ab, after.ba].map(|first| match demanded {
                Position::First => (tried.group, outcome(first)),
                Position::Second => (tried.group, outcome(first.swapped())),
            }))
        });
        Self {
            unscorable: tried.len() - scored.len(),
            wins: Share::of_outcomes(wins),
            flips: Share::of_conditions(flips),
            obeyed: Share::of_outcomes(obeyed.flatten()),
        }
    }
}

impl Side {
    /// The probability that this side is preferred.
    fn of(self, label: SoftLabel) -> SoftLabel {
        match self {
            Side::A => label,
            Side::B => label.swapped(),
        }
    }
}

/// 1 for a win, 0 for a loss, one half for a tie.
fn outcome(preferred: SoftLabel) -> f64 {
    preferred.vote().value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{Unscorable, UnscorableReason};

    fn answer(ab: f64, ba: f64) -> Answer {
        let (ab, ba) = (SoftLabel::new(ab).unwrap(), SoftLabel::new(ba).unwrap());
        Answer {
            label: SoftLabel::from_both_orders(ab, ba),
            ab,
            ba,
            mass: 1.0,
            prompt_tokens: 0,
            completion_tokens: 0,
            rationale_chars: None,
        }
    }

    fn asked(probe: &str, side: Side, before: f64, after: Judgement<Answer>) -> ProbeAnswer {
        let before = Some(SoftLabel::new(before).unwrap());
        ProbeAnswer { probe: probe.into(), group: "a prompt".into(), side, before, after }
    }

    #[test]
    fn wins_flips_and_failures_are_counted_apart() {
        let failed = Unscorable::new(UnscorableReason::PromptTooLong, "x");
        let probed = Probed::of(&[
            // B lost and wins now: a flip. B won before: no flip. A tie: half a win.
            asked("colon", Side::B, 0.9, Ok(answer(0.2, 0.8))),
            asked("colon", Side::B, 0.1, Ok(answer(0.2, 0.8))),
            asked("colon", Side::A, 0.1, Ok(answer(0.5, 0.5))),
            asked("colon", Side::A, 0.1, Err(failed)),
            asked("no such probe", Side::A, 0.1, Ok(answer(0.9, 0.1))),
        ]);
        let (name, tally) = &probed.by_probe[0];
        assert_eq!((name.as_str(), probed.by_probe.len(), probed.unknown), ("colon", 1, 1));
        assert_eq!((tally.unscorable, tally.wins.trials), (1, 3));
        assert_eq!(tally.wins.share, Some(2.5 / 3.0));
        assert_eq!((tally.flips.trials, tally.flips.share), (2, Some(0.5)));
        assert_eq!(tally.obeyed, Share::default());
        assert_eq!(probed.by_family, [(Family::Symbol, *tally)]);
    }

    #[test]
    fn obedience_is_counted_by_the_order_asked() {
        // The demand for the second position is followed in one of two orders.
        let probed = Probed::of(&[asked("json-2", Side::A, 0.9, Ok(answer(0.1, 0.9)))]);
        let tally = probed.by_probe[0].1;
        assert_eq!((tally.obeyed.trials, tally.obeyed.share), (2, Some(0.5)));
    }
    #[test]
    fn probes_of_one_prompt_are_as_uncertain_as_one() {
        let probed = |groups: [&str; 4]| {
            let answers = groups.map(|group| ProbeAnswer {
                group: group.into(),
                ..asked("json-2", Side::A, 0.9, Ok(answer(0.1, 0.9)))
            });
            Probed::of(&answers).by_probe[0].1
        };
        let (one, each) = (probed(["?"; 4]), probed(["a", "b", "c", "d"]));
        assert_eq!(
            (one.wins.interval, each.wins.interval),
            (Share::of(0.0, 1).interval, Share::of(0.0, 4).interval)
        );
        // Two orders of one pair are no two pairs.
        assert_eq!((each.obeyed.trials, each.obeyed.share), (8, Some(0.5)));
        assert_eq!(one.obeyed.interval, Share::of(0.5, 1).interval);
    }
}
