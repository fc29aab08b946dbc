//! Several labelers as one: each is asked the same, and their labels are put together.

use crate::{Error, Judge};
use rlaif_types::{
    Comparison, Hasher, Judgement, LabelId, Pair, SoftLabel, Unscorable, UnscorableReason,
};
use std::fmt;
use std::str::FromStr;

/// How labels of several labelers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// The mean of the probabilities.
    #[default]
    Mean,
    /// The share of labelers that prefer A; one that is undecided counts half.
    Vote,
}

/// Labelers that judge together.
pub struct Panel {
    members: Vec<Judge>,
    rule: Rule,
    quorum: usize,
}

impl Panel {
    /// A panel whose label needs at least `quorum` members that could judge; the others are left out.
    ///
    /// # Errors
    /// Without members, or where the quorum is 0 or more than there are.
    pub fn new(members: Vec<Judge>, rule: Rule, quorum: usize) -> Result<Self, Error> {
        if !(1..=members.len()).contains(&quorum) {
            return Err(Error::Quorum { quorum, members: members.len() });
        }
        Ok(Self { members, rule, quorum })
    }

    /// Who judges.
    pub fn members(&self) -> &[Judge] {
        &self.members
    }

    /// How their labels become one.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How many of them must have been able to judge.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// Identity of the question "which of this pair", asked by these together.
    pub fn label_id(&self, pair: &Pair) -> LabelId {
        let mut hasher = Hasher::new();
        hasher.field("panel").field(self.rule.to_string()).field(self.quorum.to_string());
        for member in &self.members {
            hasher.field(member.label_id(pair).0.as_str());
        }
        LabelId(hasher.finish())
    }

    /// One label of what each member said of a pair, in the panel's order. Exchanging the pair's candidates
    /// gives exactly one minus it.
    ///
    /// # Errors
    /// When fewer than the quorum could judge; says why the first of the others could not.
    pub fn together(&self, said: &[Judgement<Comparison>]) -> Judgement<SoftLabel> {
        let labels: Vec<SoftLabel> = said.iter().flatten().map(|said| said.label).collect();
        if labels.len() < self.quorum {
            let first = said.iter().find_map(|said| said.as_ref().err());
            let (reason, why) = first.map_or((UnscorableReason::BadItem, ""), |failure| {
                (failure.reason, failure.detail.as_str())
            });
            let (voted, quorum) = (labels.len(), self.quorum);
            let detail = format!("{voted} of the {quorum} labelers needed could judge it: {why}");
            return Err(Unscorable::new(reason, detail));
        }
        Ok(match self.rule {
            Rule::Mean => SoftLabel::mean(&labels),
            Rule::Vote => {
                SoftLabel::mean(&labels.iter().map(|label| label.vote()).collect::<Vec<_>>())
            }
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Vote => "vote",
        })
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => Ok(Self::Mean),
            "vote" => Ok(Self::Vote),
            other => Err(format!("{other:?} is no rule: expected mean or vote")),
        }
    }
}
