//! Dataset formats: which one a record is of, and what it says.

mod alpaca;
mod fields;
mod hh;
mod labels;
mod nemo;
mod output;
mod pairs;
mod sft;
mod tldr;
mod trl;

pub(crate) use fields::{prompt, text};
pub(crate) use labels::UNSCORABLE;
pub use labels::put_finishes;
pub use output::{OutputFormat, Unwritable};

use crate::Record;
use fields::has;
use rlaif_types::{Finish, Item, Preference, Prompt};
use std::fmt;

/// A format that records come in. It is told from the fields of each record, so a file may mix them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// TRL: `chosen` and `rejected`, as text or messages, with `prompt` (or, beside text, `messages`), or sharing
    /// their beginning.
    Trl,
    /// `prompt`, `response_a`, `response_b`, with `soft_label` where a labeler has judged them.
    Pairs,
    /// Anthropic's HH-RLHF: two transcripts, `chosen` and `rejected`.
    Hh,
    /// OpenAI's comparisons of summaries: `info`, `summaries`, `choice`; or the same in one level, `post`,
    /// `summary_0`, `summary_1`, `choice`.
    Tldr,
    /// OpenAI's posts to summarise: `post`, with `summary` or `reference` where a person has.
    TldrPost,
    /// NeMo-RL: `context` and ranked `completions`.
    Nemo,
    /// `messages`, of which the last is the response, or the user's: then they are a prompt.
    Messages,
    /// `prompt` with `completion` or `response`.
    Completion,
    /// `prompt` alone.
    Prompt,
    /// AlpacaEval: `instruction` and `output`.
    AlpacaOutput,
    /// AlpacaEval: `instruction`, `output_1`, `output_2`, `preference`.
    AlpacaAnnotation,
}

impl Format {
    /// The format of `record`, told by which fields it has and are not null.
    pub fn of(record: &Record) -> Option<Self> {
        let has = |field| has(record, field);
        // What a labeler wrote keeps the fields of its input, so its own fields are looked for first.
        Some(if has("response_a") || has("response_b") {
            Self::Pairs
        } else if has("chosen") || has("rejected") {
            let is_transcript = !has("prompt") && !has("messages") && hh::is_transcript(record);
            if is_transcript { Self::Hh } else { Self::Trl }
        } else if has("info") && has("summaries") || has("summary_0") && has("summary_1") {
            Self::Tldr
        } else if has("context") && has("completions") {
            Self::Nemo
        } else if has("instruction") && (has("output_1") || has("output_2")) {
            Self::AlpacaAnnotation
        } else if has("instruction") && has("output") {
            Self::AlpacaOutput
        } else if has("messages") {
            Self::Messages
        } else if sft::has_completion(record) {
            Self::Completion
        } else if has("prompt") {
            Self::Prompt
        } else if has("post") {
            Self::TldrPost
        } else {
            return None;
        })
    }

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trl => "trl",
            Self::Pairs => "pairs",
            Self::Hh => "hh",
            Self::Tldr => "tldr",
            Self::TldrPost => "tldr-post",
            Self::Nemo => "nemo",
            Self::Messages => "messages",
            Self::Completion => "completion",
            Self::Prompt => "prompt",
            Self::AlpacaOutput => "alpaca-output",
            Self::AlpacaAnnotation => "alpaca-annotation",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record says, whatever its format.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// Two responses to a prompt, and which is better.
    Preference(Preference),
    /// A response to a prompt.
    Demonstration {
        /// What was asked.
        prompt: Prompt,
        /// What was answered.
        response: String,
        /// Who answered, as the dataset names them.
        generator: Option<String>,
        /// How the response ended: of one that was cut off no end is learned.
        finish: Finish,
    },
    /// A prompt without a response.
    Prompt(Prompt),
}

impl Example {
    /// What was asked.
    pub fn prompt(&self) -> &Prompt {
        match self {
            Self::Preference(preference) => &preference.pair.prompt,
            Self::Demonstration { prompt, .. } | Self::Prompt(prompt) => prompt,
        }
    }

