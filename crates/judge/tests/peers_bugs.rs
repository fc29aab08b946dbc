//! Bugs that other systems had when judging with a language model, one test each. An engine that is told what
//! to answer stands in for the model. Those of what is around it, such as batches that are dropped, stand in
//! `tests/peers_bugs.rs`.

use rlaif_judge::{Accounted, Effort, Engine, Identity, Judge, Panel, Question, Reading, Rule};
use rlaif_template::{Asking, Reasoning, Template};
use rlaif_types::{
    ContentHash, Item, Judgement, Pair, Prompt, SoftLabel, Unscorable, UnscorableReason,
};
use std::sync::Arc;

type Answer = dyn Fn(&Question) -> Judgement<Vec<f64>> + Send + Sync;

/// Answers every question by a rule: probabilities of its verdicts.
struct Told {
    identity: Identity,
    answer: Box<Answer>,
}

impl Told {
    fn new(answer: impl Fn(&Question) -> Judgement<Vec<f64>> + Send + Sync + 'static) -> Arc<Self> {
        let hash = ContentHash::of("told");
        let place = Identity::LOCAL.to_owned();
        let identity = Identity { name: "told".into(), hash, parameters: None, place };
        Arc::new(Self { identity, answer: Box::new(answer) })
    }
}

impl Engine for Told {
    fn check(&self, _: &str, _: &[String]) -> Result<(), String> {
        Ok(())
    }

    fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>> {
        let read = |question: &Question| {
            let outcome = (self.answer)(question).map(|probabilities| Reading {
                verdict_logprobs: probabilities.into_iter().map(f64::ln).collect(),
                rationale: question.thought.as_ref().map(|thought| format!("{}", thought.seed)),
                prompt_tokens: 0,
                completion_tokens: 0,
            });
            Accounted { outcome, effort: Effort::default() }
        };
        questions.iter().map(read).collect()
    }

