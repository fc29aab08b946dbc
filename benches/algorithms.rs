//! Learning curves of every algorithm on a task with a known optimum, and what REINFORCE's baseline
//! does to the variance of its gradient.
//!
//! `cargo bench --bench algorithms` writes `docs/images/learning-curves.svg` and prints the variances.
//! The task: a tiny random transformer answers with four tokens, rewarded by the share of even ones. A
//! random policy scores about one half, the best one scores 1. Half a minute.

use burn::tensor::DType;
use rlaif_models::{
    CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, GenerateRequest, LanguageModel,
    Sampling, Trainable,
};
use rlaif_report::{Plot, Point, Reference, Series, Style};
use rlaif_rl::{PolicyMetrics, PolicyTrainer, PreferencePair, Setup};
use rlaif_types::{
    Algorithm, DpoConfig, Episode, GrpoConfig, OnlineDpoConfig, OptimizerConfig, PolicyLearning,
    PpoConfig, PreferenceLoss, ReinforceConfig, RlooConfig, SoftLabel,
};
use std::path::Path;

const STEPS: usize = 80;
const BATCH: usize = 32;
const GROUP: usize = 4;
/// Runs of each algorithm; the curve is their mean, between the lowest and the highest.
const SEEDS: usize = 3;

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let task = Task::new();
    let optimizer = |lr| OptimizerConfig { lr, ..OptimizerConfig::default() };
    let (policy, value) = (optimizer(1e-2), optimizer(1e-2));
    let pairs = |loss, beta| {
        let policy = optimizer(3e-3);
        Algorithm::OnlineDpo(OnlineDpoConfig { loss, beta, policy, ..OnlineDpoConfig::default() })
    };
    let reinforce = ReinforceConfig {
        beta: 0.001,
        temperature: 1.0,
        policy: policy.clone(),
        value: value.clone(),
        ..ReinforceConfig::default()
    };
    let algorithms = [
        ("REINFORCE", Algorithm::Reinforce(reinforce.clone())),
        (
            "RLOO",
            Algorithm::Rloo(RlooConfig {
                beta: 0.001,
                policy: policy.clone(),
                ..RlooConfig::default()
            }),
        ),
        (
            "GRPO",
            Algorithm::Grpo(GrpoConfig {
                beta: 0.001,
                policy: policy.clone(),
                ..GrpoConfig::default()
            }),
        ),
        ("PPO", Algorithm::Ppo(PpoConfig { beta: 0.001, policy, value, ..PpoConfig::default() })),
        ("online DPO", pairs(PreferenceLoss::Dpo, 0.1)),
        // Its margin ends at 1 / (2 beta).
        ("online IPO", pairs(PreferenceLoss::Ipo, 0.01)),
        ("online SLiC", pairs(PreferenceLoss::Slic, 0.05)),
        (
            "offline DPO",
            Algorithm::Dpo(DpoConfig { policy: optimizer(1e-2), ..DpoConfig::default() }),
        ),
    ];
    let series = algorithms.map(|(name, algorithm)| {
        let runs: Vec<Vec<f64>> =
            (0..SEEDS).map(|seed| task.learn(&algorithm, seed, |_| {})).collect();
        let points: Vec<Point> = (0..STEPS).map(|step| mean_and_range(step, &runs)).collect();
        let last = points.last().map_or(f64::NAN, |point| point.y);
        println!("{name}: mean reward {last:.3} after {} steps", STEPS - 1);
        Series { name: name.into(), points, style: Style::Line }
    });
    let plot = Plot {
        title: "Reward of a policy on a task whose optimum is 1".into(),
        x_label: format!("step of {BATCH} responses"),
        y_label: "mean reward, 3 seeds".into(),
        series: series.to_vec(),
        reference: Some(Reference::Horizontal(1.0)),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&folder).expect("a folder for images");
    std::fs::write(folder.join("learning-curves.svg"), plot.to_svg()).expect("an image");
    variance(&task, &reinforce);
}

fn mean_and_range(step: usize, runs: &[Vec<f64>]) -> Point {
    let at = || runs.iter().map(|run| run[step]);
    Point {
        x: step as f64,
        y: at().sum::<f64>() / runs.len() as f64,
        low: Some(at().fold(f64::INFINITY, f64::min)),
        high: Some(at().fold(f64::NEG_INFINITY, f64::max)),
    }
}

