//! The Redis of the queues: whether it answers, keeps its promises, allows what queues need, and has the time.

use super::settings::Told;
use super::{Finding, Limits, alike, names};
use rlaif_queue::{Checkup, Error, Warning};
use tokio::runtime::Runtime;

/// How far a clock may be off, in seconds: leases are counted by Redis alone, but certificates, tokens and the
/// times in reports are not.
const MAX_CLOCK_OFF_S: f64 = 5.0;

/// Looks over each Redis that services are told of, and whether it is one.
pub fn check(told: &[Told], limits: &Limits, runtime: &Runtime) -> Vec<Finding> {
    let (mut findings, mut met) = (Vec::new(), Vec::new());
    for (address, services) in alike(told, |service| Some(service.queue.address())) {
        let place = format!("queue.url of {} ({address})", names(&services));
        let queues: Vec<&str> =
            services.iter().flat_map(|service| &service.queues).copied().collect();
        let looked = rlaif_queue::checkup(&address, &queues, limits.patience);
        match runtime.block_on(looked) {
            Ok(checkup) => {
                findings.extend(found(&place, &checkup));
                met.extend(checkup.identity.map(|identity| (identity, place)));
            }
            Err(error) => findings.push(unusable(&place, &error)),
        }
    }
    findings.extend(one_redis(&met));
    findings
}

/// One Redis may have several addresses, and each service its own user; but services meet in one.
fn one_redis(met: &[(String, String)]) -> Option<Finding> {
    let (first, _) = met.first()?;
    if met.iter().all(|(identity, _)| identity == first) {
        return None;
    }
    let places: Vec<&str> = met.iter().map(|(_, place)| place.as_str()).collect();
    let what =
        "they are not one Redis and one database: the services never meet, and work waits for ever";
    let mend = "give all services the same queue.url";
    Some(Finding::wrong("agreement", places.join(" and "), what, mend))
}

fn found(place: &str, checkup: &Checkup) -> Vec<Finding> {
    let mut findings: Vec<Finding> = checkup
        .warnings
        .iter()
        .map(|warning| match warning {
            Warning::Unknown { .. } => {
                Finding::unknown("redis", place, warning.what(), warning.mend())
            }
            _ => Finding::wrong("redis", place, warning.what(), warning.mend()),
        })
        .collect();
    if findings.is_empty() {
        let version = checkup.version.as_deref().unwrap_or("of unknown version");
        findings.push(Finding::well(
            "redis",
            place,
            format!(
                "redis {version} answers, is durable, evicts nothing and allows what queues need"
            ),
        ));
    }
    findings.push(clock(place, checkup));
    findings
}

fn clock(place: &str, checkup: &Checkup) -> Finding {
    let (ahead, blur) = (checkup.clock_ahead_s, checkup.round_trip.as_secs_f64());
    if ahead.abs() > MAX_CLOCK_OFF_S + blur {
        let what = format!("redis is {ahead:+.1} s from this machine's clock");
        return Finding::wrong("clock", place, what, "let NTP set the clocks of both machines");
    }
    Finding::well("clock", place, format!("within {:.1} s of this machine's", ahead.abs().max(0.1)))
}

fn unusable(place: &str, error: &Error) -> Finding {
    let (what, mend) = match error {
        Error::Unavailable { source, .. } => (
            format!("nobody answers ({source})"),
            "start Redis, or set queue.url (RLAIF__QUEUE__URL) to where it is, rediss:// where it speaks TLS; \
             look for a firewall between",
        ),
        Error::Denied(denial) => (denial.what().to_owned(), denial.mend()),
        Error::Refused { answer, .. } => (
            format!("redis refuses us: {answer}"),
            "correct host, port and database in queue.url (RLAIF__QUEUE__URL), or what Redis objects to",
        ),
        error => (error.to_string(), "correct queue.url (RLAIF__QUEUE__URL) and queue.ca_file"),
    };
    Finding::wrong("redis", place, what, mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn checkup(clock_ahead_s: f64, warnings: Vec<Warning>) -> Checkup {
        let round_trip = Duration::from_millis(1);
        let (version, identity) = (Some("7.4.1".to_owned()), None);
        Checkup { version, identity, warnings, clock_ahead_s, round_trip }
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        for (ahead, wrong) in [(0.3, false), (-4.0, false), (61.0, true), (-61.0, true)] {
            let finding = clock("here", &checkup(ahead, Vec::new()));
            assert_eq!(finding.is_wrong(), wrong, "{finding}");
        }
        assert!(clock("here", &checkup(-61.0, Vec::new())).to_string().contains("-61.0 s"));
    }

    #[test]
    fn what_a_managed_redis_hides_is_unknown_and_not_wrong() {
        let hidden = Warning::Unknown { field: "aof_enabled" };
        assert!(!found("here", &checkup(0.0, vec![hidden])).iter().any(Finding::is_wrong));
        let old = Warning::TooOld { version: "6.2.14".to_owned() };
        let findings = found("here", &checkup(0.0, vec![old]));
        assert!(findings[0].is_wrong() && findings[0].to_string().contains("6.2.14"));
    }
}
