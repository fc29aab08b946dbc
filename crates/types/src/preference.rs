//! A pair and what is known of which of its responses is better, as datasets state it.

use crate::{Finish, LabelSource, Pair, SoftLabel};

/// A pair, and who preferred which of its candidates.
///
/// Candidates stand as they were read. Formats that name a chosen response make it A, so a labeler
/// that leans towards a position must not be judged on them in one order only.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// The prompt and its two candidates.
    pub pair: Pair,
    /// What people said, where anybody did.
    pub human: Option<HumanLabel>,
    /// What a labeling model said: the probability that A is preferred.
    pub ai: Option<SoftLabel>,
    /// How A and B ended: of one that was cut off no end is learned.
    pub finish: [Finish; 2],
}

impl Preference {
    /// The same preference with its candidates exchanged, and everything said of them with them.
    pub fn swapped(&self) -> Self {
        Self {
            pair: self.pair.swapped(),
            human: self.human.as_ref().map(HumanLabel::swapped),
            ai: self.ai.map(SoftLabel::swapped),
            finish: [self.finish[1], self.finish[0]],
        }
    }

    /// The probability that A is preferred, where nobody says whose word counts: the model's where it was asked,
    /// else people's. So the chosen side of a labelled record is the one that it names.
    pub fn prefers_a(&self) -> Option<SoftLabel> {
        LabelSource::Mixed.of(self).map(|(label, _)| label)
    }
}

/// What people said of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct HumanLabel {
    /// Share of people who prefer A: 1 or 0 where one chose, 0.5 for a tie.
    pub prefers_a: SoftLabel,
    /// How sure they were.
    pub confidence: Option<Confidence>,
    /// By how much A is better on the dataset's own scale; negative where B is. TRL's `margin`.
    pub margin: Option<f64>,
    /// Who said so, as the dataset names them.
    pub annotator: Option<String>,
}

impl HumanLabel {
    /// A label without anything known of its confidence or its author.
    pub fn new(prefers_a: SoftLabel) -> Self {
        Self { prefers_a, confidence: None, margin: None, annotator: None }
    }

    /// How sure they were, from 0 to 1: by their place on the scale where they gave one, else by how far
    /// their votes are from a tie.
    pub fn sureness(&self) -> f64 {
        match self.confidence {
            Some(place) => f64::from(place.value().abs_diff(5)) / 4.0,
            None => self.prefers_a.confidence(),
        }
    }

    /// The label of the pair with its candidates exchanged.
    pub fn swapped(&self) -> Self {
        Self {
            prefers_a: self.prefers_a.swapped(),
            confidence: self.confidence.map(Confidence::swapped),
            margin: self.margin.map(|margin| -margin),
            annotator: self.annotator.clone(),
        }
    }
}

/// A place between the candidates, from 1 (surely A) over 5 (either) to 9 (surely B): the scale of
/// OpenAI's TL;DR comparisons (Stiennon et al. 2020, appendix C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Confidence(u8);

impl Confidence {
    /// The place `value`.
    ///
    /// # Errors
    /// When it is not in 1 to 9.
    pub fn new(value: u64) -> Result<Self, String> {
        match u8::try_from(value) {
            Ok(place @ 1..=9) => Ok(Self(place)),
            _ => Err(format!("a confidence is from 1 (surely A) to 9 (surely B), not {value}")),
        }
    }

    /// From 1 to 9.
    pub fn value(self) -> u8 {
        self.0
    }

    /// The place after the candidates were exchanged.
    pub fn swapped(self) -> Self {
        Self(10 - self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prompt;

    #[test]
    fn exchanging_the_candidates_exchanges_everything_said_of_them() {
        let preference = Preference {
            pair: Pair {
                prompt: Prompt::Text("2+2?".into()),
                response_a: "4".into(),
                response_b: "5".into(),
            },
            human: Some(HumanLabel {
                prefers_a: SoftLabel::new(1.0).unwrap(),
                confidence: Some(Confidence::new(2).unwrap()),
                margin: Some(1.5),
                annotator: Some("w1".into()),
            }),
            ai: Some(SoftLabel::new(0.75).unwrap()),
            finish: [Finish::Length, Finish::Stop],
        };
        let swapped = preference.swapped();
        assert_eq!(swapped.pair.response_a, "5");
        assert_eq!(swapped.finish, [Finish::Stop, Finish::Length]);
        assert_eq!(swapped.prefers_a().unwrap().value(), 0.25);
        let people_alone = Preference { ai: None, ..swapped.clone() };
        assert_eq!(people_alone.prefers_a().unwrap().value(), 0.0);
        assert_eq!(swapped.ai.unwrap().value(), 0.25);
        let human = swapped.human.as_ref().unwrap();
        assert_eq!((human.confidence.unwrap().value(), human.margin), (8, Some(-1.5)));
        assert_eq!((human.sureness(), human.swapped().sureness()), (0.75, 0.75));
        assert_eq!(swapped.swapped(), preference);
    }

    #[test]
    fn the_scale_of_confidence_has_nine_places() {
        assert!(Confidence::new(0).is_err() && Confidence::new(10).is_err());
        assert_eq!(Confidence::new(5).unwrap().swapped().value(), 5);
    }
}
