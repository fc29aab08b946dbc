//! Trains a reward model on labels and measures it on those it has not seen (paper section 2).

use crate::ask::rewards;
use crate::normalisation::Normalisation;
use rlaif_data::Reader;
use rlaif_job::{
    LabelRecord, Manifest, RewardSummary, TrainReward, Trained, WorkResult, batch_of_step,
    reward_quality, shuffled,
};
use rlaif_models::{Engine, EngineOptions, ScalarModel};
use rlaif_rl::{LabelledPair, PairScores, RewardTrainer};
use rlaif_worker::{
    Dialogue, Failure, JobResources, LongTraining, Progress, save_model, trainable,
};
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
    let (heldout, train) = split(labelled_pairs(job, &dialogue, &work.labels)?, work);
    if train.is_empty() {
        return Err(Failure::impossible(
            "not one labelled pair is left to train the reward model on; see labels.jsonl for the \
             reasons",
        ));
    }
    let fresh = ScalarModel::zero(start.model.clone());
    let mut trainer = RewardTrainer::new(
        fresh.trainable(&trainable(training.lora.as_ref())),
        config.optimizer.clone(),
        training.micro_batch_tokens,
    );
    let long = LongTraining {
        stage,
        steps: (train.len() * config.epochs).div_ceil(config.batch_size),
        checkpoint_every: training.checkpoint_every,
        artifacts: &job.artifacts,
        progress,
    };
    let metrics = long.run(&mut trainer, |trainer, step| {
        let (size, seed) = (config.batch_size, training.seed);
        let batch = batch_of_step(train.len(), size, step, seed, "reward order");
        let batch: Vec<_> = batch.into_iter().map(|i| train[i].clone()).collect();
        let metrics = trainer.step(&batch)?;
        let note = format!("loss {:.3} accuracy {:.2}", metrics.loss, metrics.accuracy);
        Ok((metrics, note))
    })?;
    let model = trainer.model.merged();
    let engine = Engine::start(model.clone(), &start.checkpoint, EngineOptions::default())?;
    let summary = summarise(&engine, &heldout, &train)?;
    save_model(&job.artifacts, Manifest::REWARD, |folder| {
        model.save(folder, &start.checkpoint)?;
        Normalisation { mean: summary.mean, std: summary.std }.save(folder)
    })?;
    long.forget()?;
    let trained = Trained { model: Manifest::REWARD.into(), metrics, examples: train.len() };
    Ok(WorkResult::RewardTrained { trained, summary })
}

/// The scorable labels as the reward model reads them. A pair that does not fit its context is left
/// out.
fn labelled_pairs(
    job: &JobResources,
    dialogue: &Dialogue,
    labels: &str,
) -> Result<Vec<LabelledPair>, Failure> {
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
        Some(LabelledPair { a, b, label })
    });
    Ok(pairs.collect())
}

/// Pairs kept back to measure on, and pairs to train on.
fn split(pairs: Vec<LabelledPair>, work: &TrainReward) -> (Vec<LabelledPair>, Vec<LabelledPair>) {
    let order = shuffled(pairs.len(), work.training.seed, "held-out labels", 0);
    let held_back = (pairs.len() as f64 * work.config.heldout_fraction) as usize;
    let pick = |which: &[usize]| which.iter().map(|i| pairs[*i].clone()).collect();
    (pick(&order[..held_back]), pick(&order[held_back..]))
}

fn summarise(
    engine: &Engine,
    heldout: &[LabelledPair],
    train: &[LabelledPair],
) -> Result<RewardSummary, Failure> {
    let (heldout_scores, train_scores) =
        (pair_scores(engine, heldout)?, pair_scores(engine, train)?);
    let all: Vec<f64> =
        train_scores.iter().flat_map(|s| [f64::from(s.a), f64::from(s.b)]).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / all.len() as f64;
    let measured = heldout.iter().zip(&heldout_scores);
    let measured: Vec<_> = measured.map(|(pair, score)| (score.prefers_a(), pair.label)).collect();
    Ok(RewardSummary {
        quality: reward_quality(&measured),
        trained_on: train.len(),
        mean,
        std: variance.sqrt().max(1e-6),
    })
}

fn pair_scores(engine: &Engine, pairs: &[LabelledPair]) -> Result<Vec<PairScores>, Failure> {
    let sequences = pairs.iter().flat_map(|p| [p.a.clone(), p.b.clone()]).collect();
    let rewards = rewards(engine, sequences)?;
    Ok(rewards.chunks_exact(2).map(|both| PairScores { a: both[0], b: both[1] }).collect())
}
