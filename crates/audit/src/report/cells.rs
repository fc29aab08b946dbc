//! Cells of the report's tables: one way to write each kind of number, and "n/a" for none.

use crate::{ArmAudit, Audit};
use rlaif_report::{Block, Plot, Point, Reference, Series, Style, Table};
use rlaif_stats::{Estimate, Interval, Share};

/// What stands where there is no number.
pub(super) const NOTHING: &str = "n/a";

/// `77.4 [75.0, 79.6]`, in per cent.
pub(super) fn percent(share: &Share) -> String {
    let cell =
        share.share.zip(share.interval).map(|(share, interval)| hundredfold(share, &interval));
    cell.unwrap_or_else(|| NOTHING.into())
}

/// `+3.1 [-0.4, 6.6]`, in percentage points.
pub(super) fn points(estimate: Option<&Estimate>) -> String {
    let Some(estimate) = estimate else { return NOTHING.into() };
    match &estimate.interval {
        Some(interval) => hundredfold(estimate.value, interval),
        None => one_decimal(100.0 * estimate.value),
    }
}

/// `0.412 [0.380, 0.447]`.
pub(super) fn estimate(estimate: Option<&Estimate>) -> String {
    estimate.map_or(NOTHING.into(), |e| with_interval(e.value, e.interval.as_ref()))
}

/// `1.734 [1.201, 2.512]`, or without the interval where there is none.
pub(super) fn with_interval(value: f64, interval: Option<&Interval>) -> String {
    let ends = interval.map(|i| format!(" [{}, {}]", number(i.low), number(i.high)));
    number(value) + &ends.unwrap_or_default()
}

/// Three decimals.
pub(super) fn number(value: f64) -> String {
    // Adding zero turns -0 into 0, also where rounding made it.
    format!("{:.3}", (1000.0 * value).round() / 1000.0 + 0.0)
}

/// Three decimals, or that it is smaller.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { number(p) }
}

fn hundredfold(value: f64, interval: &Interval) -> String {
    let [low, high] = [interval.low, interval.high].map(|end| one_decimal(100.0 * end));
    format!("{} [{low}, {high}]", one_decimal(100.0 * value))
}

fn one_decimal(value: f64) -> String {
    format!("{:.1}", (10.0 * value).round() / 10.0 + 0.0)
}

/// `2. summary: tiny, base, 0-shot`: arms are called by their number in plots.
pub(super) fn name(number: usize, arm: &ArmAudit) -> String {
    format!("{}. {}", number + 1, arm.describe())
}

/// A table with one row for each arm.
pub(super) fn by_arm(
    audit: &Audit,
    columns: &[&str],
    row: impl Fn(&ArmAudit) -> Vec<String>,
) -> Block {
    let rows = audit.arms.iter().enumerate().map(|(number, arm)| {
        let mut cells = vec![name(number, arm)];
        cells.extend(row(arm));
        cells
    });
    table(&[&["arm"], columns].concat(), rows.collect())
}

/// A table.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> Block {
    Block::Table(Table { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows })
}

/// A plot.
pub(super) fn plot(
    title: &str,
    (x_label, y_label): (&str, &str),
    series: Vec<Series>,
    reference: Option<Reference>,
) -> Block {
    Block::Plot(Plot {
        title: title.into(),
        x_label: x_label.into(),
        y_label: y_label.into(),
        series,
        reference,
    })
}

/// Shares in per cent with their intervals; what has no number is left out.
pub(super) fn shares<'a>(
    name: &str,
    style: Style,
    shares: impl IntoIterator<Item = (f64, &'a Share)>,
) -> Series {
    let point = |(x, share): (f64, &Share)| {
        let interval = share.interval?;
        Some(Point {
            x,
            y: 100.0 * share.share?,
            low: Some(100.0 * interval.low),
            high: Some(100.0 * interval.high),
        })
    };
    Series { name: name.into(), points: shares.into_iter().filter_map(point).collect(), style }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_the_papers_table() {
        assert_eq!(percent(&Share::of(774.0, 1000)), "77.4 [74.7, 79.9]");
        assert_eq!(percent(&Share::default()), "n/a");
        assert_eq!((number(-0.0001), p_value(0.0004)), ("0.000".into(), "< 0.001".into()));
        let difference = Estimate {
            value: -0.03,
            interval: Some(Interval { low: -0.051, high: -0.0001 }),
            count: 9,
            clusters: 9,
        };
        assert_eq!(points(Some(&difference)), "-3.0 [-5.1, 0.0]");
        assert_eq!(points(Some(&Estimate { interval: None, ..difference })), "-3.0");
        assert_eq!(estimate(None), "n/a");
    }
}
