//! The ledger as a run uses it: what is paid is kept, what failed is asked again, all adds up.

mod support;

use rlaif_ledger::{
    Answer, Combine, Entry, Error, Filter, Ledger, Meter, Outcomes, Question, Reader, Recorded,
    Rule, Setup, Spending,
};
use rlaif_types::{
    Ceiling, Comparison, ContentHash, Distinct, LabelId, Message, Money, Prompt, Rating, Spend,
};
use serde_json::json;
use support::{compared, comparison, failed, order, rating, rationale, setup};
use tempfile::TempDir;

fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path().join("labels.db")).unwrap();
    (folder, ledger)
}

fn ids(entries: &[Entry]) -> Vec<LabelId> {
    entries.iter().map(|entry| entry.label_id.clone()).collect()
}

fn all(reader: &Reader, filter: Filter) -> Vec<Entry> {
    reader.entries(filter).collect::<Result<_, _>>().unwrap()
}

fn answer(entry: &Entry) -> &Comparison {
    match &entry.outcome {
        Ok(Answer::Comparison(comparison)) => comparison,
        other => panic!("no comparison: {other:?}"),
    }
}

#[test]
fn entries_come_back_bit_for_bit_after_reopening() {
    let (folder, mut ledger) = ledger();
    let mut reasoned = comparison(1);
    reasoned.setup = Setup { options: json!({"samples": 2, "temperature": 0.7}), ..setup() };
    let (mut ab, mut ba) = (order([-0.2, -7.7]), order([f64::MIN, -0.1]));
    ab.rationales = vec![rationale("A is\nshorter", [-0.2, -7.7]), rationale("", [-0.3, -6.1])];
    ba.rationales =
        vec![rationale("neither", [-1.0 / 7.0, -0.0]), rationale("B", [f64::MIN, -0.1])];
    ba.completion_tokens = 31;
    reasoned.outcome = Ok(compared(ab, ba));
    let Question::Compare(pair) = &mut reasoned.question else { unreachable!() };
    pair.prompt = Prompt::Messages(vec![Message::user("Hi"), Message::assistant("Yes?")]);
    reasoned.label_id = reasoned.setup.label_id(&reasoned.question);

    let mut written: Vec<Entry> = (0..300).map(comparison).collect();
    written.extend([reasoned, rating(1), failed(1000)]);
    ledger.record(&written).unwrap();
    drop(ledger);
    let reader = Reader::open(folder.path().join("labels.db")).unwrap();
    let read = all(&reader, Filter { outcomes: Outcomes::All, ..Filter::default() });
    assert_eq!(read, written);
    for (read, written) in read.iter().zip(&written).take(301) {
        let (read, written) = (answer(read), answer(written));
        assert_eq!(read.label.value().to_bits(), written.label.value().to_bits());
        let again = Rule::default().label(read).unwrap();
        assert_eq!(again.value().to_bits(), written.label.value().to_bits());
    }
}

#[test]
fn nulls_are_never_served_as_results() {
    let (_folder, mut ledger) = ledger();
    let recorded = ledger.record(&[failed(1), comparison(2)]).unwrap();
    assert_eq!(recorded, Recorded { labels: 1, repeated: 0, unscorable: 1 });
    let asked = ids(&[comparison(1), comparison(2), comparison(3)]);
    let found = ledger.reader().find(&asked).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&asked[1]]);
    assert_eq!(ledger.reader().count(&Filter::default()).unwrap(), 1);

    // What failed is asked again; its failure stays on record beside the label.
    ledger.record(&[comparison(1)]).unwrap();
    assert_eq!(ledger.reader().find(&asked).unwrap().len(), 2);
    let story = ledger.reader().explain(asked[0].0.as_str()).unwrap();
    assert_eq!(story, [failed(1), comparison(1)]);
    // A failure after the label does not hide it.
    ledger.record(&[failed(1)]).unwrap();
    assert_eq!(ledger.reader().find(&asked).unwrap().len(), 2);
}

