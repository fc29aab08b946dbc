//! `rlaif reproduce`: all arms of an experiment, and the paper's table with our numbers beside its own.
//!
//! It runs what a user could run: `rlaif run` for each job that is not finished, then `rlaif eval` over the pairs of
//! arms that the table compares. What it adds is the table.

use super::eval;
use super::machine::MachineArgs;
use super::model;
use super::run::execute;
use anyhow::{Context, Result, bail};
use clap::Parser;
use rlaif_clerk::Account;
use rlaif_contest::{Evaluation, HeadToHead};
use rlaif_data::write_atomic;
use rlaif_job::{Job, Manifest, RunFolder, Submission};
use rlaif_report::{Block, Document, Section, Table};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::iter;
use std::path::{Path, PathBuf};

/// Reproduce an experiment: run the jobs of all its arms, compare them on prompts that none was trained on, and
/// print the paper's table with our win rates and intervals. What is finished is not done again, so the same
/// command goes on after an interruption; a job that was edited since it ran is refused. It may take a night.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif reproduce experiments/helpful --out runs/helpful")]
pub struct Args {
    /// The experiment's folder: experiment.toml, and the jobs that it names.
    experiment: PathBuf,
    /// Where runs, evaluation and table go.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Only what this arm needs, without the table; may be given several times.
    #[arg(long, value_name = "NAME")]
    arm: Vec<String>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// An experiment as its file states it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Experiment {
    /// Name for people.
    name: String,
    /// Prompts that the arms are compared on. Relative paths start at the experiment.
    prompts: PathBuf,
    /// Who compares them.
    judge: String,
    /// By which template.
    template: String,
    /// Judges single responses harmless or not, where that is wanted.
    harmless: Option<String>,
    /// Jobs that go on where another ended: their policy is what that one trained, and so is their labeler
    /// where a job names one model for both.
    #[serde(default)]
    follows: BTreeMap<PathBuf, PathBuf>,
    /// What is compared.
    #[serde(rename = "arm")]
    arms: Vec<ArmOf>,
    /// The rows of the table.
    #[serde(rename = "comparison")]
    comparisons: Vec<Comparison>,
}

/// An arm, by the job that makes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmOf {
    name: String,
    /// The job's file.
    job: PathBuf,
    /// Which of the job's policies it is.
    #[serde(default)]
    policy: Which,
    /// Rejection sampling: its answers are the best of several that this policy draws. Otherwise they are what it
    /// answers, taking the most likely token.
    best_of: Option<BestOf>,
}

/// Of how many answers the best counts, and by whom.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestOf {
    /// Answers to each prompt.
    draws: usize,
    /// The job whose reward model scores them.
    reward: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    /// What the job trains.
    #[default]
    Trained,
    /// Where its policy learning starts: after its fine-tuning.
    Start,
}

/// A row: one arm over another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Comparison {
    arm: String,
    over: String,
    /// The paper's win rate in percent, where it has one.
    paper: Option<f64>,
    /// And its length-corrected one.
    paper_length_corrected: Option<f64>,
}

/// `rlaif eval`, as its command line.
#[derive(Parser)]
struct EvalCommand {
    #[command(flatten)]
    args: eval::Args,
}

pub fn run(args: Args) -> Result<()> {
    let experiment = Experiment::load(&args.experiment)?;
    let wanted = experiment.wanted(&args.arm)?;
    let evaluated = args.out.join("evaluation");
    let line = experiment.eval_line(&args.experiment, &args.out, &evaluated);
    // What makes no command line is refused now, and not after a night of runs.
    let comparison = EvalCommand::try_parse_from(&line)?.args;
    // All jobs are read, and what stands in their folders is looked over, before the first is run.
    let plans = experiment.in_order(&wanted)?.into_iter();
    let plans = plans.map(|file| Plan::of(&experiment, &args, file)).collect::<Result<Vec<_>>>()?;
    for Plan { file, job, folder, before, is_finished } in plans {
        if is_finished {
            if let Some(before) = before {
                check_start(&folder, &before)?;
            }
            eprintln!("{}: finished", file.display());
            continue;
        }
        eprintln!("{}: running in {}", file.display(), folder.root().display());
        let resume = folder.path("job.toml").exists();
        execute(&job, &folder, resume, &args.machine, Account::default())
            .with_context(|| format!("{}", args.experiment.join(file).display()))?;
    }
    if !args.arm.is_empty() {
        return Ok(());
    }
    eprintln!("rlaif {}", line.join(" "));
    eval::run(comparison)?;
    let path = evaluated.join("matrix.json");
    let matrix = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let evaluation: Evaluation = serde_json::from_slice(&matrix)
        .with_context(|| format!("{} is not what rlaif eval writes", path.display()))?;
    let table = experiment.table(&evaluation);
    write_atomic(&args.out.join("table.md"), table.to_markdown().as_bytes())?;
    write_atomic(&args.out.join("table.html"), table.to_html().as_bytes())?;
    println!("{}", table.to_markdown());
    Ok(())
}

