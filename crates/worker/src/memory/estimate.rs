//! What a whole job takes in one process, stage by stage, or one network that is trained alone, at the moment when it takes
//! most.
//!
//! Weights, gradients and optimisers are in f32; activations, keys and values, and what engines hold, are in the job's
//! precision. Counted are the tensors: models, trained copies, gradients, optimisers, activations of one micro-batch,
//! keys and values, states while they are written or read. A tenth more is for the allocator: gaps, and what it keeps of
//! what was freed.

use super::{Longest, readable};
use crate::training::trainable;
use rlaif_job::{Job, PartSource, RewardSource, Training};
use rlaif_models::{DeviceName, EngineOptions, Footprint, ModelConfig};
use rlaif_types::{Algorithm, LoraConfig, OptimizerConfig, OptimizerKind, Precision};

/// Program, tokenisers, threads, before any model; on a GPU what its driver takes, at least.
const PROGRAM: u64 = 100 << 20;

/// The models that a job names, as far as their sizes matter.
pub struct Models {
    /// The policy's.
    pub policy: ModelConfig,
    /// The labeler's, where it runs here and is another model.
    pub labeler: Option<ModelConfig>,
    /// The judge's, where it runs here and is neither of these.
    pub judge: Option<ModelConfig>,
    /// The one that the reward model starts from, where that is none of these.
    pub reward: Option<ModelConfig>,
    /// What is longest of the job's data.
    pub longest: Longest,
}

/// What is trained, with nothing but its start beside it, and what of the settings its memory depends on.
#[derive(Debug, Clone)]
pub struct Trainer {
    /// In a sentence: "while the reward model learns".
    pub name: &'static str,
    /// Each network that learns, and their start, which stays as it is.
    pub network: ModelConfig,
    /// None where all weights are trained.
    pub lora: Option<LoraConfig>,
    /// The rules that make updates of gradients, one for each network that learns.
    pub optimizers: Vec<OptimizerConfig>,
    /// Whether an average of the first network's weights is kept.
    pub average: bool,
    /// Tokens in memory at once, where no example has more.
    pub micro_batch_tokens: usize,
    /// Tokens of the longest example.
    pub longest: usize,
    /// Whether layers are computed again for their gradients.
    pub gradient_checkpointing: bool,
    /// What is computed in.
    pub precision: Precision,
    /// Whether a state is written that training could go on from.
    pub resumable: bool,
}

impl Trainer {
    /// What `training` makes of `network`, as a worker sees it: how long examples are is not known yet.
    pub fn of(
        name: &'static str,
        training: &Training,
        network: &ModelConfig,
        optimizers: Vec<OptimizerConfig>,
    ) -> Self {
        Self {
            name,
            network: network.clone(),
            lora: training.lora.clone(),
            optimizers,
            average: false,
            micro_batch_tokens: training.micro_batch_tokens,
            longest: 0,
            gradient_checkpointing: training.gradient_checkpointing,
            precision: Precision::F32,
            resumable: true,
        }
    }

    /// Where it takes most, in `place`.
    pub fn peak(&self, place: Place) -> Stage {
        let (network, what) = (Footprint(&self.network), trainable(self.lora.as_ref()));
        let per_f32 = per_f32(self.precision);
        let tokens = self.micro_batch_tokens.max(self.longest);
        let sizes = Sizes {
            weights: network.weights(),
            labeler: 0,
            judge: 0,
            trained: network.trained(&what),
            merged: network.merged(&what),
            version: 0,
            activations: network.activations(tokens, self.gradient_checkpointing) / per_f32,
            keys_and_values: 0,
            per_f32,
        };
        let beside =
            Beside { average: self.average, stateless: !self.resumable, ..Beside::default() };
        sizes.training(self.name, place, sizes.weights, &self.optimizers, beside)
    }
}

/// The memory that a job's models lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of a GPU: what is written and read is beside it, in the machine's.
    pub on_gpu: bool,
    /// Replicas that take part in training there.
    pub replicas: usize,
}

impl Place {
    /// That of `device`, where of all `replicas` those take part that are on it, too.
    pub fn on(device: DeviceName, replicas: &[DeviceName]) -> Self {
        let there = replicas.iter().filter(|replica| **replica == device).count();
        Self { on_gpu: device != DeviceName::Cpu, replicas: there }
    }
}

/// A stage at its fullest.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// In a sentence: "while the policy learns".
    pub name: &'static str,
    /// What for, and bytes.
    pub parts: Vec<(&'static str, u64)>,
}

