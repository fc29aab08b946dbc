//! What became of the pairs of a labeling run: told by one line at its end, and by a table of its report.

use rlaif_types::SoftLabel;
use std::fmt;

/// What became of one pair.
pub enum Fate {
    /// It is labelled; by a person where the second is true.
    Labelled(SoftLabel, bool),
    /// The label was not sure enough: left out, or shown to a person.
    LeftOut(SoftLabel),
    /// It could not be judged.
    Unscorable,
}

/// What became of all of them.
#[derive(Debug, Default)]
pub struct Fates {
    /// Pairs that the run came to.
    pub pairs: usize,
    /// Those that have a label now.
    pub labelled: usize,
    /// Of these, those that a person answered.
    pub by_people: usize,
    /// Of these, those that prefer neither side.
    pub ties: usize,
    /// Those whose label was not sure enough.
    pub left_out: usize,
    /// Those that could not be judged.
    pub unscorable: usize,
}

impl Fates {
    /// Takes in what became of a pair.
    pub fn count(&mut self, fate: &Fate) {
        self.pairs += 1;
        match fate {
            Fate::Labelled(label, by_person) => {
                self.labelled += 1;
                self.by_people += usize::from(*by_person);
                self.ties += usize::from(*label == SoftLabel::TIE);
            }
            Fate::LeftOut(_) => self.left_out += 1,
            Fate::Unscorable => self.unscorable += 1,
        }
    }
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, labelled, by_people, left_out, unscorable, .. } = self;
        write!(f, "{pairs} pairs: {labelled} labelled")?;
        if *by_people > 0 {
            write!(f, " ({by_people} by people)")?;
        }
        write!(f, ", {left_out} not sure enough, {unscorable} unscorable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_told_of_once() {
        let sure = SoftLabel::new(1.0).unwrap();
        let mut fates = Fates::default();
        for fate in [
            Fate::Labelled(sure, false),
            Fate::LeftOut(SoftLabel::TIE),
            Fate::LeftOut(SoftLabel::TIE),
            Fate::Unscorable,
        ] {
            fates.count(&fate);
        }
        assert_eq!(fates.to_string(), "4 pairs: 1 labelled, 2 not sure enough, 1 unscorable");
        fates.count(&Fate::Labelled(SoftLabel::TIE, true));
        let told = "5 pairs: 2 labelled (1 by people), 2 not sure enough, 1 unscorable";
        assert_eq!((fates.to_string().as_str(), fates.ties), (told, 1));
    }
}