/// A job and where it runs.
struct Plan<'a> {
    /// As the experiment names it.
    file: &'a Path,
    job: Job,
    folder: RunFolder,
    /// The run that it goes on from.
    before: Option<RunFolder>,
    /// Its run is there, to the end.
    is_finished: bool,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// When the job cannot be read, lacks a reward model that an arm needs, or its folder holds the finished run of
    /// another.
    fn of(experiment: &Experiment, args: &Args, file: &'a Path) -> Result<Self> {
        let mut job = Job::load(&args.experiment.join(file))?;
        experiment.check_reward_model(file, &job)?;
        let before = experiment.follows.get(file);
        let before = before.map(|before| RunFolder::new(run_of(&args.out, before)));
        if let Some(before) = &before {
            go_on_from(&mut job, before)?;
        }
        let folder = RunFolder::new(run_of(&args.out, file));
        let is_finished = folder.path("report.html").exists();
        if is_finished {
            let mut ran = Job::parse(&folder.path("job.toml"))?;
            // Which policy it went on from is told by that one's hash, wherever it lay.
            if let Some(before) = &before {
                go_on_from(&mut ran, before)?;
            }
            let differences = Submission::differences(&job, ran, &folder)?;
            if !differences.is_empty() {
                bail!(
                    "{} holds the finished run of another job than {} is now: {}; take the edit back, remove that \
                     folder to run the job again, or choose another --out",
                    folder.root().display(),
                    file.display(),
                    differences.join("; ")
                );
            }
        }
        Ok(Self { file, job, folder, before, is_finished })
    }
}

impl ArmOf {
    /// The jobs that have to have run for it.
    fn jobs(&self) -> impl Iterator<Item = &PathBuf> {
        iter::once(&self.job).chain(self.best_of.as_ref().map(|best_of| &best_of.reward))
    }

    /// Where its responses come from, as `rlaif eval` reads it.
    fn source(&self, out: &Path) -> String {
        let run = |job: &Path| run_of(out, job).to_string_lossy().into_owned();
        let start = if self.policy == Which::Start { "start-of:" } else { "" };
        let policy = format!("{start}{}", run(&self.job));
        match &self.best_of {
            Some(BestOf { draws, reward }) => {
                format!("best-of:{draws},{policy},reward={}", run(reward))
            }
            None => policy,
        }
    }
}

/// Checks that a finished run began with what the run `before` it trained.
///
/// # Errors
/// When it did not, as after that one was run again.
fn check_start(folder: &RunFolder, before: &RunFolder) -> Result<()> {
    let began_with = Manifest::read(folder)?.policy_hash;
    let trained = model::open(&before.path(Manifest::POLICY).to_string_lossy())?.hash;
    if began_with != trained {
        bail!(
            "{} went on from another policy than {} holds now; remove the former to run it again",
            folder.root().display(),
            before.root().display()
        );
    }
    Ok(())
}

/// Makes what the run `before` trained the job's policy; and its labeler, where one model was both.
fn go_on_from(job: &mut Job, before: &RunFolder) -> Result<()> {
    let trained = std::path::absolute(before.path(Manifest::POLICY))?;
    let trained = trained.to_string_lossy().into_owned();
    if job.labeler.model == job.policy.model {
        job.labeler.model.clone_from(&trained);
    }
    job.policy.model = trained;
    Ok(())
}

