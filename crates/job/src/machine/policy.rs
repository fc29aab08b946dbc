//! Reinforcement learning: a step's rollouts, their rewards, then the step itself.

use super::{Effect, Inputs, Machine, StageProgress, plain};
use crate::work::{Generate, ModelRef, PolicyStep, Rate, Rollout, Score, Stepped, Work};
use crate::{Job, RewardSource, SampleRecord, TaskId, batch_of_step};
use rlaif_types::{Episode, Item, Judgement, Prompt};
use serde_json::json;
use std::collections::BTreeMap;

/// Policy training.
pub(super) struct PolicyTraining {
    steps: usize,
    chunks: usize,
    /// Steps made.
    learned: usize,
    /// Steps covered by the newest saved training state.
    checkpoint: usize,
    /// Artifact of the newest version's parameters.
    parameters: Option<String>,
    /// Artifact folder of the trained policy.
    model: Option<String>,
    /// Of steps not yet made.
    batches: BTreeMap<usize, Batch>,
    note: String,
}

/// What has come of one step.
#[derive(Default)]
struct Batch {
    rollouts: BTreeMap<usize, Vec<Rollout>>,
    rewards: BTreeMap<usize, Vec<Judgement<f64>>>,
}

impl Batch {
    fn rewarded(&self) -> impl Iterator<Item = (&Rollout, &Judgement<f64>)> {
        self.rollouts
            .iter()
            .filter_map(|(chunk, rollouts)| Some(rollouts.iter().zip(self.rewards.get(chunk)?)))
            .flatten()
    }
}

/// Artifact of a step's batch.
fn batch_artifact(step: usize) -> String {
    format!("batches/policy-{step:08}.json")
}

