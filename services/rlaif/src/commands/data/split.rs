//! `rlaif data split`: a dataset into parts that share no prompt.

use super::options::PipelineArgs;
use crate::commands::files::Files;
use anyhow::Result;
use rlaif_data::{GroupKey, Reader, Split, Writer};
use std::path::PathBuf;
use std::str::FromStr;

/// Divide a dataset into parts.
///
/// All records of a group (those of one prompt, or of one value of --group-by) land in one part,
/// drawn by hashing the group with the seed: the same group, whatever else is in the file. So the
/// parts have their shares about, not exactly.
#[derive(clap::Args)]
#[command(after_help = "Example, two thirds and one third, no post in both:\n  \
    rlaif data split --in test.jsonl --group-by info.id --seed 1 \
    --part validation.jsonl=2 --part test.jsonl=1")]
pub struct Args {
    /// Input; - is standard input, which cannot be Parquet.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// A part's file and its weight, at least two times; file names as in convert.
    #[arg(long = "part", value_name = "FILE=WEIGHT", required = true)]
    parts: Vec<Part>,
    /// Keep records of one value of this field together instead of those of one prompt; info.id is
    /// the field id of info.
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    /// Seed of the draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

#[derive(Clone)]
struct Part {
    file: PathBuf,
    weight: u64,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, weight) = text.rsplit_once('=').ok_or("expected FILE=WEIGHT")?;
        let weight = weight.parse().map_err(|_| "the weight must be a whole number")?;
        Ok(Self { file: file.into(), weight })
    }
}

pub fn run(args: Args) -> Result<()> {
    let parts = args.parts.iter().map(|part| &part.file);
    let files = Files::default().reads("--in", [&args.input]).writes("--part", parts);
    args.pipeline.files(files).check()?;
    let pipeline = args.pipeline.build()?;
    let key = args.group_by.map_or(GroupKey::Prompt, GroupKey::Field);
    let weights = args.parts.iter().map(|part| part.weight).collect();
    let split = Split::new(key, args.seed, weights).map_err(anyhow::Error::msg)?;
    let reader = Reader::open(&args.input)?;
    let writers = args.parts.iter().map(|part| Writer::create(&part.file, pipeline.to));
    let writers = writers.collect::<Result<Vec<_>, _>>()?;
    let counts = rlaif_data::split(reader, writers, &split, &pipeline)?;
    eprintln!("{counts}");
    Ok(())
}