impl Stage {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        let tensors: u64 = self.parts.iter().map(|(_, bytes)| bytes).sum();
        tensors + tensors / 10
    }

    /// When, and what for, the largest first.
    pub fn describe(&self) -> String {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let parts = parts.iter().filter(|(_, bytes)| *bytes * 50 > self.bytes());
        let parts: Vec<String> =
            parts.map(|(what, bytes)| format!("{what} {}", readable(*bytes))).collect();
        format!("{} ({})", self.name, parts.join(", "))
    }
}

/// The fullest stage of `job`, with its models in `place`.
pub fn of_job(job: &Job, models: &Models, place: Place) -> Stage {
    let stages = stages(job, models, place).into_iter();
    stages.max_by_key(Stage::bytes).expect("every job evaluates")
}

/// What `count` replicas take in memory that is theirs alone. One shares the weights that it has of the start among
/// policy, value network and reference, as far as they are not trained.
pub fn of_replicas(job: &Job, models: &Models, count: usize) -> Stage {
    let longest = models.longest.of_all(job, models.policy.max_position_embeddings);
    let sizes = Sizes::of(job, models, &models.policy, longest);
    let networks = if job.rl.steps > 0 { optimizers(job.rl.algorithm()).len() } else { 1 };
    let parts = vec![
        ("program", PROGRAM),
        ("models", sizes.weights),
        ("trained weights", networks as u64 * sizes.trained),
        ("gradients", count as u64 * sizes.trained),
        ("activations", count as u64 * sizes.activations),
    ];
    Stage { name: "while it takes part in training", parts }
}

/// All stages, in order.
fn stages(job: &Job, models: &Models, place: Place) -> Vec<Stage> {
    let (longest, context) = (models.longest, models.policy.max_position_embeddings);
    let sizes = Sizes::of(job, models, &models.policy, longest.policy(job, context));
    let mut stages = Vec::new();
    // What is loaded stays: the policy's start, the labeler, the judge, the reward model.
    let mut loaded = sizes.weights;
    if let Some(sft) = &job.sft {
        let name = "while the policy is fine-tuned";
        let longest = longest.fine_tuning(job, sft, context);
        let sizes = Sizes::of(job, models, &models.policy, longest);
        let optimizer = [sft.optimizer.clone()];
        stages.push(sizes.training(name, place, loaded, &optimizer, Beside::default()));
        loaded += sizes.weights;
    }
    for judging in [sizes.labeler, sizes.judge] {
        loaded += judging + sizes.in_engine(judging);
    }
    loaded += sizes.in_engine(sizes.weights);
    if let (Some(reward), true) = (&job.reward_model, job.rl.rewards_by(PartSource::Model)) {
        let name = "while the reward model learns";
        let start = models.reward.as_ref().unwrap_or(&models.policy);
        let longest = longest.reward_model(job, reward, start.max_position_embeddings);
        let sizes = Sizes::of(job, models, start, longest);
        loaded += if models.reward.is_some() { sizes.weights } else { 0 };
        let optimizer = [reward.optimizer.clone()];
        stages.push(sizes.training(name, place, loaded, &optimizer, Beside::default()));
        loaded += sizes.weights + sizes.in_engine(sizes.weights);
    }
    if job.rl.steps > 0 {
        let beside = Beside {
            rollouts: job.rl.reward != RewardSource::Preferences,
            // The first step draws with the start itself.
            versions: job.rl.steps > 1,
            average: job.rl.ema_decay.is_some(),
            stateless: false,
        };
        let name = "while the policy learns";
        let optimizers = optimizers(job.rl.algorithm());
        stages.push(sizes.training(name, place, loaded, &optimizers, beside));
    }
    let parts = vec![
        ("program", PROGRAM),
        ("models", loaded + sizes.weights),
        ("the last policy's weights", sizes.version),
        ("keys and values", sizes.keys_and_values),
    ];
    stages.push(Stage { name: "while policies are compared", parts });
    stages
}

/// The optimisers of the networks that an algorithm trains, the policy's first.
pub fn optimizers(algorithm: Algorithm) -> Vec<OptimizerConfig> {
    match algorithm {
        Algorithm::Reinforce(config) => vec![config.policy, config.value],
        Algorithm::Ppo(config) => vec![config.policy, config.value],
        Algorithm::Rloo(config) => vec![config.policy],
        Algorithm::Grpo(config) => vec![config.policy],
        Algorithm::OnlineDpo(config) => vec![config.policy],
        Algorithm::Dpo(config) => vec![config.policy],
    }
}

