//! How patient a queue is, and how much it holds.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of a queue; producers and consumers of one queue should agree on them. Durations are
/// written as people do: `lease = "10s"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How long a worker may be silent before another takes its item. Heartbeats go out every third
    /// of it by themselves, so it bounds takeover, not how long an item may take.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Starts that an item gets before it becomes a dead letter.
    pub max_starts: u32,
    /// Items held at once: outstanding, dead, or settled and not yet acknowledged.
    pub max_outstanding: u64,
    /// Largest payload of an item, a result or a progress message; larger ones belong in the
    /// artifact store, and the item carries their reference.
    pub max_payload_bytes: usize,
    /// Largest sum of an item's header names and values.
    pub max_header_bytes: usize,
    /// Result entries beyond which progress messages are dropped.
    pub max_unread_progress: u64,
    /// What a producer is told to wait when the queue is full.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// How long a failed item rests before it is tried again; at most `lease`.
    #[serde(with = "humantime_serde")]
    pub retry_delay: Duration,
    /// How long an operation keeps trying while Redis is away before it gives up.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            max_starts: 3,
            max_outstanding: 100_000,
            max_payload_bytes: 64 << 10,
            max_header_bytes: 4 << 10,
            max_unread_progress: 10_000,
            retry_after: Duration::from_secs(1),
            retry_delay: Duration::from_secs(1),
            patience: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Naming the first option that makes no sense.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |option: &'static str, expected: &'static str| {
            Err(Error::Options { option, expected: expected.to_owned() })
        };
        if self.lease < Duration::from_millis(100) || self.lease > Duration::from_secs(24 * 3600) {
            return wrong("lease", "100ms to 24h");
        }
        if self.retry_delay > self.lease {
            return wrong("retry_delay", "at most the lease");
        }
        if self.max_starts == 0 {
            return wrong("max_starts", "at least 1");
        }
        if self.max_outstanding == 0 {
            return wrong("max_outstanding", "at least 1");
        }
        if self.max_payload_bytes == 0 {
            return wrong("max_payload_bytes", "at least 1");
        }
        Ok(())
    }

    pub(crate) fn heartbeat_every(&self) -> Duration {
        self.lease / 3
    }

    /// How often a waiting consumer looks for released and expired items. Twice within the 200 ms
    /// in which a hand-over is promised.
    pub(crate) fn reap_every(&self) -> Duration {
        (self.lease / 20).min(Duration::from_millis(80))
    }

    pub(crate) fn check_payload(&self, what: &'static str, payload: &[u8]) -> Result<(), Error> {
        let (bytes, limit) = (payload.len(), self.max_payload_bytes);
        if bytes > limit {
            return Err(Error::TooLarge { what, bytes, limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_do_and_unknown_names_are_refused() {
        let options: Options = toml::from_str("lease = \"30s\"\nmax_starts = 5").unwrap();
        assert_eq!((options.lease, options.max_starts), (Duration::from_secs(30), 5));
        assert_eq!(options.max_payload_bytes, Options::default().max_payload_bytes);
        assert!(toml::from_str::<Options>("leese = \"30s\"").is_err());
    }

    #[test]
    fn a_retry_that_outlasts_the_lease_is_refused_by_name() {
        let options = Options { retry_delay: Duration::from_secs(11), ..Options::default() };
        assert!(options.validate().unwrap_err().to_string().contains("retry_delay"));
        Options::default().validate().unwrap();
    }
}
