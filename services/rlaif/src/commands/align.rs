//! `rlaif align`: how well labelers agree with people, and how biased they are.

use super::asking::ReasoningArgs;
use super::files::Files;
use super::jsonl::progress_bar;
use crate::labeling::{
    ClerkArgs, Labelers, LabelersArgs, Standing, WorkingLedger, arm, group, identity, observation,
    write,
};
use anyhow::{Context, Result, bail};
use rlaif_audit::probes::{PROBES, Probe, ProbeAnswer, Side};
use rlaif_audit::{self as audit, Answer, Arm, Audit, Options, document};
use rlaif_clerk::Clerk;
use rlaif_data::{Reader, check_writable, preferences_of, shuffle_sides, write_atomic};
use rlaif_judge::{Engine, Judge};
use rlaif_template::{Asking, Choice, Error as TemplateError, Kind, Reasoning, Template};
use rlaif_types::{Comparison, ContentHash, Judgement, Money, Pair, Preference, Price};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Pairs asked about together.
const CHUNK: usize = 32;

/// Measure labelers against people's labels: agreement, position and verbosity bias, calibration.
///
/// Every labeler is asked every question about the pairs of every task it fits: the comparison grid of
/// the paper's section 1. A task is a name and a file of preferences in any format that `rlaif data`
/// reads; a template fits the task that its name begins with, or all where it is a file of your own.
/// The sides of pairs are shuffled, so that the preferred one is not always first. It ends with an error, and
/// without a report, at a ceiling, and where a labeler refuses to answer or could judge none of the first pairs.
/// What was answered until then is kept, in --ledger or in a temporary one, which it names: the same command with
/// that ledger goes on from there.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif align --task summary=tldr.jsonl --model smollm2-135m-instruct --template base --template \
    detailed --shots 0 --shots 2 --out align.html\n  \
    rlaif align --task helpful=hh.jsonl --model a.gguf --model gpt.toml --template base --cot both \
    --samples 4 --temperature 0.7 --ledger labels.sqlite --json align.json")]
pub struct Args {
    /// NAME=FILE: pairs with people's labels.
    #[arg(long = "task", value_name = "NAME=FILE", required = true)]
    tasks: Vec<Task>,
    #[command(flatten)]
    labelers: LabelersArgs,
    /// A built-in template (summary/detailed, or detailed for each task's own), or a .toml file.
    #[arg(long = "template", default_value = "base")]
    templates: Vec<String>,
    /// Exemplars shown first; several times for several arms.
    #[arg(long, default_value = "0")]
    shots: Vec<usize>,
    /// Ask for a rationale before the verdict: never, always, or in arms of their own. What is said of rationales
    /// (--max-rationale-tokens, --samples, --temperature, --top-k, --clamp) holds in the arms that have one.
    #[arg(long, value_enum, default_value_t = Cot::No)]
    cot: Cot,
    #[command(flatten)]
    reasoning: ReasoningArgs,
    /// Pairs of each task, drawn by the seed; all where it is not given.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only pairs of which people were this sure, 1 to 9; the paper keeps 1,2,8,9 of TL;DR.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    confidence: Vec<u8>,
    /// Try to fool every labeler with each probe on so many pairs of each task.
    #[arg(long, value_name = "N", default_value_t = 0)]
    probes: usize,
    /// Ask so many times more, each time with a seed of its own: of rationales that are drawn
    /// (--temperature), and of exemplars (--random-exemplars).
    #[arg(long, value_name = "N", default_value_t = 0)]
    repeats: u64,
    /// Draw the exemplars anew for every question, instead of the template's first ones.
    #[arg(long)]
    random_exemplars: bool,
    /// Verdicts with less probability than this together are counted apart.
    #[arg(long, default_value_t = 0.5)]
    mass_floor: f64,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The report, as .html or .md; the table goes to standard output anyway.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// All numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    clerk: ClerkArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Cot {
    No,
    Yes,
    Both,
}

#[derive(Clone)]
struct Task {
    name: String,
    file: PathBuf,
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty());
        let (name, file) = parts.ok_or("expected NAME=FILE, such as summary=tldr.jsonl")?;
        Ok(Self { name: name.to_owned(), file: file.into() })
    }
}

/// A question of the grid.
struct Cell {
    task: usize,
    template: Template,
    asking: Asking,
}

impl Cell {
    /// The same way of asking with other draws.
    fn repeated(&self, repeat: u64) -> Asking {
        Asking { seed: self.asking.seed + repeat, ..self.asking.clone() }
    }
}

