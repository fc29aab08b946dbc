//! What a clerk counts, and what it never pays for twice: with a labeler that is paid for each answer.

use rlaif_clerk::{Account, Clerk};
use rlaif_judge::{Accounted, Effort, Engine, Forgetful, Identity, Judge, News, Question, Reading};
use rlaif_ledger::{Filter, Outcomes, Reader, Spending};
use rlaif_template::{Asking, Reasoning, Template};
use rlaif_types::{Ceiling, ContentHash, Pair, Prompt, UnscorableReason};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tempfile::TempDir;

/// Tokens that each call takes: a rationale is one, and so is a verdict.
const TOKENS: u64 = 101;

/// A labeler that is paid for: one behind an endpoint, as far as a clerk can tell. It has a taste for zebras.
struct Paid {
    identity: Identity,
    /// Calls that it has answered.
    answers: AtomicUsize,
    /// Calls after which whoever asks is killed.
    kills_after: usize,
}

impl Paid {
    fn new() -> Arc<Self> {
        Self::that_kills_after(usize::MAX)
    }

    fn that_kills_after(kills_after: usize) -> Arc<Self> {
        let identity = Identity {
            name: "paid".into(),
            hash: ContentHash::of("paid"),
            parameters: None,
            place: "https://example.com/v1".into(),
        };
        Arc::new(Self { identity, answers: AtomicUsize::new(0), kills_after })
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    fn answer(&self, question: &Question) -> Accounted<Reading> {
        let calls =
            usize::from(question.thought.is_some()) + usize::from(!question.verdicts.is_empty());
        let given = self.answers.fetch_add(calls, Ordering::Relaxed);
        assert!(given < self.kills_after, "killed, as the test wants it");
        let (prompt_tokens, completion_tokens) = (calls * (TOKENS as usize - 1), calls);
        let likes_first = question.shown.find("zebra") < question.shown.find("quokka");
        let probabilities: [f64; 2] = if likes_first { [0.6, 0.3] } else { [0.2, 0.7] };
        let reading = Reading {
            verdict_logprobs: probabilities.map(f64::ln).to_vec(),
            rationale: question.thought.as_ref().map(|_| " It has stripes.".into()),
            prompt_tokens,
            completion_tokens,
        };
        let attempts = calls as u32;
        let effort = Effort { prompt_tokens, completion_tokens, attempts, ..Effort::default() };
        Accounted { outcome: Ok(reading), effort }
    }
}

impl Engine for Paid {
    fn check(&self, _ending: &str, _verdicts: &[String]) -> Result<(), String> {
        Ok(())
    }

    fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>> {
        questions.iter().map(|question| self.answer(question)).collect()
    }

