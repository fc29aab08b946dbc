//! A job done piece by piece leaves the same records and models, byte for byte, as the run in one
//! process.

use crate::bench::{Process, write_job};
use rlaif_data::{Reader, prompt_of};
use rlaif_job::{
    EvaluationRecord, FineTune, Generate, Job, JudgeContests, Label, LabelRecord, Labeler,
    ModelRef, Policy, PolicyStep, Rate, Respond, RewardSource, RewardSummary, RunFolder,
    SampleRecord, Score, TaskId, TrainReward, Training, Work, WorkResult, batch_of_step, shuffled,
};
use rlaif_pipeline::{RunOptions, Silent};
use rlaif_template::Template;
use rlaif_types::{Episode, Item, Pair, Prompt};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// As many as the run in one process makes durable together.
const CHUNK: usize = 16;

#[test]
fn piece_by_piece_equals_one_process() {
    for (reward, sft) in [("model", true), ("labeler", false)] {
        let dir = tempfile::tempdir().unwrap();
        let job = write_job(dir.path(), reward, sft);
        let (whole, pieces) = (dir.path().join("whole"), dir.path().join("pieces"));
        let folder = RunFolder::new(&whole);
        rlaif_pipeline::run(&job, &folder, RunOptions::default(), &Silent).unwrap();
        drive(&job, &pieces);

        let mut files = vec!["metrics.jsonl", "samples.jsonl", "evaluation.jsonl"];
        let mut models = vec!["policy"];
        if reward == "model" {
            files.extend(["pairs.jsonl", "labels.jsonl"]);
            models.extend(["sft", "reward"]);
        }
        for file in files {
            let read = |root: &Path| std::fs::read_to_string(root.join(file)).unwrap();
            assert_eq!(read(&whole), read(&pieces), "{file}");
        }
        for model in models {
            let [of_whole, of_pieces] = [&whole, &pieces].map(|root| folder_bytes(root, model));
            assert!(of_whole == of_pieces, "checkpoints/{model} differs");
        }
    }
}

