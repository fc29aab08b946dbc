//! Whole files through conversion, split and inspection.

use rlaif_data::{
    Error, Filter, GroupKey, OutputFormat, Pipeline, PromptSet, Reader, Record, Split, Writer,
    convert, inspect, split,
};
use rlaif_types::Confidence;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn file(folder: &Path, name: &str, rows: &[Value]) -> PathBuf {
    let path = folder.join(name);
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, lines).unwrap();
    path
}

fn read(path: &Path) -> Vec<Record> {
    Reader::open(path).unwrap().read_all(Ok).unwrap()
}

fn through(rows: &[Value], pipeline: &Pipeline) -> (Vec<Record>, rlaif_data::Counts) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (file(folder.path(), "in.jsonl", rows), folder.path().join("out.jsonl"));
    let reader = Reader::open(&from).unwrap();
    let writer = Writer::create(&to, pipeline.to).unwrap();
    let counts = convert(reader, writer, pipeline).unwrap();
    (read(&to), counts)
}

fn tldr(post: usize, confidence: u64) -> Value {
    json!({"info": {"id": post, "post": format!("Post {post}")},
           "summaries": [{"text": "one"}, {"text": "another"}],
           "choice": u64::from(confidence > 5), "extra": {"confidence": confidence}})
}

#[test]
fn the_papers_filter_keeps_those_who_were_sure() {
    let rows: Vec<Value> = (1..=9).map(|c| tldr(c as usize, c)).collect();
    let sure: BTreeSet<Confidence> = [1, 2, 8, 9].map(|c| Confidence::new(c).unwrap()).into();
    let pipeline = Pipeline {
        to: Some(OutputFormat::Trl),
        filter: Filter { confidence: Some(sure), ..Filter::default() },
        ..Pipeline::default()
    };
    let (kept, counts) = through(&rows, &pipeline);
    assert_eq!((kept.len(), counts.confidence, counts.written), (4, 5, vec![4]));
    // The chosen side comes first, so those who were sure of B are now sure of A.
    let places: Vec<&Value> = kept.iter().map(|record| &record["human_confidence"]).collect();
    assert_eq!(places, [1, 2, 2, 1]);
}

#[test]
fn records_that_are_kept_as_they_are_keep_all_their_fields() {
    let rows = [json!({"prompt": "a", "mine": {"x": [1]}}), json!({"prompt": "abc", "mine": 2})];
    let filter = Filter { prompt_chars: 0..=2, ..Filter::default() };
    let (kept, counts) = through(&rows, &Pipeline { filter, ..Pipeline::default() });
    assert_eq!(kept, [rows[0].as_object().unwrap().clone()]);
    assert_eq!(counts.prompt_length, 1);
}

#[test]
fn duplicates_and_an_evaluations_prompts_are_left_out_and_counted() {
    let rows = ["a b", " a\nb", "c", "d", "c"].map(|prompt| json!({"prompt": prompt}));
    let folder = tempfile::tempdir().unwrap();
    let eval = [json!({"instruction": "d", "output": "x"})];
    let excluded = PromptSet::read(Reader::open(&file(folder.path(), "eval", &eval)).unwrap());
    let pipeline = Pipeline { dedupe: true, excluded: excluded.unwrap(), ..Pipeline::default() };
    let (kept, counts) = through(&rows, &pipeline);
    let prompts: Vec<&Value> = kept.iter().map(|record| &record["prompt"]).collect();
    assert_eq!(prompts, ["a b", "c"]);
    assert_eq!((counts.duplicates, counts.overlapping, counts.records), (2, 1, 5));
    let said = counts.to_string();
    assert_eq!(said, "records: 5 read, 2 written; prompt excluded: 1; duplicate: 2");
}

#[test]
fn a_bad_record_stops_unless_it_may_be_skipped_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("in.jsonl");
    fs::write(&from, "{\"prompt\": \"a\"}\n{\"text\": 1}\nnot json\n{\"prompt\": \"b\"}\n")
        .unwrap();
    let to = folder.path().join("out.jsonl");
    let run = |skip_bad| {
        let pipeline = Pipeline { skip_bad, ..Pipeline::default() };
        convert(Reader::open(&from).unwrap(), Writer::create(&to, None).unwrap(), &pipeline)
    };
    let error = run(false).unwrap_err();
    assert!(matches!(error, Error::Line { line: 2, .. }), "{error}");
    assert!(!to.exists());
    let counts = run(true).unwrap();
    assert_eq!((counts.records, counts.bad, counts.written[0]), (4, 2, 2));
    assert!(counts.first_bad[1].contains("in.jsonl:3: not valid JSON"), "{counts}");
}

