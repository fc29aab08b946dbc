//! Alerts: what they ask, what they tell, and that each has a test of its own.

use crate::query::Query;
use crate::{files, read};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// What promtool runs.
#[derive(Deserialize)]
struct UnitTests {
    rule_files: Vec<String>,
    tests: Vec<UnitTest>,
}

#[derive(Deserialize)]
struct UnitTest {
    promql_expr_test: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    expr: String,
    #[serde(default)]
    exp_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    labels: String,
}

fn parse<T: serde::de::DeserializeOwned>(file: &std::path::Path) -> T {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn alerts() -> Vec<Alert> {
    let rules = files("alerts", "yml").into_iter().map(|file| parse::<Rules>(&file));
    rules.flat_map(|rules| rules.groups).flat_map(|group| group.rules).collect()
}

/// Scrape jobs that alerts ask for by name.
pub fn jobs() -> BTreeSet<String> {
    alerts()
        .iter()
        .flat_map(|alert| Query::check(&alert.expr).expect("checked below").jobs)
        .collect()
}

#[test]
fn every_alert_asks_for_what_services_export() {
    for Alert { alert, expr, annotations, .. } in alerts() {
        let query = Query::check(&expr).unwrap_or_else(|error| panic!("{alert}: {error}"));
        for text in annotations.values() {
            for told in text.split("$labels.").skip(1) {
                let end = told.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                let label = &told[..end.unwrap_or(told.len())];
                assert!(query.labels.contains(label), "{alert} tells of a label {label}: {text}");
            }
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_means_and_what_to_do() {
    let mut names = BTreeSet::new();
    for Alert { alert, labels, annotations, .. } in alerts() {
        assert!(["critical", "warning"].contains(&labels["severity"].as_str()), "{alert}");
        for part in ["summary", "description", "runbook"] {
            let text = annotations.get(part).map_or("", |text| text.trim());
            assert!(
                text.ends_with('.'),
                "{alert} has no {part}, or not a whole sentence: {text:?}"
            );
        }
        assert!(alert.starts_with("Rlaif"), "{alert} could be somebody else's");
        assert!(names.insert(alert.clone()), "there are two {alert}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let tests: Vec<UnitTests> = files("alerts/tests", "yml").iter().map(|f| parse(f)).collect();
    let tested: BTreeSet<&str> =
        tests.iter().flat_map(|t| &t.rule_files).map(|f| f.trim_start_matches("../")).collect();
    let rules = files("alerts", "yml");
    let rules = rules.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
    let rules: BTreeSet<&str> = rules.collect();
    assert_eq!(tested, rules, "files of rules and of their tests");
    let expected: Vec<&Expectation> =
        tests.iter().flat_map(|t| &t.tests).flat_map(|test| &test.promql_expr_test).collect();
    for Alert { alert, .. } in alerts() {
        let named = format!("alertname=\"{alert}\"");
        let fires = |e: &&&Expectation| e.exp_samples.iter().any(|s| s.labels.contains(&named));
        let fires = expected.iter().find(fires);
        assert!(fires.is_some_and(|e| e.expr.starts_with("ALERTS{")), "{alert} fires in no test");
    }
}
