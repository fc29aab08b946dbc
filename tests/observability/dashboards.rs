//! Dashboards: what their panels ask, and that they work with any Prometheus and any job.

use crate::query::Query;
use crate::{files, read};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What Grafana puts in for its variables.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "1m"), ("$job", "quickstart-1")];

fn dashboards() -> Vec<(PathBuf, Value)> {
    let parse = |path: PathBuf| {
        let board = serde_json::from_str(&read(&path));
        let board = board.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, board)
    };
    files("dashboards", "json").into_iter().map(parse).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Panels that show something.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "/panels").iter().filter(|panel| text(panel, "/type") != "row")
}

/// A query as Prometheus gets it.
fn filled(expr: &str) -> String {
    VARIABLES.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value))
}

#[test]
fn every_query_asks_for_what_services_export() {
    for (path, board) in dashboards() {
        for panel in panels(&board) {
            let title = format!("{}, {}", path.display(), text(panel, "/title"));
            let targets = list(panel, "/targets");
            assert!(!targets.is_empty(), "{title} asks nothing");
            for target in targets {
                let expr = filled(text(target, "/expr"));
                assert!(!expr.contains('$'), "{title}: a variable that nobody knows: {expr}");
                let query = Query::check(&expr).unwrap_or_else(|error| panic!("{title}: {error}"));
                for part in text(target, "/legendFormat").split("{{").skip(1) {
                    let label = part.split("}}").next().unwrap();
                    assert!(query.labels.contains(label), "{title}: {expr} has no label {label}");
                }
            }
        }
    }
}

#[test]
fn every_dashboard_lets_its_reader_choose_the_prometheus_and_the_job() {
    for (path, board) in dashboards() {
        let path = path.display();
        let variables = list(&board, "/templating/list");
        let variable = |name| {
            let found = variables.iter().find(|variable| text(variable, "/name") == name);
            found.unwrap_or_else(|| panic!("{path} has no variable {name}"))
        };
        assert_eq!(text(variable("datasource"), "/type"), "datasource", "{path}");
        // label_values(metric, label)
        let query = text(variable("job"), "/query");
        let asked = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) =
            asked.and_then(|asked| asked.split_once(", ")).expect("two arguments");
        let labels = Query::check(metric).unwrap_or_else(|e| panic!("{path}: {e}")).labels;
        assert!(labels.contains(label), "{path}: {query}");
        let uses = |panel: &Value| {
            assert_eq!(text(panel, "/datasource/uid"), "${datasource}", "{path}: {panel}");
            list(panel, "/targets").iter().any(|target| text(target, "/expr").contains("$job"))
        };
        assert!(panels(&board).filter(|panel| uses(panel)).count() > 0, "{path} is of no job");
    }
}

#[test]
fn panels_are_named_explained_and_have_their_own_place() {
    let mut boards = BTreeSet::new();
    for (path, board) in dashboards() {
        let path = path.display();
        assert!(boards.insert(text(&board, "/uid").to_owned()), "{path} has the uid of another");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&board, "/panels") {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path}: {panel}");
            assert!(!text(panel, "/title").is_empty(), "{path}: {panel}");
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            let [x, y, w, h] = place;
            assert!(x + w <= 24, "{path}: {panel}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(places.insert(cell), "{path}: {} lies on another", text(panel, "/title"));
            }
        }
        for panel in panels(&board) {
            assert!(text(panel, "/description").ends_with('.'), "{path}: {panel}");
        }
    }
}