/// What there is beside the networks in training.
#[derive(Debug, Clone, Copy, Default)]
struct Beside {
    /// An engine that draws rollouts.
    rollouts: bool,
    /// It draws with weights that training has made.
    versions: bool,
    /// An average of the policy's weights.
    average: bool,
    /// Nothing that it could go on from is written.
    stateless: bool,
}

/// Numbers of the type that is computed in for which an f32 has room.
fn per_f32(precision: Precision) -> u64 {
    if precision.is_f32() { 1 } else { 2 }
}

/// Bytes of what stages are made of.
struct Sizes {
    /// Of one network's weights.
    weights: u64,
    labeler: u64,
    judge: u64,
    /// Of one network's trained parameters.
    trained: u64,
    /// Of the weights that are not the start's, once training is folded in.
    merged: u64,
    /// Of the weights that an engine of a version of the policy holds for itself.
    version: u64,
    activations: u64,
    keys_and_values: u64,
    /// Numbers of the type that is computed in for which an f32 has room.
    per_f32: u64,
}

impl Sizes {
    /// With `trained` as the network that is trained, on examples of up to `longest` tokens.
    fn of(job: &Job, models: &Models, trained: &ModelConfig, longest: usize) -> Self {
        let (network, what) = (Footprint(trained), trainable(job.lora.as_ref()));
        let engine = EngineOptions::default();
        let sequences = job.chunk_size.min(engine.max_sequences);
        let length = models.longest.drawn(job, models.policy.max_position_embeddings);
        let drawn = (sequences * length).clamp(engine.max_batch_tokens, engine.max_kv_tokens);
        let asked = 2 * engine.max_batch_tokens;
        let (labeler, judge) = (models.labeler.as_ref(), models.judge.as_ref());
        // One is asked at a time.
        let judging = [Some(labeler.unwrap_or(&models.policy)), judge].into_iter().flatten();
        let judging = judging.map(|model| Footprint(model).keys_and_values(asked)).max();
        let weights = |model: Option<&ModelConfig>| model.map_or(0, |m| Footprint(m).weights());
        let tokens = job.rl.micro_batch_tokens.max(longest);
        let keys_and_values =
            Footprint(&models.policy).keys_and_values(drawn) + judging.unwrap_or_default();
        let per_f32 = per_f32(job.precision);
        Self {
            weights: network.weights(),
            labeler: weights(labeler),
            judge: weights(judge),
            trained: network.trained(&what),
            merged: network.merged(&what),
            version: if per_f32 == 1 { network.merged(&what) } else { network.weights() / per_f32 },
            activations: network.activations(tokens, job.rl.gradient_checkpointing) / per_f32,
            keys_and_values: keys_and_values / per_f32,
            per_f32,
        }
    }

    /// What an engine holds beside the weights that it was given: the same in the type that it computes in.
    fn in_engine(&self, weights: u64) -> u64 {
        if self.per_f32 == 1 { 0 } else { weights / self.per_f32 }
    }

