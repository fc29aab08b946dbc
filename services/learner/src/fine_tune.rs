//! Supervised fine-tuning on demonstrations.

use rlaif_data::{Reader, Record, demonstration_of};
use rlaif_job::{FineTune, LeftOut, Manifest, Trained, Unlearnable, WorkResult, batch_of_step};
use rlaif_rl::{Demonstration, SftTrainer};
use rlaif_types::Unscorable;
use rlaif_worker::memory::Trainer;
use rlaif_worker::{
    Dialogue, Failure, JobResources, LongTraining, Progress, save_model, tell_left_out, trainable,
};
use std::io::Cursor;

pub(crate) fn fine_tune(
    job: &JobResources,
    stage: &str,
    work: &FineTune,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let (training, config) = (&work.training, &work.config);
    let start = job.language_model(&training.start.model)?;
    let optimizers = vec![config.optimizer.clone()];
    let network = &start.checkpoint.config;
    job.check_memory(Trainer::of("while the policy is fine-tuned", training, network, optimizers))?;
    let dialogue = Dialogue::of(&start.checkpoint, training.start.chat)?;
    let (demonstrations, left_out) = demonstrations(job, &dialogue, &work.demonstrations)?;
    tell_left_out(stage, &left_out);
    let model = start.model.clone().with_gradient_checkpointing(training.gradient_checkpointing);
    let what = trainable(training.lora.as_ref());
    let mut trainer = SftTrainer::new(
        model.trainable(&what),
        config.optimizer.clone(),
        training.micro_batch_tokens,
    )
    .with_replicas(job.replicas(&model).iter().map(|replica| replica.trainable(&what)));
    let long = LongTraining {
        stage,
        steps: (demonstrations.len() * config.epochs).div_ceil(config.batch_size),
        checkpoint_every: training.checkpoint_every,
        artifacts: &job.artifacts,
        progress,
    };
    let metrics = long.run(&mut trainer, |trainer, step| {
        let (size, seed) = (config.batch_size, training.seed);
        let batch = batch_of_step(demonstrations.len(), size, step, seed, "sft order");
        let batch: Vec<_> = batch.into_iter().map(|i| demonstrations[i].clone()).collect();
        let metrics = trainer.step(&batch)?;
        let note = format!("loss {:.3}", metrics.loss);
        Ok((metrics, note))
    })?;
    let model = trainer.model.merged();
    save_model(&job.artifacts, Manifest::SFT, |folder| model.save(folder, &start.checkpoint))?;
    long.forget()?;
    let examples = demonstrations.len();
    Ok(WorkResult::FineTuned(Trained { model: Manifest::SFT.into(), metrics, examples, left_out }))
}

/// What there is to learn from, and what is left out.
///
/// # Errors
/// When nothing can be learned from.
fn demonstrations(
    job: &JobResources,
    dialogue: &Dialogue,
    name: &str,
) -> Result<(Vec<Demonstration>, LeftOut), Failure> {
    let reader = Reader::new(name, Cursor::new(job.artifacts.get(name)?));
    let read = reader.read_all(|record| demonstration(dialogue, &record))?;
    let (all, mut left_out) = (read.len(), LeftOut::default());
    let demonstrations: Vec<Demonstration> =
        read.into_iter().filter_map(|read| left_out.keep(read)).collect();
    match (demonstrations.is_empty(), all) {
        (true, 0) => Err(Failure::impossible(format!("{name}: no demonstrations"))),
        (true, all) => Err(Failure::impossible(format!(
            "{name}: of {all} demonstrations not one can be learned from: {left_out}"
        ))),
        (false, _) => Ok((demonstrations, left_out)),
    }
}

/// What a record teaches.
///
/// # Errors
/// When it is no demonstration.
fn demonstration(
    dialogue: &Dialogue,
    record: &Record,
) -> Result<Result<Demonstration, Unlearnable>, String> {
    let (prompt, completion, finish) = demonstration_of(record)?;
    let Some(completion) = dialogue.lesson(&completion, finish) else {
        return Ok(Err(Unlearnable::Empty));
    };
    let prompt = dialogue.prompt(&prompt, completion.len()).map_err(Unscorable::from);
    Ok(prompt.map(|prompt| Demonstration { prompt, completion }).map_err(Unlearnable::from))
}
