//! `rlaif label`: which of two responses is better.

use super::asking::AskingArgs;
use super::jsonl::JsonlArgs;
use super::model::ModelArgs;
use anyhow::Result;
use rlaif_data::{pair_of, preference_record};
use rlaif_judge::Judge;
use rlaif_template::Template;
use rlaif_types::Pair;
use serde_json::json;
use std::sync::Arc;

/// Label pairs of responses: both orders, softmax over the verdict tokens, mean of the distributions.
///
/// {"prompt", "response_a", "response_b"} in (a prompt is a string or messages), or TRL pairs
/// {"prompt", "chosen", "rejected"}, of which the chosen one is A. Out comes a TRL preference with
/// "soft_label" (probability that A is better), "label_id" and both orders' log-probabilities. A
/// pair that cannot be judged comes out with "unscorable" and no label.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    echo '{\"prompt\":\"What is 2+2?\",\"response_a\":\"4\",\"response_b\":\"5\"}' | \
    rlaif label --model model.gguf --template helpful/base")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// A built-in template for comparisons, or a .toml file.
    #[arg(long, default_value = "helpful/base")]
    template: String,
    #[command(flatten)]
    asking: AskingArgs,
}

pub fn run(args: Args) -> Result<()> {
    let template = Template::load(&args.template)?;
    let judge = Judge::local(Arc::new(args.model.start()?), template, args.asking.asking())?;
    let parse = |record| Ok((pair_of(&record)?, record));
    let mut unscorable_count = 0;
    args.jsonl.process(parse, |records| {
        let pairs: Vec<Pair> = records.iter().map(|(pair, _)| pair.clone()).collect();
        let comparisons = judge.compare(&pairs)?;
        let labelled = records.iter().zip(comparisons).map(|((pair, record), comparison)| {
            let comparison = match comparison {
                Ok(comparison) => comparison,
                Err(unscorable) => {
                    let mut record = record.clone();
                    unscorable_count += 1;
                    record.insert("unscorable".into(), json!(unscorable));
                    return record;
                }
            };
            let mut record = preference_record(record, pair, comparison.label);
            record.insert("label_id".into(), json!(judge.label_id(pair)));
            record.insert("order_ab".into(), json!(comparison.ab));
            record.insert("order_ba".into(), json!(comparison.ba));
            record.insert("template".into(), json!(judge.template().name));
            record.insert("template_hash".into(), json!(judge.template_hash()));
            if let Some(asking) = judge.asking().hash() {
                record.insert("asking".into(), json!(judge.asking()));
                record.insert("asking_hash".into(), json!(asking));
            }
            record.insert("model_hash".into(), json!(judge.labeler().hash));
            record
        });
        Ok(labelled.collect())
    })?;
    if unscorable_count > 0 {
        tracing::warn!("pairs that could not be judged: {unscorable_count}; see \"unscorable\"");
    }
    Ok(())
}
