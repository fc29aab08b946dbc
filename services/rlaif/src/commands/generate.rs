//! `rlaif generate`: continue prompts.

use super::jsonl::JsonlArgs;
use super::model::ModelArgs;
use anyhow::{Context, Result, bail};
use rlaif_data::{Record, any_prompt_of};
use rlaif_models::{GenerateRequest, LanguageModel, Sampling};
use rlaif_types::{Message, Prompt};
use serde_json::{Value, json};

/// Continue prompts and report each token with its log-probability.
///
/// {"prompt"} in (a string, or messages with --chat), or any other format, whose prompt is then written as
/// "prompt"; the same with "completion", "token_ids" and "logprobs" out. `rlaif rate` reads it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    echo '{\"prompt\":\"Once upon a time\"}' | rlaif generate --model model.gguf --max-new-tokens 48 --temperature 0")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// Put the prompt through the model's chat template.
    #[arg(long)]
    chat: bool,
    /// Most tokens to generate.
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Draw no end-of-text before this many tokens.
    #[arg(long, default_value_t = 0)]
    min_new_tokens: usize,
    /// 0 takes the most likely token.
    #[arg(long, default_value_t = 0.9)]
    temperature: f32,
    /// Draw from the k most likely tokens only.
    #[arg(long)]
    top_k: Option<usize>,
    /// Draw from the most likely tokens whose probability reaches p.
    #[arg(long)]
    top_p: Option<f32>,
    /// Stop once the completion contains this text, which is kept; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
    /// Do not stop at the model's end-of-text token.
    #[arg(long)]
    ignore_eos: bool,
    /// Seed; record N is drawn with seed + N.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: Args) -> Result<()> {
    if args.stop.iter().any(String::is_empty) {
        bail!("--stop needs a text: an empty one would stop every completion at once");
    }
    let engine = args.model.start()?;
    let parse = |index, mut record: Record| {
        let prompt = any_prompt_of(&record)?;
        let tokens = encode(&engine, &prompt, args.chat).map_err(|e| e.to_string())?;
        if tokens.is_empty() {
            return Err("\"prompt\" is empty".into());
        }
        // Whoever reads the completion finds beside it what it continues.
        if record.get("prompt").is_none_or(Value::is_null) {
            record.insert("prompt".into(), json!(prompt));
        }
        let sampling = Sampling {
            max_new_tokens: args.max_new_tokens,
            min_new_tokens: args.min_new_tokens,
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            stop_tokens: match args.ignore_eos {
                true => Vec::new(),
                false => engine.tokenizer().eos_ids().to_vec(),
            },
            stop_texts: args.stop.clone(),
            seed: args.seed + index as u64,
        };
        Ok((record, GenerateRequest::new(tokens, sampling)))
    };
    args.jsonl.process(parse, |records| {
        let requests = records.iter().map(|(_, request)| request.clone()).collect();
        let generations = engine.generate(requests)?;
        let with_completions = records.iter().zip(generations).map(|((record, _), generation)| {
            let mut record = record.clone();
            let text = engine.tokenizer().decode(&generation.tokens);
            record.insert("completion".into(), json!(text));
            record.insert("token_ids".into(), json!(generation.tokens));
            record.insert("logprobs".into(), json!(generation.logprobs));
            record.insert("finish".into(), json!(generation.finish));
            record
        });
        Ok(with_completions.collect())
    })
}

fn encode(engine: &dyn LanguageModel, prompt: &Prompt, chat: bool) -> Result<Vec<u32>> {
    match prompt {
        Prompt::Text(text) if !chat => Ok(engine.tokenizer().encode_text(text)),
        prompt => {
            let template = engine.chat_template().context(
                "this model has no chat template: give the prompt as a string, without --chat",
            )?;
            let messages = match prompt {
                Prompt::Text(text) => vec![Message::user(text)],
                Prompt::Messages(messages) => messages.clone(),
            };
            Ok(template.encode(engine.tokenizer(), &messages, true)?)
        }
    }
}