    /// What was answered: two, one or no responses.
    pub fn responses(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Preference(Preference { pair, .. }) => {
                (Some(&pair.response_a), Some(&pair.response_b))
            }
            Self::Demonstration { response, .. } => (Some(response), None),
            Self::Prompt(_) => (None, None),
        };
        first.into_iter().chain(second).map(String::as_str)
    }
}

/// All that `record` says: one example, or one for each pair of unequal rank where NeMo-RL ranks
/// completions.
///
/// # Errors
/// When it is of no known format, or not what its format asks for; also when it says `unscorable` of a pair
/// and has a label of it all the same.
pub fn examples_of(record: &Record) -> Result<Vec<Example>, String> {
    let format = Format::of(record).ok_or(
        "no known format; expected for example \"prompt\" with \"chosen\" and \"rejected\", \
         \"messages\", or \"prompt\"",
    )?;
    let one = |preference| vec![Example::Preference(preference)];
    Ok(match format {
        Format::Trl => one(trl::read(record)?),
        Format::Pairs => one(pairs::read(record)?),
        Format::Hh => one(hh::read(record)?),
        Format::Tldr => one(tldr::read(record)?),
        Format::TldrPost => vec![tldr::read_post(record)?],
        Format::Nemo => nemo::read(record)?.into_iter().map(Example::Preference).collect(),
        Format::Messages => vec![sft::read_messages(record)?],
        Format::Completion => vec![sft::read_completion(record)?],
        Format::Prompt => vec![Example::Prompt(prompt(record, "prompt")?)],
        Format::AlpacaOutput => vec![alpaca::read_output(record)?],
        Format::AlpacaAnnotation => one(alpaca::read_annotation(record)?),
    })
}

/// The preferences that `record` states, with what people and models said of them.
///
/// # Errors
/// When it states none.
pub fn preferences_of(record: &Record) -> Result<Vec<Preference>, String> {
    let only_preferences = |example| match example {
        Example::Preference(preference) => Ok(preference),
        _ => Err("expected \"prompt\" with \"response_a\" and \"response_b\", or \"chosen\" and \
                  \"rejected\""
            .to_owned()),
    };
    examples_of(record)?.into_iter().map(only_preferences).collect()
}

/// The prompt of `record`, whatever its format: its `prompt`, or what its responses answer.
///
/// # Errors
/// When it is of no known format, or not what its format asks for.
pub fn any_prompt_of(record: &Record) -> Result<Prompt, String> {
    if has(record, "prompt") {
        return prompt(record, "prompt");
    }
    let examples = examples_of(record)?;
    let first = examples.first().ok_or("all \"completions\" are of one rank")?;
    Ok(first.prompt().clone())
}

/// The one response that `record` states, and what it answers.
///
/// A `completion` or a `response` beside the `prompt` comes first: what was generated keeps the fields of its
/// input, which may hold other responses.
///
/// # Errors
/// When it states none, or two.
pub fn item_of(record: &Record) -> Result<Item, String> {
    let example = match sft::has_completion(record) {
        true => Some(sft::read_completion(record)?),
        false => examples_of(record)?.pop(),
    };
    match example {
        Some(Example::Demonstration { prompt, response, .. }) => Ok(Item { prompt, response }),
        Some(Example::Prompt(_)) => Err("there is no response: expected \"prompt\" with \
             \"completion\" or \"response\", or \"messages\""
            .to_owned()),
        Some(Example::Preference(_)) | None => {
            Err("there are several responses, and one is asked for".to_owned())
        }
    }
}

/// The demonstration that `record` states: a prompt, how it is to be answered, and how the answer ended.
///
/// # Errors
/// When it states none.
pub fn demonstration_of(record: &Record) -> Result<(Prompt, String, Finish), String> {
    match examples_of(record)?.pop() {
        Some(Example::Demonstration { prompt, response, finish, .. }) => {
            Ok((prompt, response, finish))
        }
        _ => Err("expected \"prompt\" with \"completion\", or \"messages\"".to_owned()),
    }
}
