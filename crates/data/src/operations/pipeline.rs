//! What one record goes through on its way from one dataset to another.

use super::filter::{Filter, Reason};
use super::fingerprint::{Fingerprint, PromptSet};
use super::sides::shuffle_sides;
use crate::{Example, OutputFormat, Record, Unwritable};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;

/// What is done to each record, in this order: read, filtered, kept away from an evaluation's
/// prompts, kept once, its sides shuffled, written in another format.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    /// The format to write; none keeps records as they are, with all their fields.
    pub to: Option<OutputFormat>,
    /// Which examples are kept. A record that is kept as it is, is kept if all its examples are.
    pub filter: Filter,
    /// Prompts that must not be in what is written.
    pub excluded: PromptSet,
    /// Keep the first of examples with the same texts, white space aside, whatever is said of them.
    /// Takes 19 to 39 bytes of memory for each example that is kept, and one and a half times as
    /// much while it grows; nothing else here grows with the number of records.
    pub dedupe: bool,
    /// Exchange the candidates of about half of all pairs, drawn from this seed.
    pub shuffle_seed: Option<u64>,
    /// Author of responses that have none, for formats that name one.
    pub generator: Option<String>,
    /// Count records that cannot be read or written instead of stopping at the first.
    pub skip_bad: bool,
}

impl Pipeline {
    /// Whether its parts go together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let is_free = self.to.is_some_and(OutputFormat::has_free_order);
        if self.shuffle_seed.is_some() && !is_free {
            return Err(
                "sides can be shuffled only where the format does not say which was chosen: \
                        write pairs or alpaca-annotations"
                    .into(),
            );
        }
        Ok(())
    }
}

/// What became of a dataset's records and examples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records read, bad ones too.
    pub records: u64,
    /// Records that could not be read or written.
    pub bad: u64,
    /// The first of what was wrong with them.
    pub first_bad: Vec<String>,
    /// Examples that the records said.
    pub examples: u64,
    /// Dropped for the length of the prompt.
    pub prompt_length: u64,
    /// Dropped for the length of a response.
    pub response_length: u64,
    /// Dropped for what people's confidence was, or that it is not known.
    pub confidence: u64,
    /// Dropped because the prompt is in the evaluation's file.
    pub overlapping: u64,
    /// Dropped as said before.
    pub duplicates: u64,
    /// Dropped because neither side is preferred and the format needs a preferred one.
    pub undecided: u64,
    /// Records written, to each part.
    pub written: Vec<u64>,
}

impl Counts {
    /// Messages kept of bad records.
    const FIRST_BAD: usize = 5;

    /// Counts a bad record.
    pub(super) fn add_bad(&mut self, what: String) {
        self.bad += 1;
        if self.first_bad.len() < Self::FIRST_BAD {
            self.first_bad.push(what);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written: Vec<String> = self.written.iter().map(u64::to_string).collect();
        write!(f, "records: {} read, {} written", self.records, written.join(" + "))?;
        let dropped = [
            (self.bad, "bad"),
            (self.prompt_length, "prompt length"),
            (self.response_length, "response length"),
            (self.confidence, "confidence"),
            (self.overlapping, "prompt excluded"),
            (self.duplicates, "duplicate"),
            (self.undecided, "undecided"),
        ];
        for (count, reason) in dropped.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {reason}: {count}")?;
        }
        self.first_bad.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}

/// A pipeline at work.
pub(super) struct Run<'a> {
    pipeline: &'a Pipeline,
    seen: HashSet<Fingerprint>,
    pub(super) counts: Counts,
}

impl<'a> Run<'a> {
    /// Begins, for so many parts to write.
    pub(super) fn new(pipeline: &'a Pipeline, parts: usize) -> Result<Self, String> {
        pipeline.check()?;
        let counts = Counts { written: vec![0; parts], ..Counts::default() };
        Ok(Self { pipeline, seen: HashSet::new(), counts })
    }

    /// What `record`, which says `examples`, becomes.
    pub(super) fn step(
        &mut self,
        record: &Record,
        examples: Vec<Example>,
    ) -> Result<Vec<Record>, String> {
        let count = examples.len();
        self.counts.examples += count as u64;
        let kept: Vec<Example> = examples.into_iter().filter(|e| self.keeps(e)).collect();
        let Some(to) = self.pipeline.to else {
            let is_whole = count > 0 && kept.len() == count;
            return Ok(is_whole.then(|| record.clone()).into_iter().collect());
        };
        let mut written = Vec::with_capacity(kept.len());
        for example in kept {
            match to.write(&self.shuffled(example), self.pipeline.generator.as_deref()) {
                Ok(record) => written.push(record),
                Err(Unwritable::Undecided) => self.counts.undecided += 1,
                Err(Unwritable::Misfit(what)) => return Err(what),
            }
        }
        Ok(written)
    }

    fn keeps(&mut self, example: &Example) -> bool {
        if let Some(reason) = self.pipeline.filter.refuses(example) {
            *match reason {
                Reason::PromptLength => &mut self.counts.prompt_length,
                Reason::ResponseLength => &mut self.counts.response_length,
                Reason::Confidence => &mut self.counts.confidence,
            } += 1;
            return false;
        }
        if self.pipeline.excluded.contains(example.prompt()) {
            self.counts.overlapping += 1;
            return false;
        }
        if self.pipeline.dedupe && !self.seen.insert(Fingerprint::of_example(example)) {
            self.counts.duplicates += 1;
            return false;
        }
        true
    }

    fn shuffled(&self, example: Example) -> Example {
        match (example, self.pipeline.shuffle_seed) {
            (Example::Preference(preference), Some(seed)) => {
                Example::Preference(shuffle_sides(preference, seed))
            }
            (example, _) => example,
        }
    }
}
