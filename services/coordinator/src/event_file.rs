//! Training metrics as TensorBoard reads them: one event a step, each figure by its name below its stage.
//!
//! A file of events is records of TensorFlow's framing: length, masked CRC-32C of the length, bytes, masked
//! CRC-32C of the bytes; the bytes are an `Event` message (`tensorflow/core/util/event.proto`).

use prost::Message;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where it is in a run folder. TensorBoard looks for `tfevents` in names.
pub const EVENT_FILE: &str = "tensorboard/events.out.tfevents.0.rlaif";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// In the first event of a file, alone.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    /// Set even where it is zero: it is one of several kinds of value.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An open file of events.
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// Begins anew.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(path)?;
        let version = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
        file.write_all(&framed(&Event { wall_time: now(), ..version }))?;
        Ok(Self { file })
    }

    /// Adds records of `metrics.jsonl`, an event each.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn append(&mut self, records: &[Value]) -> io::Result<()> {
        let events: Vec<u8> = records.iter().filter_map(event).flat_map(|e| framed(&e)).collect();
        self.file.write_all(&events)
    }
}

/// The record's scalars; none where it is no step's.
fn event(record: &Value) -> Option<Event> {
    let (stage, step) = (record["stage"].as_str()?, record["step"].as_i64()?);
    let scalar = |(name, value): (&String, &Value)| {
        let simple_value = Some(value.as_f64()? as f32);
        (name != "step").then(|| Scalar { tag: format!("{stage}/{name}"), simple_value })
    };
    let value = record.as_object()?.iter().filter_map(scalar).collect();
    let summary = Some(Summary { value });
    Some(Event { wall_time: now(), step, file_version: None, summary })
}

fn framed(event: &Event) -> Vec<u8> {
    let bytes = event.encode_to_vec();
    let length = (bytes.len() as u64).to_le_bytes();
    let crc = |of: &[u8]| masked_crc(of).to_le_bytes();
    [&length[..], &crc(&length), &bytes, &crc(&bytes)].concat()
}

/// CRC-32C, turned and shifted so that the checksum of data that holds checksums is no checksum again.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads a file as the format says, and checks every checksum.
    fn read(path: &Path) -> Vec<Event> {
        let (bytes, mut at, mut events) = (fs::read(path).unwrap(), 0, Vec::new());
        let crc = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        while at < bytes.len() {
            let length = &bytes[at..at + 8];
            assert_eq!(crc(at + 8), masked_crc(length));
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let event = &bytes[at + 12..at + 12 + length];
            assert_eq!(crc(at + 12 + length), masked_crc(event));
            events.push(Event::decode(event).unwrap());
            at += 16 + length;
        }
        events
    }

    #[test]
    fn every_figure_of_a_step_is_a_scalar_below_its_stage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVENT_FILE);
        let mut file = EventFile::create(&path).unwrap();
        file.append(&[
            json!({"stage": "reward", "step": 1, "loss": 0.5, "accuracy": 0.75, "learning_rate": 1e-4}),
            json!({"stage": "policy", "step": 2, "objective/kl": 0.0, "rewards/accuracies": 0.5, "reward": null}),
        ])
        .unwrap();
        let events = read(&path);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let scalars = |event: &Event| -> Vec<(String, f32)> {
            let values = event.summary.clone().unwrap().value.into_iter();
            let mut scalars: Vec<_> =
                values.map(|scalar| (scalar.tag, scalar.simple_value.unwrap())).collect();
            scalars.sort_by(|a, b| a.0.cmp(&b.0));
            scalars
        };
        assert_eq!((events.len(), events[1].step, events[2].step), (3, 1, 2));
        let reward =
            [("reward/accuracy", 0.75), ("reward/learning_rate", 1e-4), ("reward/loss", 0.5)];
        assert_eq!(scalars(&events[1]), reward.map(|(tag, value)| (tag.to_owned(), value)));
        // What is no number is left out; zero is one.
        let policy = [("policy/objective/kl", 0.0), ("policy/rewards/accuracies", 0.5)];
        assert_eq!(scalars(&events[2]), policy.map(|(tag, value)| (tag.to_owned(), value)));
    }

    #[test]
    fn the_checksum_is_that_of_the_format() {
        // RFC 3720, appendix B.4: CRC-32C of 32 zeros is 8a9136aa; turned by 15 and shifted by hand.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(&[0; 32]), 0x6d55_1522_u32.wrapping_add(0xa282_ead8));
    }
}
