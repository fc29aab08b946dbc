//! What is wrong with settings: everything at once, each with the path of its setting.

use std::fmt;

/// Something wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the setting: `rl.batch_size`; empty where it is all of them.
    pub field: String,
    /// What is wrong with it; goes on after the path: "must be at least 1".
    pub what: String,
}

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.what),
            field => write!(f, "{field} {}", self.what),
        }
    }
}

/// All that is wrong, in the order in which it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a problem of `field` unless `holds`.
    pub fn check(&mut self, holds: bool, field: &str, what: impl Into<String>) {
        if !holds {
            self.0.push(Problem::new(field, what));
        }
    }

    /// Adds a problem where a number of things is 0.
    pub fn check_positive(&mut self, field: &str, count: usize) {
        self.check(count > 0, field, "must be at least 1");
    }

    /// Adds the problems of a section of the settings.
    pub fn section(&mut self, name: &str, problems: Self) {
        let within = |p: Problem| match p.field.as_str() {
            "" => Problem::new(name, p.what),
            field => Problem::new(format!("{name}.{field}"), p.what),
        };
        self.0.extend(problems.0.into_iter().map(within));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&each.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sections_problems_carry_its_name() {
        let mut inner = Problems::default();
        inner.check_positive("batch_size", 0);
        inner.check_positive("epochs", 1);
        inner.check(false, "", "is no table");
        let mut outer = Problems::default();
        outer.check(false, "name", "is missing");
        outer.section("rl", inner);
        let text = "name is missing; rl.batch_size must be at least 1; rl is no table";
        assert_eq!(outer.to_string(), text);
    }
}
