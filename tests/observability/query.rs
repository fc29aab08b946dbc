//! A query and the metrics that it names.

use promql_parser::parser::{self, AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use rlaif_service::metrics::Kind;
use rlaif_service::metrics::definitions::GROUPS;
use std::collections::BTreeSet;
use std::convert::Infallible;

/// Labels that whoever scrapes adds: the service and the process.
const TARGET: [&str; 2] = ["job", "instance"];

/// A query that was understood, and everything in it is there.
pub struct Query {
    /// Labels that its series may have.
    pub labels: BTreeSet<String>,
    /// Scrape jobs that it asks for by name.
    pub jobs: BTreeSet<String>,
}

impl Query {
    /// Checks a query.
    ///
    /// # Errors
    /// What is wrong with it: it does not parse, or a metric or a label is not exported.
    pub fn check(text: &str) -> Result<Self, String> {
        let expr = parser::parse(text).map_err(|e| format!("{text}: {e}"))?;
        let mut nodes = Nodes::default();
        let Ok(_) = walk_expr(&mut nodes, &expr);
        let (mut labels, mut jobs) = (BTreeSet::new(), BTreeSet::new());
        for selector in &nodes.selectors {
            let known = labels_of(selector).map_err(|e| format!("{text}: {e}"))?;
            let name = selector.name.as_deref().unwrap_or_default();
            for matcher in &selector.matchers.matchers {
                if !known.contains(&matcher.name) {
                    return Err(format!("{text}: {name} has no label {}", matcher.name));
                }
                if matcher.name == "job" {
                    jobs.insert(matcher.value.clone());
                }
            }
            labels.extend(known);
        }
        for (label, below) in &nodes.grouped {
            for selector in below {
                if !labels_of(selector)?.contains(label) {
                    let name = selector.name.as_deref().unwrap_or_default();
                    return Err(format!("{text}: {name} is grouped by {label}, which it has not"));
                }
            }
        }
        Ok(Self { labels, jobs })
    }
}

/// Labels of the series that a selector may find.
fn labels_of(selector: &VectorSelector) -> Result<BTreeSet<String>, String> {
    let name = selector.name.as_deref().ok_or("a selector names no metric")?;
    let target = TARGET.map(str::to_owned);
    match name {
        // Prometheus' own: whether a scrape succeeded, and which alerts fire.
        "up" => return Ok(target.into()),
        "ALERTS" => return Ok(["alertname", "alertstate", "severity"].map(str::to_owned).into()),
        _ => {}
    }
    let metrics = GROUPS.iter().flat_map(|group| group.metrics);
    let found = metrics.copied().find(|metric| metric.series().iter().any(|series| series == name));
    let metric = found.ok_or_else(|| format!("no service exports {name}"))?;
    let bucket = (metric.kind == Kind::Histogram && name.ends_with("_bucket")).then_some("le");
    Ok(metric.labels().chain(target).chain(bucket.map(str::to_owned)).collect())
}

#[derive(Default)]
struct Nodes {
    selectors: Vec<VectorSelector>,
    /// Labels that series are grouped or matched by, each with the selectors of these series.
    grouped: Vec<(String, Vec<VectorSelector>)>,
}

impl Nodes {
    fn group(&mut self, by: Option<&LabelModifier>, below: &[&Expr]) {
        let Some(LabelModifier::Include(labels)) = by else { return };
        let mut nodes = Self::default();
        for expr in below {
            let Ok(_) = walk_expr(&mut nodes, expr);
        }
        for label in &labels.labels {
            self.grouped.push((label.clone(), nodes.selectors.clone()));
        }
    }
}

impl ExprVisitor for Nodes {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => self.selectors.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.selectors.push(matrix.vs.clone()),
            Expr::Aggregate(AggregateExpr { expr, modifier, .. }) => {
                self.group(modifier.as_ref(), &[expr]);
            }
            Expr::Binary(BinaryExpr { lhs, rhs, modifier, .. }) => {
                let on = modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
                self.group(on, &[lhs, rhs]);
            }
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn a_query_that_could_never_have_an_answer_is_found_out() {
    for (query, why) in [
        ("sum(rate(rlaif_items_settled_total[5m])", "unclosed"),
        ("rlaif_items_settled", "no service exports rlaif_items_settled"),
        ("rlaif_batcher_wait_seconds", "no service exports rlaif_batcher_wait_seconds"),
        ("rlaif_jobs{state=\"failed\"}", "no label state"),
        ("sum by (rlaif_job_id) (rlaif_jobs)", "grouped by rlaif_job_id"),
        ("rlaif_jobs / on (rlaif_engine) rlaif_jobs", "grouped by rlaif_engine"),
        ("sum by (le) (rate(rlaif_batcher_wait_seconds_sum[5m]))", "grouped by le"),
        ("{__name__=~\"rlaif_.*\"}", "names no metric"),
    ] {
        let error =
            Query::check(query).err().unwrap_or_else(|| panic!("{query} is taken for good"));
        assert!(error.contains(why), "{error}");
    }
    Query::check("sum by (le, job) (rate(rlaif_batcher_wait_seconds_bucket[5m]))").unwrap();
}
