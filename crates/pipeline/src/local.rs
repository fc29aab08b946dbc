//! All stages in one process, over a run folder.
//!
//! Each stage works in chunks or steps. A chunk's result is on disk before the next begins, every
//! draw is seeded by what it is for, and a chunk is always made of the same items; so a run that
//! was killed and resumed makes the same files as one that was not.

use crate::Error;
use crate::dialogue::Dialogue;
use crate::models::{Loaded, Models};
use crate::progress::Progress;
use crate::stages::policy::{self, Rewarder};
use crate::stages::{evaluate, label, reward, sample};
use burn::tensor::DType;
use rlaif_data::{JsonlAppender, Reader, preference_record, prompt_of, write_jsonl_atomic};
use rlaif_job::{
    Contest, EvaluationRecord, Job, LabelRecord, Manifest, RewardSource, RewardSummary, RunFolder,
    SampleRecord, Verdict, WinRate, batch_of_step, hash_file, reward_quality, seed_for, shuffled,
    strip_trailing_junk, win_rate, write_report,
};
use rlaif_judge::Judge;
use rlaif_models::{CausalLm, Checkpoint, Engine, ScalarModel, Trainable};
use rlaif_rl::{
    Demonstration, LabelledPair, PairScores, Reinforce, RewardTrainer, SftTrainer, TrainerState,
};
use rlaif_template::Template;
use rlaif_types::{Judgement, Pair, Prompt};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Items made durable together. Fixed, so that a resumed run forms the same batches.
const CHUNK: usize = 16;

/// What a run needs beside its job.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Go on with the run in the folder.
    pub resume: bool,
}

/// What a run ends with.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Win rates, the headline first.
    pub win_rates: Vec<WinRate>,
    /// Hashes of everything.
    pub manifest: Manifest,
    /// The report.
    pub report: PathBuf,
}

/// Runs `job` in `folder`: `sft? -> sample -> label -> reward -> policy -> evaluate -> report`, where
/// the middle three are skipped when the labeler's rating is the reward.
///
/// # Errors
/// When something cannot be done; finished work stays in the folder.
pub fn run(
    job: &Job,
    folder: &RunFolder,
    options: RunOptions,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    let prompts = read_prompts(&job.data.prompts)?;
    let heldout = read_prompts(&job.data.heldout_prompts)?;
    // Everything that can be refused is, before the folder is touched or work begins.
    let template = Template::load(&job.labeler.template)?;
    let evaluation_templates: Vec<Template> =
        job.evaluate.templates.iter().map(|t| Template::load(t)).collect::<Result<_, _>>()?;
    let mut models = Models::new(&job.device)?;
    let origin = models.load(&job.policy.model)?;
    let labeler = models.load(&job.labeler.model)?;
    let chat = job.policy.chat.then(|| origin.checkpoint.chat_template.clone());
    let dialogue = Dialogue::new(
        origin.checkpoint.tokenizer.clone(),
        chat,
        origin.checkpoint.config.max_position_embeddings,
    )?;
    let prompts = encode(&dialogue, job, prompts, &job.data.prompts)?;
    let heldout = encode(&dialogue, job, heldout, &job.data.heldout_prompts)?;
    folder.prepare(&job.to_toml(), options.resume)?;
    let labeler_engine: Arc<Engine> = Arc::new(labeler.engine(labeler.model.clone())?);
    let judge = Judge::new(labeler_engine.clone(), template)?;

    let mut run = Run { job, folder, progress, origin, dialogue, judge };
    let start = run.sft()?;
    let reward_model = match job.rl.reward {
        RewardSource::Model => {
            let pairs = run.sample_pairs(&start, &prompts)?;
            let labels = run.label(&pairs)?;
            Some(run.reward_model(&start, &labels)?)
        }
        RewardSource::Labeler => None,
    };
    let trained = run.policy(&start, reward_model, &prompts)?;
    let judges = evaluation_templates
        .into_iter()
        .map(|template| Judge::new(labeler_engine.clone(), template))
        .collect::<Result<Vec<_>, _>>()?;
    let win_rates = run.evaluate(&start, &trained, &heldout, &judges)?;
    let manifest = run.manifest(&labeler, &judges)?;
    let report = write_report(job, folder, &manifest)?;
    Ok(Outcome { win_rates, manifest, report })
}

