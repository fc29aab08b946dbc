//! Trains a reward model on labels and measures it on those it has not seen (paper section 2).

use crate::ask::pair_scores;
use crate::fit::{Example, Fit};
use crate::keep_back::keep_back;
use crate::normalisation::Normalisation;
use crate::score::pair_sequences;
use rlaif_data::{Fingerprint, Reader, preferences_of};
use rlaif_job::{
    LabelRecord, LeftOut, Manifest, Predicted, RewardSummary, SourceQuality, TrainReward, Trained,
    Unlearnable, WorkResult, reward_quality,
};
use rlaif_models::{Engine, EngineOptions, ScalarModel};
use rlaif_rl::LabelledPair;
use rlaif_types::{ContentHash, LabelSource, Preference, SoftLabel};
use rlaif_worker::memory::Trainer;
use rlaif_worker::{
    Dialogue, Failure, JobResources, LongTraining, Progress, save_model, tell_left_out, trainable,
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
    let optimizers = vec![config.optimizer.clone()];
    let network = &start.checkpoint.config;
    job.check_memory(Trainer::of("while the reward model learns", training, network, optimizers))?;
    let dialogue = Dialogue::of(&start.checkpoint, training.start.chat)?;
    let (examples, left_out) = examples(job, &dialogue, work)?;
    tell_left_out(stage, &left_out);
    let (heldout, train) = split(&examples, config.heldout_fraction, training.seed);
    let fit = Fit::new(config, training.seed, train)?;
    let model = start.model.clone().with_gradient_checkpointing(training.gradient_checkpointing);
    let what = trainable(training.lora.as_ref());
    let begun = |model| ScalarModel::begun_with(model, &start.checkpoint);
    let replicas = job.replicas(&model).into_iter().map(begun);
    let replicas = replicas.map(|replica| replica.map(|model| model.trainable(&what)));
    let replicas: Vec<ScalarModel> = replicas.collect::<Result<_, _>>()?;
    let begun = begun(model)?;
    let trainer = fit.trainer(&begun, training.lora.as_ref(), training.micro_batch_tokens);
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
    let summary = summarise(&engine, &heldout, &fit, &start.checkpoint.hash)?;
    save_model(&job.artifacts, Manifest::REWARD, |folder| {
        model.save(folder, &start.checkpoint)?;
        Normalisation { mean: summary.mean, std: summary.std }.save(folder)
    })?;
    long.forget()?;
    let (model, examples) = (Manifest::REWARD.into(), fit.train().len());
    let trained = Trained { model, metrics, examples, left_out };
    Ok(WorkResult::RewardTrained { trained, summary })
}

/// What there is to learn from, as the reward model reads it: the labeler's scorable labels, then given
/// ones; and what is left out of both.
fn examples(
    job: &JobResources,
    dialogue: &Dialogue,
    work: &TrainReward,
) -> Result<(Vec<Example>, LeftOut), Failure> {
    let (mut examples, mut left_out) = (Vec::new(), LeftOut::default());
    if let Some(file) = &work.labels {
        let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
        let labels: Vec<LabelRecord> = reader.read_all(|record| {
            serde_json::from_value(Value::Object(record)).map_err(|e| e.to_string())
        })?;
        examples.extend(labels.iter().filter_map(|record| {
            let label = record.comparison.as_ref()?.label;
            let read = pair_sequences(dialogue, &record.pair).map_err(Unlearnable::from);
            let (a, b) = left_out.keep(read)?;
            let pair = LabelledPair::new(a, b, label);
            let prompt = Fingerprint::of_prompt(&record.pair.prompt);
            let (source, sureness) = (LabelSource::Ai, label.confidence());
            // People have not seen what was sampled.
            let lengths = record.pair.lengths();
            Some(Example { pair, source, sureness, lengths, people: None, prompt })
        }));
    }
    if let Some(file) = &work.preferences {
        let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
        let all = reader.read_all(|record| {
            let weight = work.config.weight_of(&record)?;
            let preferences = preferences_of(&record)?.into_iter();
            Ok(preferences.map(|preference| (preference, weight)).collect::<Vec<_>>())
        })?;
        let all: Vec<(Preference, f32)> = all.into_iter().flatten().collect();
        let labels = work.config.labels;
        let read =
            all.iter().map(|(preference, weight)| given(dialogue, preference, labels, *weight));
        let before = examples.len();
        examples.extend(read.filter_map(|example| left_out.keep(example)));
        if examples.len() == before {
            return Err(Failure::impossible(format!(
                "{file}: of {} preferences not one can be learned from with reward_model.labels = \
                 \"{}\": {left_out}",
                all.len(),
                labels.as_str()
            )));
        }
    }
    if examples.is_empty() && !left_out.is_empty() {
        let what = format!("not one labelled pair can be learned from: {left_out}");
        return Err(Failure::impossible(what));
    }
    Ok((examples, left_out))
}

