//! `rlaif reward score`: rewards of a file's responses.

use super::trained::Trained;
use crate::commands::jsonl::JsonlArgs;
use crate::commands::model::ModelArgs;
use anyhow::Result;
use rlaif_data::{Record, item_of, pair_of, without};
use rlaif_types::{Item, Judgement};
use serde_json::json;

/// Score responses, or both responses of pairs, with a reward model.
///
/// {"prompt", "response"} in, or any other format with one response; out the same with "reward". Pairs in any
/// format that `rlaif data` reads; out the same with "reward_a", "reward_b" and "prefers_a", the model's
/// probability that A is better. A is the first response, where one is named the chosen one. Rewards have
/// mean 0 and variance 1 over the responses that the model was trained on, where its folder holds a
/// normalisation.json, as the service's have; the probability is of the outputs before that. What cannot be
/// scored comes out with "unscored" and no reward.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    rlaif reward score --model rm --in pairs.jsonl --out scored.jsonl")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// Put prompts through the model's chat template. What `rlaif reward train` made is asked as it was
    /// trained anyway.
    #[arg(long)]
    chat: bool,
}

/// A record, and the one or two responses that it holds.
struct Asked {
    record: Record,
    items: Vec<Item>,
}

pub fn run(args: Args) -> Result<()> {
    let model = Trained::open(&args.model.model, args.model.device, |_| args.chat)?;
    let mut unscored = 0;
    args.jsonl.process(parse, |asked| {
        let mut rewards = model.rewards(asked.iter().flat_map(|asked| &asked.items))?.into_iter();
        let written = asked.iter().map(|asked| {
            let of_a_score: &[&str] = match asked.items.len() {
                1 => &["reward", "unscored"],
                _ => &["reward_a", "reward_b", "prefers_a", "unscored"],
            };
            let mut record = without(&asked.record, of_a_score);
            let judged: Judgement<Vec<f64>> =
                rewards.by_ref().take(asked.items.len()).collect::<Vec<_>>().into_iter().collect();
            match judged.as_deref() {
                Ok([a, b]) => {
                    // Of the outputs, which is what the training made mean a probability.
                    let difference = (b - a) * model.normalisation().std;
                    record.insert("reward_a".into(), json!(a));
                    record.insert("reward_b".into(), json!(b));
                    record.insert("prefers_a".into(), json!(1.0 / (1.0 + difference.exp())));
                }
                Ok(rewards) => {
                    record.insert("reward".into(), json!(rewards[0]));
                }
                Err(why) => {
                    unscored += 1;
                    record.insert("unscored".into(), json!(why));
                }
            }
            record.insert("model_hash".into(), json!(model.info().hash));
            record
        });
        Ok(written.collect())
    })?;
    if unscored > 0 {
        tracing::warn!("records that could not be scored: {unscored}; see \"unscored\"");
    }
    Ok(())
}

fn parse(_: usize, record: Record) -> Result<Asked, String> {
    let items = match pair_of(&record) {
        Ok(pair) => [pair.response_a, pair.response_b]
            .map(|response| Item { prompt: pair.prompt.clone(), response })
            .to_vec(),
        Err(why) => match item_of(&record) {
            Ok(item) => vec![item],
            Err(other) => return Err(format!("no pair ({why}), and no response ({other})")),
        },
    };
    Ok(Asked { record, items })
}
