//! Repetition stability: whether a labeler that is asked the same again answers the same
//! (2406.07791).

use crate::arm::{Answer, Arm};
use crate::sample::groups;
use rlaif_stats::{Estimate, Share, bootstrap};
use rlaif_types::SoftLabel;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Stability over the pairs that were judged at least twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// Fewest answers to one of those pairs.
    pub fewest_answers: usize,
    /// Most answers to one of those pairs.
    pub most_answers: usize,
    /// Share of a question's answers that are its most frequent one (first, second or tie), mean
    /// over questions; each order of a pair is a question.
    pub stability: Estimate,
    /// Share of pairs whose label prefers the same response every time.
    pub unanimous: Share,
}

impl Stability {
    /// None where nothing was asked again.
    pub(crate) fn of(arm: &Arm, seed: u64) -> Option<Self> {
        let groups = groups(&arm.observations);
        let repeated: Vec<(usize, Vec<&Answer>)> = arm
            .observations
            .iter()
            .map(|o| {
                let answers = o.answers().filter_map(|answer| answer.as_ref().ok());
                (groups[o.group.as_str()], answers.collect::<Vec<_>>())
            })
            .filter(|(_, answers)| answers.len() > 1)
            .collect();
        let both_orders = |(group, answers): &(usize, Vec<&Answer>)| {
            let (ab, ba) = (modal_share(answers, |a| a.ab), modal_share(answers, |a| a.ba));
            (*group, [ab + ba, 2.0])
        };
        let questions = repeated.iter().map(both_orders);
        let unanimous = |(group, answers): &(usize, Vec<&Answer>)| {
            (*group, modal_share(answers, |answer| answer.label) == 1.0)
        };
        Some(Self {
            fewest_answers: repeated.iter().map(|(_, answers)| answers.len()).min()?,
            most_answers: repeated.iter().map(|(_, answers)| answers.len()).max()?,
            stability: bootstrap(questions, seed, |[sum, count]| Some(sum / count))?,
            unanimous: Share::of_conditions(repeated.iter().map(unanimous)),
        })
    }
}

fn modal_share(answers: &[&Answer], probability: fn(&Answer) -> SoftLabel) -> f64 {
    let side = |answer: &&Answer| probability(answer).value().total_cmp(&0.5);
    let count = |choice: Ordering| answers.iter().filter(|a| side(a) == choice).count();
    let most = [Ordering::Less, Ordering::Equal, Ordering::Greater].map(count);
    most.into_iter().fold(0, usize::max) as f64 / answers.len() as f64
}
