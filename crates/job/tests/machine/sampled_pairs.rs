//! What a job keeps of the pairs that it samples: also how their responses ended.

use crate::bench::{answer, items, machine, machine_of, run};
use crate::staleness::STALENESS;
use rlaif_data::preferences_of;
use rlaif_job::{LabelRecord, SampledPair, WorkResult};
use rlaif_types::Finish;
use serde_json::json;

#[test]
fn a_response_that_was_cut_off_is_said_to_be_wherever_its_pair_is_kept() {
    // The worker of these tests cuts the first response of each pair.
    let (left, _) = run(&|| machine_of(STALENESS), &mut |_| 0, usize::MAX);
    for (file, count) in [
        ("pairs.jsonl", 4),
        ("labels.jsonl", 4),
        ("preferences.jsonl", 4),
        ("staleness.jsonl", 3 * 6),
    ] {
        let records = &left.files[file];
        assert_eq!(records.len(), count, "{file}");
        for record in records {
            let said = (&record["finish_a"], record.get("finish_b"));
            assert_eq!(said, (&json!("length"), None), "{file}: {record}");
        }
    }
    // As a policy reads them that learns the preferences.
    for record in &left.files["preferences.jsonl"] {
        let read = preferences_of(record.as_object().unwrap()).unwrap();
        assert_eq!(read[0].finish, [Finish::Length, Finish::Stop]);
    }
}

#[test]
fn records_that_say_nothing_of_ends_read_as_ended_and_are_written_as_they_were() {
    let (mut pairs, mut labels) = (0, 0);
    for item in items(machine(0)) {
        match answer(&item) {
            WorkResult::Pairs(sampled) => {
                let ended = SampledPair { finish_a: Finish::Stop, ..sampled[0].clone() };
                let before = serde_json::to_string(&ended.pair).unwrap();
                assert_eq!(serde_json::from_str::<SampledPair>(&before).unwrap(), ended);
                assert_eq!(serde_json::to_string(&ended).unwrap(), before);
                pairs += 1;
            }
            WorkResult::Labels(records) => {
                let before = serde_json::to_string(&records[0]).unwrap();
                assert!(!before.contains("finish"), "{before}");
                assert_eq!(serde_json::from_str::<LabelRecord>(&before).unwrap(), records[0]);
                labels += 1;
            }
            _ => {}
        }
    }
    assert_eq!((pairs, labels), (3, 3));
}
