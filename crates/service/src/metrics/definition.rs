//! What a metric is, apart from its values. Instruments are made of definitions, the reference page is
//! written from them, and dashboards and alerts are held against them, so none of the four can say
//! something else than the others.

/// A metric that a service exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What it is counted in, by UCUM: `s`, or things in braces, as `{item}`.
    pub unit: &'static str,
    /// Keys of all attributes that its values may have, by OpenTelemetry's names.
    pub attributes: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// How a metric's values behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, and starts from 0 with its process.
    Counter,
    /// A level: the last value counts.
    Gauge,
    /// Observations, by size.
    Histogram,
}

impl Definition {
    /// The name that Prometheus has it under; a histogram's series add `_bucket`, `_sum` and `_count`.
    pub fn prometheus_name(&self) -> String {
        let unit = if self.unit == "s" { "_seconds" } else { "" };
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{suffix}", self.name.replace('.', "_"))
    }

    /// Names of the series that Prometheus keeps of it.
    pub fn series(&self) -> Vec<String> {
        let name = self.prometheus_name();
        match self.kind {
            Kind::Histogram => ["bucket", "sum", "count"].map(|s| format!("{name}_{s}")).to_vec(),
            Kind::Counter | Kind::Gauge => vec![name],
        }
    }

    /// Prometheus' labels for its attributes.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.attributes.iter().map(|key| key.replace('.', "_"))
    }
}