/// Mean squared norm of the gradients of small batches, of a policy that stands still: the gradient's
/// variance up to a constant that both have.
fn variance(task: &Task, config: &ReinforceConfig) {
    let still = OptimizerConfig {
        lr: f64::MIN_POSITIVE,
        max_grad_norm: f64::MAX,
        ..OptimizerConfig::default()
    };
    let mean_square = |value: OptimizerConfig| {
        let config = ReinforceConfig { beta: 0.0, policy: still.clone(), value, ..config.clone() };
        let mut squares = Vec::new();
        task.learn(&Algorithm::Reinforce(config), 0, |m| squares.push(m.policy_grad_norm.powi(2)));
        // The first half is for the baseline to learn.
        let settled = &squares[STEPS / 2..];
        settled.iter().sum::<f64>() / settled.len() as f64
    };
    let (with, without) = (mean_square(config.value.clone()), mean_square(still.clone()));
    println!(
        "squared norm of REINFORCE's gradient: {with:.3} with its baseline, {without:.3} without: \
         {:.0} % less",
        100.0 * (1.0 - with / without)
    );
}

struct Task {
    start: CausalLm,
    engine: Engine,
}

impl Task {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-llama");
        let checkpoint = Checkpoint::open(&folder).expect("the tiny model");
        let device = DeviceName::Cpu.open().expect("the CPU is there");
        let start = CausalLm::load(&checkpoint, &device, DType::F32).expect("model loads");
        let engine = Engine::start(start.clone(), &checkpoint, EngineOptions::default());
        Self { start, engine: engine.expect("engine starts") }
    }

    /// Trains, and returns the mean reward of the policy before each step.
    fn learn(
        &self,
        algorithm: &Algorithm,
        seed: usize,
        mut measured: impl FnMut(&PolicyMetrics),
    ) -> Vec<f64> {
        let learning =
            PolicyLearning { group_size: GROUP, ..PolicyLearning::plain(algorithm.clone(), 1.0) };
        let setup = Setup {
            start: &self.start,
            replicas: &[],
            trainable: &Trainable::Full,
            learning: &learning,
            micro_batch_tokens: 4096,
            seed: seed as u64,
        };
        let mut trainer = setup.trainer();
        let rewards = (0..STEPS).map(|step| {
            let draw = seed * STEPS + step;
            let drawn = self.rollouts(trainer.policy(), draw);
            let reward = drawn.iter().map(reward).sum::<f64>() / drawn.len() as f64;
            let metrics = match &mut trainer {
                PolicyTrainer::Online(trainer) => trainer.step(&drawn),
                // Its pairs are the start's, as a dataset's would be.
                PolicyTrainer::Offline(trainer) => {
                    trainer.step(&pairs(&self.rollouts(&self.start, draw)))
                }
            };
            measured(&metrics.expect("nothing comes apart here"));
            reward
        });
        rewards.collect()
    }

    fn rollouts(&self, policy: &CausalLm, draw: usize) -> Vec<Episode> {
        self.engine.swap(policy.merged()).expect("the engine lives");
        let requests: Vec<GenerateRequest> = (0..BATCH)
            .map(|i| {
                let sampling = Sampling {
                    max_new_tokens: 4,
                    min_new_tokens: 4,
                    temperature: 1.0,
                    top_k: None,
                    top_p: None,
                    stop_tokens: Vec::new(),
                    stop_texts: Vec::new(),
                    seed: (draw * BATCH + i) as u64,
                };
                GenerateRequest::new(vec![10 + (i / GROUP % 4) as u32, 20], sampling)
            })
            .collect();
        let generations = self.engine.generate(requests.clone()).expect("the engine lives");
        let episodes = requests.into_iter().zip(generations).map(|(request, drawn)| Episode {
            prompt: request.prompt,
            reward: Ok(evenness(&drawn.tokens)),
            response: drawn.tokens,
            logprobs: drawn.logprobs,
            off_policy_steps: 0,
        });
        episodes.collect()
    }
}

fn evenness(tokens: &[u32]) -> f64 {
    tokens.iter().filter(|t| **t % 2 == 0).count() as f64 / tokens.len() as f64
}

fn reward(episode: &Episode) -> f64 {
    evenness(&episode.response)
}

/// Each two responses that follow each other, the one with more even tokens preferred.
fn pairs(drawn: &[Episode]) -> Vec<PreferencePair> {
    let pair = |pair: &[Episode]| PreferencePair {
        prompt: pair[0].prompt.clone(),
        a: pair[0].response.clone(),
        b: pair[1].response.clone(),
        label: match reward(&pair[0]).total_cmp(&reward(&pair[1])) {
            std::cmp::Ordering::Greater => SoftLabel::new(1.0),
            std::cmp::Ordering::Equal => SoftLabel::new(0.5),
            std::cmp::Ordering::Less => SoftLabel::new(0.0),
        }
        .expect("a probability"),
    };
    drawn.chunks_exact(2).map(pair).collect()
}