#[test]
fn one_failed_item_loses_no_paid_label_at_the_save() {
    let (_folder, mut ledger) = ledger();
    ledger.record(&[comparison(0), failed(2), rating(3)]).unwrap();
    let found = ledger.reader().find(&ids(&[comparison(0), comparison(2), rating(3)])).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn what_a_failure_cost_is_spent_too() {
    let (_folder, mut ledger) = ledger();
    ledger.record(&[failed(1)]).unwrap();
    let [spent] = &ledger.reader().spent().unwrap()[..] else { panic!("one setup") };
    assert_eq!((spent.labels, spent.unscorable, spent.repeated), (0, 1, 0));
    assert_eq!((spent.cost, spent.usage), (failed(1).cost, failed(1).usage));
}

#[test]
fn the_last_partial_batch_is_not_dropped() {
    let (_folder, mut ledger) = ledger();
    let entries: Vec<Entry> = (0..150).map(comparison).collect();
    for batch in entries.chunks(64) {
        ledger.record(batch).unwrap();
    }
    assert_eq!(all(ledger.reader(), Filter::default()), entries);
}

#[test]
fn the_first_label_stands_and_a_second_payment_is_counted() {
    let (_folder, mut ledger) = ledger();
    let first = comparison(1);
    let mut second = first.clone();
    second.outcome = Ok(compared(order([-9.0, 0.0]), order([-9.0, 0.0])));
    let recorded = ledger.record(&[first.clone(), second]).unwrap();
    assert_eq!(recorded, Recorded { labels: 1, repeated: 1, unscorable: 0 });
    assert_eq!(all(ledger.reader(), Filter::default()), std::slice::from_ref(&first));
    let [spent] = &ledger.reader().spent().unwrap()[..] else { panic!("one setup") };
    assert_eq!((spent.labels, spent.repeated), (1, 1));
    assert_eq!(spent.cost, first.cost.times(2));
}

#[test]
fn many_askers_of_one_question_pay_once() {
    let (_folder, mut ledger) = ledger();
    let askers = [comparison(1), comparison(2), comparison(1)];
    let distinct = Distinct::of(&ids(&askers));
    let asked: Vec<Entry> = distinct.firsts().iter().map(|i| askers[*i].clone()).collect();
    assert_eq!(ledger.record(&asked).unwrap().labels, 2);
    assert_eq!(distinct.spread(&asked), askers);
}

#[test]
fn an_answer_to_another_question_is_refused_with_its_batch() {
    let (_folder, mut ledger) = ledger();
    let wrong_kind = Entry { outcome: rating(1).outcome, ..comparison(1) };
    let wrong_id = Entry { label_id: LabelId(ContentHash::of("x")), ..comparison(1) };
    for wrong in [wrong_kind, wrong_id] {
        let error = ledger.record(&[comparison(0), wrong]).unwrap_err();
        assert!(matches!(error, Error::BadEntry { .. }), "{error}");
    }
    assert_eq!(ledger.reader().count(&Filter::default()).unwrap(), 0);
}

#[test]
fn a_number_that_json_cannot_hold_is_refused_with_its_batch() {
    let (_folder, mut ledger) = ledger();
    let spoilt: [fn(&mut Rating); 5] = [
        |rating| rating.reward = f64::NAN,
        |rating| rating.score = f64::INFINITY,
        |rating| rating.answers[0].verdict_logprobs[1] = f64::NEG_INFINITY,
        |rating| rating.answers[0].distribution[2] = f64::NAN,
        |rating| rating.answers[0].rationales[0].verdict_logprobs[0] = f64::NAN,
    ];
    let spoilt = spoilt.map(|spoil| {
        let mut entry = rating(1);
        let Ok(Answer::Rating(rating)) = &mut entry.outcome else { unreachable!() };
        spoil(rating);
        entry
    });
    let good = || order([-0.1, -0.2]);
    let (mut half, mut thought) = (good(), good());
    half.verdict_logprobs[1] = f64::NAN;
    thought.rationales = vec![rationale("hm", [-0.1, f64::NEG_INFINITY])];
    let orders =
        [compared(good(), half.clone()), compared(half, good()), compared(good(), thought)];
    let orders = orders.map(|answer| Entry { outcome: Ok(answer), ..comparison(1) });
    for entry in spoilt.into_iter().chain(orders) {
        let error = ledger.record(&[comparison(0), entry.clone()]).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{entry:?}: {error}");
    }
    assert_eq!(ledger.reader().count(&Filter::default()).unwrap(), 0);
}

#[test]
fn filters_let_through_what_they_say() {
    let (_folder, mut ledger) = ledger();
    let mut other = comparison(5);
    other.setup.model = "large".into();
    other.setup.model_hash = ContentHash::of("large");
    other.label_id = other.setup.label_id(&other.question);
    other.created_at_ms += 1000;
    other.outcome = Ok(compared(order([-9.0, -9.1]), order([-9.0, -9.1])));
    let certain = comparison(3);
    ledger.record(&[certain, other.clone(), failed(7)]).unwrap();
    let reader = ledger.reader();
    let hash = ContentHash::of("large").short().to_owned();
    let since = Some(other.created_at_ms);
    let filters = [
        Filter { model: Some("large".into()), ..Filter::default() },
        Filter { model: Some(hash), ..Filter::default() },
        Filter { since_ms: since, ..Filter::default() },
        Filter { verdict_mass_below: Some(0.5), ..Filter::default() },
        Filter { margin: Some(0.05), ..Filter::default() },
    ];
    for filter in filters {
        assert_eq!(reader.count(&filter).unwrap(), 1, "{filter:?}");
        assert_eq!(all(reader, filter), [other.clone()]);
    }
    let failures = Filter { outcomes: Outcomes::Unscorable, ..Filter::default() };
    assert_eq!(all(reader, failures), [failed(7)]);
    let none = Filter { template: Some("nothing".into()), ..Filter::default() };
    assert_eq!(reader.count(&none).unwrap(), 0);
}

#[test]
fn an_id_is_found_by_its_first_digits() {
    let (_folder, mut ledger) = ledger();
    let entries: Vec<Entry> = (0..40).map(comparison).collect();
    ledger.record(&entries).unwrap();
    let reader = ledger.reader();
    let id = &entries[9].label_id;
    assert_eq!(reader.resolve(id.0.short()).unwrap(), *id);
    assert!(matches!(reader.resolve("").unwrap_err(), Error::Ambiguous { .. }));
    assert!(matches!(reader.resolve("xyz").unwrap_err(), Error::Unknown { .. }));
    assert!(matches!(reader.explain("g").unwrap_err(), Error::Unknown { .. }));
}

#[test]
fn labels_are_made_again_by_another_rule_without_asking() {
    let (_folder, mut ledger) = ledger();
    let entry = comparison(40);
    ledger.record(std::slice::from_ref(&entry)).unwrap();
    let read = &all(ledger.reader(), Filter::default())[0];
    let vote = Rule { combine: Combine::Vote, ..Rule::default() };
    let by_vote = vote.label(answer(read)).unwrap();
    assert_eq!(by_vote, vote.label(answer(&entry)).unwrap());
    assert_ne!(by_vote, answer(&entry).label);
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let (folder, mut ledger) = ledger();
    let path = folder.path().join("labels.db");
    let error = Ledger::open(&path).err().unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    let reader = Reader::open(&path).unwrap();
    ledger.record(&[comparison(0)]).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 1);
    // A reader that is in the middle of a stream does not hold the writer up.
    let mut entries = reader.entries(Filter::default());
    assert!(entries.next().unwrap().is_ok());
    ledger.record(&[comparison(1)]).unwrap();
    assert!(entries.next().unwrap().is_ok());
    drop(ledger);
    Ledger::open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_ledger_is_read_in_a_folder_that_cannot_be_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, mut ledger) = ledger();
    ledger.record(&[comparison(0)]).unwrap();
    drop(ledger);
    let set_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), permissions).unwrap();
    };
    set_mode(0o555);
    let is_writable = std::fs::write(folder.path().join("try"), "").is_ok();
    let count = Reader::open(folder.path().join("labels.db"))
        .and_then(|reader| reader.count(&Filter::default()));
    set_mode(0o755);
    assert_eq!(count.unwrap(), 1);
    if is_writable {
        eprintln!("skipped: this user may write everywhere, as root may");
    }
}

