//! Whether a Redis keeps the promises that the queue builds on.

use std::fmt;

/// Something about a Redis that breaks a promise of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Older than 7.0: the scripts do not run as written.
    TooOld {
        /// What it says it is.
        version: String,
    },
    /// It may evict keys when memory is short, and with them accepted work.
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// It writes no append-only file: a restart loses accepted work.
    NotDurable,
    /// It answers before what it answers is on disk.
    SyncsLate {
        /// Its `appendfsync`.
        policy: String,
    },
    /// Our user lacks rights that the queue needs.
    Forbids {
        /// The ACL rules that it lacks.
        rules: Vec<String>,
    },
    /// It did not say; managed services hide some of it.
    Unknown {
        /// The field of INFO that is missing.
        field: &'static str,
    },
}

impl Warning {
    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::TooOld { version } => format!("redis {version} is older than 7.0"),
            Self::Evicts { policy } => {
                format!("maxmemory-policy {policy} may evict accepted work")
            }
            Self::NotDurable => "a restart of redis loses accepted work".to_owned(),
            Self::SyncsLate { policy } => {
                format!("a crash of redis may undo accepted work: appendfsync is {policy}")
            }
            Self::Forbids { rules } => format!("redis forbids us what {} allow", rules.join(" ")),
            Self::Unknown { field } => format!("redis does not tell {field}"),
        }
    }

    /// How to mend it.
    pub fn mend(&self) -> String {
        match self {
            Self::TooOld { .. } => "upgrade it to 7.0 or newer".to_owned(),
            Self::Evicts { .. } => "set maxmemory-policy noeviction".to_owned(),
            Self::NotDurable => "set appendonly yes".to_owned(),
            Self::SyncsLate { .. } => "set appendfsync always".to_owned(),
            Self::Forbids { rules } => {
                format!("ACL SETUSER the user of queue.url {}", rules.join(" "))
            }
            Self::Unknown { field } => {
                let needed = match *field {
                    "redis_version" => "7.0 or newer",
                    "maxmemory_policy" => "noeviction",
                    "aof_enabled" => "1 (appendonly yes)",
                    _ => "always",
                };
                format!("look where it is hosted; queues need {needed}")
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.mend())
    }
}

/// What the answer to INFO gives reason to warn of.
pub(super) fn warnings(info: &str) -> Vec<Warning> {
    let field = |name: &'static str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).ok_or(Warning::Unknown { field: name })
    };
    let version = field("redis_version").and_then(|version| {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let too_old = || Warning::TooOld { version: version.to_owned() };
        major.filter(|major| *major >= 7).map(drop).ok_or_else(too_old)
    });
    let policy = field("maxmemory_policy").and_then(|policy| match policy {
        "noeviction" => Ok(()),
        policy => Err(Warning::Evicts { policy: policy.to_owned() }),
    });
    let durable = field("aof_enabled").and_then(|aof| match aof {
        "1" => Ok(()),
        _ => Err(Warning::NotDurable),
    });
    [version, policy, durable].into_iter().filter_map(Result::err).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_promise_is_named() {
        let info = "redis_version:6.2.14\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n";
        let expected = [
            Warning::TooOld { version: "6.2.14".to_owned() },
            Warning::Evicts { policy: "allkeys-lru".to_owned() },
            Warning::NotDurable,
        ];
        assert_eq!(warnings(info), expected);
        let info = "redis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(warnings(info), [Warning::Unknown { field: "aof_enabled" }]);
        assert!(warnings(info)[0].mend().contains("appendonly yes"));
    }
}
