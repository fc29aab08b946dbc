//! What services must be told alike. Whether they meet in one Redis is seen there: it may have several addresses.

use super::settings::Told;
use super::{Finding, alike, names};
use rlaif_queue::Options;
use std::time::Duration;

/// Whether the services meet in one artifact store, and treat what is queued by the same rules.
pub fn check(told: &[Told]) -> Vec<Finding> {
    let stores = alike(told, |service| Some(service.artifacts.url.clone()));
    let why = "one does not find what another has stored";
    let stores = apart("artifacts.url", &stores, why);
    let rules = alike(told, |service| Some(rules(&service.queue.options)));
    let rules = apart("queue.options", &rules, "they treat the same items by different rules");
    stores.into_iter().chain(rules).collect()
}

/// What must be alike of a queue's options: patience is everyone's own.
fn rules(options: &Options) -> Options {
    Options { patience: Duration::ZERO, ..options.clone() }
}

fn apart<T: std::fmt::Debug>(
    setting: &'static str,
    groups: &[(T, Vec<&Told>)],
    why: &str,
) -> Option<Finding> {
    if groups.len() < 2 {
        return None;
    }
    let values = groups.iter().map(|(value, services)| format!("{}: {value:?}", names(services)));
    let values = values.collect::<Vec<_>>().join("; ");
    let mend = format!("give all services the same {setting}");
    Some(Finding::wrong("agreement", setting, format!("{why} ({values})"), mend))
}