pub fn run(args: Args) -> Result<()> {
    args.files().check()?;
    let reasoning = args.reasoning.reasoning();
    if args.cot == Cot::No && reasoning != Reasoning::default() {
        bail!(
            "--max-rationale-tokens, --samples, --temperature, --top-k and --clamp are about rationales, of which \
             --cot no asks for none: say --cot yes, or both"
        );
    }
    let draws = (args.cot != Cot::No && reasoning.draws()) || args.random_exemplars;
    if args.repeats > 0 && !draws {
        bail!(
            "--repeats asks the very same again and gets the very same: add --cot yes --temperature 0.7, \
             or --shots 2 --random-exemplars"
        );
    }
    if args.random_exemplars && args.shots.iter().all(|shots| *shots == 0) {
        bail!("--random-exemplars draws none with --shots 0: add --shots 2");
    }
    // What would be found out only after everything was asked.
    let options = Options { seed: args.seed, mass_floor: args.mass_floor };
    options.check()?;
    for path in [&args.out, &args.json].into_iter().flatten() {
        check_writable(path)?;
    }
    let tasks = args.tasks.iter().map(|task| args.pairs(task)).collect::<Result<Vec<_>>>()?;
    let cells = args.cells()?;
    let ledger = WorkingLedger::of(&args.clerk, "align")?;
    let clerk = args.clerk.clerk_with(ledger.path())?;
    // There is no report of a part, which would read as one of the whole.
    let arms = args.ask(&clerk, &tasks, &cells);
    let reported = arms.and_then(|arms| args.report(&Audit::of(&arms, options)?));
    if reported.is_err() {
        ledger.leave(&clerk);
    }
    reported
}

impl Args {
    /// The files that the options name.
    fn files(&self) -> Files {
        self.clerk
            .files(Files::default())
            .reads("--task", self.tasks.iter().map(|task| &task.file))
            .reads("--model", &self.labelers.model)
            .reads("--template", &self.templates)
            .writes("--out", &self.out)
            .writes("--json", &self.json)
    }

    fn pairs(&self, task: &Task) -> Result<Vec<Preference>> {
        let preferences = Reader::open(&task.file)?.read_all(|record| preferences_of(&record))?;
        let sure = |preference: &Preference| {
            let confidence = preference.human.as_ref().and_then(|human| human.confidence);
            self.confidence.is_empty()
                || confidence.is_some_and(|place| self.confidence.contains(&place.value()))
        };
        // The same pair may have been judged by several people: the first counts.
        let mut unique = BTreeMap::new();
        for preference in preferences.into_iter().flatten().filter(|p| sure(p)) {
            unique.entry(identity(&preference.pair)).or_insert(preference);
        }
        // Drawn by a hash of seed and pair, so that a larger limit keeps what a smaller one had.
        let draw = |id: &String| ContentHash::of(format!("{} {id}", self.seed));
        let mut drawn: Vec<(ContentHash, Preference)> =
            unique.into_iter().map(|(id, preference)| (draw(&id), preference)).collect();
        drawn.sort_by(|(a, _), (b, _)| a.cmp(b));
        drawn.truncate(self.limit.unwrap_or(usize::MAX));
        if drawn.is_empty() {
            bail!("{}: no pairs to ask about", task.file.display());
        }
        Ok(drawn.into_iter().map(|(_, preference)| shuffle_sides(preference, self.seed)).collect())
    }

