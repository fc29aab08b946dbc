//! Arms as the command line names them.

use super::runs::Named;
use anyhow::Result;
use std::path::PathBuf;
use std::str::FromStr;

/// Endings of files that hold texts; a model's name has none of them.
const TEXT_FILES: [&str; 4] = [".jsonl", ".json", ".parquet", ".gz"];

/// A name, and where its responses come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Also the name of its file of responses.
    pub name: String,
    /// Where its responses come from.
    pub source: Source,
}

/// Where responses come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file of responses to the same prompts.
    Texts(PathBuf),
    /// A model answers: see [`Named::policy`].
    Policy(String),
    /// A model answers several times, and the answer that somebody scores highest counts.
    BestOf {
        /// Answers to each prompt.
        draws: usize,
        /// The model: see [`Named::policy`].
        policy: String,
        /// Who scores.
        scorer: Scorer,
    },
}

/// Who scores single responses.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// A reward model: see [`Named::reward`].
    Reward(String),
    /// A labeler that rates.
    Rating(String),
}

/// Two arms that are to meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting([String; 2]);

impl Meeting {
    /// The names of both.
    pub fn names(&self) -> [&str; 2] {
        let [first, second] = &self.0;
        [first, second]
    }

    /// Whether it is between these two, whichever is named first.
    pub fn is_between(&self, one: &str, other: &str) -> bool {
        self.names() == [one, other] || self.names() == [other, one]
    }
}

impl FromStr for Meeting {
    type Err = String;

    /// No arm's name holds a slash.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split_once('/').filter(|(first, second)| first != second);
        let (first, second) = names.ok_or("expected two arms, such as rlaif/sft")?;
        Ok(Self([first.to_owned(), second.to_owned()]))
    }
}

impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.split_once('=').filter(|(name, source)| !name.is_empty() && !source.is_empty());
        let (name, source) =
            parts.ok_or("expected NAME=SOURCE, such as sft=runs/a/checkpoints/sft")?;
        if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(format!("{name:?} cannot be the name of a file of responses"));
        }
        Ok(Self { name: name.to_owned(), source: source.parse()? })
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(best_of) = text.strip_prefix("best-of:") {
            return best_of_source(best_of).ok_or_else(|| {
                format!(
                    "{text:?}: expected best-of:N,POLICY,reward=MODEL or best-of:N,POLICY,rating=MODEL, \
                     with N from 2"
                )
            });
        }
        Ok(match TEXT_FILES.iter().any(|ending| text.ends_with(ending)) {
            true => Self::Texts(text.into()),
            false => Self::Policy(text.to_owned()),
        })
    }
}

fn best_of_source(text: &str) -> Option<Source> {
    let (draws, rest) = text.split_once(',')?;
    let (policy, scorer) = rest.split_once(',')?;
    let (kind, model) = scorer.split_once('=')?;
    let scorer = match kind {
        "reward" => Scorer::Reward(model.to_owned()),
        "rating" => Scorer::Rating(model.to_owned()),
        _ => return None,
    };
    let draws = draws.parse().ok().filter(|draws| *draws >= 2)?;
    let is_whole = !policy.is_empty() && !model.is_empty();
    is_whole.then(|| Source::BestOf { draws, policy: policy.to_owned(), scorer })
}

impl Source {
    /// The models that make the responses: a policy, and a reward model that chooses.
    ///
    /// # Errors
    /// When a run's folder is named that does not hold them.
    pub fn models(&self) -> Result<Vec<Named>> {
        match self {
            Self::Texts(_) => Ok(Vec::new()),
            Self::Policy(policy) | Self::BestOf { policy, scorer: Scorer::Rating(_), .. } => {
                Ok(vec![Named::policy(policy)?])
            }
            Self::BestOf { policy, scorer: Scorer::Reward(reward), .. } => {
                Ok(vec![Named::policy(policy)?, Named::reward(reward)?])
            }
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Texts(path) => format!("texts of {}", path.display()),
            Self::Policy(policy) => policy.clone(),
            Self::BestOf { draws, policy, scorer } => {
                let by = match scorer {
                    Scorer::Reward(model) => format!("reward model {model}"),
                    Scorer::Rating(model) => format!("ratings of {model}"),
                };
                format!("best of {draws} of {policy} by {by}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_a_name_and_a_source() {
        let source = |text: &str| text.parse::<Arm>().map(|arm| arm.source);
        assert_eq!(source("a=x/people.jsonl"), Ok(Source::Texts("x/people.jsonl".into())));
        assert_eq!(source("a=hf:o/n"), Ok(Source::Policy("hf:o/n".into())));
        assert_eq!(
            source("best=best-of:4,runs/a,rating=runs/a"),
            Ok(Source::BestOf {
                draws: 4,
                policy: "runs/a".into(),
                scorer: Scorer::Rating("runs/a".into())
            })
        );
        for bad in ["a", "=x", "../a=x", "a=best-of:1,p,reward=r", "a=best-of:4,p,luck=r"] {
            assert!(source(bad).is_err(), "{bad} was accepted");
        }
    }
}