    /// Training of one network for each optimiser, beside the models that are loaded and, if rollouts are drawn, the
    /// engine that draws them: when it makes a step, when it writes its state or the finished model, or when the
    /// engine takes up the next version, whichever takes most.
    fn training(
        &self,
        name: &'static str,
        place: Place,
        loaded: u64,
        optimizers: &[OptimizerConfig],
        beside: Beside,
    ) -> Stage {
        let (networks, replicas) = (optimizers.len() as u64, place.replicas as u64);
        let moments: u64 = optimizers
            .iter()
            .map(|optimizer| match optimizer.kind {
                OptimizerKind::AdamW => 2 * self.trained,
                // A row and a column for each matrix.
                OptimizerKind::Adafactor => 0,
            })
            .sum();
        // Sums of earlier micro-batches beside the newest one's, and those of replicas in the same memory.
        let gradients = (networks + 1 + replicas) * self.trained;
        let activations = (1 + replicas) * self.activations;
        let average = if beside.average { self.trained } else { 0 };
        // As a file.
        let state = match beside.stateless {
            true => 0,
            false => networks * self.trained + moments + average,
        };
        let model = self.merged + self.weights;
        // Its file, and the weights made of it.
        let drawn_with = if beside.versions { self.version } else { 0 };
        let version = if beside.rollouts { self.trained + self.merged } else { 0 };
        // Files are in the machine's memory.
        let moved = if place.on_gpu { self.merged } else { state.max(model).max(version) };
        let step = gradients + activations;
        let mut parts = vec![
            ("program", PROGRAM),
            ("models", loaded),
            ("trained weights", networks * self.trained + average),
            ("optimiser", moments),
        ];
        if beside.rollouts {
            parts.push(("weights that rollouts are drawn with", drawn_with));
            parts.push(("keys and values", self.keys_and_values));
        }
        match step >= moved {
            true => parts.extend([("gradients", gradients), ("activations", activations)]),
            false => parts.push(("what is written and read", moved)),
        }
        Stage { name, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_job::{DemonstratedBy, RewardModelConfig};
    use rlaif_models::Checkpoint;
    use rlaif_testkit::TINY_MODEL;
    use rlaif_types::AlgorithmKind;
    use std::path::Path;

    const HERE: Place = Place { on_gpu: false, replicas: 0 };

    fn models() -> Models {
        let policy = Checkpoint::open(Path::new(TINY_MODEL)).unwrap().config;
        let longest = Longest { prompt: 64, ..Longest::default() };
        Models { policy, labeler: None, judge: None, reward: None, longest }
    }

    /// A job with these settings: first those of no table, then tables.
    fn job(settings: &str) -> Job {
        let settings = format!(
            "name = 't'\npolicy.model = 'm'\nlabeler = {{ model = 'm', template = 'sentiment/compare' }}\n\
             data = {{ prompts = 'p.jsonl', heldout_prompts = 'h.jsonl' }}\n{settings}"
        );
        Job::from_toml(&settings).unwrap()
    }

    #[test]
    fn the_reward_model_counts_where_it_is_a_part_of_the_reward_too() {
        let rl = |reward: &str| format!("reward = {reward}\nsteps = 3\nbatch_size = 4\n");
        let alone = job(&format!("[reward_model]\n[rl]\n{}", rl("'model'")));
        let mixed = job(&format!(
            "[reward_model]\n[rl]\n{}[[rl.mixture]]\nsource = 'model'\nweight = 0.5\n\
             [[rl.mixture]]\nsource = 'labeler'\ntemplate = 'sentiment/rating'\nweight = 0.5\n",
            rl("'mixture'")
        ));
        let stages = |job: &Job| stages(job, &models(), HERE);
        assert_eq!(stages(&mixed), stages(&alone));
        let names: Vec<&str> = stages(&mixed).iter().map(|stage| stage.name).collect();
        assert!(names.contains(&"while the reward model learns"), "{names:?}");
    }

    #[test]
    fn a_reward_model_that_starts_from_another_model_has_that_ones_size() {
        let job =
            job("[reward_model]\nfrom = 'rm'\n[rl]\nreward = 'model'\nsteps = 3\nbatch_size = 4\n");
        let small = models();
        let larger = ModelConfig { num_hidden_layers: 40, ..small.policy.clone() };
        let large = Models { reward: Some(larger), ..models() };
        let of = |models: &Models| {
            let stages = stages(&job, models, HERE).into_iter();
            let learns = |stage: &Stage| stage.name == "while the reward model learns";
            stages.filter(learns).map(|stage| stage.bytes()).sum::<u64>()
        };
        assert!(of(&large) > of(&small));
    }

    #[test]
    fn a_judge_counts_beside_the_labeler_wherever_both_are_loaded() {
        let job = job("[rl]\nreward = 'labeler'\nsteps = 3\nbatch_size = 4\n");
        let judged = Models { judge: Some(models().policy), ..models() };
        let weights = Footprint(&judged.policy).weights();
        let models_of = |models: &Models| {
            let stages = stages(&job, models, HERE);
            let loaded =
                |stage: &Stage| stage.parts.iter().find(|part| part.0 == "models").copied();
            stages.iter().filter_map(loaded).map(|(_, bytes)| bytes).collect::<Vec<u64>>()
        };
        let more = models_of(&models()).into_iter().map(|bytes| bytes + weights);
        assert_eq!(models_of(&judged), more.collect::<Vec<u64>>());
    }

    /// So long that what is in memory at once is decided by it alone.
    const LONG: Longest =
        Longest { prompt: 20_000, demonstration: 25_000, pair: 50_000, sharing_pair: 45_000 };

    #[test]
    fn an_example_is_in_memory_whole_and_a_pair_is_two_sequences() {
        let policy = ModelConfig { max_position_embeddings: 100_000, ..models().policy };
        let models = Models { policy, longest: LONG, ..models() };
        let [tuned, rewarded, learns] = [
            "while the policy is fine-tuned",
            "while the reward model learns",
            "while the policy learns",
        ];
        let shared = |job: &mut Job| job.reward_model.as_mut().unwrap().share_prompts = true;
        let given = |job: &mut Job| job.reward_model.as_mut().unwrap().pairs = 0;
        let by_data = |job: &mut Job| job.sft.as_mut().unwrap().by = DemonstratedBy::Data;
        type Change = fn(&mut Job);
        let cases: [(Change, &str, usize); 8] = [
            (|_| (), tuned, 30_000),
            (by_data, tuned, 25_000),
            // Sampled, longer than what is given; with the prompt once, what is given is longer.
            (|_| (), rewarded, 60_000),
            (shared, rewarded, 45_000),
            (given, rewarded, 50_000),
            (|_| (), learns, 30_000),
            (|job| job.rl.algorithm = AlgorithmKind::OnlineDpo, learns, 60_000),
            (|job| job.rl.algorithm = AlgorithmKind::Dpo, learns, 50_000),
        ];
        for (change, name, tokens) in cases {
            let mut job =
                job("sampling.max_new_tokens = 10_000\n[sft]\nby = 'labeler'\n[reward_model]\n\
                 [rl]\nreward = 'model'\nsteps = 3\nbatch_size = 4\n");
            change(&mut job);
            let stages = stages(&job, &models, HERE);
            let stage = stages.iter().find(|stage| stage.name == name).unwrap();
            let bytes = Footprint(&models.policy).activations(tokens, false);
            assert!(stage.parts.contains(&("activations", bytes)), "{tokens}: {stage:?}");
        }
    }

    #[test]
    fn no_sequence_is_longer_than_its_model_can_read() {
        let mut job =
            job("[sft]\nby = 'labeler'\n[rl]\nreward = 'labeler'\nsteps = 3\nbatch_size = 4\n");
        assert_eq!((LONG.policy(&job, 512), LONG.of_all(&job, 512)), (512, 512));
        job.rl.algorithm = AlgorithmKind::Dpo;
        assert_eq!((LONG.policy(&job, 512), LONG.of_all(&job, 512)), (1024, 1024));
        let reward = RewardModelConfig::default();
        assert_eq!(LONG.reward_model(&job, &reward, 512), 1024);
    }

    #[test]
    fn bf16_takes_half_of_what_is_computed_and_an_engine_its_own_weights() {
        let rl = "[rl]\nreward = 'labeler'\nsteps = 3\nbatch_size = 4\n";
        let models = models();
        let of = |job: &Job| Sizes::of(job, &models, &models.policy, 64);
        let (fine, coarse) = (of(&job(rl)), of(&job(&format!("precision = 'bf16'\n{rl}"))));
        assert_eq!(coarse.activations, fine.activations / 2);
        assert_eq!(coarse.keys_and_values, fine.keys_and_values / 2);
        assert_eq!((coarse.weights, coarse.trained), (fine.weights, fine.trained));
        assert_eq!((fine.in_engine(100), coarse.in_engine(100)), (0, 50));
    }

    #[test]
    fn what_is_trained_alone_takes_less_with_adapters_fewer_tokens_and_half_the_precision() {
        let plain = Trainer {
            name: "while it learns",
            network: models().policy,
            lora: None,
            optimizers: vec![OptimizerConfig::default()],
            average: false,
            micro_batch_tokens: 2048,
            longest: 64,
            gradient_checkpointing: false,
            precision: Precision::F32,
            resumable: false,
        };
        let bytes = |trainer: &Trainer| trainer.peak(HERE).bytes();
        let adapters = Trainer { lora: Some(LoraConfig::default()), ..plain.clone() };
        let again = Trainer { gradient_checkpointing: true, ..plain.clone() };
        let coarse = Trainer { precision: Precision::Bf16, ..plain.clone() };
        for less in [&adapters, &again, &coarse] {
            assert!(bytes(less) < bytes(&plain), "{less:?}");
        }
        // A pair is never cut.
        let long = Trainer { longest: 10_000, ..plain.clone() };
        assert!(bytes(&long) > bytes(&plain), "{long:?}");
        let fewer = Trainer { micro_batch_tokens: 1, ..long.clone() };
        assert_eq!(bytes(&fewer), bytes(&long));
    }

    #[test]
    fn replicas_count_where_they_are() {
        let rl = "reward = 'labeler'\nsteps = 3\nbatch_size = 4\nmicro_batch_tokens = 400_000\n";
        let (job, models) = (job(&format!("[rl]\n{rl}")), models());
        let peak = |replicas| of_job(&job, &models, Place { on_gpu: true, replicas }).bytes();
        assert!(peak(2) > peak(1) && peak(1) > peak(0));
        let apart = of_replicas(&job, &models, 1).bytes();
        let what = "apart it has the weights for itself; it has no optimiser";
        assert!(apart > peak(1) - peak(0) && apart < peak(0), "{what}");
    }
}
