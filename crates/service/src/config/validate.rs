//! Checks over a whole configuration that report every problem, not only the first.

use std::fmt;
use std::net::SocketAddr;

/// A configuration, or a section of one, that knows what its values must satisfy.
pub trait Validate {
    /// Adds what is wrong to `problems`.
    fn validate(&self, problems: &mut Problems);
}

/// What is wrong with a configuration, each with the path of the field.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    path: Vec<String>,
    found: Vec<String>,
}

impl Problems {
    /// The problems of `config`.
    pub fn of(config: &impl Validate) -> Self {
        let mut problems = Self::default();
        config.validate(&mut problems);
        problems
    }

    /// Adds a problem unless `holds`. `what` goes on after the field's path: "must be at least 1".
    pub fn check(&mut self, holds: bool, field: &str, what: &str) {
        if !holds {
            self.add(field, what);
        }
    }

    /// Adds a problem of `field`.
    pub fn add(&mut self, field: &str, what: impl fmt::Display) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).chain([field]).collect();
        self.found.push(format!("{} {what}", path.join(".")));
    }

    /// Checks the field `address`: one that other machines reach takes permission.
    pub fn check_address(&mut self, address: SocketAddr, allow_remote: bool) {
        let meant = "is reachable from other machines; set allow_remote = true if that is meant";
        self.check(allow_remote || address.ip().is_loopback(), "address", meant);
    }

    /// Checks a section of the configuration; its fields are reported below `name`.
    pub fn section(&mut self, name: &str, section: &impl Validate) {
        self.path.push(name.to_owned());
        section.validate(self);
        self.path.pop();
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found.join("; "))
    }
}
