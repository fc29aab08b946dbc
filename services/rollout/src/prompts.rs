//! Prompts of a piece of work as tokens.

use rlaif_job::Generate;
use rlaif_types::Prompt;
use rlaif_worker::{Dialogue, Failure};

/// Characters of a prompt that a message shows.
const EXCERPT: usize = 60;

/// Tokens of all prompts.
///
/// # Errors
/// At the first that cannot be put to the model; the message names it.
pub(crate) fn encode(dialogue: &Dialogue, generate: &Generate) -> Result<Vec<Vec<u32>>, Failure> {
    let encoded = generate.prompts.iter().enumerate().map(|(i, prompt)| {
        let tokens = dialogue.prompt(prompt, generate.sampling.max_new_tokens);
        tokens.map_err(|what| {
            let number = generate.first + i;
            Failure::impossible(format!("prompt {number}, {:?}: {what}", excerpt(prompt)))
        })
    });
    encoded.collect()
}

fn excerpt(prompt: &Prompt) -> String {
    let text = prompt.as_context();
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