#[test]
fn what_is_no_ledger_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.db");
    assert!(matches!(Reader::open(&path).err().unwrap(), Error::Missing { .. }));
    let text = "{\"prompt\":\"a line of JSON, not a ledger\"}\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(Ledger::open(&path).err().unwrap(), Error::NotALedger { .. }));
    assert!(matches!(Reader::open(&path).err().unwrap(), Error::NotALedger { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn what_the_meter_settled_is_what_the_ledger_says_also_when_a_run_goes_on() {
    let (_folder, mut ledger) = ledger();
    let max_cost = Some(comparison(0).cost.times(10));
    let run = |ledger: &mut Ledger, max_cost: Option<Money>, numbers: std::ops::Range<u32>| {
        let before = Spending::total(&ledger.reader().spent().unwrap());
        let meter = Meter::new(Ceiling { max_cost, max_tokens: None }, before);
        for n in numbers {
            let entry = if n % 3 == 0 { failed(n) } else { comparison(n) };
            let worst = Spend { cost: entry.cost, tokens: 1000 };
            let Ok(reservation) = meter.reserve(worst) else { break };
            reservation.settle(Spend { cost: entry.cost, tokens: entry.usage.tokens() });
            ledger.record(&[entry]).unwrap();
        }
        let recorded = Spending::total(&ledger.reader().spent().unwrap());
        assert_eq!(meter.spent(), recorded);
        recorded
    };
    assert_eq!(Some(run(&mut ledger, max_cost, 0..100).cost), max_cost);
    assert_eq!(Some(run(&mut ledger, max_cost, 10..100).cost), max_cost);
    let raised = max_cost.map(|cost| cost.times(2));
    assert_eq!(Some(run(&mut ledger, raised, 10..100).cost), raised);
}