impl PolicyTraining {
    pub(super) fn new(job: &Job) -> Self {
        Self {
            steps: job.rl.steps,
            chunks: job.rl.batch_size.div_ceil(job.chunk_size),
            learned: 0,
            checkpoint: 0,
            parameters: None,
            model: None,
            batches: BTreeMap::new(),
            note: String::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.learned == self.steps
    }

    /// The policy as it is now.
    pub(super) fn version(&self, machine: &Machine, start: &ModelRef) -> ModelRef {
        match (&self.model, &self.parameters) {
            (Some(model), _) => ModelRef::Saved(model.clone()),
            (None, Some(parameters)) => ModelRef::Version {
                start: Box::new(start.clone()),
                lora: machine.job.lora.clone(),
                parameters: parameters.clone(),
            },
            (None, None) => start.clone(),
        }
    }

    pub(super) fn candidates(
        &self,
        machine: &Machine,
        start: &ModelRef,
        room: usize,
    ) -> Vec<(TaskId, Work)> {
        let step = self.learned;
        let empty = Batch::default();
        let batch = self.batches.get(&step).unwrap_or(&empty);
        if batch.rewards.len() == self.chunks {
            return vec![(TaskId::Step(step), self.learn(machine, start, step))];
        }
        let tasks = (0..self.chunks).filter_map(|chunk| match batch.rollouts.get(&chunk) {
            None => {
                let rollout = self.rollout(machine, start, step, chunk);
                Some((TaskId::Rollout { step, chunk }, Work::Rollout(rollout)))
            }
            Some(rollouts) if !batch.rewards.contains_key(&chunk) => {
                let prompts = chunk_prompts(&machine.job, &machine.inputs, step, chunk);
                let score = score(machine, prompts, rollouts);
                Some((TaskId::Score { step, chunk }, score))
            }
            Some(_) => None,
        });
        tasks.take(room).collect()
    }

    fn rollout(&self, machine: &Machine, start: &ModelRef, step: usize, chunk: usize) -> Generate {
        let job = &machine.job;
        Generate {
            policy: machine.policy_of(self.version(machine, start)),
            sampling: job.sampling.clone(),
            seed: job.seed,
            first: step * job.rl.batch_size + chunk * job.chunk_size,
            prompts: chunk_prompts(job, &machine.inputs, step, chunk),
        }
    }

    fn learn(&self, machine: &Machine, start: &ModelRef, step: usize) -> Work {
        Work::PolicyStep(PolicyStep {
            training: machine.training_of(start),
            reinforce: machine.job.rl.reinforce.clone(),
            step: step + 1,
            steps: self.steps,
            checkpoint: self.checkpoint,
            batches: (self.checkpoint..=step).map(batch_artifact).collect(),
        })
    }

    pub(super) fn rolled_out(&mut self, step: usize, chunk: usize, rollouts: Vec<Rollout>) {
        self.batches.entry(step).or_default().rollouts.insert(chunk, rollouts);
    }

    /// The last chunk's rewards make the batch that the learner reads.
    pub(super) fn scored(
        &mut self,
        step: usize,
        chunk: usize,
        rewards: Vec<Judgement<f64>>,
    ) -> Vec<Effect> {
        let batch = self.batches.entry(step).or_default();
        batch.rewards.insert(chunk, rewards);
        if batch.rewards.len() < self.chunks {
            return Vec::new();
        }
        let episodes: Vec<Episode> = batch
            .rewarded()
            .map(|(rollout, reward)| Episode { reward: reward.clone(), ..rollout.episode.clone() })
            .collect();
        let bytes = serde_json::to_vec(&episodes).expect("episodes are plain data");
        vec![Effect::Put { artifact: batch_artifact(step), bytes }]
    }

    pub(super) fn stepped(
        &mut self,
        job: &Job,
        inputs: &Inputs,
        step: usize,
        stepped: Stepped,
    ) -> Vec<Effect> {
        let batch = self.batches.remove(&step).unwrap_or_default();
        let prompts = step_prompts(job, inputs, step);
        let samples =
            prompts.into_iter().zip(batch.rewarded()).map(|(prompt, (rollout, reward))| {
                plain(&SampleRecord {
                    stage: "policy".into(),
                    step: step + 1,
                    prompt,
                    response: rollout.text.clone(),
                    reward: reward.as_ref().ok().copied(),
                })
            });
        let samples = samples.collect();
        self.learned = step + 1;
        self.parameters = Some(stepped.parameters);
        self.model = stepped.model;
        let figure = |name: &str| stepped.metrics[name].as_f64().unwrap_or(f64::NAN);
        self.note = format!("reward {:.3} KL {:.2}", figure("reward"), figure("kl"));
        let mut effects = vec![
            Effect::Append { file: "metrics.jsonl", records: vec![stepped.metrics] },
            Effect::Append { file: "samples.jsonl", records: samples },
        ];
        if stepped.checkpointed {
            let covered = self.checkpoint..self.learned;
            effects.extend(covered.map(|step| Effect::Delete { artifact: batch_artifact(step) }));
            self.checkpoint = self.learned;
        }
        if self.is_complete() {
            let summary = json!({"steps": self.steps});
            effects.push(Effect::Finished { stage: "policy", summary });
        }
        effects
    }

    pub(super) fn progress(&self) -> StageProgress {
        let note = self.note.clone();
        StageProgress { note, ..StageProgress::new("policy", self.learned, self.steps) }
    }
}

fn step_prompts(job: &Job, inputs: &Inputs, step: usize) -> Vec<Prompt> {
    let prompts = &inputs.prompts;
    let chosen = batch_of_step(prompts.len(), job.rl.batch_size, step, job.seed, "rollout prompts");
    chosen.into_iter().map(|i| prompts[i].clone()).collect()
}

fn chunk_prompts(job: &Job, inputs: &Inputs, step: usize, chunk: usize) -> Vec<Prompt> {
    let all = step_prompts(job, inputs, step);
    all.chunks(job.chunk_size).nth(chunk).unwrap_or_default().to_vec()
}

fn score(machine: &Machine, prompts: Vec<Prompt>, rollouts: &[Rollout]) -> Work {
    let items = prompts
        .into_iter()
        .zip(rollouts)
        .map(|(prompt, rollout)| Item { prompt, response: rollout.text.clone() })
        .collect();
    match (machine.job.rl.reward, &machine.reward) {
        (RewardSource::Model, Some((trained, summary))) => Work::Score(Score {
            reward_model: machine.policy_of(ModelRef::Saved(trained.model.clone())),
            mean: summary.mean,
            std: summary.std,
            items,
        }),
        _ => Work::Rate(Rate { labeler: machine.labeler_asked(), items }),
    }
}
