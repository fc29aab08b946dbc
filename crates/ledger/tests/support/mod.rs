//! Entries of every kind, to record.

use rlaif_ledger::{
    Answer, Compared, Entry, Money, Presented, Question, Rated, Sample, Setup, Usage,
};
use rlaif_types::{
    Answered, ContentHash, Item, OrderScores, Pair, Prompt, Rating, SoftLabel, Unscorable,
    UnscorableReason,
};
use serde_json::json;

/// A plain verdict of a local model.
pub fn setup() -> Setup {
    Setup {
        template: "helpful/base".into(),
        template_hash: ContentHash::of("helpful/base"),
        model: "smol".into(),
        model_hash: ContentHash::of("smol"),
        engine: "local".into(),
        options: json!({}),
    }
}

/// A verdict of one order, by its log-probabilities.
pub fn sample(presented: Presented, logprobs: [f64; 2]) -> Sample {
    let prefers_first = SoftLabel::from_logprobs(logprobs[0], logprobs[1]).unwrap();
    let scores = OrderScores { verdict_logprobs: logprobs, prefers_first, prompt_tokens: 120 };
    Sample { presented, scores, rationale: None }
}

/// Labelled comparison number `n`; awkward numbers, some certain to the end.
pub fn comparison(n: u32) -> Entry {
    let second = if n % 10 == 3 { f64::NEG_INFINITY } else { -1.0 / 3.0 };
    let ab = sample(Presented::Ab, [-f64::from(n % 97) / 7.0, second]);
    let ba = sample(Presented::Ba, [-2.0 / 3.0, -f64::from(n % 89) / 11.0]);
    let pair = Pair {
        prompt: Prompt::Text(format!("question {n}")),
        response_a: "yes".into(),
        response_b: "no".into(),
    };
    let compared = Compared::new(vec![ab, ba]).unwrap();
    entry(Question::Compare(pair), Ok(Answer::Comparison(compared)))
}

/// The same question as [`comparison`], failed.
#[allow(dead_code, reason = "not all tests fail")]
pub fn failed(n: u32) -> Entry {
    let unscorable = Unscorable::new(UnscorableReason::EngineFailed, "connection reset");
    Entry { outcome: Err(unscorable), attempts: 3, ..comparison(n) }
}

/// A rating.
#[allow(dead_code, reason = "not all tests rate")]
pub fn rating(n: u32) -> Entry {
    let answer = Answered {
        verdict_logprobs: vec![-0.1, f64::NEG_INFINITY, -2.0 / 3.0],
        distribution: vec![0.7, 0.0, 0.3],
        prompt_tokens: 77,
    };
    let rating = Rating { reward: 1.0 / 3.0, score: 7.0, answers: vec![answer] };
    let rated = Rated { rating, rationales: vec!["it is \"kind\"".into()] };
    let item = Item { prompt: Prompt::Text(format!("question {n}")), response: "yes".into() };
    entry(Question::Rate(item), Ok(Answer::Rating(rated)))
}

fn entry(question: Question, outcome: Result<Answer, Unscorable>) -> Entry {
    let setup = setup();
    Entry {
        label_id: setup.label_id(&question),
        question,
        outcome,
        setup,
        usage: Usage {
            prompt_tokens: 240,
            cached_tokens: 100,
            completion_tokens: 2,
            device_ms: 15,
        },
        cost: Money::from_picodollars(1_234_567_891),
        latency_ms: 31,
        attempts: 1,
        worker: Some("labeler-0".into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        created_at_ms: 1_700_000_000_000,
    }
}
