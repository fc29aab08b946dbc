//! What is in a dataset, at a glance and in one pass.

use super::filter::confidence;
use super::fingerprint::Fingerprint;
use super::pipeline::Counts;
use super::quantiles::{LengthSketch, Quantiles};
use crate::{Error, Example, Format, Reader, examples_of};
use rlaif_types::Preference;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Distinct examples that are remembered to recognise duplicates: 40 MB at most.
const REMEMBERED: usize = 1 << 20;

/// What was found in a dataset. Lengths are in characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Records, bad ones too.
    pub records: u64,
    /// Records of no known format, or not what theirs asks for.
    pub bad: u64,
    /// The first of what is wrong with them.
    pub first_bad: Vec<String>,
    /// Records of each format.
    pub formats: BTreeMap<&'static str, u64>,
    /// Examples that the records say.
    pub examples: u64,
    /// Lengths of the prompts.
    pub prompt_chars: Option<Quantiles>,
    /// Lengths of the responses.
    pub response_chars: Option<Quantiles>,
    /// Examples whose texts were there before, white space aside.
    pub duplicates: u64,
    /// Whether that is all: later examples are compared with the first million distinct ones only.
    pub all_compared: bool,
    /// Preferences.
    pub preferences: Preferences,
}

/// What was found in pairs of responses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// Pairs.
    pub pairs: u64,
    /// Pairs that people labelled.
    pub human: u64,
    /// Pairs that a model labelled.
    pub ai: u64,
    /// Pairs that either labelled. Where both did, what follows is of people's label.
    pub labelled: u64,
    /// Labels that prefer neither side.
    pub ties: u64,
    /// Labels that prefer the first candidate.
    pub prefers_a: u64,
    /// Labels that prefer one of two responses of different length.
    pub unequal_lengths: u64,
    /// Those that prefer the longer response.
    pub prefers_longer: u64,
    /// Labels of each confidence of people, from 1 (surely A) to 9 (surely B).
    pub confidence: BTreeMap<u8, u64>,
}

/// Looks at all of `reader`'s records. Takes at most some 60 MB, however many there are.
///
/// # Errors
/// When the input breaks off. Bad records are counted.
pub fn inspect(mut reader: Reader) -> Result<Inspection, Error> {
    let mut inspector = Inspector::default();
    loop {
        match reader.next_record() {
            Ok(None) => return Ok(inspector.finish()),
            Ok(Some(record)) => match examples_of(&record) {
                Ok(examples) => inspector.add(Format::of(&record), &examples),
                Err(what) => inspector.counts.add_bad(reader.error(what).to_string()),
            },
            Err(error @ Error::Line { .. }) => inspector.counts.add_bad(error.to_string()),
            Err(error) => return Err(error),
        }
        inspector.counts.records += 1;
    }
}

#[derive(Default)]
struct Inspector {
    counts: Counts,
    formats: BTreeMap<&'static str, u64>,
    prompts: LengthSketch,
    responses: LengthSketch,
    seen: HashSet<Fingerprint>,
    preferences: Preferences,
}

impl Inspector {
    fn add(&mut self, format: Option<Format>, examples: &[Example]) {
        *self.formats.entry(format.map_or("unknown", Format::as_str)).or_default() += 1;
        for example in examples {
            self.counts.examples += 1;
            self.prompts.add(chars(&example.prompt().as_context()));
            example.responses().for_each(|response| self.responses.add(chars(response)));
            self.look_for_a_duplicate(Fingerprint::of_example(example));
            if let Some(place) = confidence(example) {
                *self.preferences.confidence.entry(place.value()).or_default() += 1;
            }
            if let Example::Preference(preference) = example {
                self.preferences.add(preference);
            }
        }
    }

    fn look_for_a_duplicate(&mut self, texts: Fingerprint) {
        let is_known = if self.seen.len() < REMEMBERED {
            !self.seen.insert(texts)
        } else {
            self.seen.contains(&texts)
        };
        self.counts.duplicates += u64::from(is_known);
    }

    fn finish(self) -> Inspection {
        Inspection {
            records: self.counts.records,
            bad: self.counts.bad,
            first_bad: self.counts.first_bad,
            formats: self.formats,
            examples: self.counts.examples,
            prompt_chars: self.prompts.quantiles(),
            response_chars: self.responses.quantiles(),
            duplicates: self.counts.duplicates,
            all_compared: self.seen.len() < REMEMBERED,
            preferences: self.preferences,
        }
    }
}

impl Preferences {
    fn add(&mut self, preference: &Preference) {
        self.pairs += 1;
        self.human += u64::from(preference.human.is_some());
        self.ai += u64::from(preference.ai.is_some());
        let Some(label) = preference.prefers_a() else { return };
        self.labelled += 1;
        if label.value() == 0.5 {
            self.ties += 1;
            return;
        }
        self.prefers_a += u64::from(label.prefers_a());
        let (a, b) = (chars(&preference.pair.response_a), chars(&preference.pair.response_b));
        self.unequal_lengths += u64::from(a != b);
        self.prefers_longer += u64::from(a != b && label.prefers_a() == (a > b));
    }
}

fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "records            {}", self.records)?;
        for (format, count) in &self.formats {
            writeln!(f, "  {format:<17}{count}")?;
        }
        writeln!(f, "bad records        {}", self.bad)?;
        self.first_bad.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
        writeln!(f, "examples           {}", self.examples)?;
        let compared = if self.all_compared { "" } else { " (of the first million distinct)" };
        writeln!(f, "duplicates         {}{compared}", self.duplicates)?;
        let lengths = [("prompt", self.prompt_chars), ("response", self.response_chars)];
        for (name, quantiles) in lengths {
            let Some(Quantiles { min, p10, p50, p90, p99, max }) = quantiles else { continue };
            writeln!(
                f,
                "{:<19}min {min}, 10 % {p10}, median {p50}, 90 % {p90}, 99 % {p99}, max {max}",
                format!("{name} length")
            )?;
        }
        if self.preferences.pairs > 0 { self.preferences.fmt(f) } else { Ok(()) }
    }
}

impl fmt::Display for Preferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64, whole: u64| match whole {
            0 => "no labels".to_owned(),
            _ => format!("{:.1} % of {whole}", 100.0 * part as f64 / whole as f64),
        };
        writeln!(f, "pairs              {}", self.pairs)?;
        writeln!(f, "  by people        {}", self.human)?;
        writeln!(f, "  by a model       {}", self.ai)?;
        writeln!(f, "  ties             {}", self.ties)?;
        writeln!(f, "first is chosen    {}", share(self.prefers_a, self.labelled - self.ties))?;
        writeln!(f, "longer is chosen   {}", share(self.prefers_longer, self.unequal_lengths))?;
        if !self.confidence.is_empty() {
            let places = self.confidence.iter().map(|(place, count)| format!("{place}: {count}"));
            writeln!(f, "confidence         {}", places.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
