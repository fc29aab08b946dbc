//! Supervised fine-tuning on demonstrations.

use rlaif_data::{Reader, demonstration_of};
use rlaif_job::{FineTune, Manifest, Trained, WorkResult, batch_of_step};
use rlaif_rl::{Demonstration, SftTrainer};
use rlaif_worker::{
    Dialogue, Failure, JobResources, LongTraining, Progress, save_model, trainable,
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
    let dialogue = Dialogue::of(&start.checkpoint, training.start.chat)?;
    let demonstrations = demonstrations(job, &dialogue, &work.demonstrations)?;
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
    Ok(WorkResult::FineTuned(Trained { model: Manifest::SFT.into(), metrics, examples }))
}

fn demonstrations(
    job: &JobResources,
    dialogue: &Dialogue,
    name: &str,
) -> Result<Vec<Demonstration>, Failure> {
    let reader = Reader::new(name, Cursor::new(job.artifacts.get(name)?));
    let demonstrations = reader.read_all(|record| {
        let (prompt, completion) = demonstration_of(&record)?;
        let completion = dialogue.response(&completion);
        let prompt = dialogue.prompt(&prompt, completion.len());
        Ok(Demonstration { prompt: prompt.map_err(|e| e.to_string())?, completion })
    })?;
    match demonstrations.is_empty() {
        true => Err(Failure::impossible(format!("{name}: no demonstrations"))),
        false => Ok(demonstrations),
    }
}
