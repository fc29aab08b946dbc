//! Options for what is done to each record.

use crate::commands::files::Files;
use anyhow::{Result, anyhow};
use rlaif_data::{Filter, OutputFormat, Pipeline, PromptSet, Reader};
use rlaif_types::Confidence;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(clap::Args)]
pub struct PipelineArgs {
    /// Format to write: trl, trl-text, pairs, hh, sft, sft-text, prompts, alpaca-outputs or
    /// alpaca-annotations. Without it records stay as they are.
    #[arg(long, value_name = "FORMAT")]
    to: Option<OutputFormat>,
    /// Least characters of a prompt.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_prompt_chars: usize,
    /// Most characters of a prompt.
    #[arg(long, value_name = "N")]
    max_prompt_chars: Option<usize>,
    /// Least characters of each response.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_response_chars: usize,
    /// Most characters of each response.
    #[arg(long, value_name = "N")]
    max_response_chars: Option<usize>,
    /// Keep pairs of this confidence, from 1 (surely the first) to 9 (surely the second); the paper
    /// keeps 1,2,8,9 of TL;DR.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    confidence: Vec<Place>,
    /// Keep the first of examples with the same texts; takes up to 39 bytes of memory each, 58 while
    /// it grows.
    #[arg(long)]
    dedupe: bool,
    /// Leave out what has a prompt of this dataset, such as the one that is evaluated on.
    #[arg(long, value_name = "FILE")]
    not_in: Option<PathBuf>,
    /// Exchange the responses of about half of all pairs, drawn from this seed, so that the chosen
    /// one is not always first; for pairs and alpaca-annotations.
    #[arg(long, value_name = "SEED")]
    shuffle_sides: Option<u64>,
    /// Author of responses, for alpaca-outputs.
    #[arg(long, value_name = "NAME")]
    generator: Option<String>,
    /// Count bad records instead of stopping at the first.
    #[arg(long)]
    skip_bad: bool,
}

/// A place on the scale of confidence.
#[derive(Clone, Copy)]
struct Place(Confidence);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.parse().map_err(|_| "expected a whole number from 1 to 9")?;
        Confidence::new(place).map(Self)
    }
}

impl PipelineArgs {
    /// With the files that the options name.
    pub fn files(&self, files: Files) -> Files {
        files.reads("--not-in", &self.not_in)
    }

    /// The pipeline; reads the dataset whose prompts are left out.
    pub fn build(self) -> Result<Pipeline> {
        let excluded = self.not_in.map(|path| PromptSet::read(Reader::open(&path)?)).transpose()?;
        let places: BTreeSet<Confidence> = self.confidence.into_iter().map(|p| p.0).collect();
        let most = |chars: Option<usize>| chars.unwrap_or(usize::MAX);
        let filter = Filter {
            prompt_chars: self.min_prompt_chars..=most(self.max_prompt_chars),
            response_chars: self.min_response_chars..=most(self.max_response_chars),
            confidence: (!places.is_empty()).then_some(places),
        };
        let pipeline = Pipeline {
            to: self.to,
            filter,
            excluded: excluded.unwrap_or_default(),
            dedupe: self.dedupe,
            shuffle_seed: self.shuffle_sides,
            generator: self.generator,
            skip_bad: self.skip_bad,
        };
        // It is the only part that can contradict another.
        pipeline.check().map_err(|what| anyhow!("--shuffle-sides: {what} (--to)"))?;
        Ok(pipeline)
    }
}