#[test]
fn a_failed_judgement_with_a_label_is_a_bad_record_and_one_without_has_no_chosen_side() {
    let why = json!({"reason": "engine_failed", "detail": "no log-probabilities"});
    let rows = [
        json!({"prompt": "a", "chosen": "x", "rejected": "y", "unscorable": why}),
        json!({"prompt": "b", "response_a": "x", "response_b": "y", "unscorable": why}),
        json!({"prompt": "c", "chosen": "x", "rejected": "y"}),
    ];
    let pipeline = Pipeline { to: Some(OutputFormat::Trl), skip_bad: true, ..Pipeline::default() };
    let (kept, counts) = through(&rows, &pipeline);
    assert_eq!((kept.len(), counts.bad, counts.undecided), (1, 1, 1));
    assert!(counts.first_bad[0].contains("could not be judged"), "{counts}");

    let folder = tempfile::tempdir().unwrap();
    let found = inspect(Reader::open(&file(folder.path(), "in.jsonl", &rows)).unwrap()).unwrap();
    let pairs = &found.preferences;
    assert_eq!((found.bad, pairs.pairs, pairs.human, pairs.labelled), (1, 2, 1, 1));
}

#[test]
fn ties_have_no_chosen_side() {
    let row =
        |p: Value| json!({"prompt": "x", "response_a": "a", "response_b": "b", "human_label": p});
    let to = Some(OutputFormat::Trl);
    let rows = [row(json!(0.0)), row(json!(0.5)), row(json!(null))];
    let (kept, counts) = through(&rows, &Pipeline { to, ..Pipeline::default() });
    assert_eq!((kept.len(), counts.undecided), (1, 2));
    assert_eq!(kept[0]["chosen"][0]["content"], "b");
}

#[test]
fn sides_are_shuffled_only_where_that_loses_nothing() {
    let rows: Vec<Value> = (0..64)
        .map(|i| json!({"prompt": format!("{i}"), "chosen": "good", "rejected": "bad"}))
        .collect();
    let pipeline = |to| Pipeline { to: Some(to), shuffle_seed: Some(1), ..Pipeline::default() };
    let (kept, _) = through(&rows, &pipeline(OutputFormat::Pairs));
    let is_good_first = |record: &&Record| record["response_a"] == "good";
    assert!((1..64).contains(&kept.iter().filter(is_good_first).count()));
    for record in &kept {
        assert_eq!(record["human_label"], f64::from(u8::from(is_good_first(&record))));
    }
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::open(&file(folder.path(), "in", &rows)).unwrap();
    let writer = Writer::create(&folder.path().join("out"), None).unwrap();
    let error = convert(reader, writer, &pipeline(OutputFormat::Trl)).unwrap_err();
    assert!(error.to_string().contains("shuffled"), "{error}");
}

#[test]
fn a_split_divides_no_group_and_loses_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Value> = (0..600).map(|i| tldr(i / 3, 1 + i as u64 % 9)).collect();
    let from = file(folder.path(), "in.jsonl", &rows);
    let paths = ["validation.jsonl.gz", "test.jsonl"].map(|name| folder.path().join(name));
    let writers = paths.iter().map(|path| Writer::create(path, None).unwrap()).collect();
    let thirds = Split::new(GroupKey::Field("info.id".into()), 1, vec![2, 1]).unwrap();
    let reader = Reader::open(&from).unwrap();
    let counts = split(reader, writers, &thirds, &Pipeline::default()).unwrap();
    let parts = paths.map(|path| read(&path));
    let ids = |part: &[Record]| -> BTreeSet<u64> {
        part.iter().map(|record| record["info"]["id"].as_u64().unwrap()).collect()
    };
    assert!(ids(&parts[0]).is_disjoint(&ids(&parts[1])));
    assert_eq!(parts[0].len() + parts[1].len(), 600);
    assert_eq!(counts.written, [parts[0].len() as u64, parts[1].len() as u64]);
    // Two thirds of 200 groups, and four standard deviations of 6.7.
    assert!((107..=160).contains(&ids(&parts[0]).len()), "{counts}");
}

#[test]
fn an_inspection_counts_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        tldr(1, 1),
        tldr(1, 9),
        json!({"prompt": "p", "response_a": "longest", "response_b": "b", "soft_label": 0.5}),
        json!({"prompt": "p", "chosen": "same", "rejected": "size"}),
        json!({"prompt": "é"}),
        json!({"text": "unknown"}),
    ];
    let found = inspect(Reader::open(&file(folder.path(), "in.jsonl", &rows)).unwrap()).unwrap();
    assert_eq!((found.records, found.bad, found.examples, found.duplicates), (6, 1, 5, 1));
    assert_eq!((found.formats["tldr"], found.formats["prompt"]), (2, 1));
    let pairs = &found.preferences;
    assert_eq!((pairs.pairs, pairs.human, pairs.ai, pairs.labelled), (4, 3, 1, 4));
    assert_eq!((pairs.ties, pairs.prefers_a), (1, 2));
    // "one" over "another" once, "another" over "one" once; the others are as long as each other.
    assert_eq!((pairs.unequal_lengths, pairs.prefers_longer), (2, 1));
    assert_eq!(pairs.confidence, [(1, 1), (9, 1)].into());
    assert_eq!(found.prompt_chars.unwrap().min, 1);
    assert!(found.all_compared && found.first_bad[0].contains("in.jsonl:6: no known format"));
    let text = found.to_string();
    assert!(text.contains("longer is chosen   50.0 % of 2\n"), "{text}");
    assert_eq!(serde_json::to_value(&found).unwrap()["preferences"]["ties"], 1);
}
