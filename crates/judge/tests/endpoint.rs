//! Judging with a model behind an endpoint: verdicts from the tokens that it names, and never a label
//! that it did not give.

use rlaif_judge::{
    Accounted, Effort, EndpointEngine, Engine, Forgetful, Judge, Memory, Question, Reading,
    Recalled,
};
use rlaif_openai::{Api, Client, Endpoint, Prefill};
use rlaif_template::{Asking, Layout, Reasoning, Template};
use rlaif_testkit::{Act, ScriptedHttp};
use rlaif_types::{Comparison, ContentHash, Item, Pair, Prompt, Rating, UnscorableReason};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A server that plays a script, and a judge that asks it.
struct Scene {
    runtime: Runtime,
    server: ScriptedHttp,
    endpoint: Endpoint,
}

impl Scene {
    fn new(script: Vec<Act>) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ScriptedHttp::start(script));
        let endpoint = Endpoint {
            base_url: format!("{}/v1", server.url()),
            model: "small".into(),
            prefill: Prefill::LastMessage,
            // One after the other, so that a script says what becomes of which.
            max_concurrency: 1,
            max_attempts: 3,
            first_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            timeout: Duration::from_secs(5),
            ..Endpoint::default()
        };
        Self { runtime, server, endpoint }
    }

    fn engine(&self) -> EndpointEngine {
        let client = Client::new(self.endpoint.clone()).unwrap();
        EndpointEngine::new(client, self.runtime.handle().clone())
    }

    fn judge(&self, template: &str, asking: Asking) -> Judge {
        let template = Template::load(template).unwrap();
        Judge::new(Arc::new(self.engine()), template, asking).unwrap()
    }

    fn compare(&self, asking: Asking) -> Accounted<Comparison> {
        let pair = Pair {
            prompt: Prompt::Text("2+2?".into()),
            response_a: "4".into(),
            response_b: "5".into(),
        };
        self.judge("helpful/base", asking)
            .compare_accounted(&[pair], &mut Forgetful)
            .unwrap()
            .remove(0)
    }

    fn rate(&self) -> Accounted<Rating> {
        let item = Item { prompt: Prompt::Text("2+2?".into()), response: "4".into() };
        let judge = self.judge("helpful/rating", Asking::default());
        judge.rate_accounted(&[item], &mut Forgetful).unwrap().remove(0)
    }
}

/// A chat answer whose next token has these probabilities.
fn next(tokens: &[(&str, f64)]) -> Act {
    let named: Vec<Value> = tokens
        .iter()
        .map(|(token, p)| json!({"token": token, "logprob": p.ln(), "bytes": token.as_bytes()}))
        .collect();
    let (token, p) = tokens[0];
    let drawn = json!({"token": token, "logprob": p.ln(), "bytes": token.as_bytes(),
        "top_logprobs": named});
    answer(token, json!({"content": [drawn]}))
}