/// A prompt and its tokens.
type Encoded = (Prompt, Vec<u32>);

fn read_prompts(path: &Path) -> Result<Vec<Prompt>, Error> {
    let prompts = Reader::open(path)?.read_all(|record| prompt_of(&record))?;
    match prompts.is_empty() {
        true => Err(nothing_to_do(format!("{}: no prompts in it", path.display()))),
        false => Ok(prompts),
    }
}

fn encode(
    dialogue: &Dialogue,
    job: &Job,
    prompts: Vec<Prompt>,
    path: &Path,
) -> Result<Vec<Encoded>, Error> {
    let with_tokens = prompts.into_iter().enumerate().map(|(i, prompt)| {
        let tokens = dialogue.prompt(&prompt, job.sampling.max_new_tokens).map_err(|what| {
            rlaif_job::Error::Job {
                path: path.to_owned(),
                what: format!("prompt {}: {what}", i + 1),
            }
        })?;
        Ok((prompt, tokens))
    });
    with_tokens.collect()
}

/// A run in progress.
struct Run<'a> {
    job: &'a Job,
    folder: &'a RunFolder,
    progress: &'a dyn Progress,
    origin: Rc<Loaded>,
    dialogue: Dialogue,
    judge: Judge,
}

impl Run<'_> {
    fn trainable(&self) -> Trainable {
        self.job.lora.clone().map_or(Trainable::Full, Trainable::Lora)
    }

    /// Supervised fine-tuning, where the job has it. Returns the policy everything else starts from.
    fn sft(&mut self) -> Result<CausalLm, Error> {
        let (Some(sft), Some(path)) = (&self.job.sft, &self.job.data.demonstrations) else {
            return Ok(self.origin.model.clone());
        };
        if self.folder.finished::<Value>("sft")?.is_some() {
            return self.finished_policy("checkpoints/sft");
        }
        let mut trainer = SftTrainer::new(
            self.origin.model.trainable(&self.trainable()),
            sft.optimizer.clone(),
            self.job.rl.micro_batch_tokens,
        );
        let demonstrations = self.demonstrations(path)?;
        let steps = (demonstrations.len() * sft.epochs).div_ceil(sft.batch_size);
        self.steps(
            "sft",
            steps,
            &mut trainer,
            SftTrainer::load,
            SftTrainer::save,
            |trainer, step| {
                let batch = batch_of_step(
                    demonstrations.len(),
                    sft.batch_size,
                    step,
                    self.job.seed,
                    "sft order",
                );
                let batch: Vec<_> = batch.into_iter().map(|i| demonstrations[i].clone()).collect();
                let metrics = trainer.step(&batch);
                let note = format!("loss {:.3}", metrics.loss);
                Ok((serde_json::to_value(metrics).expect("metrics are numbers"), note))
            },
        )?;
        let model = trainer.model.merged();
        model.save(&self.folder.path("checkpoints/sft"), &self.origin.checkpoint)?;
        self.folder.finish("sft", &json!({"demonstrations": demonstrations.len()}))?;
        Ok(model)
    }

    /// The policy a finished stage left: the same weights, bit for bit.
    fn finished_policy(&self, checkpoint: &str) -> Result<CausalLm, Error> {
        let checkpoint = Checkpoint::open(&self.folder.path(checkpoint))?;
        Ok(CausalLm::load(&checkpoint, &self.origin.model.device(), DType::F32)?)
    }

    fn demonstrations(&self, path: &Path) -> Result<Vec<Demonstration>, Error> {
        let demonstrations = Reader::open(path)?.read_all(|record| {
            let completion = record
                .get("completion")
                .and_then(Value::as_str)
                .ok_or("field \"completion\" must be a string")?;
            let completion = self.dialogue.response(completion);
            let prompt = self.dialogue.prompt(&prompt_of(&record)?, completion.len())?;
            Ok(Demonstration { prompt, completion })
        })?;
        match demonstrations.is_empty() {
            true => Err(nothing_to_do(format!("{}: no demonstrations", path.display()))),
            false => Ok(demonstrations),
        }
    }

    /// Training steps with a saved state every few, one metrics record each.
    fn steps<T>(
        &self,
        stage: &str,
        steps: usize,
        trainer: &mut T,
        load: impl Fn(&mut T, &TrainerState) -> Result<(), rlaif_rl::StateError>,
        save: impl Fn(&T) -> TrainerState,
        mut step: impl FnMut(&mut T, usize) -> Result<(Value, String), Error>,
    ) -> Result<(), Error> {
        let mut done = 0;
        if let Some(state) = self.folder.load_state(stage)? {
            let state = TrainerState::from_bytes(&state)?;
            load(trainer, &state)?;
            done = state.number("steps_done")? as usize;
        }
        let mut metrics = self.folder.open_steps("metrics.jsonl", stage, done)?;
        self.progress.begin(stage, done, steps);
        for index in done..steps {
            let started = Instant::now();
            let (measured, note) = step(trainer, index)?;
            let mut record = json!({"stage": stage, "step": index + 1});
            if let (Some(record), Value::Object(measured)) = (record.as_object_mut(), measured) {
                record.extend(measured);
            }
            metrics.push(&record);
            metrics.sync()?;
            self.folder.journal(stage, 1, started)?;
            if (index + 1) % self.job.rl.checkpoint_every == 0 || index + 1 == steps {
                let mut state = save(trainer);
                state.put_number("steps_done", (index + 1) as u64);
                self.folder.save_state(stage, &state.to_bytes())?;
            }
            self.progress.advance(1, &note);
        }
        self.progress.end();
        Ok(())
    }

    /// A stage that turns items into records, chunk by chunk.
    fn chunks<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        stage: &str,
        file: &str,
        total: usize,
        mut work: impl FnMut(std::ops::Range<usize>) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let (mut records, mut appender): (Vec<T>, JsonlAppender) =
            self.folder.open_chunked(file, total, CHUNK)?;
        self.progress.begin(stage, records.len(), total);
        while records.len() < total {
            let started = Instant::now();
            let chunk = records.len()..(records.len() + CHUNK).min(total);
            let count = chunk.len();
            let made = work(chunk)?;
            made.iter().for_each(|record| appender.push(record));
            appender.sync()?;
            records.extend(made);
            self.folder.journal(stage, count, started)?;
            self.progress.advance(count, "");
        }
        self.progress.end();
        Ok(records)
    }

    fn sample_pairs(&self, start: &CausalLm, prompts: &[Encoded]) -> Result<Vec<Pair>, Error> {
        let total = self.job.reward_model.as_ref().map_or(0, |rm| rm.pairs);
        let engine = self.origin.engine(start.clone())?;
        let seed = self.job.seed;
        self.chunks("sample", "pairs.jsonl", total, |chunk| {
            let chosen: Vec<(usize, &Prompt, &[u32])> = chunk
                .map(|number| {
                    let epoch = (number / prompts.len()) as u64;
                    let order = shuffled(prompts.len(), seed, "pair prompts", epoch);
                    let (prompt, tokens) = &prompts[order[number % prompts.len()]];
                    (number, prompt, tokens.as_slice())
                })
                .collect();
            let how = &self.job.sampling;
            Ok(sample::sample_pairs(&engine, &self.dialogue, how, seed, &chosen)?)
        })
    }

    fn label(&self, pairs: &[Pair]) -> Result<Vec<LabelRecord>, Error> {
        let labels = self.chunks("label", "labels.jsonl", pairs.len(), |chunk| {
            Ok(label::label(&self.judge, &pairs[chunk])?)
        })?;
        let preferences: Vec<_> = labels
            .iter()
            .filter_map(|record| {
                let label = record.comparison.as_ref()?.label;
                let mut preference =
                    preference_record(&rlaif_data::Record::new(), &record.pair, label);
                preference.insert("label_id".into(), json!(record.label_id));
                Some(preference)
            })
            .collect();
        if preferences.is_empty() {
            return Err(nothing_to_do(
                "not one pair could be labelled; see labels.jsonl for the reasons",
            ));
        }
        write_jsonl_atomic(&self.folder.path("preferences.jsonl"), &preferences)?;
        Ok(labels)
    }

    fn reward_model(
        &self,
        start: &CausalLm,
        labels: &[LabelRecord],
    ) -> Result<(ScalarModel, RewardSummary), Error> {
        if let Some(summary) = self.folder.finished("reward")? {
            let checkpoint = Checkpoint::open(&self.folder.path("checkpoints/reward"))?;
            let device = self.origin.model.device();
            return Ok((ScalarModel::load(&checkpoint, &device, DType::F32)?, summary));
        }
        let config = self.job.reward_model.clone().unwrap_or_default();
        let pairs = reward::labelled_pairs(&self.dialogue, labels);
        let order = shuffled(pairs.len(), self.job.seed, "held-out labels", 0);
        let held_back = (pairs.len() as f64 * config.heldout_fraction) as usize;
        let pick = |which: &[usize]| which.iter().map(|i| pairs[*i].clone()).collect::<Vec<_>>();
        let (heldout, train) = (pick(&order[..held_back]), pick(&order[held_back..]));
        let steps = (train.len() * config.epochs).div_ceil(config.batch_size);

        let fresh = ScalarModel::new(start.clone(), seed_for(self.job.seed, "reward head", 0));
        let mut trainer = RewardTrainer::new(
            fresh.trainable(&self.trainable()),
            config.optimizer.clone(),
            self.job.rl.micro_batch_tokens,
        );
        self.steps(
            "reward",
            steps,
            &mut trainer,
            RewardTrainer::load,
            RewardTrainer::save,
            |trainer, step| {
                let seed = self.job.seed;
                let batch =
                    batch_of_step(train.len(), config.batch_size, step, seed, "reward order");
                let batch: Vec<_> = batch.into_iter().map(|i| train[i].clone()).collect();
                let metrics = trainer.step(&batch);
                let note = format!("loss {:.3} accuracy {:.2}", metrics.loss, metrics.accuracy);
                Ok((serde_json::to_value(metrics).expect("metrics are numbers"), note))
            },
        )?;
        let model = trainer.model.merged();
        let engine = self.origin.engine(model.clone())?;
        let (heldout_scores, train_scores) =
            (pair_scores(&engine, &heldout)?, pair_scores(&engine, &train)?);
        let all: Vec<f64> =
            train_scores.iter().flat_map(|s| [f64::from(s.a), f64::from(s.b)]).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / all.len() as f64;
        let summary = RewardSummary {
            quality: quality(&heldout, &heldout_scores),
            trained_on: train.len(),
            mean,
            std: variance.sqrt().max(1e-6),
        };
        model.save(&self.folder.path("checkpoints/reward"), &self.origin.checkpoint)?;
        self.folder.finish("reward", &summary)?;
        Ok((model, summary))
    }

    fn policy(
        &self,
        start: &CausalLm,
        reward_model: Option<(ScalarModel, RewardSummary)>,
        prompts: &[Encoded],
    ) -> Result<CausalLm, Error> {
        let job = self.job;
        if self.folder.finished::<Value>("policy")?.is_some() {
            return self.finished_policy("checkpoints/policy");
        }
        let reward_engine = match &reward_model {
            Some((model, _)) => Some(self.origin.engine(model.clone())?),
            None => None,
        };
        let rewarder = match (&reward_engine, &reward_model) {
            (Some(engine), Some((_, summary))) => {
                Rewarder::Model { engine, mean: summary.mean, std: summary.std }
            }
            _ => Rewarder::Labeler(&self.judge),
        };
        let mut trainer = Reinforce::new(
            start.trainable(&self.trainable()),
            ScalarModel::zero(start.clone()).trainable(&self.trainable()),
            start.clone(),
            job.rl.reinforce.clone(),
            job.rl.micro_batch_tokens,
        );
        let rollout_engine = self.origin.engine(start.clone())?;
        let mut samples: Option<JsonlAppender> = None;
        self.steps(
            "policy",
            job.rl.steps,
            &mut trainer,
            Reinforce::load,
            Reinforce::save,
            |trainer, step| {
                let batch = batch_of_step(
                    prompts.len(),
                    job.rl.batch_size,
                    step,
                    job.seed,
                    "rollout prompts",
                );
                let chosen: Vec<&Encoded> = batch.iter().map(|i| &prompts[*i]).collect();
                let (asked, tokens): (Vec<&Prompt>, Vec<&[u32]>) =
                    chosen.iter().map(|(prompt, tokens)| (prompt, tokens.as_slice())).unzip();
                rollout_engine.swap(trainer.policy.merged())?;
                let first = step * job.rl.batch_size;
                let mut episodes = policy::rollouts(
                    &rollout_engine,
                    &self.dialogue,
                    &job.sampling,
                    job.seed,
                    first,
                    &tokens,
                )?;
                let rewards = rewarder.judge(&self.dialogue, &asked, &episodes)?;
                for (episode, reward) in episodes.iter_mut().zip(rewards) {
                    episode.reward = reward;
                }
                let metrics = trainer.step(&episodes).ok_or_else(|| {
                    let reason = episodes.iter().find_map(|e| e.reward.as_ref().err());
                    nothing_to_do(format!(
                        "policy step {}: not one rollout could be judged; the first: {}",
                        step + 1,
                        reason.map_or("an empty response".into(), ToString::to_string)
                    ))
                })?;
                let log = match &mut samples {
                    Some(log) => log,
                    None => {
                        samples.insert(self.folder.open_steps("samples.jsonl", "policy", step)?)
                    }
                };
                for (prompt, episode) in asked.iter().zip(&episodes) {
                    log.push(&SampleRecord {
                        stage: "policy".into(),
                        step: step + 1,
                        prompt: (*prompt).clone(),
                        response: self.dialogue.text(&episode.response),
                        reward: episode.reward.as_ref().ok().copied(),
                    });
                }
                log.sync()?;
                let note = format!("reward {:.3} KL {:.2}", metrics.reward, metrics.kl);
                Ok((serde_json::to_value(metrics).expect("metrics are numbers"), note))
            },
        )?;
        let model = trainer.policy.merged();
        model.save(&self.folder.path("checkpoints/policy"), &self.origin.checkpoint)?;
        self.folder.finish("policy", &json!({"steps": job.rl.steps}))?;
        Ok(model)
    }

    fn evaluate(
        &self,
        start: &CausalLm,
        trained: &CausalLm,
        heldout: &[Encoded],
        judges: &[Judge],
    ) -> Result<Vec<WinRate>, Error> {
        let per_prompt = self.job.evaluate.samples_per_prompt;
        let engines = [self.origin.engine(trained.clone())?, self.origin.engine(start.clone())?];
        let total = heldout.len() * per_prompt;
        let records = self.chunks("evaluate", "evaluation.jsonl", total, |chunk| {
            let numbers: Vec<usize> = chunk.collect();
            let respond = |engine: &Engine| -> Result<Vec<String>, Error> {
                let tokens: Vec<&[u32]> =
                    numbers.iter().map(|n| heldout[n / per_prompt].1.as_slice()).collect();
                let seed = seed_for(self.job.seed, "evaluation", 0);
                let (how, first) = (&self.job.sampling, numbers[0]);
                let drawn = policy::rollouts(engine, &self.dialogue, how, seed, first, &tokens)?;
                let texts = drawn.iter().map(|episode| {
                    let text = self.dialogue.text(&episode.response);
                    match self.job.evaluate.strip_trailing_junk {
                        true => strip_trailing_junk(&text).to_owned(),
                        false => text,
                    }
                });
                Ok(texts.collect())
            };
            let (trained, start) = (respond(&engines[0])?, respond(&engines[1])?);
            let contests: Vec<Contest> = numbers
                .iter()
                .zip(trained.into_iter().zip(start))
                .map(|(n, (trained, start))| {
                    let prompt = heldout[n / per_prompt].0.clone();
                    Contest { prompt, trained, start }
                })
                .collect();
            let mut records: Vec<EvaluationRecord> = contests
                .iter()
                .map(|c| EvaluationRecord { contest: c.clone(), verdicts: BTreeMap::new() })
                .collect();
            for judge in judges {
                let verdicts = evaluate::judge(judge, &contests)?;
                for (record, verdict) in records.iter_mut().zip(verdicts) {
                    record.verdicts.insert(judge.template().name.clone(), verdict.into());
                }
            }
            Ok(records)
        })?;
        let contests: Vec<Contest> = records.iter().map(|r| r.contest.clone()).collect();
        let win_rates: Vec<WinRate> = judges
            .iter()
            .map(|judge| {
                let name = &judge.template().name;
                let verdicts: Vec<Judgement<Verdict>> =
                    records.iter().map(|r| (&r.verdicts[name]).into()).collect();
                win_rate(name, &contests, &verdicts)
            })
            .collect();
        self.folder.finish("evaluate", &win_rates)?;
        Ok(win_rates)
    }

    fn manifest(&self, labeler: &Loaded, judges: &[Judge]) -> Result<Manifest, Error> {
        let mut data = BTreeMap::new();
        let files = [
            ("prompts", Some(&self.job.data.prompts)),
            ("heldout_prompts", Some(&self.job.data.heldout_prompts)),
            ("demonstrations", self.job.data.demonstrations.as_ref()),
        ];
        for (purpose, path) in files {
            if let Some(path) = path {
                data.insert(purpose.to_owned(), hash_file(path)?);
            }
        }
        let templates = judges.iter().chain([&self.judge]);
        let (policy, labeler) = (&self.origin.checkpoint.hash, &labeler.checkpoint.hash);
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.job.seed,
            policy_hash: policy.clone(),
            labeler_hash: labeler.clone(),
            strict_self_improvement: policy == labeler && self.job.sft.is_none(),
            templates: templates
                .map(|judge| (judge.template().name.clone(), judge.template_hash().clone()))
                .collect(),
            data,
            files: BTreeMap::new(),
        };
        Ok(manifest.write(self.folder)?)
    }
}

fn pair_scores(engine: &Engine, pairs: &[LabelledPair]) -> Result<Vec<PairScores>, Error> {
    let sequences = pairs.iter().flat_map(|p| [p.a.clone(), p.b.clone()]).collect();
    let rewards = reward::rewards(engine, sequences)?;
    Ok(rewards.chunks_exact(2).map(|both| PairScores { a: both[0], b: both[1] }).collect())
}

fn quality(pairs: &[LabelledPair], scores: &[PairScores]) -> rlaif_job::RewardQuality {
    let measured: Vec<_> =
        pairs.iter().zip(scores).map(|(pair, score)| (score.prefers_a(), pair.label)).collect();
    reward_quality(&measured)
}

fn nothing_to_do(what: impl Into<String>) -> Error {
    Error::Job(rlaif_job::Error::NothingToDo(what.into()))
}
