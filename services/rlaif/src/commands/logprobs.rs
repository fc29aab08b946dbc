//! `rlaif logprobs`: how likely a model finds each token of a text.

use super::jsonl::JsonlArgs;
use super::model::ModelArgs;
use anyhow::Result;
use rlaif_data::text_of;
use rlaif_models::{Answer, Ask, LanguageModel, ScoreRequest};
use serde_json::json;

/// Log-probabilities of a text's tokens, from the second on; a BOS is the first where the model has one.
///
/// {"text"} in, the same with "token_ids" and "logprobs" out.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    echo '{\"text\":\"The capital of France is Paris.\"}' | rlaif logprobs --model model.gguf")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
}

pub fn run(args: Args) -> Result<()> {
    let engine = args.model.start()?;
    let tokenizer = engine.tokenizer().clone();
    let parse = |_, record| {
        let tokens = tokenizer.encode_text(&text_of(&record)?);
        if tokens.is_empty() { Err("\"text\" is empty".into()) } else { Ok((record, tokens)) }
    };
    args.jsonl.process(parse, |records| {
        let requests = records
            .iter()
            .map(|(_, tokens)| ScoreRequest {
                tokens: tokens.clone(),
                ask: Ask::Continuation { from: 1 },
            })
            .collect();
        let answers = engine.score(requests)?;
        let with_answers = records.iter().zip(answers).map(|((record, tokens), answer)| {
            let mut record = record.clone();
            record.insert("token_ids".into(), json!(tokens));
            if let Answer::Continuation(logprobs) = answer {
                record.insert("logprobs".into(), json!(logprobs));
            }
            record
        });
        Ok(with_answers.collect())
    })
}