/// What a given preference teaches that counts so much.
fn given(
    dialogue: &Dialogue,
    preference: &Preference,
    labels: LabelSource,
    weight: f32,
) -> Result<Example, Unlearnable> {
    let sequences = pair_sequences(dialogue, &preference.pair)?;
    Example::of(preference, labels, weight, sequences).ok_or(Unlearnable::Unlabelled)
}

/// Pairs kept back to measure on, and pairs of other prompts to train on.
fn split(examples: &[Example], share: f64, seed: u64) -> (Vec<Example>, Vec<Example>) {
    let prompts: Vec<Fingerprint> = examples.iter().map(|example| example.prompt).collect();
    let (heldout, train) = keep_back(&prompts, share, seed, "held-out labels");
    let of = |part: Vec<usize>| part.into_iter().map(|i| examples[i].clone()).collect();
    (of(heldout), of(train))
}

fn summarise(
    engine: &Engine,
    heldout: &[Example],
    fit: &Fit<'_>,
    start: &ContentHash,
) -> Result<RewardSummary, Failure> {
    let scores = pair_scores(engine, heldout.iter().map(|example| &example.pair))?;
    let against = |label: &dyn Fn(&Example) -> Option<SoftLabel>| {
        let measured = heldout.iter().zip(&scores).filter_map(|(example, score)| {
            let Example { prompt, lengths, .. } = *example;
            let (label, prefers_a) = (label(example)?, score.prefers_a());
            Some(Predicted { prompt, lengths, label, prefers_a })
        });
        reward_quality(&measured.collect::<Vec<_>>())
    };
    let quality = |wanted: Option<LabelSource>| {
        against(&|example| {
            wanted.is_none_or(|wanted| wanted == example.source).then_some(example.pair.label)
        })
    };
    let of_source = |(source, trained_on): (&LabelSource, &usize)| {
        let quality = SourceQuality { trained_on: *trained_on, quality: quality(Some(*source)) };
        (source.as_str().to_owned(), quality)
    };
    let by_people = fit.by_source().contains_key(&LabelSource::Human);
    let against_people = against(&|example| example.people);
    let Normalisation { mean, std } = Normalisation::over(&pair_scores(engine, fit.train())?);
    Ok(RewardSummary {
        quality: quality(None),
        trained_on: fit.train().len(),
        mean,
        std,
        start_hash: Some(start.clone()),
        by_source: fit.by_source().iter().map(of_source).filter(|_| by_people).collect(),
        against_people: (against_people.pairs > 0).then(|| Box::new(against_people)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Prompt;

    #[test]
    fn what_a_reward_model_is_measured_on_has_no_prompt_that_it_was_trained_on() {
        // As pairs that are sampled for three prompts in turn.
        let example = |i: u32| {
            let prompt = Fingerprint::of_prompt(&Prompt::Text(format!("{}", i % 3)));
            let pair = LabelledPair::new(vec![i], vec![i], SoftLabel::TIE);
            Example {
                pair,
                source: LabelSource::Ai,
                sureness: 0.0,
                lengths: [1, 1],
                people: None,
                prompt,
            }
        };
        let examples: Vec<Example> = (0..24).map(example).collect();
        let (heldout, train) = split(&examples, 0.25, 7);
        assert_eq!((heldout.len(), train.len()), (8, 16), "a whole prompt");
        assert!(heldout.iter().all(|h| train.iter().all(|t| h.prompt != t.prompt)));
    }
}
