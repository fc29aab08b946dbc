//! Numbers against PyTorch: the values in `golden/` were made by transformers in f32
//! (`golden/make_golden.py`), and ours may differ from them by 1e-3 at most, as sums are taken in
//! another order. The tiny models have random weights, norms and biases.

use rlaif_models::{
    Answer, Ask, CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, Finish, GenerateRequest,
    LanguageModel, PackedBatch, Sampling, ScalarModel, ScoreRequest, Then,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

const TINY: [&str; 3] = ["tiny-llama", "tiny-qwen2", "tiny-qwen3"];

#[derive(Deserialize)]
struct Golden {
    texts: Vec<GoldenText>,
    prompt: String,
    greedy: Vec<u32>,
}

#[derive(Deserialize)]
struct GoldenText {
    text: String,
    token_ids: Vec<u32>,
    logprobs: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden(name: &str) -> Golden {
    let text = std::fs::read(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn load(path: &Path) -> (CausalLm, Engine) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let device = DeviceName::Cpu.open().unwrap();
    let model = CausalLm::load(&checkpoint, &device, burn::tensor::DType::F32).unwrap();
    let engine = Engine::start(model.clone(), &checkpoint, EngineOptions::default()).unwrap();
    (model, engine)
}

fn logprobs(engine: &Engine, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let request = |tokens: &Vec<u32>| ScoreRequest {
        tokens: tokens.clone(),
        ask: Ask::Continuation { from: 1 },
    };
    let answers = engine.score(sequences.iter().map(request).collect()).unwrap();
    let logprobs = answers.into_iter().map(|answer| match answer {
        Answer::Continuation(logprobs) => logprobs,
        other => panic!("asked for a continuation, got {other:?}"),
    });
    logprobs.collect()
}

fn sampling(max_new_tokens: usize, temperature: f32, seed: u64) -> Sampling {
    Sampling {
        max_new_tokens,
        min_new_tokens: 0,
        temperature,
        top_k: None,
        top_p: None,
        stop_tokens: Vec::new(),
        stop_texts: Vec::new(),
        seed,
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn check(path: &Path, golden: &Golden) {
    let (_, engine) = load(path);
    let sequences: Vec<Vec<u32>> =
        golden.texts.iter().map(|t| engine.tokenizer().encode_text(&t.text)).collect();
    for ((text, tokens), logprobs) in
        golden.texts.iter().zip(&sequences).zip(logprobs(&engine, &sequences))
    {
        assert_eq!(tokens, &text.token_ids, "{path:?}: tokens of {:?}", text.text);
        let difference = largest_difference(&logprobs, &text.logprobs);
        assert!(difference <= 1e-3, "{path:?}: {:?} differs by {difference}", text.text);
    }
    let prompt = engine.tokenizer().encode_text(&golden.prompt);
    let request = GenerateRequest::new(prompt, sampling(48, 0.0, 0));
    assert_eq!(engine.generate(vec![request]).unwrap()[0].tokens, golden.greedy, "{path:?}");
}

#[test]
fn tiny_random_models_equal_transformers() {
    for name in TINY {
        check(&folder().join(name), &golden(name));
    }
}

#[test]
fn a_stop_text_ends_a_generation_even_when_several_tokens_spell_it() {
    let (_, engine) = load(&folder().join(TINY[0]));
    let prompt = engine.tokenizer().encode_text("The answer is");
    let generate = |stop_texts, min_new_tokens| {
        let sampling = Sampling { stop_texts, min_new_tokens, ..sampling(32, 1.0, 7) };
        let request = GenerateRequest::new(prompt.clone(), sampling);
        engine.generate(vec![request]).unwrap().remove(0)
    };
    let text = |tokens: &[u32]| engine.tokenizer().decode(tokens);
    let whole = generate(Vec::new(), 0).tokens;
    let stop = text(&whole[8..11]);
    assert!(!text(&whole[..8]).contains(&stop) && text(&whole[..11]).contains(&stop));

    let stopped = generate(vec![stop.clone()], 0);
    assert_eq!((stopped.finish, &stopped.tokens[..]), (Finish::Stop, &whole[..11]));
    assert_eq!(generate(vec![stop], 20).tokens[..20], whole[..20]);
}

/// Real models are too large to commit; point `RLAIF_TEST_MODELS` at a folder that holds them.
#[test]
fn real_gguf_models_equal_transformers() {
    let models = [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct.q4_1"),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b-instruct.q4_k_m"),
    ];
    for (file, name) in models {
        let path = std::env::var_os("RLAIF_TEST_MODELS").map(|dir| Path::new(&dir).join(file));
        match path.filter(|path| path.exists()) {
            Some(path) => check(&path, &golden(name)),
            None => eprintln!("skipped: {file} is not in $RLAIF_TEST_MODELS"),
        }
    }
}

/// The bound holds for sums of a few dozen f32 products in different orders.
#[test]
fn a_beginning_that_is_kept_between_calls_changes_nothing() {
    let (_, engine) = load(&folder().join("tiny-llama"));
    let preamble: Vec<u32> = (0..40).map(|i| 5 + (i * 7) % 50).collect();
    let request = |rest: &[u32]| ScoreRequest {
        tokens: [&preamble[..], rest].concat(),
        ask: Ask::Next { candidates: vec![1, 2, 3] },
    };
    let logprobs = |answers: Vec<Answer>| -> Vec<f32> {
        let of = |answer| match answer {
            Answer::Next(logprobs) => logprobs,
            other => panic!("asked for what comes next, got {other:?}"),
        };
        answers.into_iter().flat_map(of).collect()
    };
    let rests: [&[u32]; 3] = [&[11, 12], &[11, 13, 14], &[9]];
    let ask_of = |engine: &Engine, beginning, rests: &[&[u32]]| {
        let requests = rests.iter().map(|rest| request(rest)).collect();
        logprobs(engine.score_after(beginning, requests).unwrap())
    };
    let ask = |beginning, rests: &[&[u32]]| ask_of(&engine, beginning, rests);
    let plain = ask(0, &rests);
    let first = ask(preamble.len(), &rests);
    // What was asked in between leaves no trace, not in the last bit.
    ask(20, &rests[..1]);
    ask(preamble.len(), &rests[1..]);
    assert_eq!(ask(preamble.len(), &rests), first);
    // Sums in another order.
    assert!(plain.iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-4), "{plain:?} {first:?}");
    // Where requests do not share it, or it leaves nothing to ask, it is no beginning.
    let other = ScoreRequest { tokens: vec![7; 50], ask: Ask::Next { candidates: vec![1, 2, 3] } };
    let mixed = engine.score_after(preamble.len(), vec![request(rests[0]), other]).unwrap();
    let alone = &ask(0, &rests[..1])[..];
    assert!(logprobs(mixed)[..3].iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-4));
    assert_eq!(ask(preamble.len() + 2, &rests[..1]), ask(0, &rests[..1]));
    // Other weights have other keys and values.
    let (other, other_engine) = load(&folder().join("tiny-qwen2"));
    engine.swap(other).unwrap();
    assert_eq!(ask(preamble.len(), &rests), ask_of(&other_engine, preamble.len(), &rests));
}

#[test]
fn a_batch_with_shared_prefixes_equals_one_at_a_time() {
    for name in TINY {
        let (_, engine) = load(&folder().join(name));
        let mut sequences: Vec<Vec<u32>> =
            golden(name).texts.into_iter().map(|t| t.token_ids).collect();
        // The same beginning with several ends, one of them the beginning itself.
        let stem = sequences[0].clone();
        sequences.push(stem[..stem.len() / 2].to_vec());
        sequences.extend((0..5).map(|end| [&stem[..], &[end, end + 7]].concat()));
        let together = logprobs(&engine, &sequences);
        for (sequence, together) in sequences.iter().zip(together) {
            let alone = logprobs(&engine, std::slice::from_ref(sequence));
            let difference = largest_difference(&together, &alone[0]);
            assert!(difference <= 1e-4, "{name}: differs by {difference}");
        }
    }
}

/// What the sampler reports, what scoring says, and what the learner computes with the tape's
/// forward pass are three paths through one set of kernels.
#[test]
fn rollout_logprobs_equal_the_scorers_and_the_learners() {
    for name in TINY {
        let (model, engine) = load(&folder().join(name));
        let prompts: Vec<Vec<u32>> = golden(name).texts.into_iter().map(|t| t.token_ids).collect();
        let requests = prompts
            .iter()
            .enumerate()
            .map(|(i, prompt)| GenerateRequest::new(prompt.clone(), sampling(12, 1.0, i as u64)));
        let rollouts = engine.generate(requests.collect()).unwrap();
        for (prompt, rollout) in prompts.iter().zip(rollouts) {
            let sequence = [&prompt[..], &rollout.tokens].concat();
            let scored = &logprobs(&engine, std::slice::from_ref(&sequence))[0];
            let hidden =
                model.forward(&PackedBatch::from_sequences(std::slice::from_ref(&sequence)));
            let rows: Vec<usize> = (prompt.len() - 1..sequence.len() - 1).collect();
            let learner = model.token_logprobs(hidden, &rows, &rollout.tokens, 1.0);
            let learner: Vec<f32> = learner.into_data().into_vec().unwrap();
            let difference = largest_difference(&rollout.logprobs, &scored[prompt.len() - 1..])
                .max(largest_difference(&rollout.logprobs, &learner));
            assert!(difference <= 1e-4, "{name}: differs by {difference}");
        }
    }
}

/// A question after a continuation is the question about the whole sequence without what stopped it,
/// wherever the continuation ended.
#[test]
fn a_question_after_a_continuation_is_answered_as_if_it_were_asked_afresh() {
    for name in TINY {
        let (_, engine) = load(&folder().join(name));
        let prompts: Vec<Vec<u32>> = golden(name).texts.into_iter().map(|t| t.token_ids).collect();
        let candidates = vec![3, 7, 11];
        let then =
            |tokens: &[u32]| Then { tokens: tokens.to_vec(), candidates: candidates.clone() };
        let request = |(i, prompt): (usize, &Vec<u32>)| {
            let mut sampling = sampling(4 + 3 * i, 1.0, i as u64);
            // Every third one stops early, on whatever token it draws.
            sampling.stop_tokens = (0..if i % 3 == 0 { 400 } else { 0 }).collect();
            let then = vec![then(&[5, 6]), then(&[5])];
            GenerateRequest { prompt: prompt.clone(), sampling, then }
        };
        let requests: Vec<_> = prompts.iter().enumerate().map(request).collect();
        let generations = engine.generate(requests.clone()).unwrap();
        for (request, generation) in requests.iter().zip(generations) {
            let content = request.sampling.content_len(&generation.tokens, engine.tokenizer());
            let stopped = usize::from(generation.finish == Finish::Stop);
            assert_eq!(content, generation.tokens.len() - stopped);
            for (then, found) in request.then.iter().zip(&generation.then) {
                let kept = &generation.tokens[..content];
                let tokens = [&request.prompt[..], kept, &then.tokens].concat();
                let ask = Ask::Next { candidates: candidates.clone() };
                let afresh = engine.score(vec![ScoreRequest { tokens, ask }]).unwrap().remove(0);
                let Answer::Next(afresh) = afresh else { panic!("{afresh:?}") };
                // Sums in another order.
                assert!(largest_difference(found, &afresh) <= 1e-4, "{found:?} {afresh:?}");
            }
        }
    }
}

#[test]
fn a_request_draws_the_same_tokens_whatever_else_is_in_the_batch() {
    let (_, engine) = load(&folder().join(TINY[0]));
    let request = |seed| GenerateRequest::new(vec![5, 6, 7], sampling(20, 1.0, seed));
    let together = engine.generate((0..40).map(request).collect()).unwrap();
    for seed in [0, 17, 39] {
        assert_eq!(
            engine.generate(vec![request(seed)]).unwrap()[0].tokens,
            together[seed as usize].tokens
        );
    }
    assert_ne!(together[0].tokens, together[1].tokens);
}

#[test]
fn a_saved_model_reads_back_with_the_same_numbers() {
    for name in TINY {
        let origin = Checkpoint::open(&folder().join(name)).unwrap();
        let (model, engine) = load(&folder().join(name));
        let dir = tempfile::tempdir().unwrap();
        let saved = dir.path().join("saved");
        model.save(&saved, &origin).unwrap();
        let (_, again) = load(&saved);
        let sequences: Vec<Vec<u32>> =
            golden(name).texts.into_iter().map(|t| t.token_ids).collect();
        assert_eq!(logprobs(&engine, &sequences), logprobs(&again, &sequences), "{name}");
    }
}

#[derive(Deserialize)]
struct GoldenScore {
    prompt: String,
    response: String,
    token_ids: Vec<u32>,
    score: f32,
}

fn reward_engine(path: &Path) -> (Checkpoint, ScalarModel, Engine) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let device = DeviceName::Cpu.open().unwrap();
    let model = ScalarModel::load(&checkpoint, &device, burn::tensor::DType::F32).unwrap();
    let engine = Engine::start(model.clone(), &checkpoint, EngineOptions::default()).unwrap();
    (checkpoint, model, engine)
}

fn rewards(engine: &Engine, sequences: &[Vec<u32>]) -> Vec<f32> {
    let request = |tokens: &Vec<u32>| ScoreRequest { tokens: tokens.clone(), ask: Ask::Reward };
    let answers = engine.score(sequences.iter().map(request).collect()).unwrap();
    let rewards = answers.into_iter().map(|answer| match answer {
        Answer::Reward(reward) => reward,
        other => panic!("asked for a reward, got {other:?}"),
    });
    rewards.collect()
}

/// `AutoModelForSequenceClassification` with one label: what transformers wrote has its scores here, and
/// again after it was written here. That transformers reads what is written here with equal scores is
/// what `golden/check_reward_export.py` checks.
#[test]
fn a_reward_model_of_transformers_has_the_same_scores_here_and_after_an_export() {
    let text = std::fs::read(folder().join("tiny-reward.json")).unwrap();
    let golden: Vec<GoldenScore> = serde_json::from_slice(&text).unwrap();
    let (checkpoint, model, engine) = reward_engine(&folder().join("tiny-reward"));
    let tokenizer = engine.tokenizer();
    let end = tokenizer.eos_ids()[0];
    let encode = |golden: &GoldenScore| {
        let response = tokenizer.encode_continuation(&golden.response);
        [tokenizer.encode_text(&golden.prompt), response, vec![end]].concat()
    };
    let sequences: Vec<Vec<u32>> = golden.iter().map(encode).collect();
    let token_ids: Vec<_> = golden.iter().map(|golden| golden.token_ids.clone()).collect();
    assert_eq!(sequences, token_ids);
    let scores: Vec<f32> = golden.iter().map(|golden| golden.score).collect();
    let ours = rewards(&engine, &sequences);
    assert!(largest_difference(&ours, &scores) <= 1e-3, "{ours:?} {scores:?}");

    let dir = tempfile::tempdir().unwrap();
    let exported = dir.path().join("exported");
    model.save(&exported, &checkpoint).unwrap();
    assert_eq!(rewards(&reward_engine(&exported).2, &sequences), ours);
    let config = std::fs::read(exported.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["architectures"][0], "LlamaForSequenceClassification");
    assert_eq!(config["id2label"].as_object().unwrap().len(), 1);
    // transformers reads the score at the last token that is no padding: it must not be the end.
    assert_ne!(config["pad_token_id"].as_u64(), Some(u64::from(end)));
    assert!(config["pad_token_id"].is_u64(), "batches need padding");
}
