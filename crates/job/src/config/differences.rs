//! In which settings two jobs differ, for people.

use super::Job;
use std::collections::BTreeSet;
use toml::{Table, Value};

impl Job {
    /// The settings in which this job is another one than `before`: `rl.steps is 5 and was 2`. Defaults are filled
    /// in on both sides, so a setting that came with a later version is no difference.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &before.settings(), &self.settings(), &mut found);
        found
    }

    fn settings(&self) -> Table {
        toml::from_str(&self.to_toml()).expect("a job is written as TOML")
    }
}

fn compare(path: &str, before: &Table, now: &Table, found: &mut Vec<String>) {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (before.get(name), now.get(name)) {
            (Some(Value::Table(before)), Some(Value::Table(now))) => {
                compare(&path, before, now, found);
            }
            (Some(before), Some(now)) if before == now => {}
            (before, now) => {
                let shown = |value: Option<&Value>| {
                    value.map_or_else(|| "not set".to_owned(), Value::to_string)
                };
                found.push(format!("{path} is {} and was {}", shown(now), shown(before)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{DIRECT, load};

    #[test]
    fn jobs_differ_by_the_paths_of_their_settings() {
        let before = load(DIRECT).unwrap();
        assert_eq!(before.differences(&before), [""; 0]);
        let edited = DIRECT.replacen("steps = 1", "steps = 5\nema_decay = 0.5", 1);
        let mut now = load(&format!("seed = 9\n{edited}")).unwrap();
        now.data = before.data.clone();
        let expected = [
            "rl.ema_decay is 0.5 and was not set",
            "rl.steps is 5 and was 1",
            "seed is 9 and was 0",
        ];
        assert_eq!(now.differences(&before), expected);
    }
}
