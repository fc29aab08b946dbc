//! Throughput in user units: pairs labelled, tokens generated, tokens trained on, beside what this
//! machine can do at most (matrix product, memory read).
//!
//! `cargo bench --bench throughput -- MODEL PAIRS.jsonl PROMPTS.jsonl` prints one JSON line a job.
//! See benches/README.md for how it is set against PyTorch.

use burn::tensor::{DType, Device, Distribution, Tensor};
use rlaif_hub::Store;
use rlaif_judge::Judge;
use rlaif_models::allocator::{MiMalloc, keep_freed_memory};
use rlaif_models::{
    CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, GenerateRequest, LanguageModel,
    Sampling, Trainable,
};
use rlaif_rl::{Demonstration, SftTrainer};
use rlaif_template::{Asking, Template};
use rlaif_types::{OptimizerConfig, Pair, Prompt};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

// As in the program itself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs of each job after one to warm up; the fastest counts, as in the peer.
const REPEAT: usize = 3;
const PAIRS: usize = 16;
const PROMPTS: usize = 16;
const NEW_TOKENS: usize = 64;
const TRAIN: (usize, usize) = (4, 128);

fn main() {
    keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [model, pairs, prompts] = args.as_slice() else {
        eprintln!("nothing measured: give MODEL PAIRS.jsonl PROMPTS.jsonl");
        return;
    };
    limits();
    let path = Store::from_env().find(model).expect("a model on disk");
    let checkpoint = Checkpoint::open(&path).expect("model");
    let device = DeviceName::Cpu.open().expect("the CPU is there");
    let model = CausalLm::load(&checkpoint, &device, DType::F32).expect("model loads");
    let engine = Engine::start(model.clone(), &checkpoint, EngineOptions::default());
    let engine = Arc::new(engine.expect("engine starts"));
    label(engine.clone(), pairs);
    generate(&engine, prompts);
    train(&model);
}

fn best(mut job: impl FnMut()) -> f64 {
    job();
    let times = (0..REPEAT).map(|_| {
        let started = Instant::now();
        job();
        started.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn report(job: &str, seconds: f64, items: usize, tokens: usize) {
    let (items_per_s, tokens_per_s) = (items as f64 / seconds, tokens as f64 / seconds);
    let line = json!({"job": job, "seconds": seconds, "items": items, "items_per_s": items_per_s,
                      "tokens_per_s": tokens_per_s});
    println!("{line}");
}

/// What the machine can do: a large matrix product, and reading more memory than caches hold.
fn limits() {
    let device = Device::flex();
    let square = || Tensor::<2>::random([1536, 1536], Distribution::Default, &device);
    let (a, b) = (square(), square());
    let seconds = best(|| {
        let _ = a.clone().matmul(b.clone()).into_data();
    });
    let gflops = 2.0 * 1536f64.powi(3) / seconds / 1e9;
    let memory = vec![1u64; 64 << 20];
    let seconds = best(|| {
        let halves = memory.split_at(memory.len() / 2);
        let sum = |half: &[u64]| half.iter().fold(0u64, |a, b| a.wrapping_add(*b));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| std::hint::black_box(sum(halves.1)));
            std::hint::black_box(sum(halves.0));
            other.join().expect("summing does not panic");
        });
    });
    let gbytes = (memory.len() * 8) as f64 / seconds / 1e9;
    println!("{}", json!({"job": "limits", "gemm_gflops": gflops, "memory_gb_per_s": gbytes}));
}

fn rows(path: &str, count: usize) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the data file can be read");
    let lines = text.lines().take(count);
    lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().expect("the field is a string").to_owned()
}

fn label(engine: Arc<Engine>, path: &str) {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/labeling/base.toml");
    let template = Template::load(template.to_str().expect("a UTF-8 path")).expect("template");
    let judge = Judge::local(engine, template, Asking::default()).expect("verdicts can be spelled");
    let pairs: Vec<Pair> = rows(path, PAIRS)
        .iter()
        .map(|row| Pair {
            prompt: Prompt::Text(text(row, "context")),
            response_a: text(row, "a"),
            response_b: text(row, "b"),
        })
        .collect();
    let mut labels = Vec::new();
    let seconds = best(|| labels = judge.compare(&pairs).expect("a comparison template"));
    let tokens = labels.iter().flatten().map(|l| l.ab.prompt_tokens + l.ba.prompt_tokens).sum();
    report("label", seconds, pairs.len(), tokens);
}

fn generate(engine: &Engine, path: &str) {
    let requests: Vec<GenerateRequest> = rows(path, PROMPTS)
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let prompt = engine.tokenizer().encode_text(&text(row, "prompt"));
            let sampling = Sampling {
                max_new_tokens: NEW_TOKENS,
                min_new_tokens: NEW_TOKENS,
                temperature: 0.9,
                top_k: None,
                top_p: None,
                stop_tokens: engine.tokenizer().eos_ids().to_vec(),
                stop_texts: Vec::new(),
                seed: i as u64,
            };
            GenerateRequest::new(prompt, sampling)
        })
        .collect();
    let one = vec![requests[0].clone()];
    let run = |requests: &[GenerateRequest]| {
        best(|| drop(engine.generate(requests.to_vec()).expect("prompts fit")))
    };
    report("generate batch 16", run(&requests), requests.len(), requests.len() * NEW_TOKENS);
    report("generate batch 1", run(&one), 1, NEW_TOKENS);
}

fn train(model: &CausalLm) {
    let (batch, length) = TRAIN;
    let vocab = model.config.vocab_size as u32;
    let mut trainer =
        SftTrainer::new(model.trainable(&Trainable::Full), OptimizerConfig::default(), 1 << 20);
    let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % vocab;
    let demonstrations: Vec<Demonstration> = (0..batch)
        .map(|b| Demonstration {
            prompt: vec![token(b * length)],
            completion: (1..length).map(|i| token(b * length + i)).collect(),
        })
        .collect();
    let seconds = best(|| {
        trainer.step(&demonstrations).expect("losses are finite");
    });
    report("train", seconds, batch, batch * length);
}