fn answer(text: &str, logprobs: Value) -> Act {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text},
        "finish_reason": "stop", "logprobs": logprobs});
    let usage = json!({"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 51});
    let body = json!({"id": "x", "model": "small-1", "choices": [choice], "usage": usage});
    Act::ok(body.to_string()).header("content-type", "application/json")
}

/// An answer of the other interface, which does not say what it took.
fn next_of_text(tokens: &[(&str, f64)]) -> Act {
    let named: Map<String, Value> =
        tokens.iter().map(|(token, p)| ((*token).to_owned(), json!(p.ln()))).collect();
    let (token, p) = tokens[0];
    let logprobs = json!({"tokens": [token], "token_logprobs": [p.ln()],
        "top_logprobs": [named], "text_offset": [0]});
    let choice =
        json!({"index": 0, "text": token, "finish_reason": "length", "logprobs": logprobs});
    Act::ok(json!({"model": "small-1", "choices": [choice]}).to_string())
}

fn failure(scene: &Scene) -> (UnscorableReason, String) {
    let unscorable = scene.compare(Asking::default()).outcome.unwrap_err();
    (unscorable.reason, unscorable.detail)
}

#[test]
fn both_orders_are_asked_and_tokens_counted() {
    let scene = Scene::new(vec![
        next(&[("1", 0.6), (" 1", 0.2), ("2", 0.1), ("The", 0.1)]),
        next(&[("2", 0.7), ("1", 0.2), ("", 0.1)]),
    ]);
    let Accounted { outcome, effort } = scene.compare(Asking::default());
    let comparison = outcome.unwrap();
    let (ab, ba) = (comparison.ab.prefers_first.value(), comparison.ba.prefers_first.value());
    // The calls of a question's orders may change places.
    let (high, low) = if ab > ba { (ab, ba) } else { (ba, ab) };
    assert!((high - 8.0 / 9.0).abs() < 1e-9 && (low - 2.0 / 9.0).abs() < 1e-9, "{ab} {ba}");
    assert_eq!((effort.prompt_tokens, effort.completion_tokens, effort.attempts), (100, 2, 2));
    let asked = scene.server.requests();
    assert!(asked[0].body.contains("Response 1") && asked[0].body.contains("Preferred Response="));
    assert_ne!(asked[0].body, asked[1].body);
}

#[test]
fn equal_responses_are_a_tie_that_is_paid_for_once() {
    let scene = Scene::new(vec![next(&[("1", 0.7), ("2", 0.3)]), next(&[("1", 0.6), ("2", 0.4)])]);
    let same = Pair {
        prompt: Prompt::Text("2+2?".into()),
        response_a: "4".into(),
        response_b: "4".into(),
    };
    let judge = scene.judge("helpful/base", Asking::default());
    let Accounted { outcome, effort } =
        judge.compare_accounted(&[same], &mut Forgetful).unwrap().remove(0);
    assert_eq!((outcome.unwrap().label.value(), effort.attempts), (0.5, 1));
    assert_eq!(scene.server.requests().len(), 1);
}

#[test]
fn what_goes_wrong_for_a_while_costs_attempts_and_what_a_server_may_charge_for_them() {
    let fine = next(&[("1", 0.9), ("2", 0.1)]);
    let limit = Act::status(429, "{}").header("retry-after", "0");
    let torn = Act::CutOff(b"{\"choices\":".to_vec());
    for (trouble, is_charged) in
        [(limit, false), (Act::status(500, "oops"), false), (Act::Reset, true), (torn, true)]
    {
        let scene = Scene::new(vec![trouble.clone(), fine.clone()]);
        let Accounted { outcome, effort } = scene.compare(Asking::default());
        assert_eq!(outcome.unwrap().label.value(), 0.5, "it names the first in both orders");
        assert_eq!(effort.attempts, 3, "{trouble:?}");
        // Two answers of 50 tokens.
        assert_eq!(effort.prompt_tokens > 100, is_charged, "{trouble:?}: {effort:?}");
    }
}

#[test]
fn what_stays_wrong_is_unscorable_and_says_why() {
    let (reason, detail) = failure(&Scene::new(vec![Act::status(503, "down for repairs")]));
    assert_eq!(reason, UnscorableReason::EngineUnavailable);
    assert!(detail.contains("503") && detail.contains("attempt 3"), "{detail}");
    let (reason, detail) = failure(&Scene::new(vec![answer("1", Value::Null)]));
    assert_eq!(reason, UnscorableReason::EngineFailed);
    assert!(detail.contains("log-probabilities"), "{detail}");
    let mut scene = Scene::new(vec![Act::Silence]);
    scene.endpoint.timeout = Duration::from_millis(20);
    let (reason, detail) = failure(&scene);
    assert_eq!(reason, UnscorableReason::EngineUnavailable, "{detail}");
}

/// A ceiling that does not see them is passed without bound.
#[test]
fn an_answer_that_is_no_good_is_paid_for_like_a_good_one() {
    let scene = Scene::new(vec![answer("1", Value::Null)]);
    let Accounted { outcome, effort } = scene.compare(Asking::default());
    assert_eq!(outcome.unwrap_err().reason, UnscorableReason::EngineFailed);
    assert_eq!((effort.prompt_tokens, effort.completion_tokens, effort.attempts), (100, 2, 2));
}

#[test]
fn who_refuses_everybody_is_asked_once() {
    let scene = Scene::new(vec![Act::status(401, r#"{"error": {"message": "wrong key"}}"#)]);
    let pair = |i: usize| Pair {
        prompt: Prompt::Text(format!("{i}+2?")),
        response_a: "4".into(),
        response_b: "5".into(),
    };
    let pairs: Vec<Pair> = (0..3).map(pair).collect();
    let judge = scene.judge("helpful/base", Asking::default());
    for said in judge.compare(&pairs).unwrap() {
        let why = said.unwrap_err();
        assert_eq!(why.reason, UnscorableReason::EngineRefused);
        assert!(why.detail.contains("wrong key"), "{why}");
    }
    assert_eq!(scene.server.requests().len(), 1);
}

fn asking_for(verdicts: &[&str]) -> Question {
    let verdicts: Vec<String> = verdicts.iter().map(|verdict| (*verdict).to_owned()).collect();
    Question {
        shown: "Is four right?".into(),
        fixed: 0,
        begun: " Answer:".into(),
        layout: Layout::Text,
        verdicts: verdicts.into(),
        thought: None,
    }
}

#[test]
fn calls_are_set_aside_as_the_endpoint_can_be_asked() {
    let calls = |api: Api, prefill: Prefill, verdicts: &[&str]| {
        let mut scene = Scene::new(vec![Act::Silence]);
        (scene.endpoint.api, scene.endpoint.prefill) = (api, prefill);
        scene.engine().most_calls(&asking_for(verdicts))
    };
    let (scale, words) = (["1", "2", "10"], ["First", "Second"]);
    // A user's turn cannot be gone on with.
    for verdicts in [&scale[..], &words] {
        assert_eq!(calls(Api::Chat, Prefill::UserTurn, verdicts), 1);
    }
    // Behind a 1 with and without a blank, but not behind the blank, which chat templates cut off.
    assert_eq!(calls(Api::Chat, Prefill::LastMessage, &scale), 3);
    assert_eq!(calls(Api::Completions, Prefill::default(), &scale), 4);
}

#[test]
fn a_question_takes_no_more_calls_than_are_set_aside_for_it() {
    // Each beginning of Yes and No leads on, with and without a blank; the shortest are asked about first.
    let script = vec![
        next_of_text(&[(" ", 0.4), ("Y", 0.3), ("N", 0.3)]),
        next_of_text(&[("Y", 0.5), ("N", 0.5)]),
        next_of_text(&[("o", 1.0)]),
        next_of_text(&[("e", 1.0)]),
        next_of_text(&[("o", 1.0)]),
        next_of_text(&[("e", 1.0)]),
        next_of_text(&[("s", 1.0)]),
        next_of_text(&[("s", 1.0)]),
    ];
    let mut scene = Scene::new(script);
    scene.endpoint.api = Api::Completions;
    let question = asking_for(&["Yes", "No"]);
    let engine = scene.engine();
    let most = engine.at_most(&question);
    let Accounted { outcome, effort } = engine.read(&[question]).remove(0);
    let probabilities: Vec<f64> =
        outcome.unwrap().verdict_logprobs.into_iter().map(f64::exp).collect();
    assert!(probabilities.iter().all(|p| (p - 0.5).abs() < 1e-9), "{probabilities:?}");
    assert_eq!(effort.attempts, 8);
    assert!(effort.completion_tokens <= most.completion_tokens, "{effort:?} of {most:?}");
    assert!(effort.prompt_tokens <= most.prompt_tokens, "{effort:?} of {most:?}");
}

#[test]
fn what_changes_the_answers_changes_the_labelers_identity() {
    let hash = |change: fn(&mut Endpoint)| {
        let mut scene = Scene::new(vec![Act::status(503, "")]);
        // The server has another port each time.
        scene.endpoint.base_url = "http://127.0.0.1:1/v1".into();
        change(&mut scene.endpoint);
        scene.engine().identity().hash.clone()
    };
    let plain = hash(|_| {});
    // By which ledgers know their labels.
    let known = "e303b47bab158e6d4cc2ace5a4c8f0678b76918bc14175965a8ad32a6cc44ccf";
    assert_eq!(plain.as_str(), known);
    assert_eq!(plain, hash(|endpoint| endpoint.max_concurrency = 3));
    assert_ne!(plain, hash(|endpoint| endpoint.top_logprobs = 5));
    assert_ne!(plain, hash(|endpoint| endpoint.revision = Some("2026-11".into())));
}

/// Another peer's bug: the second verdict is not among the tokens named, and the wrong place is read.
#[test]
fn a_verdict_that_is_not_named_is_no_zero_unless_it_must_be_next_to_nothing() {
    let (reason, detail) =
        failure(&Scene::new(vec![next(&[("1", 0.5), ("The", 0.3), ("A", 0.1)])]));
    assert_eq!(reason, UnscorableReason::NoVerdict);
    assert!(detail.contains("\"2\" is not among"), "{detail}");
    // The last token named has a thousandth, so the verdict has less.
    let sure = Scene::new(vec![next(&[("1", 0.99), ("The", 0.001)])]);
    let comparison = sure.compare(Asking::default()).outcome.unwrap();
    assert_eq!(comparison.ab.prefers_first.value(), 1.0);
    let (reason, _) = failure(&Scene::new(vec![next(&[("I", 0.9), ("We", 0.05)])]));
    assert_eq!(reason, UnscorableReason::NoVerdict);
}

#[test]
fn a_ten_of_two_tokens_is_asked_for_where_that_is_possible() {
    let digits: Vec<String> = (1..=9).map(|d| d.to_string()).collect();
    let scale: Vec<(&str, f64)> =
        digits.iter().map(|d| (d.as_str(), if d == "1" { 0.68 } else { 0.04 })).collect();
    let script = vec![next(&scale), next(&[("0", 0.75), ("\n", 0.25)])];
    let scene = Scene::new(script.clone());
    let rating = scene.rate().outcome.unwrap();
    let distribution = &rating.answers[0].distribution;
    assert!((distribution[0] - 0.17).abs() < 1e-9 && (distribution[9] - 0.51).abs() < 1e-9);
    assert!(scene.server.requests()[1].body.contains("Grade:1"));
    // Where the first words end the user's turn, nothing can follow them.
    let mut scene = Scene::new(script);
    scene.endpoint.prefill = Prefill::UserTurn;
    let unscorable = scene.rate().outcome.unwrap_err();
    assert!(unscorable.detail.contains("api = \"completions\""), "{unscorable}");
}

#[test]
fn a_rationale_is_written_first_and_stands_before_the_verdict() {
    let asking = Asking { reasoning: Some(Reasoning::default()), ..Asking::default() };
    let verdict = next(&[("1", 0.9), ("2", 0.1)]);
    let said = answer(" Four is right.", Value::Null);
    let scene = Scene::new(vec![said.clone(), verdict.clone(), said, verdict]);
    let Accounted { outcome, effort } = scene.compare(asking);
    let comparison = outcome.unwrap();
    assert_eq!(comparison.ab.rationales[0].text, " Four is right.");
    assert_eq!(effort.attempts, 4);
    let asked = scene.server.requests();
    assert!(asked.iter().any(|r| r.body.contains("Four is right.\\n\\nPreferred Response=")));
}

/// Keeps answers as a ledger does.
#[derive(Default)]
struct Kept(HashMap<ContentHash, Recalled>);

impl Memory for Kept {
    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>> {
        ids.iter().map(|id| self.0.get(id).cloned()).collect()
    }

    fn keep(&mut self, answers: &[(ContentHash, &Reading, Effort)]) {
        for (id, reading, took) in answers {
            let recalled = Recalled { reading: (*reading).clone(), took: *took, accounted: true };
            self.0.insert(id.clone(), recalled);
        }
    }
}

#[test]
fn a_rationale_is_not_paid_again_because_the_verdict_behind_it_failed() {
    const SAMPLES: usize = 2;
    let said = |number: usize| answer(&format!(" Reason {number}."), Value::Null);
    let mut script: Vec<Act> = (0..2 * SAMPLES).map(said).collect();
    // Of the first run no verdict, of the second one for each rationale.
    script.extend(vec![Act::status(500, "oops"); 2 * SAMPLES]);
    script.push(next(&[("1", 0.9), ("2", 0.1)]));
    let mut scene = Scene::new(script);
    scene.endpoint.max_attempts = 1;
    let reasoning = Reasoning { samples: SAMPLES, temperature: 0.7, ..Reasoning::default() };
    let asking = Asking { reasoning: Some(reasoning), ..Asking::default() };
    let judge = scene.judge("helpful/base", asking);
    let pair = Pair {
        prompt: Prompt::Text("2+2?".into()),
        response_a: "4".into(),
        response_b: "5".into(),
    };
    let mut memory = Kept::default();
    let mut label = || {
        let pairs = std::slice::from_ref(&pair);
        judge.compare_accounted(pairs, &mut memory).unwrap().remove(0)
    };

    let failed = label();
    assert_eq!(failed.outcome.unwrap_err().reason, UnscorableReason::EngineUnavailable);
    assert_eq!((failed.effort.attempts, scene.server.requests().len()), (8, 8));
    let labelled = label();
    assert_eq!((labelled.effort.attempts, scene.server.requests().len()), (4, 12));
    let comparison = labelled.outcome.unwrap();
    // A rationale and a verdict each.
    assert_eq!((comparison.ab.prompt_tokens, comparison.ab.completion_tokens), (200, 4));
    for (rationale, request) in comparison.ab.rationales.iter().zip(&scene.server.requests()[8..]) {
        assert!(rationale.text.starts_with(" Reason "), "{rationale:?}");
        assert!(request.body.contains("Preferred Response="), "{}", request.body);
    }
    assert_eq!((label().effort, scene.server.requests().len()), (Effort::default(), 12));
}

#[test]
fn the_other_interface_goes_on_with_a_text() {
    let mut scene = Scene::new(vec![next_of_text(&[("1", 0.9), (" 2", 0.1)])]);
    scene.endpoint.api = Api::Completions;
    let Accounted { outcome, effort } = scene.compare(Asking::default());
    assert!((outcome.unwrap().ab.prefers_first.value() - 0.9).abs() < 1e-9);
    // It does not say what it read; English has some four bytes a token.
    assert!((40..400).contains(&effort.prompt_tokens), "{effort:?}");
    assert!(scene.server.requests()[0].path.ends_with("/v1/completions"));
}