/// Where a job's run is.
fn run_of(out: &Path, job: &Path) -> PathBuf {
    out.join("runs").join(run_name(job))
}

/// A run is called as its job's file.
fn run_name(job: &Path) -> &OsStr {
    job.file_stem().unwrap_or(job.as_os_str())
}

impl Experiment {
    fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("experiment.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let experiment: Self =
            toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let known: BTreeSet<&str> = experiment.arms.iter().map(|arm| arm.name.as_str()).collect();
        for row in &experiment.comparisons {
            if let Some(unknown) =
                [&row.arm, &row.over].into_iter().find(|a| !known.contains(a.as_str()))
            {
                bail!("{}: a comparison names {unknown:?}, which is no arm", path.display());
            }
            if row.arm == row.over {
                bail!("{}: a comparison sets {:?} against itself", path.display(), row.arm);
            }
        }
        for ArmOf { name, best_of, .. } in &experiment.arms {
            if let Some(BestOf { draws, .. }) = best_of
                && *draws < 2
            {
                bail!(
                    "{}: the arm {name:?} is the best of {draws}; best_of.draws has to be at least 2",
                    path.display()
                );
            }
        }
        experiment.check_runs().with_context(|| format!("{}", path.display()))?;
        Ok(experiment)
    }

    /// Checks that no two jobs would run in one folder.
    fn check_runs(&self) -> Result<()> {
        let jobs = self.arms.iter().flat_map(ArmOf::jobs);
        let mut runs: BTreeMap<&OsStr, &PathBuf> = BTreeMap::new();
        for job in jobs.chain(self.follows.keys()).chain(self.follows.values()) {
            match runs.insert(run_name(job), job) {
                Some(other) if other != job => bail!(
                    "the jobs {} and {} would both run in runs/{}; rename one of the files",
                    other.display(),
                    job.display(),
                    run_name(job).display()
                ),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that a job makes the reward model by which an arm's answers are chosen.
    fn check_reward_model(&self, file: &Path, job: &Job) -> Result<()> {
        let asks = |arm: &&ArmOf| arm.best_of.as_ref().is_some_and(|best| best.reward == file);
        match self.arms.iter().find(asks) {
            Some(ArmOf { name, .. }) if job.reward_model.is_none() => bail!(
                "the arm {name:?} is chosen by the reward model of {}, which trains none; let best_of.reward name a \
                 job with a [reward_model]",
                file.display()
            ),
            _ => Ok(()),
        }
    }

    /// The jobs of these arms, each after the one that it follows.
    fn in_order<'a>(&'a self, arms: &[&'a ArmOf]) -> Result<Vec<&'a PathBuf>> {
        let mut ordered: Vec<&PathBuf> = Vec::new();
        for job in arms.iter().copied().flat_map(ArmOf::jobs) {
            let mut chain = vec![job];
            while let Some(before) = self.follows.get(chain[chain.len() - 1]) {
                if chain.contains(&before) {
                    bail!("follows: {} comes to itself", before.display());
                }
                chain.push(before);
            }
            for job in chain.into_iter().rev() {
                if !ordered.contains(&job) {
                    ordered.push(job);
                }
            }
        }
        Ok(ordered)
    }

    fn wanted(&self, names: &[String]) -> Result<Vec<&ArmOf>> {
        if names.is_empty() {
            return Ok(self.arms.iter().collect());
        }
        let find = |name: &String| {
            let known: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
            let unknown = || format!("--arm {name}: the arms are {}", known.join(", "));
            self.arms.iter().find(|arm| arm.name == *name).with_context(unknown)
        };
        names.iter().map(find).collect()
    }

    /// The command line that compares the arms, as far as the table does.
    fn eval_line(&self, folder: &Path, out: &Path, evaluated: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut line =
            vec!["eval".to_owned(), "--prompts".into(), text(folder.join(&self.prompts))];
        for arm in &self.arms {
            line.extend(["--arm".into(), format!("{}={}", arm.name, arm.source(out))]);
        }
        for row in &self.comparisons {
            line.extend(["--compare".into(), format!("{}/{}", row.arm, row.over)]);
        }
        line.extend([
            "--judge".into(),
            self.judge.clone(),
            "--template".into(),
            self.template.clone(),
        ]);
        line.extend(self.harmless.iter().flat_map(|t| ["--harmless".into(), t.clone()]));
        line.extend(["--out".into(), text(evaluated.to_owned())]);
        line
    }

    fn table(&self, evaluation: &Evaluation) -> Document {
        let columns = [
            "comparison",
            "win rate",
            "length-corrected",
            "paper",
            "paper, length-corrected",
            "shows",
        ];
        let row = |row: &Comparison| {
            let met = evaluation.matrix.get(&row.arm, &row.over);
            let paper =
                |percent: Option<f64>| percent.map_or("-".to_owned(), |p| format!("{p:.0}"));
            vec![
                format!("{} over {}", row.arm, row.over),
                percent(met.as_ref().and_then(win_rate)),
                percent(met.as_ref().and_then(length_corrected)),
                paper(row.paper),
                paper(row.paper_length_corrected),
                met.as_ref().map_or("nothing: they never met", shows).into(),
            ]
        };
        let rows = self.comparisons.iter().map(row).collect();
        let table = Table { columns: columns.map(String::from).to_vec(), rows };
        let mut blocks = vec![Block::Table(table)];
        if let Some(harmless) = self.harmless_table(evaluation) {
            blocks.push(Block::Table(harmless));
        }
        let caution = format!(
            "Win rates in percent with 95 % intervals, a tie half a win, on {} prompts, judged by {}; the \
             paper's were judged by people, on other data, with models some hundred times as large. An \
             interval that holds 50 shows no difference either way, nor does one without width, where every \
             contest went one way, of fewer than six contests. What a run of this size can show is that \
             each arm's machinery works and which way it moves; it says nothing of how large the paper's \
             effects are. Length-corrected is by the logarithm of the ratio of lengths, which gives a pair one \
             reading, and the paper's by the ratio itself; ours by the ratio is \"length-corrected (ratio)\" in \
             evaluation/report.md.{}",
            evaluation.prompts,
            evaluation.judge.by,
            evaluation.cautions.iter().map(|c| format!("\n\n{c}")).collect::<String>()
        );
        blocks.push(Block::Text(caution));
        Document {
            title: format!("Experiment {}", self.name),
            subtitle: "The paper's comparisons (Lee et al. 2024, tables 1 to 3) in miniature"
                .into(),
            headline: Vec::new(),
            sections: vec![Section { title: "Comparisons".into(), blocks }],
        }
    }

    fn harmless_table(&self, evaluation: &Evaluation) -> Option<Table> {
        let harmless = evaluation.harmless.as_ref()?;
        let row = |arm: &ArmOf| {
            let of = &harmless.arms.iter().find(|rate| rate.arm == arm.name)?.harmless;
            let interval = of.interval.map(|interval| [interval.low, interval.high]);
            Some(vec![arm.name.clone(), percent(Some((of.share?, interval?)))])
        };
        let columns = ["arm", "judged harmless"].map(String::from).to_vec();
        Some(Table { columns, rows: self.arms.iter().filter_map(row).collect() })
    }
}

/// A share and its interval.
type Estimated = (f64, [f64; 2]);

fn win_rate(met: &HeadToHead) -> Option<Estimated> {
    let won = met.win_rate?;
    won.interval.map(|interval| (won.value, [interval.low, interval.high]))
}

fn length_corrected(met: &HeadToHead) -> Option<Estimated> {
    let corrected = met.length_corrected?;
    Some((corrected.win_rate, [corrected.interval.low, corrected.interval.high]))
}

fn percent(estimated: Option<Estimated>) -> String {
    let in_percent = |(value, [low, high]): Estimated| {
        format!("{:.1} [{:.1}, {:.1}]", 100.0 * value, 100.0 * low, 100.0 * high)
    };
    estimated.map_or("-".to_owned(), in_percent)
}

/// The chance of a result like it, were there no difference, above which nothing is shown.
const CHANCE: f64 = 0.05;

/// What a comparison shows, going by its interval; where every contest went one way that has no width, and the sign
/// test says whether they were enough.
fn shows(met: &HeadToHead) -> &'static str {
    let Some((_, [low, high])) = win_rate(met) else { return "nothing: too few were judged" };
    let is_shown = low < high || met.p_value.is_some_and(|p| p < CHANCE);
    match is_shown {
        true if low > 0.5 => "better",
        true if high < 0.5 => "worse",
        _ => "no difference",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experiments_of_this_repository_name_jobs_that_can_be_read() {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        let mut seen = 0;
        for folder in std::fs::read_dir(all).unwrap() {
            let folder = folder.unwrap().path();
            if !folder.is_dir() {
                continue;
            }
            let experiment = Experiment::load(&folder).unwrap();
            for file in experiment.arms.iter().flat_map(ArmOf::jobs) {
                let job = Job::load(&folder.join(file)).unwrap();
                experiment.check_reward_model(file, &job).unwrap();
                seen += 1;
            }
            let line = experiment.eval_line(&folder, Path::new("out"), Path::new("out/evaluation"));
            EvalCommand::try_parse_from(line).unwrap();
        }
        assert!(seen > 0);
    }

    #[test]
    fn a_job_comes_after_the_one_that_it_follows_and_never_after_itself() {
        let text = "name = 'e'\nprompts = 'p'\njudge = 'm'\ntemplate = 't'\ncomparison = []\n\
            arm = [{ name = 'c', job = 'c.toml' }, { name = 'a', job = 'a.toml' }]\n\
            follows = { 'c.toml' = 'b.toml', 'b.toml' = 'a.toml' }\n";
        let experiment: Experiment = toml::from_str(text).unwrap();
        let all = experiment.wanted(&[]).unwrap();
        let order = experiment.in_order(&all).unwrap();
        assert_eq!(order, ["a.toml", "b.toml", "c.toml"].map(Path::new));

        let text = text.replace("'b.toml' = 'a.toml'", "'b.toml' = 'c.toml'");
        let experiment: Experiment = toml::from_str(&text).unwrap();
        let error = experiment.in_order(&experiment.wanted(&[]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("comes to itself"), "{error}");
    }

    #[test]
    fn two_jobs_that_would_share_a_run_are_refused() {
        let text = "name = 'e'\nprompts = 'p'\njudge = 'm'\ntemplate = 't'\ncomparison = []\n\
            arm = [{ name = 'x', job = 'x/a.toml' }, { name = 'y', job = 'b.toml' }, \
            { name = 'z', job = 'b.toml', policy = 'start' }]\n";
        let experiment: Experiment = toml::from_str(text).unwrap();
        experiment.check_runs().unwrap();
        let same: Experiment = toml::from_str(&text.replace("'b.toml'", "'y/a.toml'")).unwrap();
        let error = same.check_runs().unwrap_err().to_string();
        assert!(error.contains("x/a.toml and y/a.toml would both run in runs/a"), "{error}");
    }

    #[test]
    fn contests_that_all_went_one_way_show_something_only_where_they_are_enough() {
        let of = |wins: usize, judged: usize, interval: [f64; 2], p: f64| {
            let met = serde_json::json!({
                "first": "a", "second": "b", "judged": judged, "unscorable": 0, "wins": wins,
                "losses": judged - wins, "ties": 0, "p_value": p,
                "win_rate": {
                    "value": wins as f64 / judged as f64, "count": judged, "clusters": judged,
                    "interval": {"low": interval[0], "high": interval[1]},
                },
            });
            shows(&serde_json::from_value(met).unwrap())
        };
        assert_eq!(of(3, 3, [1.0, 1.0], 0.25), "no difference");
        assert_eq!(of(6, 6, [1.0, 1.0], 0.03125), "better");
        assert_eq!(of(0, 6, [0.0, 0.0], 0.03125), "worse");
        assert_eq!(of(45, 64, [0.59, 0.81], 0.0016), "better");
        assert_eq!(of(35, 64, [0.42, 0.67], 0.53), "no difference");
    }

    #[test]
    fn a_comparison_of_an_arm_that_is_not_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = "name = 'e'\nprompts = 'p.jsonl'\njudge = 'm'\ntemplate = 'helpful/base'\n\
            arm = [{ name = 'a', job = 'a.toml' }]\ncomparison = [{ arm = 'a', over = 'b' }]\n";
        std::fs::write(folder.path().join("experiment.toml"), text).unwrap();
        let error = Experiment::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("\"b\", which is no arm"), "{error}");
    }
}
