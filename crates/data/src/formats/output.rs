//! Formats that are written, and which examples each has a place for.

use super::{Example, alpaca, hh, pairs, sft, trl};
use crate::Record;
use crate::container::{Column, Kind};
use rlaif_types::{Finish, Preference, Prompt};
use serde_json::json;
use std::fmt;
use std::str::FromStr;

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputFormat {
    /// TRL preferences of messages.
    Trl,
    /// TRL preferences of text; a prompt of several messages becomes what a labeler reads.
    TrlText,
    /// `prompt`, `response_a`, `response_b`, with all that is known of the label.
    Pairs,
    /// HH-RLHF transcripts, which have no place for labels beyond the choice.
    Hh,
    /// `messages`; of a preference, with the preferred response. `finish` says where it was cut off.
    Sft,
    /// `prompt` and `completion` as text; of a preference, the preferred response. `finish` as above.
    SftText,
    /// `prompt` alone.
    Prompts,
    /// AlpacaEval outputs, which need the name of a generator.
    AlpacaOutputs,
    /// AlpacaEval annotations.
    AlpacaAnnotations,
}

/// Why an example was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritable {
    /// It has no preferred side (a tie, or no label), and the format needs one.
    Undecided,
    /// The format has no place for it.
    Misfit(String),
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Trl,
        Self::TrlText,
        Self::Pairs,
        Self::Hh,
        Self::Sft,
        Self::SftText,
        Self::Prompts,
        Self::AlpacaOutputs,
        Self::AlpacaAnnotations,
    ];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trl => "trl",
            Self::TrlText => "trl-text",
            Self::Pairs => "pairs",
            Self::Hh => "hh",
            Self::Sft => "sft",
            Self::SftText => "sft-text",
            Self::Prompts => "prompts",
            Self::AlpacaOutputs => "alpaca-outputs",
            Self::AlpacaAnnotations => "alpaca-annotations",
        }
    }

    /// Whether the order of a pair's candidates is free: it does not say which one was chosen.
    pub fn has_free_order(self) -> bool {
        matches!(self, Self::Pairs | Self::AlpacaAnnotations)
    }

    /// The record of `example`; `generator` names the author of a response that has none.
    ///
    /// # Errors
    /// When the format cannot hold it.
    pub fn write(self, example: &Example, generator: Option<&str>) -> Result<Record, Unwritable> {
        match self {
            Self::Prompts => {
                Ok(Record::from_iter([("prompt".to_owned(), json!(example.prompt()))]))
            }
            Self::Sft | Self::SftText | Self::AlpacaOutputs => {
                self.write_demonstration(example, generator)
            }
            _ => match example {
                Example::Preference(preference) => self.write_preference(preference),
                _ => Err(Unwritable::Misfit(format!(
                    "this record has not two responses, and {self} holds pairs of them"
                ))),
            },
        }
    }

    fn write_preference(self, preference: &Preference) -> Result<Record, Unwritable> {
        match self {
            Self::Pairs => Ok(pairs::write(preference)),
            Self::AlpacaAnnotations => Ok(alpaca::write_annotation(preference)),
            Self::TrlText => Ok(trl::write_text(&preferred_first(preference)?)),
            Self::Hh => hh::write(&preferred_first(preference)?).map_err(Unwritable::Misfit),
            _ => Ok(trl::write_messages(&preferred_first(preference)?)),
        }
    }

    fn write_demonstration(
        self,
        example: &Example,
        generator: Option<&str>,
    ) -> Result<Record, Unwritable> {
        type Said<'a> = (&'a Prompt, &'a str, Option<&'a str>, Finish);
        let preferred;
        let (prompt, response, author, finish): Said<'_> = match example {
            Example::Prompt(_) => {
                return Err(Unwritable::Misfit(format!(
                    "this record has a prompt and no response, and {self} holds responses"
                )));
            }
            Example::Demonstration { prompt, response, generator, finish } => {
                (prompt, response, generator.as_deref(), *finish)
            }
            Example::Preference(preference) => {
                preferred = preferred_first(preference)?;
                (&preferred.pair.prompt, &preferred.pair.response_a, None, preferred.finish[0])
            }
        };
        match self {
            Self::SftText => Ok(sft::write_text(prompt, response, finish)),
            Self::AlpacaOutputs => {
                let author = author.or(generator).ok_or_else(|| {
                    Unwritable::Misfit(format!("{self} needs the name of a generator"))
                })?;
                Ok(alpaca::write_output(prompt, response, author))
            }
            _ => Ok(sft::write_messages(prompt, response, finish)),
        }
    }

    /// The columns of a Parquet file of this format.
    pub(crate) fn columns(self) -> Vec<Column> {
        use Kind::{Integer, Messages, Prompt, Real, Text};
        let labels = [
            ("soft_label", Real),
            ("human_label", Real),
            ("human_confidence", Integer),
            ("margin", Real),
            ("annotator", Text),
            ("finish_a", Text),
            ("finish_b", Text),
        ];
        let sides = |prompt, kind| [("prompt", prompt), ("chosen", kind), ("rejected", kind)];
        let columns = match self {
            Self::Trl => [&sides(Messages, Messages)[..], &labels].concat(),
            Self::TrlText => [&sides(Text, Text)[..], &labels].concat(),
            Self::Pairs => {
                let pair = [("prompt", Prompt), ("response_a", Text), ("response_b", Text)];
                [&pair[..], &labels].concat()
            }
            Self::Hh => vec![("chosen", Text), ("rejected", Text)],
            Self::Sft => vec![("messages", Messages), ("finish", Text)],
            Self::SftText => vec![("prompt", Text), ("completion", Text), ("finish", Text)],
            Self::Prompts => vec![("prompt", Prompt)],
            Self::AlpacaOutputs => {
                vec![("instruction", Text), ("output", Text), ("generator", Text)]
            }
            Self::AlpacaAnnotations => vec![
                ("instruction", Text),
                ("output_1", Text),
                ("output_2", Text),
                ("preference", Real),
                ("annotator", Text),
            ],
        };
        columns.into_iter().map(|(name, kind)| Column { name, kind }).collect()
    }
}

/// The preference with its preferred side as A.
fn preferred_first(preference: &Preference) -> Result<Preference, Unwritable> {
    match preference.prefers_a().map(|label| label.value()) {
        Some(p) if p > 0.5 => Ok(preference.clone()),
        Some(p) if p < 0.5 => Ok(preference.swapped()),
        _ => Err(Unwritable::Undecided),
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| format!("no such format; there are {}", known()))
    }
}
