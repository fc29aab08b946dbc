//! Trains a reward model on labels and measures it on those it has not seen (paper section 2).

use crate::ask::pair_scores;
use crate::fit::{Example, Fit};
use crate::keep_back::keep_back;
use crate::normalisation::Normalisation;
use crate::score::pair_sequences;
use rlaif_data::{Fingerprint, Reader, preferences_of};
use rlaif_job::{
    LabelRecord, Manifest, RewardSummary, SourceQuality, TrainReward, Trained, WorkResult,
    reward_quality,
};
use rlaif_models::{Engine, EngineOptions, ScalarModel};
use rlaif_rl::LabelledPair;
use rlaif_types::{LabelSource, Preference, SoftLabel};
use rlaif_worker::{
    Dialogue, Failure, JobResources, LongTraining, Progress, save_model, trainable,
};
use serde_json::Value;
use std::collections::BTreeMap;
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
    let (heldout, train) = split(&examples(job, &dialogue, work)?, work);
    let mut trained_on = BTreeMap::new();
    train.iter().for_each(|(source, _)| *trained_on.entry(*source).or_default() += 1);
    let train = train.into_iter().map(|(_, example)| example).collect();
    let fit = Fit::new(config, training.seed, train)?;
    let model = start.model.clone().with_gradient_checkpointing(training.gradient_checkpointing);
    let what = trainable(training.lora.as_ref());
    let replicas = job.replicas(&model).into_iter();
    let replicas = replicas.map(|model| ScalarModel::zero(model).trainable(&what));
    let fresh = ScalarModel::zero(model);
    let trainer = fit.trainer(&fresh, training.lora.as_ref(), training.micro_batch_tokens);
    let mut trainer = trainer.with_replicas(replicas);
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
            let metrics = fit.step(trainer, step)?;
            let note = metrics.note();
            Ok((metrics, note))
        },
        |records| fit.is_enough(records),
    )?;
    let model = trainer.model.merged();
    let engine = Engine::start(model.clone(), &start.checkpoint, EngineOptions::default())?;
    let summary = summarise(&engine, &heldout, &trained_on, fit.train())?;
    save_model(&job.artifacts, Manifest::REWARD, |folder| {
        model.save(folder, &start.checkpoint)?;
        Normalisation { mean: summary.mean, std: summary.std }.save(folder)
    })?;
    long.forget()?;
    let trained = Trained { model: Manifest::REWARD.into(), metrics, examples: fit.train().len() };
    Ok(WorkResult::RewardTrained { trained, summary })
}

/// A labelled pair, and who labelled it.
type Sourced = (LabelSource, Example);

/// What there is to learn from, as the reward model reads it: the labeler's scorable labels, then given
/// ones. A pair that does not fit its context is left out.
fn examples(
    job: &JobResources,
    dialogue: &Dialogue,
    work: &TrainReward,
) -> Result<Vec<Sourced>, Failure> {
    let mut examples = Vec::new();
    if let Some(file) = &work.labels {
        let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
        let labels: Vec<LabelRecord> = reader.read_all(|record| {
            serde_json::from_value(Value::Object(record)).map_err(|e| e.to_string())
        })?;
        examples.extend(labels.iter().filter_map(|record| {
            let label = record.comparison.as_ref()?.label;
            let (a, b) = pair_sequences(dialogue, &record.pair).ok()?;
            let pair = LabelledPair::new(a, b, label);
            let prompt = Fingerprint::of_prompt(&record.pair.prompt);
            Some((LabelSource::Ai, Example { pair, sureness: label.confidence(), prompt }))
        }));
    }
    if let Some(file) = &work.preferences {
        let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
        let given = reader.read_all(|record| preferences_of(&record))?;
        let given: Vec<Preference> = given.into_iter().flatten().collect();
        let read = given.iter().filter_map(|preference| {
            let sequences = pair_sequences(dialogue, &preference.pair).ok()?;
            Example::of(preference, work.config.labels, sequences)
        });
        let before = examples.len();
        examples.extend(read);
        if examples.len() == before {
            return Err(Failure::impossible(format!(
                "{file}: of {} preferences not one has a label that reward_model.labels = \"{}\" \
                 learns from and fits the model's context",
                given.len(),
                work.config.labels.as_str()
            )));
        }
    }
    Ok(examples)
}

/// Pairs kept back to measure on, and pairs of other prompts to train on.
fn split(examples: &[Sourced], work: &TrainReward) -> (Vec<Sourced>, Vec<Sourced>) {
    let prompts: Vec<Fingerprint> = examples.iter().map(|(_, example)| example.prompt).collect();
    let (share, seed) = (work.config.heldout_fraction, work.training.seed);
    let (heldout, train) = keep_back(&prompts, share, seed, "held-out labels");
    let of = |part: Vec<usize>| part.into_iter().map(|i| examples[i].clone()).collect();
    (of(heldout), of(train))
}

fn summarise(
    engine: &Engine,
    heldout: &[Sourced],
    trained_on: &BTreeMap<LabelSource, usize>,
    train: &[LabelledPair],
) -> Result<RewardSummary, Failure> {
    let scores = pair_scores(engine, heldout.iter().map(|(_, example)| &example.pair))?;
    let measured: Vec<(LabelSource, f64, SoftLabel)> = heldout
        .iter()
        .zip(&scores)
        .map(|((source, example), score)| (*source, score.prefers_a(), example.pair.label))
        .collect();
    let quality = |wanted: Option<LabelSource>| {
        let wanted = measured.iter().filter(|(source, ..)| wanted.is_none_or(|w| w == *source));
        reward_quality(
            &wanted.map(|(_, predicted, label)| (*predicted, *label)).collect::<Vec<_>>(),
        )
    };
    let of_source = |(source, trained_on): (&LabelSource, &usize)| {
        let quality = SourceQuality { trained_on: *trained_on, quality: quality(Some(*source)) };
        (source.as_str().to_owned(), quality)
    };
    let by_people = trained_on.contains_key(&LabelSource::Human);
    let Normalisation { mean, std } = Normalisation::over(&pair_scores(engine, train)?);
    Ok(RewardSummary {
        quality: quality(None),
        trained_on: train.len(),
        mean,
        std,
        by_source: trained_on.iter().map(of_source).filter(|_| by_people).collect(),
    })
}
