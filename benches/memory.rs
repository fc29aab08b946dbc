//! What training takes in memory and time, with all weights and with adapters, with and without gradient checkpointing,
//! beside what `rlaif run` would estimate for the same.
//!
//! `cargo bench --bench memory -- MODEL [TOKENS]` prints one JSON line a case. Each case is a process of its own, whose
//! peak the kernel keeps (Linux). docs/explanation/memory.md has the figures.

use burn::tensor::DType;
use rlaif_hub::Store;
use rlaif_models::allocator::{MiMalloc, keep_freed_memory};
use rlaif_models::{CausalLm, Checkpoint, DeviceName, Footprint, Trainable};
use rlaif_rl::{Demonstration, SftTrainer};
use rlaif_types::{LoraConfig, OptimizerConfig};
use serde_json::json;
use std::process::Command;
use std::time::Instant;

// As in the program itself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Steps of a case; the fastest of all but the first counts.
const STEPS: usize = 4;
/// Tokens of a sequence.
const LENGTH: usize = 128;
/// Tokens of a micro-batch, which is the whole batch here.
const TOKENS: usize = 1024;
/// Says which case a process is to measure.
const CASE: &str = "RLAIF_BENCH_MEMORY_CASE";

fn main() {
    keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let Some(model) = args.first() else {
        eprintln!("nothing measured: give MODEL [TOKENS]");
        return;
    };
    let tokens = args.get(1).map_or(TOKENS, |n| n.parse().expect("TOKENS is a number"));
    if let Ok(case) = std::env::var(CASE) {
        let (what, checkpointing) = case.split_once(' ').expect("the parent says both");
        return measure(model, what, checkpointing == "true", tokens);
    }
    for what in ["full", "lora"] {
        for checkpointing in [false, true] {
            let itself = std::env::current_exe().expect("the bench has a file");
            let mut case = Command::new(itself);
            let done = case.args(&args).env(CASE, format!("{what} {checkpointing}")).status();
            assert!(done.expect("a process starts").success(), "{what} was not measured");
        }
    }
}

/// Trains on `tokens` at once and prints what it took.
fn measure(model: &str, what: &str, checkpointing: bool, tokens: usize) {
    let path = Store::from_env().find(model).expect("a model on disk");
    let device = DeviceName::Cpu.open().expect("the CPU is there");
    let (config, start) = {
        // Its file is no longer mapped when memory is measured.
        let checkpoint = Checkpoint::open(&path).expect("model");
        let start = CausalLm::load(&checkpoint, &device, DType::F32).expect("model loads");
        (checkpoint.config, start.with_gradient_checkpointing(checkpointing))
    };
    let trainable = match what {
        "full" => Trainable::Full,
        _ => Trainable::Lora(LoraConfig::default()),
    };
    let mut trainer =
        SftTrainer::new(start.trainable(&trainable), OptimizerConfig::default(), tokens);
    let batch = demonstrations(tokens, config.vocab_size as u32);
    forget_peak();
    let times: Vec<f64> = (0..STEPS)
        .map(|_| {
            let started = Instant::now();
            trainer.step(&batch).expect("losses are finite");
            started.elapsed().as_secs_f64()
        })
        .collect();
    let footprint = Footprint(&config);
    // The start, and of what is trained: weights, gradients, two moments.
    let estimate = footprint.weights()
        + 4 * footprint.trained(&trainable)
        + footprint.activations(tokens, checkpointing);
    let peak = status("VmHWM:");
    let gb = |bytes: u64| (bytes as f64 / 1e7).round() / 100.0;
    println!(
        "{}",
        json!({"trained": what, "gradient_checkpointing": checkpointing, "tokens": tokens,
               "peak_gb": gb(peak), "estimated_gb": gb(estimate),
               "estimated_to_peak": (100.0 * estimate as f64 / peak as f64).round() / 100.0,
               "seconds_a_step": times[1..].iter().copied().fold(f64::INFINITY, f64::min)})
    );
}

fn demonstrations(tokens: usize, vocab: u32) -> Vec<Demonstration> {
    let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % vocab;
    let one = |b: usize| Demonstration {
        prompt: vec![token(b * LENGTH)],
        completion: (1..LENGTH).map(|i| token(b * LENGTH + i)).collect(),
    };
    (0..tokens / LENGTH).map(one).collect()
}

/// Bytes of a field of `/proc/self/status`.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux says what a process has");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel keeps it");
    let kilobytes: u64 =
        line.trim().trim_end_matches(" kB").parse().expect("it is a number of kilobytes");
    kilobytes * 1024
}

/// The peak so far is that of loading.
fn forget_peak() {
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        eprintln!("the peak of loading counts too: /proc/self/clear_refs cannot be written");
    }
}
