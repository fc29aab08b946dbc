//! `rlaif rate`: how good one response is.

use super::asking::AskingArgs;
use super::jsonl::JsonlArgs;
use super::model::ModelArgs;
use anyhow::Result;
use rlaif_data::{prompt_of, response_of};
use rlaif_judge::Judge;
use rlaif_template::Template;
use rlaif_types::Item;
use serde_json::json;
use std::sync::Arc;

/// Rate responses: expected score from 1 to 10, or the weighted answers to a rubric's questions.
///
/// {"prompt", "response"} in; out the same with "score", "reward" (the score rescaled to [-1, 1])
/// and "answers" (log-probabilities and distribution of the verdicts). A response that cannot be
/// judged comes out with "unscorable" and no score.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    echo '{\"prompt\":\"Say hello\",\"response\":\"Hello!\"}' | \
    rlaif rate --model model.gguf --template helpful/rating")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// A built-in template for ratings or a rubric, or a .toml file.
    #[arg(long, default_value = "helpful/rating")]
    template: String,
    #[command(flatten)]
    asking: AskingArgs,
}

pub fn run(args: Args) -> Result<()> {
    let template = Template::load(&args.template)?;
    let judge = Judge::local(Arc::new(args.model.start()?), template, args.asking.asking())?;
    let parse = |record| {
        let (prompt, response) = (prompt_of(&record)?, response_of(&record)?);
        Ok((Item { prompt, response }, record))
    };
    let mut unscorable_count = 0;
    args.jsonl.process(parse, |records| {
        let items: Vec<Item> = records.iter().map(|(item, _)| item.clone()).collect();
        let rated = records.iter().zip(judge.rate(&items)?).map(|((_, record), rating)| {
            let mut record = record.clone();
            match rating {
                Ok(rating) => {
                    record.insert("score".into(), json!(rating.score));
                    record.insert("reward".into(), json!(rating.reward));
                    record.insert("answers".into(), json!(rating.answers));
                }
                Err(unscorable) => {
                    unscorable_count += 1;
                    record.insert("unscorable".into(), json!(unscorable));
                }
            }
            record.insert("template".into(), json!(judge.template().name));
            record.insert("template_hash".into(), json!(judge.template_hash()));
            record.insert("model_hash".into(), json!(judge.labeler().hash));
            record
        });
        Ok(rated.collect())
    })?;
    if unscorable_count > 0 {
        tracing::warn!(
            "responses that could not be judged: {unscorable_count}; see \"unscorable\""
        );
    }
    Ok(())
}
