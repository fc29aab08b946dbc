//! A trained reward model by name, asked the way it was trained.

use super::study::describe;
use super::train::was_chat;
use crate::commands::download::DownloadBar;
use anyhow::{Context, Result};
use rlaif_hub::Store;
use rlaif_models::{
    Checkpoint, DeviceName, Engine, EngineOptions, LanguageModel, ModelInfo, ScalarModel,
};
use rlaif_reward::{Normalisation, judge, sequence};
use rlaif_types::{Item, Judgement};
use rlaif_worker::{Dialogue, open_checkpoint};

/// Gives rewards.
pub struct Trained {
    engine: Engine,
    dialogue: Dialogue,
    normalisation: Normalisation,
}

impl Trained {
    /// Starts the reward model of this name. `chat` says whether prompts go through its chat template where
    /// its folder does not.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn open(name: &str, on: DeviceName, chat: impl Fn(&Checkpoint) -> bool) -> Result<Self> {
        let path = Store::from_env().resolve(name, &mut DownloadBar::new())?;
        let checkpoint = open_checkpoint(&path)?;
        let model = ScalarModel::load(&checkpoint, &on.open()?, on.default_dtype())
            .with_context(|| format!("{name} is no reward model"))?;
        let engine = Engine::start(model, &checkpoint, EngineOptions::default())?;
        let chat = was_chat(&path).unwrap_or_else(|| chat(&checkpoint));
        let dialogue = Dialogue::with(&engine, chat).map_err(describe)?;
        let normalisation = Normalisation::of(&path).map_err(describe)?;
        Ok(Self { engine, dialogue, normalisation })
    }

    /// The model.
    pub fn info(&self) -> &ModelInfo {
        self.engine.info()
    }

    /// How its outputs became rewards.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// One reward for each item.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn rewards<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Item>,
    ) -> Result<Vec<Judgement<f64>>> {
        let read = items.into_iter().map(|item| sequence(&self.dialogue, item)).collect();
        judge(&self.engine, read, self.normalisation).map_err(describe)
    }
}
