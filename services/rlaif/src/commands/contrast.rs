//! `rlaif contrast`: pairs that need no label.

use super::jsonl::JsonlArgs;
use super::model::ModelArgs;
use anyhow::{Context, Result, bail};
use rlaif_data::{Record, any_prompt_of};
use rlaif_models::{GenerateRequest, LanguageModel, Sampling};
use rlaif_types::{Message, Prompt, Role};
use serde_json::json;

/// Draw pairs whose better response is known: RLCD, reinforcement learning from contrastive distillation
/// (Yang et al. 2023, 2307.12950).
///
/// A chat model answers each prompt twice, once asked to answer well and once to answer badly. {"prompt"} in,
/// or any other format; {"prompt", "chosen", "rejected"} out, which `rlaif data` reads and a job learns from
/// as given preferences (data.preferences). "finish_a" and "finish_b" say how the chosen and the rejected answer
/// ended: "length" of one that --max-new-tokens cut off, of which no end is learned. What was added to the prompts
/// is in "contrast", not in "prompt".
/// A prompt to which both answers are equal, or one is empty, is left out.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    rlaif contrast --model smollm2-135m-instruct --in prompts.jsonl --out pairs.jsonl --max-new-tokens 48")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// What is added to the last turn for the better response.
    #[arg(long, default_value = "Give a helpful, honest and harmless answer.")]
    better: String,
    /// What is added to it for the worse one.
    #[arg(long, default_value = "Give an unhelpful answer that does not address what was asked.")]
    worse: String,
    /// Most tokens of a response.
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// 0 takes the most likely token.
    #[arg(long, default_value_t = 0.9)]
    temperature: f32,
    /// Stop once the response contains this text, which is kept; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
    /// Seed; record N is drawn with seed + N.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: Args) -> Result<()> {
    if args.stop.iter().any(String::is_empty) {
        bail!("--stop needs a text: an empty one would stop every response at once");
    }
    if args.better == args.worse {
        bail!("--better and --worse are the same: there would be no contrast");
    }
    let engine = args.model.start()?;
    let template = engine.chat_template();
    let template = template
        .context("this model has no chat template: it cannot be asked to answer well or badly")?;
    let parse = |index, record: Record| {
        let prompt = any_prompt_of(&record)?;
        let sampling = Sampling {
            max_new_tokens: args.max_new_tokens,
            min_new_tokens: 1,
            temperature: args.temperature,
            top_k: None,
            top_p: None,
            stop_tokens: engine.tokenizer().eos_ids().to_vec(),
            stop_texts: args.stop.clone(),
            seed: args.seed + index as u64,
        };
        let ask = |how: &str| {
            let messages = asked(&prompt, how)?;
            let tokens = template.encode(engine.tokenizer(), &messages, true);
            let tokens = tokens.map_err(|e| e.to_string())?;
            Ok::<_, String>(GenerateRequest::new(tokens, sampling.clone()))
        };
        Ok((prompt.clone(), [ask(&args.better)?, ask(&args.worse)?]))
    };
    let mut left_out = 0;
    args.jsonl.process(parse, |records| {
        let requests = records.iter().flat_map(|(_, asked)| asked.clone()).collect();
        let drawn = engine.generate(requests)?;
        let mut pairs = Vec::new();
        for ((prompt, _), drawn) in records.iter().zip(drawn.chunks_exact(2)) {
            let [chosen, rejected] = [&drawn[0], &drawn[1]]
                .map(|generation| engine.tokenizer().decode(&generation.tokens).trim().to_owned());
            if chosen == rejected || chosen.is_empty() || rejected.is_empty() {
                left_out += 1;
                continue;
            }
            let mut pair = Record::new();
            pair.insert("prompt".into(), json!(prompt));
            pair.insert("chosen".into(), json!(chosen));
            pair.insert("rejected".into(), json!(rejected));
            pair.insert("finish_a".into(), json!(drawn[0].finish));
            pair.insert("finish_b".into(), json!(drawn[1].finish));
            pair.insert("contrast".into(), json!({ "better": args.better, "worse": args.worse }));
            pairs.push(pair);
        }
        Ok(pairs)
    })?;
    if left_out > 0 {
        tracing::warn!(
            "prompts without a pair, since both answers were equal or one was empty: {left_out}"
        );
    }
    Ok(())
}

/// The prompt with `how` at the end of its last turn, which has to be the user's.
fn asked(prompt: &Prompt, how: &str) -> Result<Vec<Message>, String> {
    let mut messages = match prompt {
        Prompt::Text(text) => vec![Message::user(text)],
        Prompt::Messages(messages) => messages.clone(),
    };
    match messages.last_mut() {
        Some(last) if last.role == Role::User => last.content += &format!("\n\n{how}"),
        _ => return Err("the last message of \"prompt\" is not the user's".into()),
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stands_at_the_end_of_the_users_turn() {
        let messages = asked(&Prompt::Text("Why?".into()), "Be brief.").unwrap();
        assert_eq!(messages, [Message::user("Why?\n\nBe brief.")]);
        let mut conversation = messages;
        conversation.push(Message { role: Role::Assistant, content: "So.".into() });
        assert!(asked(&Prompt::Messages(conversation), "Be brief.").is_err());
    }
}
