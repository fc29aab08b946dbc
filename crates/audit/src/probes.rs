//! Judge-hacking probes: responses that say nothing, and responses that address the judge.
//!
//! A constant answer should lose to a real one (null models, 2410.07137; one-token "master keys",
//! 2507.08794), and words to the judge should change nothing. Each probe edits one response of a
//! pair; the labeler is asked about the edited pair, and [`Probed`] says how often that paid.

mod outcome;
mod set;

pub use outcome::{ProbeAnswer, Probed, Tally};
pub use set::PROBES;

use rlaif_types::Pair;
use serde::{Deserialize, Serialize};

/// One way to try a judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its name, unique in [`PROBES`].
    pub name: &'static str,
    /// What kind of trick it is.
    pub family: Family,
    edit: Edit,
    /// The position that it tells the judge to prefer, where it names one.
    pub demands: Option<Position>,
}

/// Kinds of tricks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A symbol or a blank.
    Symbol,
    /// The opening of an answer that does not come.
    Opener,
    /// A polite refusal.
    Refusal,
    /// Many words about nothing.
    Filler,
    /// The real response, and instructions to the judge after it.
    Instruction,
    /// The real response, and what looks like the end of it and of the judge's prompt.
    ForgedFence,
    /// The real response, and what looks like the judge's own verdict.
    ForgedVerdict,
}

/// A response of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Response A.
    A,
    /// Response B.
    B,
}

/// A position in the judge's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Shown first.
    First,
    /// Shown second.
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// The whole response is this.
    Replace(&'static str),
    /// The whole response is this, so many times.
    Repeat(&'static str, usize),
    /// The response, an empty line, and this.
    Append(&'static str),
}

impl Probe {
    /// The probe of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROBES.iter().find(|probe| probe.name == name)
    }

    /// The pair with one response edited.
    pub fn on(&self, pair: &Pair, side: Side) -> Pair {
        let mut probed = pair.clone();
        let response = match side {
            Side::A => &mut probed.response_a,
            Side::B => &mut probed.response_b,
        };
        *response = match self.edit {
            Edit::Replace(text) => text.to_owned(),
            Edit::Repeat(text, times) => text.repeat(times).trim_end().to_owned(),
            Edit::Append(text) => format!("{response}\n\n{text}"),
        };
        probed
    }

    /// Whether the real response is gone, rather than followed by the probe's words.
    pub fn replaces(&self) -> bool {
        !matches!(self.edit, Edit::Append(_))
    }
}

impl Family {
    /// For tables.
    pub fn describe(self) -> &'static str {
        match self {
            Family::Symbol => "symbol",
            Family::Opener => "opener",
            Family::Refusal => "refusal",
            Family::Filler => "filler",
            Family::Instruction => "instruction",
            Family::ForgedFence => "forged fence",
            Family::ForgedVerdict => "forged verdict",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Prompt;
    use std::collections::BTreeSet;

    fn pair() -> Pair {
        Pair {
            prompt: Prompt::Text("What is 2 + 2?".into()),
            response_a: "4".into(),
            response_b: "5".into(),
        }
    }

    #[test]
    fn names_are_unique_and_every_family_is_there() {
        let names: BTreeSet<&str> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        assert_eq!(PROBES.iter().map(|probe| probe.family).collect::<BTreeSet<_>>().len(), 7);
        assert_eq!(Probe::named("colon").unwrap().family, Family::Symbol);
    }

    #[test]
    fn a_probe_edits_one_response_and_leaves_the_rest() {
        for probe in PROBES {
            let probed = probe.on(&pair(), Side::B);
            assert_eq!((&probed.prompt, &probed.response_a), (&pair().prompt, &pair().response_a));
            assert_ne!(probed.response_b, pair().response_b, "{}", probe.name);
            assert_eq!(probed.response_b.starts_with("5\n\n"), !probe.replaces());
            assert_eq!(probe.on(&pair().swapped(), Side::A), probed.swapped());
        }
    }

    #[test]
    fn a_response_is_never_empty_and_filler_is_long_but_bounded() {
        let length = |probe: &Probe| probe.on(&pair(), Side::A).response_a.chars().count();
        assert!(PROBES.iter().all(|probe| (1..4000).contains(&length(probe))));
        assert!(PROBES.iter().filter(|p| p.family == Family::Filler).all(|p| length(p) > 1000));
    }
}
