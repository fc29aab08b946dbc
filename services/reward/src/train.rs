//! Trains a reward model on labels and measures it on those it has not seen (paper section 2).

use crate::ask::pair_scores;
use crate::fit::{Example, Fit};
use crate::normalisation::Normalisation;
use rlaif_data::Reader;
use rlaif_job::{
    LabelRecord, Manifest, RewardSummary, TrainReward, Trained, WorkResult, reward_quality,
    shuffled,
};
use rlaif_models::{Engine, EngineOptions, ScalarModel};
use rlaif_rl::LabelledPair;
use rlaif_worker::{Dialogue, Failure, JobResources, LongTraining, Progress, save_model};
use serde_json::Value;
use std::io::Cursor;

pub(crate) fn train_reward(
    job: &JobResources,
    stage: &str,
    work: &TrainReward,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let (training, config) = (&work.training, &work.config);
    let start = job.language_model(&training.start.model)?;
    let dialogue = Dialogue::of(&start.checkpoint, training.start.chat)?;
    let (heldout, train) = split(examples(job, &dialogue, &work.labels)?, work);
    let fit = Fit::new(config, training.seed, train)?;
    let fresh = ScalarModel::zero(start.model.clone());
    let mut trainer = fit.trainer(&fresh, training.lora.as_ref(), training.micro_batch_tokens);
    let long = LongTraining {
        stage,
        steps: fit.steps(),
        checkpoint_every: training.checkpoint_every,
        artifacts: &job.artifacts,
        progress,
    };
    let metrics = long.run_until(
        &mut trainer,
        |trainer, step| {
            let metrics = fit.step(trainer, step);
            let note = metrics.note();
            (metrics, note)
        },
        |records| fit.is_enough(records),
    )?;
    let model = trainer.model.merged();
    let engine = Engine::start(model.clone(), &start.checkpoint, EngineOptions::default())?;
    let summary = summarise(&engine, &heldout, fit.train())?;
    save_model(&job.artifacts, Manifest::REWARD, |folder| {
        model.save(folder, &start.checkpoint)?;
        Normalisation { mean: summary.mean, std: summary.std }.save(folder)
    })?;
    long.forget()?;
    let trained = Trained { model: Manifest::REWARD.into(), metrics, examples: fit.train().len() };
    Ok(WorkResult::RewardTrained { trained, summary })
}

/// The scorable labels as the reward model reads them. A pair that does not fit its context is left
/// out.
fn examples(
    job: &JobResources,
    dialogue: &Dialogue,
    labels: &str,
) -> Result<Vec<Example>, Failure> {
    let reader = Reader::new(labels, Cursor::new(job.artifacts.get(labels)?));
    let labels: Vec<LabelRecord> = reader.read_all(|record| {
        serde_json::from_value(Value::Object(record)).map_err(|e| e.to_string())
    })?;
    let pairs = labels.iter().filter_map(|record| {
        let label = record.comparison.as_ref()?.label;
        let tokens = |response: &str| {
            let response = dialogue.response(response);
            let mut tokens = dialogue.prompt(&record.pair.prompt, response.len()).ok()?;
            tokens.extend(response);
            Some(tokens)
        };
        let (a, b) = (tokens(&record.pair.response_a)?, tokens(&record.pair.response_b)?);
        Some(Example { pair: LabelledPair::new(a, b, label), sureness: label.confidence() })
    });
    Ok(pairs.collect())
}

/// Pairs kept back to measure on, and pairs to train on.
fn split(examples: Vec<Example>, work: &TrainReward) -> (Vec<LabelledPair>, Vec<Example>) {
    let order = shuffled(examples.len(), work.training.seed, "held-out labels", 0);
    let held_back = (examples.len() as f64 * work.config.heldout_fraction) as usize;
    let (heldout, train) = order.split_at(held_back);
    let heldout = heldout.iter().map(|i| examples[*i].pair.clone()).collect();
    (heldout, train.iter().map(|i| examples[*i].clone()).collect())
}

fn summarise(
    engine: &Engine,
    heldout: &[LabelledPair],
    train: &[LabelledPair],
) -> Result<RewardSummary, Failure> {
    let (heldout_scores, train_scores) =
        (pair_scores(engine, heldout)?, pair_scores(engine, train)?);
    let Normalisation { mean, std } = Normalisation::over(&train_scores);
    let measured = heldout.iter().zip(&heldout_scores);
    let measured: Vec<_> = measured.map(|(pair, score)| (score.prefers_a(), pair.label)).collect();
    Ok(RewardSummary { quality: reward_quality(&measured), trained_on: train.len(), mean, std })
}
