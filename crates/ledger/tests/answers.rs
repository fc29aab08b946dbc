//! Answers of any shape come back from the file bit for bit.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use rlaif_ledger::{Answer, Entry, Filter, Ledger};
use rlaif_types::{Answered, Comparison, OrderScores, Rating, Rationale, SoftLabel};
use support::{comparison, rating};

/// Any finite number; those at which a text may round or lose a sign among them.
fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        Just(f64::MIN),
        Just(-0.0),
        Just(f64::MIN_POSITIVE),
        -40.0..0.0,
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
    ]
}

/// A label of one order.
fn soft_label() -> impl Strategy<Value = SoftLabel> {
    (0.0..=1.0).prop_map(|p| SoftLabel::new(p).unwrap())
}

fn tokens() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..100_000_usize]
}

fn rationale() -> impl Strategy<Value = Rationale> {
    let parts = (any::<String>(), vec(number(), 0..4), proptest::option::of(soft_label()));
    parts.prop_map(|(text, verdict_logprobs, prefers_first)| Rationale {
        text,
        verdict_logprobs,
        prefers_first,
    })
}

fn order() -> impl Strategy<Value = OrderScores> {
    let verdict = ([number(), number()], soft_label());
    (verdict, tokens(), tokens(), vec(rationale(), 0..3)).prop_map(
        |((verdict_logprobs, prefers_first), prompt_tokens, completion_tokens, rationales)| {
            OrderScores {
                verdict_logprobs,
                prefers_first,
                prompt_tokens,
                completion_tokens,
                rationales,
            }
        },
    )
}

fn answered() -> impl Strategy<Value = Answered> {
    let verdict = (vec(number(), 0..11), vec(number(), 0..11));
    (verdict, tokens(), tokens(), vec(rationale(), 0..3)).prop_map(
        |((verdict_logprobs, distribution), prompt_tokens, completion_tokens, rationales)| {
            Answered {
                verdict_logprobs,
                distribution,
                prompt_tokens,
                completion_tokens,
                rationales,
            }
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let label =
        (soft_label(), soft_label()).prop_map(|(ab, ba)| SoftLabel::from_both_orders(ab, ba));
    prop_oneof![
        (label, order(), order()).prop_map(|(label, ab, ba)| Answer::Comparison(Comparison {
            label,
            ab,
            ba
        })),
        (number(), number(), vec(answered(), 0..3))
            .prop_map(|(reward, score, answers)| Answer::Rating(Rating { reward, score, answers })),
    ]
}

fn entry((n, answer): (usize, Answer)) -> Entry {
    let asked = match answer {
        Answer::Comparison(_) => comparison(n as u32),
        Answer::Rating(_) => rating(n as u32),
    };
    Entry { outcome: Ok(answer), ..asked }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_answer_comes_back_bit_for_bit(answers in vec(answer(), 1..30)) {
        let written: Vec<Entry> = answers.into_iter().enumerate().map(entry).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("labels.db")).unwrap();
        ledger.record(&written).unwrap();
        let read = ledger.reader().entries(Filter::default()).collect::<Result<Vec<_>, _>>().unwrap();
        // As text: unlike ==, it tells -0 from 0, and no two numbers are the same text.
        prop_assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }
}
