//! The verdict on a history: what was promised, and which of it was broken.

use crate::history::{History, Inflicted};
use crate::plan::Fault;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a busy machine and further faults may add to a promise before it counts as broken: the test
/// asks whether the cluster comes back, the table shows how fast.
const ALLOWANCE: Duration = Duration::from_secs(20);

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A task, label or preference that should be there is not.
    Missing(String),
    /// One is there, or was written to a queue, more than once.
    Duplicate(String),
    /// One is there that an undisturbed run does not have.
    Unexpected(String),
    /// A dead letter that is no poison, or came another time, or after another number of starts.
    WrongDeadLetter(String),
    /// Poison that did not become a dead letter.
    PoisonLived(String),
    /// A file or a model is another than that of an undisturbed run.
    Differs(String),
    /// A planned fault that was not done: the storm was too kind to prove anything.
    NotInflicted(Fault),
    /// After this fault nothing went on, or not in time.
    NotRecovered(Fault, String),
    /// Something that nobody did.
    Surprise(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Duplicate(what) => write!(f, "more than once: {what}"),
            Self::Unexpected(what) => write!(f, "not in an undisturbed run: {what}"),
            Self::WrongDeadLetter(what) => write!(f, "wrong dead letter: {what}"),
            Self::PoisonLived(what) => write!(f, "poison that is no dead letter: {what}"),
            Self::Differs(what) => write!(f, "another than undisturbed: {what}"),
            Self::NotInflicted(fault) => write!(f, "planned and not done: {fault}"),
            Self::NotRecovered(fault, what) => write!(f, "no recovery: {fault}, {what}"),
            Self::Surprise(what) => write!(f, "surprise: {what}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LabelerKilled => "labeler killed",
            Self::LabelerFrozen => "labeler frozen past its lease",
            Self::RedisKilled => "Redis killed",
            Self::CoordinatorKilled => "coordinator killed",
            Self::LearnerKilled => "learner killed in a step",
            Self::CheckpointTorn => "learner killed in a checkpoint",
        })
    }
}

/// How soon things go on after a fault, as ARCHITECTURE.md promises it.
fn promised(fault: Fault, lease: Duration) -> Duration {
    match fault {
        Fault::RedisKilled | Fault::CoordinatorKilled => Duration::from_secs(5),
        _ => lease + Duration::from_secs(1),
    }
}

/// How long it took until things went on after a fault. While Redis is away nobody can renew, so after
/// a restart holders get one lease to do so before anybody takes over: the time counts from there.
fn recovery(history: &History, done: &Inflicted) -> Option<Duration> {
    let end = done.at + done.recovery?;
    let restarts = history.inflicted.iter().filter(|other| other.fault == Fault::RedisKilled);
    let restarts = restarts.map(|restart| restart.at).filter(|at| *at <= end);
    let begin = restarts.max().unwrap_or_default().max(done.at);
    Some(end.saturating_sub(begin))
}

/// What a history comes to. Shown, it is a table.
pub struct Verdict<'a> {
    history: &'a History,
    /// Broken promises; none where all were kept.
    pub violations: Vec<Violation>,
}

/// Judges a history.
pub fn judge(history: &History) -> Verdict<'_> {
    let (is, should) = (&history.outcome, &history.undisturbed);
    let mut violations = Vec::new();
    violations.extend(compare("result in the journal", &is.tasks, &should.tasks));
    violations.extend(compare("result in the queue", &history.written.results, &should.tasks));
    violations.extend(compare("label", &is.labels, &should.labels));
    violations.extend(compare("preference", &is.preferences, &should.preferences));
    violations.extend(dead_letters(history));
    violations.extend(files(history));
    violations.extend(faults(history));
    violations.extend(history.surprises.iter().cloned().map(Violation::Surprise));
    Verdict { history, violations }
}

/// Things that are there against those that should be, each as often as it should be.
fn compare<'a>(
    kind: &str,
    is: impl IntoIterator<Item = &'a String>,
    should: impl IntoIterator<Item = &'a String>,
) -> Vec<Violation> {
    let mut counts: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
    is.into_iter().for_each(|one| counts.entry(one).or_default().0 += 1);
    should.into_iter().for_each(|one| counts.entry(one).or_default().1 += 1);
    let judge = |(name, (is, should)): (&String, (usize, usize))| {
        let what = || format!("{kind} {name}");
        match (is, should) {
            (is, should) if is < should => Some(Violation::Missing(what())),
            (_, 0) => Some(Violation::Unexpected(what())),
            (is, should) if is > should => Some(Violation::Duplicate(what())),
            _ => None,
        }
    };
    counts.into_iter().filter_map(judge).collect()
}