    /// Every template that fits each task, in every way of asking.
    fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for (index, task) in self.tasks.iter().enumerate() {
            for name in &self.templates {
                let Some(name) = fitting(name, &task.name) else { continue };
                let template = match Template::load(&name) {
                    Err(error @ TemplateError::Unknown { .. }) => bail!(
                        "{error}; give the task {:?} one of your own by --template FILE.toml, or call it as one of \
                         these begins",
                        task.name
                    ),
                    loaded => loaded?,
                };
                if template.kind != Kind::Compare {
                    bail!("template {name} is for {}, not for comparing", template.kind.describe());
                }
                for asking in self.ways() {
                    let problems = asking.problems(&template);
                    if !problems.is_empty() {
                        bail!("template {name} cannot be asked so: {problems}");
                    }
                    cells.push(Cell { task: index, template: template.clone(), asking });
                }
            }
        }
        if cells.is_empty() {
            bail!("no template fits any task; a built-in one begins with the task's name");
        }
        Ok(cells)
    }

    fn ways(&self) -> Vec<Asking> {
        let reasoning = self.reasoning.reasoning();
        let thoughts = match self.cot {
            Cot::No => vec![None],
            Cot::Yes => vec![Some(reasoning)],
            Cot::Both => vec![None, Some(reasoning)],
        };
        let way = |shots: usize, reasoning: &Option<Reasoning>| Asking {
            shots,
            exemplars: match self.random_exemplars && shots > 0 {
                true => Choice::Random,
                false => Choice::First,
            },
            // Exemplars show what is to be written.
            exemplar_rationales: reasoning.is_some() && shots > 0,
            reasoning: reasoning.clone(),
            ..Asking::default()
        };
        self.shots.iter().flat_map(|shots| thoughts.iter().map(|t| way(*shots, t))).collect()
    }

    /// Every labeler's answers in every cell.
    fn ask(&self, clerk: &Clerk, tasks: &[Vec<Preference>], cells: &[Cell]) -> Result<Vec<Arm>> {
        let mut labelers = Labelers::new(&self.labelers);
        let mut arms = Vec::new();
        for name in &self.labelers.model {
            let engine = labelers.start(name)?;
            for cell in cells {
                let arm = self.arm(clerk, &engine, cell, &tasks[cell.task]);
                arms.push(arm.with_context(|| format!("{name}, {}", cell.template.name))?);
            }
        }
        Ok(arms)
    }

    fn arm(
        &self,
        clerk: &Clerk,
        engine: &Arc<dyn Engine>,
        cell: &Cell,
        preferences: &[Preference],
    ) -> Result<Arm> {
        let judge = Judge::new(engine.clone(), cell.template.clone(), cell.asking.clone())?;
        let mut arm = arm(&self.tasks[cell.task].name, &judge);
        arm.price = per_1k(clerk.price(&judge)?);
        eprintln!("{}", arm.describe());
        let pairs: Vec<Pair> = preferences.iter().map(|p| p.pair.clone()).collect();
        let mut standing = Standing::new("pairs");
        let said = compare_all(clerk, &judge, &pairs, &mut standing)?;
        for (Preference { pair, human, .. }, said) in preferences.iter().zip(&said) {
            arm.observations.push(observation(pair, human.as_ref(), said));
        }
        for repeat in 1..=self.repeats {
            let again = Judge::new(engine.clone(), cell.template.clone(), cell.repeated(repeat))?;
            let said = compare_all(clerk, &again, &pairs, &mut standing)?;
            for (observation, said) in arm.observations.iter_mut().zip(&said) {
                observation.repeats.push(said.as_ref().map(Answer::of).map_err(Clone::clone));
            }
        }
        for probe in PROBES.iter().filter(|_| self.probes > 0) {
            let tried = self.try_probe(clerk, &judge, probe, &pairs, &said, &mut standing)?;
            arm.probes.extend(tried);
        }
        Ok(arm)
    }

    /// Edits the response that the labeler likes less: a trick pays if it wins then.
    fn try_probe(
        &self,
        clerk: &Clerk,
        judge: &Judge,
        probe: &Probe,
        pairs: &[Pair],
        said: &[Judgement<Comparison>],
        standing: &mut Standing,
    ) -> Result<Vec<ProbeAnswer>> {
        let judged =
            pairs.iter().zip(said).filter_map(|(pair, said)| Some((pair, said.as_ref().ok()?)));
        let losing = judged.take(self.probes).map(|(pair, before)| {
            let side = if before.label.value() > 0.5 { Side::B } else { Side::A };
            (group(pair), side, before.label, probe.on(pair, side))
        });
        let losing: Vec<_> = losing.collect();
        let probed: Vec<Pair> = losing.iter().map(|(.., pair)| pair.clone()).collect();
        let after = compare_all(clerk, judge, &probed, standing)?;
        let answers = losing.into_iter().zip(after);
        let answers = answers.map(|((group, side, before, _), after)| ProbeAnswer {
            probe: probe.name.to_owned(),
            group,
            side,
            before: Some(before),
            after: after.map(|said| Answer::of(&said)),
        });
        Ok(answers.collect())
    }

    fn report(&self, audit: &Audit) -> Result<()> {
        let document = document(audit);
        // Files first: where nobody reads standard output to its end, the program ends there.
        if let Some(path) = &self.out {
            write(&document, path)?;
        }
        if let Some(path) = &self.json {
            write_atomic(path, &serde_json::to_vec_pretty(audit)?)?;
        }
        writeln!(io::stdout(), "{}", document.to_markdown()).context("writing output")
    }
}

/// As audits have it; none where nothing is paid.
fn per_1k(price: Price) -> Option<audit::Price> {
    let dollars = |amount: Money| amount.times(1000).picodollars() as f64 / 1e12;
    let (input_per_1k, output_per_1k) = (dollars(price.input), dollars(price.output));
    (input_per_1k + output_per_1k > 0.0).then_some(audit::Price { input_per_1k, output_per_1k })
}

/// The template that `name` stands for in a task, if it fits: `detailed` is `summary/detailed` in
/// `summary`.
fn fitting(name: &str, task: &str) -> Option<String> {
    if name.ends_with(".toml") {
        return Some(name.to_owned());
    }
    match name.split_once('/') {
        Some((of, _)) => (of == task).then(|| name.to_owned()),
        None => Some(format!("{task}/{name}")),
    }
}

/// # Errors
/// When the labeler cannot be asked, refuses to answer or can judge nothing, or a ceiling is reached.
fn compare_all(
    clerk: &Clerk,
    judge: &Judge,
    pairs: &[Pair],
    standing: &mut Standing,
) -> Result<Vec<Judgement<Comparison>>> {
    let bar = progress_bar(Some(pairs.len()));
    let mut said = Vec::with_capacity(pairs.len());
    for chunk in pairs.chunks(CHUNK) {
        let asked = clerk.compare(judge, chunk, None)?;
        if let Some(refused) = asked.refused {
            bail!("stopped at the ceiling: {refused}");
        }
        for answer in asked.answers.into_iter().flatten() {
            standing.said(&answer);
            said.push(answer);
        }
        standing.check()?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(said)
}
