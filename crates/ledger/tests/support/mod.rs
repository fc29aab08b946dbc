//! Entries of every kind, to record.

use rlaif_ledger::{Answer, Entry, Question, Setup};
use rlaif_types::{
    Answered, Comparison, ContentHash, Item, Money, OrderScores, Pair, Prompt, Rating, Rationale,
    SoftLabel, Unscorable, UnscorableReason, Usage,
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

/// A plain verdict in one order, by its log-probabilities.
pub fn order(verdict_logprobs: [f64; 2]) -> OrderScores {
    OrderScores {
        verdict_logprobs,
        prefers_first: prefers_first(verdict_logprobs),
        prompt_tokens: 120,
        completion_tokens: 0,
        rationales: Vec::new(),
    }
}

/// What is said before a verdict.
#[allow(dead_code, reason = "not all tests reason")]
pub fn rationale(text: &str, verdict_logprobs: [f64; 2]) -> Rationale {
    Rationale {
        text: text.into(),
        verdict_logprobs: verdict_logprobs.into(),
        prefers_first: Some(prefers_first(verdict_logprobs)),
    }
}

fn prefers_first([first, second]: [f64; 2]) -> SoftLabel {
    SoftLabel::from_logprobs(first, second).unwrap()
}

/// The label of both orders.
pub fn compared(ab: OrderScores, ba: OrderScores) -> Answer {
    let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
    Answer::Comparison(Comparison { label, ab, ba })
}

/// Labelled comparison number `n`; awkward numbers, some certain to the end.
pub fn comparison(n: u32) -> Entry {
    let second = if n % 10 == 3 { f64::MIN } else { -1.0 / 3.0 };
    let ab = order([-f64::from(n % 97) / 7.0, second]);
    let ba = order([-2.0 / 3.0, -f64::from(n % 89) / 11.0]);
    let pair = Pair {
        prompt: Prompt::Text(format!("question {n}")),
        response_a: "yes".into(),
        response_b: "no".into(),
    };
    entry(Question::Compare(pair), Ok(compared(ab, ba)))
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
    let verdict_logprobs = vec![-0.1, f64::MIN, -2.0 / 3.0];
    let said = Rationale {
        text: "it is \"kind\"".into(),
        verdict_logprobs: verdict_logprobs.clone(),
        prefers_first: None,
    };
    let answer = Answered {
        verdict_logprobs,
        distribution: vec![0.7, 0.0, 0.3],
        prompt_tokens: 77,
        completion_tokens: 5,
        rationales: vec![said],
    };
    let rating = Rating { reward: 1.0 / 3.0, score: 7.0, answers: vec![answer] };
    let item = Item { prompt: Prompt::Text(format!("question {n}")), response: "yes".into() };
    entry(Question::Rate(item), Ok(Answer::Rating(rating)))
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