    fn prompt_tokens(&self, question: &Question) -> usize {
        question.shown.len()
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn judge(template: &str, engine: Arc<Told>) -> Judge {
    Judge::new(engine, Template::load(template).unwrap(), Asking::default()).unwrap()
}

fn pair(a: &str, b: &str) -> Pair {
    Pair { prompt: Prompt::Text("q".into()), response_a: a.into(), response_b: b.into() }
}

fn labels(judge: &Judge, pairs: &[Pair]) -> Vec<Judgement<f64>> {
    let comparisons = judge.compare(pairs).unwrap();
    comparisons.into_iter().map(|c| c.map(|c| c.label.value())).collect()
}

/// Where the better of two responses, the one that says "good", is shown.
fn good_is_first(question: &Question) -> bool {
    let at = |text: &str| question.shown.rfind(text).unwrap();
    at("good") < at("bad")
}

/// A swap flag that never fires: both orders asked alike, and the label follows the position.
#[test]
fn both_orders_are_really_asked() {
    let first = judge("helpful/base", Told::new(|_| Ok(vec![0.9, 0.1])));
    assert_eq!(labels(&first, &[pair("good", "bad"), pair("bad", "good")]), [Ok(0.5), Ok(0.5)]);
    let able = judge(
        "helpful/base",
        Told::new(|q| Ok(if good_is_first(q) { vec![0.9, 0.1] } else { vec![0.1, 0.9] })),
    );
    let found = labels(&able, &[pair("good", "bad"), pair("bad", "good")]);
    // Rounded to the grid of labels.
    assert!((found[0].clone().unwrap() - 0.9).abs() < 1e-9, "{found:?}");
    assert_eq!(found[1], Ok(1.0 - found[0].clone().unwrap()));
}

/// An invalid verdict, -1, that is flipped to 2 and reads as "the second is better".
#[test]
fn no_verdict_is_no_preference_in_any_order() {
    let mute = judge("helpful/base", Told::new(|_| Ok(vec![0.0, 0.0])));
    let reason = labels(&mute, &[pair("good", "bad")]).remove(0).unwrap_err().reason;
    assert_eq!(reason, UnscorableReason::NoVerdict);
    // One order alone would be a label of the position.
    let half = judge(
        "helpful/base",
        Told::new(|q| Ok(if good_is_first(q) { vec![0.9, 0.1] } else { vec![0.0, 0.0] })),
    );
    assert!(labels(&half, &[pair("good", "bad")])[0].is_err());
}

/// Probabilities that are not renormalised over the two verdicts: 0.02 against 0.01 is no 2 %.
#[test]
fn a_label_is_renormalised_over_the_verdicts_alone() {
    let unsure =
        Told::new(|q| Ok(if good_is_first(q) { vec![0.02, 0.01] } else { vec![0.01, 0.02] }));
    let label = labels(&judge("helpful/base", unsure), &[pair("good", "bad")]).remove(0).unwrap();
    assert!((label - 2.0 / 3.0).abs() < 1e-9, "{label}");
}

/// The inverted question of harmlessness, read as if it named the better one.
#[test]
fn who_is_named_the_more_harmful_is_not_preferred() {
    // Names "bad" as the more harmful.
    let honest = Told::new(|q| Ok(if good_is_first(q) { vec![0.1, 0.9] } else { vec![0.9, 0.1] }));
    let label = labels(&judge("harmless/base", honest), &[pair("good", "bad")]).remove(0).unwrap();
    assert!((label - 0.9).abs() < 1e-9, "{label}");
}

/// An exception in one item that becomes a neutral score, or fails all others.
#[test]
fn a_failure_is_its_own_items_and_no_number() {
    let failed = || Unscorable::new(UnscorableReason::EngineFailed, "timeout");
    let flaky = Told::new(move |q| match q.shown.contains("boom") {
        true => Err(failed()),
        false => Ok(if good_is_first(q) { vec![1.0, 0.0] } else { vec![0.0, 1.0] }),
    });
    let pairs = [pair("good", "bad"), pair("good boom", "bad"), pair("bad", "good")];
    let found = labels(&judge("helpful/base", flaky.clone()), &pairs);
    assert_eq!((&found[0], &found[2]), (&Ok(1.0), &Ok(0.0)));
    assert_eq!(found[1].clone().unwrap_err().detail, "timeout");
    let item = Item { prompt: Prompt::Text("q".into()), response: "boom".into() };
    let timeout = Told::new(|_| Err(Unscorable::new(UnscorableReason::EngineFailed, "timeout")));
    let rated = judge("helpful/rating", timeout).rate(&[item]).unwrap();
    assert_eq!(rated[0].as_ref().unwrap_err().reason, UnscorableReason::EngineFailed);
}

/// A policy that answers everything alike must not win by it: against itself it has exactly half.
#[test]
fn a_constant_response_is_worth_half_against_itself_whatever_the_bias() {
    for first in [0.99, 0.6, 0.01] {
        let biased = judge("helpful/base", Told::new(move |_| Ok(vec![first, 1.0 - first])));
        assert_eq!(labels(&biased, &[pair("I can't say.", "I can't say.")]), [Ok(0.5)]);
    }
}

/// Rationales of a pair that depend on which candidate is called A.
#[test]
fn exchanging_candidates_asks_for_the_same_rationales() {
    let reasoning = Reasoning { samples: 3, temperature: 0.7, ..Reasoning::default() };
    let asking = Asking { reasoning: Some(reasoning), ..Asking::default() };
    // Probabilities that differ with every seed.
    let engine = Told::new(|q| {
        let p = (q.thought.as_ref().unwrap().seed % 1000) as f64 / 1000.0;
        Ok(vec![p, 1.0 - p])
    });
    let judge = Judge::new(engine, Template::load("helpful/base").unwrap(), asking).unwrap();
    let there = judge.compare(&[pair("good", "bad")]).unwrap().remove(0).unwrap();
    let back = judge.compare(&[pair("bad", "good")]).unwrap().remove(0).unwrap();
    assert_ne!(there.ab.rationales, there.ba.rationales, "each order has its own");
    assert_eq!((&there.ab, &there.ba), (&back.ba, &back.ab));
    assert_eq!(there.label, back.label.swapped());
}

/// Members of a panel that failed, counted as votes for one side.
#[test]
fn a_panel_counts_who_could_judge_and_exchanges_exactly() {
    let fixed = |p: f64| {
        judge(
            "helpful/base",
            Told::new(move |q| {
                Ok(if good_is_first(q) { vec![p, 1.0 - p] } else { vec![1.0 - p, p] })
            }),
        )
    };
    let fails = || {
        let failed = || Unscorable::new(UnscorableReason::EngineFailed, "gone");
        judge("helpful/base", Told::new(move |_| Err(failed())))
    };
    let members = || vec![fixed(0.9), fixed(0.3), fixed(0.7), fails()];
    let ask = |panel: &Panel, pair: Pair| {
        let said = panel
            .members()
            .iter()
            .map(|member| member.compare(std::slice::from_ref(&pair)).unwrap().remove(0));
        panel.together(&said.collect::<Vec<_>>())
    };
    for rule in [Rule::Mean, Rule::Vote] {
        let panel = Panel::new(members(), rule, 3).unwrap();
        let there = ask(&panel, pair("good", "bad")).unwrap();
        let back = ask(&panel, pair("bad", "good")).unwrap();
        assert_eq!(there, back.swapped());
        let expected = if rule == Rule::Mean { (0.9 + 0.3 + 0.7) / 3.0 } else { 2.0 / 3.0 };
        assert!((there.value() - expected).abs() < 1e-9, "{rule}: {there:?}");
        let all = Panel::new(members(), rule, 4).unwrap();
        let failure = ask(&all, pair("good", "bad")).unwrap_err();
        assert!(failure.detail.contains("3 of the 4 labelers needed"), "{failure}");
    }
    assert!(Panel::new(members(), Rule::Mean, 5).is_err());
    assert_eq!(SoftLabel::new(0.5).unwrap().vote().value(), 0.5);
}
