//! How a reward model learns from labelled pairs, beside its optimiser: what is minimised, in which
//! order pairs come, how much each counts, when it is enough.

use crate::{Preference, Problems, SoftLabel};
use serde::{Deserialize, Serialize};

/// Whose labels a reward model learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// A labeling model's.
    #[default]
    Ai,
    /// People's.
    Human,
    /// The model's where it was asked, else people's.
    Mixed,
}

impl LabelSource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ai, Self::Human, Self::Mixed];

    /// As job files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "ai",
            Self::Human => "human",
            Self::Mixed => "mixed",
        }
    }

    /// The label to learn from, where there is one, and who gave it.
    pub fn of(self, preference: &Preference) -> Option<(SoftLabel, Self)> {
        let human = || Some((preference.human.as_ref()?.prefers_a, Self::Human));
        let ai = || Some((preference.ai?, Self::Ai));
        match self {
            Self::Ai => ai(),
            Self::Human => human(),
            Self::Mixed => ai().or_else(human),
        }
    }
}

/// What is minimised beside the labels' cross-entropy (paper section 2). By default nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardObjective {
    /// Weight of the pairs' margins. Where people say by how much A is better, `m`, and not only that
    /// it is, the rewards are to differ by `margin · m` more: `sigma(r_A - r_B - margin · m)` takes the
    /// place of `sigma(r_A - r_B)` (Llama 2, Touvron et al. 2023, section 3.2.2).
    pub margin: f64,
    /// Weight of `(r_A + r_B)²`, which keeps rewards around 0: comparisons alone leave a constant free
    /// for every prompt (Eisenstein et al. 2023, "Helping or Herding?"; TRL's
    /// `center_rewards_coefficient`, which its authors set to 0.01).
    pub center: f64,
}

/// The order in which pairs are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairOrder {
    /// Drawn anew for each epoch.
    #[default]
    Shuffled,
    /// A curriculum: the first epoch goes from the surest labels to the least sure, those equally sure
    /// as they were drawn; later epochs are shuffled.
    EasyFirst,
}

/// How much a pair counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairWeighting {
    /// As much as every other.
    #[default]
    Equal,
    /// In proportion to how sure its label is, `|2p - 1|`.
    Sureness,
}

/// Ends training where what is minimised, on pairs kept back for it, falls no further.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// Share of the training pairs that are kept back for it, as near as whole prompts come. They are not
    /// the held-out ones, which would be no measure of the model any more once they had decided when to
    /// stop.
    pub fraction: f64,
    /// Steps between measurements.
    pub every_steps: usize,
    /// Measurements in a row that may bring nothing.
    pub patience: usize,
    /// By how much the loss must fall, in nats per pair, to count as better.
    pub min_delta: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { fraction: 0.1, every_steps: 5, patience: 3, min_delta: 0.001 }
    }
}

impl Plateau {
    /// Whether the losses measured so far, in this order, have stopped falling.
    pub fn is_reached(&self, losses: &[f64]) -> bool {
        let (mut best, mut in_vain) = (f64::INFINITY, 0);
        for loss in losses {
            if best - loss >= self.min_delta {
                (best, in_vain) = (*loss, 0);
            } else {
                in_vain += 1;
            }
        }
        in_vain >= self.patience
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let fraction = self.fraction > 0.0 && self.fraction < 1.0;
        problems.check(fraction, "fraction", "must be in (0, 1)");
        problems.check_positive("every_steps", self.every_steps);
        problems.check_positive("patience", self.patience);
        let delta = self.min_delta >= 0.0 && self.min_delta.is_finite();
        problems.check(delta, "min_delta", "must be 0 or more");
        problems
    }
}

impl RewardObjective {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (field, weight) in [("margin", self.margin), ("center", self.center)] {
            let what = format!("must be 0 or more, not {weight}");
            problems.check(weight >= 0.0 && weight.is_finite(), field, what);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finish, HumanLabel, Pair, Prompt};

    #[test]
    fn each_is_heard_where_it_was_asked_and_the_model_first_where_both_were() {
        let label = |p| SoftLabel::new(p).unwrap();
        let pair = Pair {
            prompt: Prompt::Text("2+2?".into()),
            response_a: "4".into(),
            response_b: "5".into(),
        };
        let human = Some(HumanLabel::new(label(1.0)));
        let both = Preference { pair, human, ai: Some(label(0.25)), finish: [Finish::Stop; 2] };
        let ai_alone = Preference { human: None, ..both.clone() };
        let heard = |preference| LabelSource::ALL.map(|source| source.of(preference));
        let (by_human, by_ai) = ((label(1.0), LabelSource::Human), (label(0.25), LabelSource::Ai));
        assert_eq!(heard(&both), [Some(by_ai), Some(by_human), Some(by_ai)]);
        assert_eq!(heard(&ai_alone), [Some(by_ai), None, Some(by_ai)]);
    }

    #[test]
    fn a_plateau_is_reached_after_as_many_measurements_in_vain_as_patience_allows() {
        let plateau = Plateau { patience: 2, min_delta: 0.01, ..Plateau::default() };
        assert!(!plateau.is_reached(&[]));
        assert!(!plateau.is_reached(&[0.7, 0.6, 0.595]));
        assert!(plateau.is_reached(&[0.7, 0.6, 0.595, 0.592]), "a crawl is a plateau");
        assert!(
            !plateau.is_reached(&[0.7, 0.8, 0.6, 0.7]),
            "what got better starts the count anew"
        );
        assert!(plateau.is_reached(&[f64::NAN, f64::NAN]), "a loss that is no number never falls");
    }
}