fn folder_bytes(root: &Path, model: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(root.join("checkpoints").join(model)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What a coordinator does, without its care: every piece in order, results into files.
fn drive(job: &Job, root: &Path) {
    let process = Process::start(root);
    let driver = Driver { job, process: &process };
    let mut metrics = Vec::new();
    let prompts = read(&job.data.prompts);
    let start = driver.fine_tune(&mut metrics);
    let reward_model = match job.rl.reward {
        RewardSource::Model => {
            let pairs = driver.sample(&start, &prompts);
            driver.label(&pairs);
            Some(driver.train_reward(&start, &mut metrics))
        }
        RewardSource::Labeler => None,
    };
    let trained = driver.reinforce(&start, reward_model.as_ref(), &prompts, &mut metrics);
    driver.evaluate(&start, &trained, &read(&job.data.heldout_prompts));
    driver.put_lines("metrics.jsonl", &metrics);
}

fn read(path: &Path) -> Vec<Prompt> {
    Reader::open(path).unwrap().read_all(|record| prompt_of(&record)).unwrap()
}

struct Driver<'a> {
    job: &'a Job,
    process: &'a Process,
}

macro_rules! expect {
    ($result:expr, $pattern:pat => $value:expr) => {
        match $result {
            $pattern => $value,
            other => panic!("unexpected result: {other:?}"),
        }
    };
}

impl Driver<'_> {
    fn put_lines(&self, name: &str, records: &[impl Serialize]) {
        let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
        self.process.artifacts.put(name, lines.collect::<String>()).unwrap();
    }

    fn policy(&self, model: &ModelRef) -> Policy {
        Policy { model: model.clone(), chat: self.job.policy.chat }
    }

    fn labeler(&self) -> Labeler {
        let template = Template::load(&self.job.labeler.template).unwrap();
        Labeler { model: ModelRef::Named(self.job.labeler.model.clone()), template }
    }

    fn training(&self, start: &ModelRef) -> Training {
        Training {
            start: self.policy(start),
            lora: self.job.lora.clone(),
            micro_batch_tokens: self.job.rl.micro_batch_tokens,
            checkpoint_every: self.job.rl.checkpoint_every,
            seed: self.job.seed,
        }
    }

    fn generate(&self, model: &ModelRef, first: usize, prompts: Vec<Prompt>) -> Generate {
        Generate {
            policy: self.policy(model),
            sampling: self.job.sampling.clone(),
            seed: self.job.seed,
            first,
            prompts,
        }
    }

    fn fine_tune(&self, metrics: &mut Vec<Value>) -> ModelRef {
        let named = ModelRef::Named(self.job.policy.model.clone());
        let Some(config) = self.job.sft.clone() else { return named };
        let data = std::fs::read(self.job.data.demonstrations.as_ref().unwrap()).unwrap();
        self.process.artifacts.put("data/demonstrations.jsonl", data).unwrap();
        let work = Work::FineTune(FineTune {
            training: self.training(&named),
            config,
            demonstrations: "data/demonstrations.jsonl".into(),
        });
        let trained =
            expect!(self.process.done(TaskId::FineTune, work), WorkResult::FineTuned(t) => t);
        metrics.extend(trained.metrics);
        ModelRef::Saved(trained.model)
    }

    fn sample(&self, start: &ModelRef, prompts: &[Prompt]) -> Vec<Pair> {
        let total = self.job.reward_model.as_ref().unwrap().pairs;
        let numbers: Vec<usize> = (0..total).collect();
        let pairs: Vec<Pair> = numbers
            .chunks(CHUNK)
            .flat_map(|chunk| {
                let asked = chunk.iter().map(|number| {
                    let epoch = (number / prompts.len()) as u64;
                    let order = shuffled(prompts.len(), self.job.seed, "pair prompts", epoch);
                    prompts[order[number % prompts.len()]].clone()
                });
                let work = Work::SamplePairs(self.generate(start, chunk[0], asked.collect()));
                expect!(self.process.done(TaskId::Sample(chunk[0]), work), WorkResult::Pairs(p) => p)
            })
            .collect();
        self.put_lines("pairs.jsonl", &pairs);
        pairs
    }

    fn label(&self, pairs: &[Pair]) {
        let labels: Vec<LabelRecord> = pairs
            .chunks(CHUNK)
            .flat_map(|pairs| {
                let work = Work::Label(Label { labeler: self.labeler(), pairs: pairs.to_vec() });
                expect!(self.process.done(TaskId::Label(0), work), WorkResult::Labels(l) => l)
            })
            .collect();
        self.put_lines("labels.jsonl", &labels);
    }

    fn train_reward(
        &self,
        start: &ModelRef,
        metrics: &mut Vec<Value>,
    ) -> (ModelRef, RewardSummary) {
        let work = Work::TrainReward(TrainReward {
            training: self.training(start),
            config: self.job.reward_model.clone().unwrap(),
            labels: "labels.jsonl".into(),
        });
        let (trained, summary) = expect!(
            self.process.done(TaskId::Reward, work),
            WorkResult::RewardTrained { trained, summary } => (trained, summary)
        );
        metrics.extend(trained.metrics);
        (ModelRef::Saved(trained.model), summary)
    }

    fn rewards(
        &self,
        step: usize,
        reward_model: Option<&(ModelRef, RewardSummary)>,
        items: Vec<Item>,
    ) -> Vec<rlaif_types::Judgement<f64>> {
        let work = match reward_model {
            Some((model, summary)) => Work::Score(Score {
                reward_model: self.policy(model),
                mean: summary.mean,
                std: summary.std,
                items,
            }),
            None => Work::Rate(Rate { labeler: self.labeler(), items }),
        };
        let result = self.process.done(TaskId::Score { step, chunk: 0 }, work);
        expect!(result, WorkResult::Rewards(rewards) => rewards)
    }

    fn reinforce(
        &self,
        start: &ModelRef,
        reward_model: Option<&(ModelRef, RewardSummary)>,
        prompts: &[Prompt],
        metrics: &mut Vec<Value>,
    ) -> ModelRef {
        let (rl, seed) = (&self.job.rl, self.job.seed);
        let (mut policy, mut samples) = (start.clone(), Vec::new());
        let (mut checkpoint, mut batches) = (0, Vec::new());
        for step in 1..=rl.steps {
            let chosen =
                batch_of_step(prompts.len(), rl.batch_size, step - 1, seed, "rollout prompts");
            let asked: Vec<Prompt> = chosen.iter().map(|i| prompts[*i].clone()).collect();
            let work =
                Work::Rollout(self.generate(&policy, (step - 1) * rl.batch_size, asked.clone()));
            let task = TaskId::Rollout { step, chunk: 0 };
            let rollouts = expect!(self.process.done(task, work), WorkResult::Rollouts(r) => r);
            let items = asked.iter().zip(&rollouts).map(|(prompt, rollout)| Item {
                prompt: prompt.clone(),
                response: rollout.text.clone(),
            });
            let rewards = self.rewards(step, reward_model, items.collect());
            let mut episodes: Vec<Episode> = Vec::new();
            for ((prompt, rollout), reward) in asked.into_iter().zip(rollouts).zip(rewards) {
                samples.push(SampleRecord {
                    stage: "policy".into(),
                    step,
                    prompt,
                    response: rollout.text,
                    reward: reward.as_ref().ok().copied(),
                });
                episodes.push(Episode { reward, ..rollout.episode });
            }
            batches.push(format!("batches/{step:08}.json"));
            let batch = serde_json::to_vec(&episodes).unwrap();
            self.process.artifacts.put(batches.last().unwrap(), batch).unwrap();
            let work = Work::PolicyStep(PolicyStep {
                training: self.training(start),
                reinforce: rl.reinforce.clone(),
                step,
                steps: rl.steps,
                checkpoint,
                batches: batches.clone(),
            });
            let stepped =
                expect!(self.process.done(TaskId::Step(step), work), WorkResult::Stepped(s) => s);
            metrics.push(stepped.metrics);
            if stepped.checkpointed {
                (checkpoint, batches) = (step, Vec::new());
            }
            policy = match stepped.model {
                Some(model) => ModelRef::Saved(model),
                None => ModelRef::Version {
                    start: Box::new(start.clone()),
                    lora: self.job.lora.clone(),
                    parameters: stepped.parameters,
                },
            };
        }
        self.put_lines("samples.jsonl", &samples);
        policy
    }

    fn evaluate(&self, start: &ModelRef, trained: &ModelRef, heldout: &[Prompt]) {
        let templates = &self.job.evaluate.templates;
        let templates: Vec<_> = templates.iter().map(|t| Template::load(t).unwrap()).collect();
        let mut records: Vec<EvaluationRecord> = Vec::new();
        for (chunk, prompts) in heldout.chunks(CHUNK).enumerate() {
            let respond = Work::Respond(Respond {
                trained: self.generate(trained, chunk * CHUNK, prompts.to_vec()),
                start: self.policy(start),
                strip_trailing_junk: self.job.evaluate.strip_trailing_junk,
            });
            let contests = expect!(self.process.done(TaskId::Respond(chunk), respond), WorkResult::Contests(c) => c);
            let model = ModelRef::Named(self.job.labeler.model.clone());
            let judge =
                Work::Judge(JudgeContests { model, templates: templates.clone(), contests });
            let judged = self.process.done(TaskId::Judge(chunk), judge);
            records.extend(expect!(judged, WorkResult::Evaluations(e) => e));
        }
        self.put_lines("evaluation.jsonl", &records);
    }
}