    fn read_each(
        &self,
        questions: &[Question],
        told: &mut dyn FnMut(News<'_>),
    ) -> Vec<Accounted<Reading>> {
        let mut answers = Vec::new();
        for (place, question) in questions.iter().enumerate() {
            let answer = self.answer(question);
            told(&[(place, &answer)]);
            answers.push(answer);
        }
        answers
    }

    fn prompt_tokens(&self, _question: &Question) -> usize {
        TOKENS as usize - 1
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A folder with a ledger, which clerks have one after the other.
struct Office {
    folder: TempDir,
}

impl Office {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("labels.sqlite")
    }

    fn clerk(&self, max_tokens: Option<u64>) -> Clerk {
        let ceiling = Ceiling { max_tokens, ..Ceiling::default() };
        let account = Account { ledger: Some(self.ledger()), ceiling, ..Account::default() };
        Clerk::new(account).unwrap()
    }

    /// What the ledger says of its one labeler.
    fn spent(&self) -> Spending {
        let mut spent = Reader::open(self.ledger()).unwrap().spent().unwrap();
        assert_eq!(spent.len(), 1);
        spent.remove(0)
    }
}

fn judge(engine: &Arc<Paid>, asking: Asking) -> Judge {
    Judge::new(engine.clone(), Template::load("helpful/base").unwrap(), asking).unwrap()
}

fn pairs(count: usize) -> Vec<Pair> {
    let pair = |i| Pair {
        prompt: Prompt::Text(format!("Which animal, {i}?")),
        response_a: "A zebra.".into(),
        response_b: "A quokka.".into(),
    };
    (0..count).map(pair).collect()
}

#[test]
fn what_a_killed_run_paid_counts_against_the_next_ceiling_and_counts_once() {
    let (office, pairs) = (Office::new(), pairs(2));
    // Both orders of the first pair and one of the second are answered.
    let killed = judge(&Paid::that_kills_after(3), Asking::default());
    let clerk = office.clerk(None);
    let ended =
        thread::scope(|scope| scope.spawn(|| clerk.compare(&killed, &pairs, None).is_ok()).join());
    assert!(ended.is_err(), "it was not killed");
    drop(clerk);
    let spent = office.spent();
    assert_eq!((spent.labels, spent.unsettled, spent.usage.tokens()), (0, 3, 3 * TOKENS));

    // There is room for less than one more answer: what is paid for is labelled, and nothing else is begun.
    let engine = Paid::new();
    let resumed = judge(&engine, Asking::default());
    let clerk = office.clerk(Some(3 * TOKENS + 50));
    assert_eq!(clerk.spent().tokens, 3 * TOKENS);
    let asked = clerk.compare(&resumed, &pairs, None).unwrap();
    assert!(asked.refused.is_some());
    assert_eq!(asked.answers.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    assert_eq!((engine.answers(), clerk.spent().tokens), (0, 3 * TOKENS));
    drop(clerk);

    let clerk = office.clerk(None);
    let asked = clerk.compare(&resumed, &pairs, None).unwrap();
    assert!(asked.answers.iter().flatten().all(Result::is_ok));
    assert_eq!((engine.answers(), clerk.spent().tokens), (1, 4 * TOKENS));
    let spent = office.spent();
    assert_eq!((spent.labels, spent.unsettled, spent.usage.tokens()), (2, 0, 4 * TOKENS));
}

/// With a rationale first, which is written without draws.
fn reasoned(seed: u64, min_verdict_mass: f64, clamp: Option<f64>) -> Asking {
    let reasoning = Some(Reasoning { clamp, ..Reasoning::default() });
    Asking { reasoning, min_verdict_mass, seed, ..Asking::default() }
}

#[test]
fn another_label_of_the_same_answers_is_made_as_if_asked_for_now_and_paid_for_by_nobody() {
    let (office, pairs) = (Office::new(), pairs(1));
    let engine = Paid::new();
    let first = judge(&engine, reasoned(0, 0.0, None));
    office.clerk(None).compare(&first, &pairs, None).unwrap();
    let paid = 4 * TOKENS;
    assert_eq!((engine.answers(), office.spent().usage.tokens()), (4, paid));
    for (seed, min_verdict_mass, clamp) in [
        (1, 0.0, None),
        (0, 0.5, None),
        (0, 0.0, Some(0.4)),
        (1, 0.5, Some(0.45)),
        // The verdicts have 0.9 together.
        (0, 0.95, None),
    ] {
        let other = judge(&engine, reasoned(seed, min_verdict_mass, clamp));
        let is_same_label = min_verdict_mass == 0.0 && clamp.is_none();
        assert_eq!(other.label_id(&pairs[0]) == first.label_id(&pairs[0]), is_same_label);
        // Not one token more may be spent.
        let clerk = office.clerk(Some(paid));
        assert_eq!(clerk.knows_pairs(&other, &pairs).unwrap(), [true]);
        let served = clerk.compare(&other, &pairs, None).unwrap().answers.remove(0).unwrap();
        let elsewhere = judge(&Paid::new(), reasoned(seed, min_verdict_mass, clamp));
        let asked = elsewhere.compare_accounted(&pairs, &mut Forgetful).unwrap().remove(0);
        assert_eq!(served, asked.outcome, "{seed} {min_verdict_mass} {clamp:?}");
        match served {
            Ok(comparison) => assert!(min_verdict_mass < 0.9 && comparison.label.value() > 0.5),
            Err(why) => {
                assert_eq!((why.reason, min_verdict_mass), (UnscorableReason::NoVerdict, 0.95))
            }
        }
    }
    assert_eq!((engine.answers(), office.spent().usage.tokens()), (4, paid));
}

#[test]
fn a_rationale_that_a_killed_run_paid_counts_once_whenever_it_was_killed() {
    // Among the four rationales, before the verdicts behind them, and among those.
    for calls in [1, 4, 5, 7] {
        let (office, pairs) = (Office::new(), pairs(2));
        let killed = judge(&Paid::that_kills_after(calls), reasoned(0, 0.0, None));
        let clerk = office.clerk(None);
        let ended = thread::scope(|scope| {
            scope.spawn(|| clerk.compare(&killed, &pairs, None).is_ok()).join()
        });
        assert!(ended.is_err(), "it was not killed");
        drop(clerk);
        let before = calls as u64;
        let spent = office.spent();
        assert_eq!((spent.unsettled, spent.usage.tokens()), (before, before * TOKENS));

        let engine = Paid::new();
        let clerk = office.clerk(None);
        let asked = clerk.compare(&judge(&engine, reasoned(0, 0.0, None)), &pairs, None).unwrap();
        assert!(asked.answers.iter().flatten().all(Result::is_ok));
        assert_eq!((engine.answers(), clerk.spent().tokens), (8 - calls, 8 * TOKENS));
        let spent = office.spent();
        let counted = (spent.labels, spent.unsettled, spent.usage.tokens());
        assert_eq!(counted, (2, 0, 8 * TOKENS));
    }
}

#[test]
fn the_other_way_round_and_more_samples_are_made_of_what_is_paid_for() {
    let (office, pairs) = (Office::new(), pairs(1));
    let engine = Paid::new();
    let sampled = |samples| {
        let reasoning = Reasoning { samples, temperature: 0.7, ..Reasoning::default() };
        judge(&engine, Asking { reasoning: Some(reasoning), ..Asking::default() })
    };
    let clerk = office.clerk(None);
    clerk.compare(&sampled(2), &pairs, None).unwrap();
    assert_eq!(engine.answers(), 8);
    clerk.compare(&sampled(2), &[pairs[0].swapped()], None).unwrap();
    assert_eq!(engine.answers(), 8);
    clerk.compare(&sampled(3), &pairs, None).unwrap();
    assert_eq!(engine.answers(), 12);
    assert_eq!(office.spent().usage.tokens(), 12 * TOKENS);
    assert_eq!(clerk.spent().tokens, 12 * TOKENS);
}

#[test]
fn asking_whether_a_labeler_is_there_is_paid_for_each_time_and_makes_no_label() {
    let office = Office::new();
    let engine = Paid::new();
    let judge = judge(&engine, Asking::default());
    let clerk = office.clerk(None);
    for times in 1..=2 {
        let asked = clerk.check_presence(&judge).unwrap();
        assert_eq!((asked.answers, asked.effort.attempts), (vec![Some(Ok(()))], 1));
        assert_eq!((engine.answers() as u64, clerk.spent().tokens), (times, times * TOKENS));
    }
    drop(clerk);
    let spent = office.spent();
    assert_eq!((spent.checks, spent.usage.tokens()), (2, 2 * TOKENS));
    assert_eq!((spent.labels, spent.unscorable, spent.repeated, spent.unsettled), (0, 0, 0, 0));
    let reader = Reader::open(office.ledger()).unwrap();
    let all = Filter { outcomes: Outcomes::All, ..Filter::default() };
    assert_eq!(reader.count(&all).unwrap(), 0, "it stands among the labels");
    // It counts below the next ceiling, and is not asked where it could pass it.
    let clerk = office.clerk(Some(3 * TOKENS));
    assert_eq!(clerk.spent().tokens, 2 * TOKENS);
    let asked = clerk.check_presence(&judge).unwrap();
    assert!(asked.refused.is_some());
    assert_eq!((asked.answers, engine.answers()), (vec![None], 2));
}