/// Each poison dies once, of all its starts, and nothing else does.
fn dead_letters(history: &History) -> Vec<Violation> {
    let mut poison = history.poison.clone();
    let mut violations = Vec::new();
    for (task, starts) in &history.written.dead_letters {
        if !poison.remove(task) || *starts != history.max_starts {
            violations.push(Violation::WrongDeadLetter(format!("{task} after {starts} starts")));
        }
    }
    violations.extend(poison.into_iter().map(Violation::PoisonLived));
    violations
}

fn files(history: &History) -> Vec<Violation> {
    let (is, should) = (&history.outcome.manifest, &history.undisturbed.manifest);
    if is == should {
        return Vec::new();
    }
    let hashes = should["files"].as_object().into_iter().flatten();
    let differ = hashes.filter(|(name, hash)| is["files"][name] != **hash);
    let mut differ: Vec<_> = differ.map(|(name, _)| Violation::Differs(name.clone())).collect();
    if differ.is_empty() {
        differ.push(Violation::Differs("the manifest".to_owned()));
    }
    differ
}

fn faults(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for fault in Fault::ALL {
        let planned = history.planned.iter().filter(|planned| **planned == fault).count();
        let done = history.inflicted.iter().filter(|done| done.fault == fault).count();
        violations.extend((done..planned).map(|_| Violation::NotInflicted(fault)));
    }
    for done in &history.inflicted {
        let limit = promised(done.fault, history.lease) + ALLOWANCE;
        if recovery(history, done).is_none_or(|recovery| recovery > limit) {
            violations.push(Violation::NotRecovered(done.fault, done.victim.clone()));
        }
    }
    violations
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let History { seed, took, undisturbed, written, poison, struck, .. } = self.history;
        writeln!(f, "seed {seed}, {:.1} s, lease {:?}", took.as_secs_f64(), self.history.lease)?;
        writeln!(
            f,
            "{:<32}{:>8}{:>10}{:>12}{:>12}",
            "fault", "done", "in time", "longest", "promised"
        )?;
        for fault in Fault::ALL {
            let promised = promised(fault, self.history.lease);
            let of = self.history.inflicted.iter().filter(|done| done.fault == fault);
            let recoveries: Vec<Duration> =
                of.clone().filter_map(|done| recovery(self.history, done)).collect();
            let in_time = recoveries.iter().filter(|recovery| **recovery <= promised).count();
            let longest = recoveries.into_iter().max().unwrap_or_default().as_secs_f64();
            let (done, promised) = (of.count(), promised.as_secs_f64());
            writeln!(f, "{fault:<32}{done:>8}{in_time:>10}{longest:>10.2} s{promised:>10.2} s")?;
        }
        let count = |is: fn(&Violation) -> bool| self.violations.iter().filter(|v| is(v)).count();
        let (tasks, labels) = (undisturbed.tasks.len(), undisturbed.labels.len());
        let missing = count(|v| matches!(v, Violation::Missing(_)));
        let duplicate = count(|v| matches!(v, Violation::Duplicate(_)));
        writeln!(
            f,
            "{tasks} items, {labels} of them labels: {missing} missing, {duplicate} duplicate"
        )?;
        let (dead, poison) = (written.dead_letters.len(), poison.len());
        writeln!(f, "{dead} dead letters, {poison} poison, which killed {struck} labelers")?;
        let same = !self.violations.iter().any(|v| matches!(v, Violation::Differs(_)));
        let weights = if same { "identical to" } else { "ANOTHER than" };
        writeln!(f, "files and trained weights: {weights} an undisturbed run's")?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "BROKEN: {violation}"))?;
        let kept = if self.violations.is_empty() { "kept" } else { "BROKEN" };
        write!(f, "verdict: promises {kept}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Outcome, Written};
    use serde_json::json;

    const POISON: &str = "3-label/00000001";

    /// A storm in which every promise was kept.
    fn kept() -> History {
        let tasks = ["0-check/policy", "3-label/00000000", POISON].map(str::to_owned);
        let labels = ["one", "two"].map(str::to_owned).to_vec();
        let outcome = Outcome {
            tasks: tasks.clone().into(),
            labels: labels.clone(),
            preferences: labels,
            manifest: json!({"seed": 3, "files": {"policy": "a1", "labels": "b2"}}),
        };
        let recovery = Some(Duration::from_secs(2));
        let killed = Inflicted {
            fault: Fault::LabelerKilled,
            victim: "labeler-0".into(),
            at: Duration::from_secs(1),
            recovery,
        };
        History {
            seed: 1,
            took: Duration::from_secs(60),
            lease: Duration::from_secs(2),
            max_starts: 4,
            planned: vec![Fault::LabelerKilled],
            inflicted: vec![killed],
            poison: [POISON.to_owned()].into(),
            struck: 4,
            surprises: Vec::new(),
            written: Written {
                results: tasks.to_vec(),
                dead_letters: vec![(POISON.to_owned(), 4)],
            },
            outcome: outcome.clone(),
            undisturbed: outcome,
        }
    }

    /// The violations of a storm that was kept, but for what `doctor` did to it.
    fn broken(doctor: impl FnOnce(&mut History)) -> Vec<String> {
        let mut history = kept();
        doctor(&mut history);
        judge(&history).violations.iter().map(Violation::to_string).collect()
    }

    #[test]
    fn a_history_in_which_all_was_kept_has_no_violations() {
        assert_eq!(broken(|_| {}), [""; 0]);
        assert!(judge(&kept()).to_string().ends_with("verdict: promises kept"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let lost = |history: &mut History| drop(history.outcome.labels.remove(0));
        assert_eq!(broken(lost), ["missing: label one"]);
        let lost = |history: &mut History| drop(history.outcome.tasks.pop_first());
        assert_eq!(broken(lost), ["missing: result in the journal 0-check/policy"]);
        let lost = |history: &mut History| drop(history.written.results.pop());
        assert_eq!(broken(lost), ["missing: result in the queue 3-label/00000001"]);
        let lost = |history: &mut History| drop(history.outcome.preferences.pop());
        assert_eq!(broken(lost), ["missing: preference two"]);
    }

    #[test]
    fn what_is_there_twice_or_should_not_be_there_is_named() {
        let twice = |history: &mut History| history.outcome.labels.push("one".into());
        assert_eq!(broken(twice), ["more than once: label one"]);
        let twice = |history: &mut History| history.written.results.push(POISON.into());
        assert_eq!(broken(twice), ["more than once: result in the queue 3-label/00000001"]);
        let strange = |history: &mut History| history.outcome.preferences.push("three".into());
        assert_eq!(broken(strange), ["not in an undisturbed run: preference three"]);
    }

    #[test]
    fn dead_letters_other_than_the_poison_once_each_are_named() {
        let letters = |letters: &[(&str, usize)]| {
            let letters = letters.iter().map(|(task, starts)| ((*task).to_owned(), *starts));
            let letters = letters.collect();
            broken(|history| history.written.dead_letters = letters)
        };
        let innocent = "3-label/00000000";
        assert_eq!(
            letters(&[(POISON, 4), (innocent, 4)]),
            ["wrong dead letter: 3-label/00000000 after 4 starts"]
        );
        assert_eq!(
            letters(&[(POISON, 4), (POISON, 4)]),
            ["wrong dead letter: 3-label/00000001 after 4 starts"]
        );
        assert_eq!(letters(&[(POISON, 3)]), ["wrong dead letter: 3-label/00000001 after 3 starts"]);
        assert_eq!(letters(&[]), ["poison that is no dead letter: 3-label/00000001"]);
    }

    #[test]
    fn other_files_or_weights_are_named() {
        let other =
            |history: &mut History| history.outcome.manifest["files"]["policy"] = json!("c");
        assert_eq!(broken(other), ["another than undisturbed: policy"]);
        let other = |history: &mut History| history.outcome.manifest["seed"] = json!(4);
        assert_eq!(broken(other), ["another than undisturbed: the manifest"]);
    }

    #[test]
    fn a_storm_that_was_too_kind_or_never_over_is_no_proof() {
        let kind = |history: &mut History| history.inflicted.clear();
        assert_eq!(broken(kind), ["planned and not done: labeler killed"]);
        for recovery in [None, Some(Duration::from_secs(24))] {
            let stuck = |history: &mut History| history.inflicted[0].recovery = recovery;
            assert_eq!(broken(stuck), ["no recovery: labeler killed, labeler-0"]);
        }
        // Only from the restart on, which is too long after the kill.
        let restart = |history: &mut History| {
            let at = Duration::from_secs(30);
            let (fault, victim) = (Fault::RedisKilled, "redis".to_owned());
            let recovery = Some(Duration::from_secs(1));
            history.inflicted[0].recovery = Some(Duration::from_secs(31));
            history.inflicted.push(Inflicted { fault, victim, at, recovery });
        };
        assert_eq!(broken(restart), [""; 0]);
        let surprise = |history: &mut History| history.surprises.push("it ended".into());
        assert_eq!(broken(surprise), ["surprise: it ended"]);
    }
}
