//! `docs/reference/metrics.md`, which is written from the definitions by `docs/reference/write`.

use crate::{read, root};
use rlaif_service::metrics::definitions::GROUPS;
use rlaif_service::metrics::{Definition, Kind};
use std::fmt::Write;

const PAGE: &str = "docs/reference/metrics.md";

const INTRODUCTION: &str = "\
# Metrics

Every service shows its metrics as Prometheus reads them at `/metrics` of `metrics.address`, and pushes them to
`telemetry.otlp.endpoint` where that is set. Pushed, they have OpenTelemetry's names: `rlaif.queue.oldest_age` with
the unit `s` is scraped as `rlaif_queue_oldest_age_seconds`, and a counter gets `_total`. Dots in attributes become
underscores too. A histogram is scraped as `_bucket`, `_sum` and `_count`.

`target_info` names the service, its version and its instance. A metric is there once there is something to say:
a counter after its first event, a job's metrics while it goes on and for 15 minutes after its end.
Dashboards and alerts: [deploy/observability](../../deploy/observability/README.md).

This page is written from `crates/service/src/metrics/definitions.rs` by `tests/observability/reference.rs`.
";

fn kind(definition: &Definition) -> &'static str {
    match definition.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn unit(definition: &Definition) -> &str {
    definition.unit.trim_matches(['{', '}'])
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in GROUPS {
        let services: Vec<String> = group.services.iter().map(|name| format!("`{name}`")).collect();
        write!(page, "\n## {}\n\nOf {}.\n\n", group.title, services.join(", ")).unwrap();
        page.push_str("| metric | kind | unit | labels | |\n|---|---|---|---|---|\n");
        for metric in group.metrics {
            let labels: Vec<String> = metric.labels().map(|label| format!("`{label}`")).collect();
            let (name, labels) = (metric.prometheus_name(), labels.join(" "));
            let (kind, unit, help) = (kind(metric), unit(metric), metric.help);
            writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |").unwrap();
        }
    }
    page
}

#[test]
fn the_reference_is_what_the_code_says() {
    let page = page();
    if std::env::var_os("RLAIF_WRITE_REFERENCE").is_some() {
        std::fs::write(root(PAGE), &page).unwrap();
    }
    assert_eq!(read(root(PAGE)), page, "write it anew: docs/reference/write");
}

#[test]
fn a_metric_is_defined_once_and_says_what_it_means() {
    let mut names: Vec<String> =
        GROUPS.iter().flat_map(|group| group.metrics).map(|m| m.prometheus_name()).collect();
    for metric in GROUPS.iter().flat_map(|group| group.metrics) {
        assert!(metric.help.ends_with('.'), "{}: {:?}", metric.name, metric.help);
    }
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
