//! A policy that answers prompts, the same way whenever it is asked.

use super::runs::Named;
use crate::commands::model;
use anyhow::{Result, anyhow, bail};
use rlaif_job::{SamplingConfig, seed_for};
use rlaif_models::{Checkpoint, DeviceName, Engine, GenerateRequest, LanguageModel};
use rlaif_types::{ContentHash, Hasher, Judgement, Prompt};
use rlaif_worker::Dialogue;
use std::cell::OnceCell;

/// How answers are drawn.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Lengths and temperature.
    pub sampling: SamplingConfig,
    /// Answers to each prompt.
    pub draws: usize,
    /// Put prompts through the model's chat template, where it has one.
    pub chat: bool,
    /// Seed of all draws; each has its own by its prompt and its number.
    pub seed: u64,
}

/// A model and how it answers. Its weights are loaded when the first answer is missing.
pub struct Policy {
    name: String,
    checkpoint: Checkpoint,
    dialogue: Dialogue,
    drawing: Drawing,
    device: DeviceName,
    engine: OnceCell<Engine>,
}

impl Policy {
    /// The policy of this name.
    ///
    /// # Errors
    /// When there is none, or it is not the one that its run knew.
    pub fn open(named: &Named, drawing: Drawing, device: DeviceName) -> Result<Self> {
        let name = named.model.clone();
        let checkpoint = model::open(&name)?;
        if named.expected.as_ref().is_some_and(|expected| *expected != checkpoint.hash) {
            bail!("{name} is not the model that the run began with: its hash is another one now");
        }
        let chat = drawing.chat && checkpoint.chat_template.is_some();
        let drawing = Drawing { chat, ..drawing };
        let dialogue =
            Dialogue::of(&checkpoint, chat).map_err(|why| anyhow!(why.into_message()))?;
        Ok(Self { name, checkpoint, dialogue, drawing, device, engine: OnceCell::new() })
    }

    /// How it is asked, for people; arms that are asked differently differ in more than their weights.
    pub fn describe_asking(&self) -> String {
        let Drawing { sampling, chat, .. } = &self.drawing;
        let prompts = if *chat { "through the chat template" } else { "as plain text" };
        let stops = match sampling.stop.as_slice() {
            [] => String::new(),
            stops => format!(", up to one of {stops:?}"),
        };
        let tokens = sampling.max_new_tokens;
        format!("asked {prompts}, at most {tokens} tokens{stops}")
    }

    /// Hash of the model.
    pub fn hash(&self) -> &ContentHash {
        &self.checkpoint.hash
    }

    /// Identity of the answers to a prompt: all that they depend on.
    pub fn drawn_id(&self, prompt: &Prompt) -> ContentHash {
        let Drawing { sampling, draws, chat, seed } = &self.drawing;
        let how = serde_json::to_string(&(sampling, draws, seed, chat));
        let mut hasher = Hasher::new();
        hasher.field("drawn").field(self.hash().as_str());
        hasher.field(how.expect("numbers and strings serialise"));
        hasher.field(serde_json::to_string(prompt).expect("a prompt serialises"));
        hasher.finish()
    }

    /// All answers to each prompt, or why there are none.
    ///
    /// # Errors
    /// When the model cannot be loaded or run.
    pub fn answer(&self, prompts: &[Prompt]) -> Result<Vec<Judgement<Vec<String>>>> {
        let requests: Vec<Judgement<Vec<GenerateRequest>>> =
            prompts.iter().map(|prompt| self.requests(prompt)).collect();
        let all: Vec<GenerateRequest> = requests.iter().flatten().flatten().cloned().collect();
        let mut drawn = match all.is_empty() {
            true => Vec::new().into_iter(),
            false => self.engine()?.generate(all)?.into_iter(),
        };
        let texts = requests.into_iter().map(|requests| {
            let generations = drawn.by_ref().take(requests?.len());
            Ok(generations.map(|drawn| self.dialogue.text(&drawn.tokens)).collect())
        });
        Ok(texts.collect())
    }

    fn requests(&self, prompt: &Prompt) -> Judgement<Vec<GenerateRequest>> {
        let Drawing { sampling, draws, seed, .. } = &self.drawing;
        let tokens = self.dialogue.prompt(prompt, sampling.max_new_tokens)?;
        let purpose = format!("evaluation {}", ContentHash::of(prompt.as_context()));
        let request = |number: usize| {
            let seed = seed_for(*seed, &purpose, number as u64);
            self.dialogue.request(tokens.clone(), sampling, seed)
        };
        Ok((0..*draws).map(request).collect())
    }

    fn engine(&self) -> Result<&Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = model::load(&self.checkpoint, &self.name, self.device)?;
        Ok(self.engine.get_or_init(|| engine))
    }
}
