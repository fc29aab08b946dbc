//! Reinforcement learning: a step's rollouts, their rewards, then the step itself.

use super::judge::{Due, in_chunk};
use super::{Effect, Inputs, Machine, StageProgress, plain, with_left_out};
use crate::mixture::mix;
use crate::work::{
    Generate, Labeler, Lessons, MatchUps, ModelRef, PolicyStep, Rate, Rollout, Score, Stepped, Work,
};
use crate::{
    Error, Job, PartSource, RewardPart, RewardSource, SampleRecord, Submission, TaskId,
    batch_of_step,
};
use rlaif_types::{Episode, Item, Judgement, Prompt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Policy training.
pub(super) struct PolicyTraining {
    steps: usize,
    chunks: usize,
    /// What each response's reward is the sum of.
    parts: Vec<RewardPart>,
    /// Steps made.
    learned: usize,
    /// Steps covered by the newest saved training state.
    checkpoint: usize,
    /// Artifacts of the newest versions' parameters, by the steps they have made: those that rollouts
    /// may still be drawn with.
    versions: BTreeMap<usize, String>,
    /// Artifact folder of the trained policy.
    model: Option<String>,
    /// Of the next step and of those that may be drawn ahead of it.
    batches: BTreeMap<usize, Batch>,
    /// Responses without a reward.
    unscorable: usize,
    note: String,
}

/// What has come of one step.
struct Batch {
    /// One for each response: those of a group follow each other.
    prompts: Vec<Prompt>,
    rollouts: BTreeMap<usize, Vec<Rollout>>,
    /// By chunk and part.
    given: BTreeMap<(usize, usize), Vec<Judgement<f64>>>,
    /// Chunks that every part has judged.
    rewards: BTreeMap<usize, Vec<Judgement<f64>>>,
}

impl Batch {
    fn new(job: &Job, inputs: &Inputs, step: usize) -> Self {
        let (all, group) = (&inputs.prompts, job.rl.group_size);
        let chosen = match job.rl.reward {
            RewardSource::Preferences => Vec::new(),
            _ => {
                let groups = job.rl.batch_size / group;
                batch_of_step(all.len(), groups, step, job.seed, "rollout prompts")
            }
        };
        let prompts = chosen.into_iter().flat_map(|i| std::iter::repeat_n(all[i].clone(), group));
        let prompts = prompts.collect();
        let (rollouts, given, rewards) = Default::default();
        Self { prompts, rollouts, given, rewards }
    }

    /// Takes in what one part says of a chunk. Once all parts have judged it, its rewards are there; how
    /// many responses then have none.
    fn take_in(
        &mut self,
        parts: &[RewardPart],
        (chunk, part): (usize, usize),
        rewards: Vec<Judgement<f64>>,
    ) -> usize {
        self.given.insert((chunk, part), rewards);
        let given = (0..parts.len()).map(|part| self.given.get(&(chunk, part)).map(Vec::as_slice));
        let Some(given) = given.collect::<Option<Vec<_>>>() else { return 0 };
        let mixed = mix(parts, &given);
        let unscorable = mixed.iter().filter(|reward| reward.is_err()).count();
        self.rewards.insert(chunk, mixed);
        unscorable
    }

    fn rewarded(&self) -> impl Iterator<Item = (&Rollout, &Judgement<f64>)> {
        self.rollouts
            .iter()
            .filter_map(|(chunk, rollouts)| Some(rollouts.iter().zip(self.rewards.get(chunk)?)))
            .flatten()
    }

    /// The mean of each part of a mixture over what it could judge, by its name in the metrics.
    fn means(&self, parts: &[RewardPart]) -> impl Iterator<Item = (String, Value)> {
        parts.iter().enumerate().filter_map(|(number, part)| {
            let of_part = self.given.iter().filter(|((_, p), _)| *p == number);
            let judged: Vec<f64> =
                of_part.flat_map(|(_, given)| given).flatten().copied().collect();
            let mean = judged.iter().sum::<f64>() / judged.len() as f64;
            (!judged.is_empty()).then(|| (part.metric(), json!(mean)))
        })
    }
}

/// Artifact of a step's batch.
fn batch_artifact(step: usize) -> String {
    format!("batches/policy-{step:08}.json")
}

impl PolicyTraining {
    pub(super) fn new(job: &Job, inputs: &Inputs) -> Self {
        let mut training = Self {
            steps: job.rl.steps,
            chunks: match job.rl.reward {
                RewardSource::Preferences => 0,
                _ => job.rl.batch_size.div_ceil(chunk_size(job)),
            },
            parts: job.rl.reward_parts(),
            learned: 0,
            checkpoint: 0,
            versions: BTreeMap::new(),
            model: None,
            batches: BTreeMap::new(),
            unscorable: 0,
            note: String::new(),
        };
        training.open_batches(job, inputs);
        training
    }

    fn open_batches(&mut self, job: &Job, inputs: &Inputs) {
        let ahead = job.rl.algorithm().max_off_policy_steps();
        for step in self.learned..self.steps.min(self.learned + ahead + 1) {
            self.batches.entry(step).or_insert_with(|| Batch::new(job, inputs, step));
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.learned == self.steps
    }

    /// Steps made.
    pub(super) fn learned(&self) -> usize {
        self.learned
    }

    /// The policy as it is now.
    pub(super) fn version(&self, machine: &Machine, start: &ModelRef) -> ModelRef {
        match &self.model {
            Some(model) => ModelRef::Saved(model.clone()),
            None => self.version_after(self.learned, machine, start),
        }
    }

    /// The policy after `steps` steps.
    fn version_after(&self, steps: usize, machine: &Machine, start: &ModelRef) -> ModelRef {
        match self.versions.get(&steps) {
            Some(parameters) => machine.version_of(start, parameters),
            None => start.clone(),
        }
    }

    /// The next step once its batch is whole and the policy before it is measured; until then, and while it
    /// is made, rollouts and rewards of it and of the steps that may be drawn ahead.
    pub(super) fn candidates(
        &self,
        machine: &Machine,
        start: &ModelRef,
        room: usize,
    ) -> Vec<(TaskId, Work)> {
        let next = self.batches.get(&self.learned);
        let whole = next.is_some_and(|batch| batch.rewards.len() == self.chunks)
            && machine.is_measured(self.learned);
        let step =
            whole.then(|| (TaskId::Step(self.learned), self.learn(machine, start, self.learned)));
        let drawn = self.batches.iter().flat_map(|(&step, batch)| {
            let chunks = batch.prompts.chunks(chunk_size(&machine.job)).enumerate();
            chunks.flat_map(move |(chunk, prompts)| match batch.rollouts.get(&chunk) {
                None => {
                    let rollout = self.rollout(machine, start, step, chunk, prompts);
                    vec![(TaskId::Rollout { step, chunk }, Work::Rollout(rollout))]
                }
                Some(rollouts) => {
                    let open = (0..self.parts.len())
                        .filter(|part| !batch.given.contains_key(&(chunk, *part)));
                    let score = |part| {
                        let items = items(prompts, rollouts);
                        (TaskId::Score { step, chunk, part }, self.score(machine, part, items))
                    };
                    open.map(score).collect()
                }
            })
        });
        step.into_iter().chain(drawn).take(room).collect()
    }

    /// Draws with the policy exactly as far behind as is allowed, never with whichever is newest when
    /// a worker is free: what a job leaves would depend on who was fast.
    fn rollout(
        &self,
        machine: &Machine,
        start: &ModelRef,
        step: usize,
        chunk: usize,
        prompts: &[Prompt],
    ) -> Generate {
        let job = &machine.job;
        let version = self.version_after(drawn_after(job, step), machine, start);
        Generate {
            policy: machine.policy_of(version),
            sampling: job.sampling.clone(),
            seed: job.seed,
            first: step * job.rl.batch_size + chunk * chunk_size(job),
            prompts: prompts.to_vec(),
        }
    }

    fn learn(&self, machine: &Machine, start: &ModelRef, step: usize) -> Work {
        let job = &machine.job;
        let lessons = match job.rl.reward {
            RewardSource::Preferences => Lessons::Preferences {
                file: Submission::PREFERENCES.into(),
                labels: job.rl.given_labels(),
                batch_size: job.rl.batch_size,
            },
            _ => Lessons::Rollouts((self.checkpoint..=step).map(batch_artifact).collect()),
        };
        Work::PolicyStep(PolicyStep {
            training: machine.training_of("policy", start),
            learning: job.learning(),
            step: step + 1,
            steps: self.steps,
            checkpoint: self.checkpoint,
            lessons,
            candidate: machine.selection.as_ref().is_some_and(|s| s.is_candidate(step + 1)),
        })
    }

    /// What a task is to be answered with; none where it is not open.
    pub(super) fn due(&self, job: &Job, task: TaskId) -> Option<Due> {
        match task {
            TaskId::Rollout { step, chunk } => {
                let drawn = self.batches.get(&step)?.prompts.len();
                in_chunk(drawn, chunk_size(job), chunk).map(Due::Rollouts)
            }
            TaskId::Score { step, chunk, part } if part < self.parts.len() => {
                Some(Due::Rewards(self.batches.get(&step)?.rollouts.get(&chunk)?.len()))
            }
            TaskId::Step(step) if step == self.learned => {
                let whole = self.batches.get(&step)?.rewards.len() == self.chunks;
                whole.then_some(Due::Stepped)
            }
            _ => None,
        }
    }

    /// # Errors
    /// When nobody was asked to draw for that step yet, or it is made.
    fn batch(&mut self, step: usize) -> Result<&mut Batch, Error> {
        self.batches.get_mut(&step).ok_or_else(|| out_of_turn(step))
    }

    pub(super) fn rolled_out(
        &mut self,
        step: usize,
        chunk: usize,
        rollouts: Vec<Rollout>,
    ) -> Result<(), Error> {
        self.batch(step)?.rollouts.insert(chunk, rollouts);
        Ok(())
    }

    /// What one part of the reward says of a chunk.
    pub(super) fn score(&self, machine: &Machine, part: usize, items: Vec<Item>) -> Work {
        match (self.parts[part].source, &machine.reward) {
            (PartSource::Model, Some((trained, summary))) => Work::Score(Score {
                reward_model: machine.policy_of(ModelRef::Saved(trained.model.clone())),
                mean: summary.mean,
                std: summary.std,
                items,
            }),
            (PartSource::Pairwise, _) => Work::MatchUps(MatchUps {
                labeler: self.labeler(machine, part),
                group_size: machine.job.rl.group_size,
                items,
            }),
            _ => Work::Rate(Rate { labeler: self.labeler(machine, part), items }),
        }
    }

    /// The labeler, asked what the part is about; where there is no mixture, what the job asks it.
    fn labeler(&self, machine: &Machine, part: usize) -> Labeler {
        let own = machine.inputs.mixture_templates.get(part).and_then(Option::as_ref);
        own.map_or_else(
            || machine.labeler_asked(),
            |template| Labeler {
                model: machine.labeler_model(),
                template: template.clone(),
                asking: self.parts[part].asking.clone(),
            },
        )
    }

    /// Whether the labeler gives that part.
    pub(super) fn is_the_labelers(&self, part: usize) -> bool {
        self.parts.get(part).is_some_and(RewardPart::is_the_labelers)
    }

    /// The last part's rewards of the last chunk make the batch that the learner reads.
    pub(super) fn scored(
        &mut self,
        job: &Job,
        step: usize,
        (chunk, part): (usize, usize),
        rewards: Vec<Judgement<f64>>,
    ) -> Result<Vec<Effect>, Error> {
        let batch = self.batches.get_mut(&step).ok_or_else(|| out_of_turn(step))?;
        self.unscorable += batch.take_in(&self.parts, (chunk, part), rewards);
        if batch.rewards.len() < self.chunks {
            return Ok(Vec::new());
        }
        let off_policy_steps = step - drawn_after(job, step);
        let episode = |(rollout, reward): (&Rollout, &Judgement<f64>)| Episode {
            reward: reward.clone(),
            off_policy_steps,
            ..rollout.episode.clone()
        };
        let episodes: Vec<Episode> = batch.rewarded().map(episode).collect();
        let bytes = serde_json::to_vec(&episodes).expect("episodes are plain data");
        Ok(vec![Effect::Put { artifact: batch_artifact(step), bytes }])
    }

    pub(super) fn stepped(
        &mut self,
        job: &Job,
        inputs: &Inputs,
        step: usize,
        stepped: Stepped,
    ) -> Result<Vec<Effect>, Error> {
        let batch = self.batches.remove(&step).ok_or_else(|| out_of_turn(step))?;
        let samples = batch.prompts.iter().zip(batch.rewarded()).map(|(prompt, drawn)| {
            let (rollout, reward) = drawn;
            plain(&SampleRecord {
                stage: "policy".into(),
                step: step + 1,
                prompt: prompt.clone(),
                response: rollout.text.clone(),
                reward: reward.as_ref().ok().copied(),
            })
        });
        let samples = samples.collect();
        let mut metrics = stepped.metrics;
        if let (RewardSource::Mixture, Some(metrics)) = (job.rl.reward, metrics.as_object_mut()) {
            metrics.extend(batch.means(&self.parts));
        }
        self.learned = step + 1;
        self.versions.insert(self.learned, stepped.parameters);
        let needed = drawn_after(job, self.learned);
        self.versions.retain(|steps, _| *steps >= needed);
        self.open_batches(job, inputs);
        self.model = stepped.model;
        self.note = figures_of_interest(&metrics);
        let mut effects = vec![
            Effect::Append { file: "metrics.jsonl", records: vec![metrics] },
            Effect::Append { file: "samples.jsonl", records: samples },
        ];
        if stepped.checkpointed {
            if self.chunks > 0 {
                let covered = (self.checkpoint..self.learned).map(batch_artifact);
                effects.extend(covered.map(|artifact| Effect::Delete { artifact }));
            }
            self.checkpoint = self.learned;
        }
        if self.is_complete() {
            let summary = with_left_out(json!({"steps": self.steps}), &stepped.left_out);
            effects.push(Effect::Finished { stage: "policy", summary });
        }
        Ok(effects)
    }

    pub(super) fn progress(&self) -> StageProgress {
        let (note, unscorable) = (self.note.clone(), self.unscorable);
        StageProgress { note, unscorable, ..StageProgress::new("policy", self.learned, self.steps) }
    }
}

fn out_of_turn(step: usize) -> Error {
    let what = format!("a result of step {} comes out of turn", step + 1);
    Error::Stage { stage: "policy", what }
}

/// Steps made by the policy that draws a step's rollouts.
fn drawn_after(job: &Job, step: usize) -> usize {
    step.saturating_sub(job.rl.algorithm().max_off_policy_steps())
}

/// Responses that are drawn and rewarded together. Where they are matched against each other, no
/// group is parted.
fn chunk_size(job: &Job) -> usize {
    match job.rl.rewards_by(PartSource::Pairwise) {
        true => job.chunk_size.next_multiple_of(job.rl.group_size),
        false => job.chunk_size,
    }
}

/// What of a step's metrics a person wants to see in passing.
pub fn figures_of_interest(metrics: &Value) -> String {
    let shown = [
        ("reward", "reward", 3),
        ("accuracy", "accuracy", 2),
        ("rewards/accuracies", "accuracy", 2),
        ("objective/kl", "KL", 2),
    ];
    let shown = shown.iter().filter_map(|(name, called, digits)| {
        let unit = 10_f64.powi(*digits);
        // What rounds to zero has no sign: adding one takes it off.
        let rounded = (metrics[*name].as_f64()? * unit).round() / unit + 0.0;
        Some(format!("{called} {rounded:.*}", *digits as usize))
    });
    shown.collect::<Vec<_>>().join(" ")
}

pub(super) fn items(prompts: &[Prompt], rollouts: &[Rollout]) -> Vec<Item> {
    let items = prompts.iter().zip(rollouts);
    items
        .map(|(prompt, rollout)| Item { prompt: prompt.clone(), response: rollout.text.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_in_passing_are_rounded_and_a_zero_has_no_sign() {
        let said = |kl: f64| figures_of_interest(&json!({"reward": -0.6154, "objective/kl": kl}));
        assert_eq!(said(-0.001), "reward -0.615 KL 0.00");
        assert_eq!(said(-0.006), "reward -0.615 KL -0.01");
        assert_eq!(figures_of_interest(&json!({"loss": 1.0})), "");
    }
}
