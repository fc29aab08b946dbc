//! The same records come out of every container, and a damaged one is an error, not a panic.

use rlaif_data::{Error, OutputFormat, Reader, Record, Writer, preferences_of};
use rlaif_types::{Prompt, Role};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn records(count: usize) -> Vec<Record> {
    let record = |i| {
        json!({"prompt": format!("Question {i}?"), "chosen": format!("é {i}"), "rejected": ""})
            .as_object()
            .unwrap()
            .clone()
    };
    (0..count).map(record).collect()
}

fn write(path: &Path, records: &[Record]) {
    let mut writer = Writer::create(path, Some(OutputFormat::TrlText)).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap();
}

fn read(path: &Path) -> Result<Vec<Record>, Error> {
    Reader::open(path)?.read_all(Ok)
}

/// Without what only Parquet has: a column for each field that any row may have.
fn without_nulls(records: Vec<Record>) -> Vec<Record> {
    let some = |record: Record| record.into_iter().filter(|(_, v)| !v.is_null()).collect();
    records.into_iter().map(some).collect()
}

#[test]
fn every_container_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.parquet", "a.txt"] {
        for count in [0, 1, 100] {
            let path = folder.path().join(name);
            write(&path, &records(count));
            assert_eq!(without_nulls(read(&path).unwrap()), records(count), "{name}, {count}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "a partial file was left");
}

#[test]
fn the_container_is_told_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl.gz", "a.json", "a.parquet"] {
        let path = folder.path().join(name);
        write(&path, &records(3));
        let renamed = folder.path().join("renamed");
        fs::rename(&path, &renamed).unwrap();
        assert_eq!(without_nulls(read(&renamed).unwrap()), records(3));
    }
}

#[test]
fn gzip_may_have_several_members() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.gz"), folder.path().join("2.gz"));
    write(&one, &records(2));
    write(&two, &records(3));
    let both = folder.path().join("both.jsonl.gz");
    fs::write(&both, [fs::read(&one).unwrap(), fs::read(&two).unwrap()].concat()).unwrap();
    assert_eq!(read(&both).unwrap(), [records(2), records(3)].concat());
}

#[test]
fn a_file_that_was_cut_off_is_an_error_wherever_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl.gz", "a.json", "a.parquet"] {
        let (path, cut) = (folder.path().join(name), folder.path().join("cut"));
        write(&path, &records(20));
        let bytes = fs::read(&path).unwrap();
        // Below four bytes Parquet cannot be told from a line of nonsense, which is an error too.
        for length in 2..bytes.len() - 2 {
            fs::write(&cut, &bytes[..length]).unwrap();
            assert!(read(&cut).is_err(), "{name}: {length} of {} bytes", bytes.len());
        }
    }
}

/// What cannot be read on is told apart from a bad record, which could be skipped.
#[test]
fn what_breaks_off_is_no_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl.gz");
    write(&path, &records(1000));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains("a.jsonl.gz: at line or row "), "{error}");
}

#[test]
fn a_damaged_parquet_file_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let (path, damaged) = (folder.path().join("a.parquet"), folder.path().join("damaged"));
    write(&path, &records(5));
    let bytes = fs::read(&path).unwrap();
    // The hook would print each assertion of the Parquet reader that a damaged byte trips.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut refused = 0;
    for at in 4..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            fs::write(&damaged, bytes).unwrap();
            refused += usize::from(read(&damaged).is_err());
        }
    }
    std::panic::set_hook(hook);
    assert!(refused > bytes.len(), "only {refused} of {} damages were noticed", 3 * bytes.len());
}

#[test]
fn a_footer_that_claims_more_than_the_file_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"PAR1    ").unwrap();
    file.write_all(&u32::MAX.to_le_bytes()).unwrap();
    file.write_all(b"PAR1").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("footer of 4294967295 bytes in a file of 16"), "{error}");
}

#[test]
fn what_is_not_text_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, b"{\"prompt\": \"a\"}\n{\"prompt\": \"\xff\"}\n{\"prompt\": \"b\"}\n")
        .unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap()["prompt"], "a");
    let error = reader.next_record().unwrap_err();
    assert!(matches!(error, Error::Line { line: 2, .. }), "{error}");
    assert_eq!(reader.next_record().unwrap().unwrap()["prompt"], "b");
    assert!(reader.next_record().unwrap().is_none());
}

#[test]
fn a_parquet_file_of_pyarrow_reads_with_its_lists_nulls_and_codecs() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pyarrow.parquet"));
    let records = read(&path).unwrap();
    assert_eq!(records.len(), 10);
    for (i, record) in records.iter().enumerate() {
        let preference = preferences_of(record).unwrap().remove(0);
        let Prompt::Messages(turns) = &preference.pair.prompt else { panic!("no messages") };
        assert_eq!(turns.len(), 2 - i % 2);
        assert_eq!(turns.last().unwrap().content, format!("Question {i}?"));
        assert_eq!(turns.last().unwrap().role, Role::User);
        assert_eq!(preference.pair.response_a, format!("Good {i} é"));
        assert_eq!(preference.pair.response_b, format!("Bad {i}"));
        let margin = (i % 3 != 0).then_some(i as f64 / 4.0);
        assert_eq!(preference.human.unwrap().margin, margin);
        let tags = [json!(null), json!([]), json!(["a"]), json!(["a", null, "b"])];
        assert_eq!(record["tags"], tags[i % 4]);
        assert_eq!(record["note"].is_null(), i % 4 == 0);
        // 2024-01-01 in microseconds.
        assert_eq!(record["when"], 1_704_067_200_000_000_u64 + 86_400_000_000 * i as u64);
        assert!(record["nothing"].is_null());
    }
}

#[test]
fn a_file_keeps_its_content_until_its_successor_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.parquet"] {
        let path = folder.path().join(name);
        write(&path, &records(2));
        let mut writer = Writer::create(&path, Some(OutputFormat::TrlText)).unwrap();
        writer.write(&records(1)[0]).unwrap();
        drop(writer);
        assert_eq!(read(&path).unwrap().len(), 2);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn parquet_refuses_what_does_not_fit_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut writer = Writer::create(&path, Some(OutputFormat::Prompts)).unwrap();
    let record = |prompt| Record::from_iter([("prompt".to_owned(), prompt)]);
    writer.write(&record(json!("text"))).unwrap();
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let error = writer.write(&record(messages)).unwrap_err().to_string();
    assert!(error.contains("\"prompt\" holds text since the first row"), "{error}");
    for (name, what) in [("b.parquet", "which format"), ("b.parquet.gz", ".gz")] {
        let format = name.ends_with("gz").then_some(OutputFormat::Prompts);
        let error = Writer::create(&folder.path().join(name), format).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
}
