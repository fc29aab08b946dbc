//! `rlaif label`: which of two responses is better.

use super::asking::AskingArgs;
use super::files::Files;
use super::jsonl::{JsonlArgs, Step};
use super::routing::{Routing, RoutingArgs, Source};
use crate::labeling::{
    ClerkArgs, Fate, Fates, Labelers, LabelersArgs, RunReport, Sampling, Standing, describe_spent,
};
use anyhow::{Result, bail};
use rlaif_clerk::{Asked, Clerk};
use rlaif_data::{
    Record, check_writable, pair_and_human_label_of, pair_of, preference_record, unscorable_record,
};
use rlaif_judge::{Identity, Judge, Panel, Rule};
use rlaif_ledger::{PanelLabel, Refused};
use rlaif_template::Template;
use rlaif_types::{Comparison, HumanLabel, Judgement, LabelId, Pair, SoftLabel};
use serde_json::json;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

/// Label pairs of responses: both orders, softmax over the verdict tokens, mean of the distributions.
///
/// {"prompt", "response_a", "response_b"} in (a prompt is a string or messages), or any other format
/// with two responses, such as TRL pairs {"prompt", "chosen", "rejected"}, of which the chosen one is A.
/// Out comes a TRL preference with "soft_label" (probability that A is better), "label_id" and both
/// orders' log-probabilities. What people chose is kept as "human_label". A pair that cannot be judged comes
/// out with "unscorable" and no verdict. A run ends with an error where the labeler refuses to answer, or could
/// judge none of the first pairs. Several models are a panel.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    echo '{\"prompt\":\"What is 2+2?\",\"response_a\":\"4\",\"response_b\":\"5\"}' | \
    rlaif label --model model.gguf --template helpful/base\n  \
    rlaif label --in pairs.jsonl --model gpt.toml --template summary/detailed --shots 2 --cot \
    --ledger labels.sqlite --prices prices.toml --max-cost 20 --out labelled.jsonl")]
pub struct Args {
    #[command(flatten)]
    labelers: LabelersArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// A built-in template for comparisons, or a .toml file.
    #[arg(long, default_value = "helpful/base")]
    template: String,
    #[command(flatten)]
    asking: AskingArgs,
    /// How several models become one label: mean of their probabilities, or vote.
    #[arg(long, default_value_t = Rule::Mean)]
    panel: Rule,
    /// Models of a panel that must have been able to judge; all where it is not given.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    #[command(flatten)]
    routing: RoutingArgs,
    #[command(flatten)]
    clerk: ClerkArgs,
    /// Say what it will take, tokens, money and time, and end. A local model is asked about four pairs.
    #[arg(long)]
    estimate: bool,
    /// Write a report of the run: tables and plots of the labels, agreement with people where the input has
    /// their labels, position bias; as .html or .md.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The labelers of a command.
struct Bench {
    panel: Panel,
}

/// A record to label, and what it states.
struct Input {
    record: Record,
    pair: Pair,
    human: Option<HumanLabel>,
}

/// What is said of each pair; none of those that were not begun.
type Answers = Vec<Option<Said>>;

/// What is said of one pair.
struct Said {
    /// Identity of the question.
    label_id: LabelId,
    /// By all of them together.
    together: Judgement<SoftLabel>,
    /// By each member.
    members: Vec<Judgement<Comparison>>,
}

/// Labels that a panel's quorum made without a member, by who and where that is. Else nobody would hear of it.
#[derive(Default)]
struct Absences(BTreeMap<String, usize>);

impl Absences {
    /// Takes in what the members `said` of a pair that has a label, and tells of the first that each could not judge.
    fn note(&mut self, members: &[Judge], said: &[Judgement<Comparison>]) {
        for (member, said) in members.iter().zip(said) {
            let Err(why) = said else { continue };
            let Identity { name, place, .. } = member.labeler();
            let labels = self.0.entry(format!("{name} at {place}")).or_default();
            *labels += 1;
            if *labels == 1 {
                tracing::warn!("the panel goes on without {name} at {place}: {why}");
            }
        }
    }

    /// Warns of how many there were.
    fn warn(&self) {
        for (member, labels) in &self.0 {
            tracing::warn!("labels that the panel made without {member}: {labels}");
        }
    }
}

impl Args {
    /// The files that the options name.
    fn files(&self) -> Files {
        let files = self.clerk.files(self.routing.files(self.jsonl.files()));
        files
            .reads("--model", &self.labelers.model)
            .reads("--template", [&self.template])
            .writes("--report", &self.report)
    }
}

pub fn run(args: Args) -> Result<()> {
    args.files().check()?;
    if let Some(path) = &args.report {
        // Or it would be found out only after everything was asked.
        check_writable(path)?;
    }
    let mut labelers = Labelers::new(&args.labelers);
    let template = Template::load(&args.template)?;
    let mut judges = Vec::new();
    for name in &args.labelers.model {
        let engine = labelers.start(name)?;
        judges.push(Judge::new(engine, template.clone(), args.asking.asking())?);
    }
    let quorum = args.quorum.unwrap_or(judges.len());
    let bench = Bench { panel: Panel::new(judges, args.panel, quorum)? };
    let clerk = args.clerk.clerk()?;
    match args.estimate {
        true => estimate(&args, &bench, &clerk),
        false => label(&args, &bench, &clerk),
    }
}

/// Says what labeling will take.
fn estimate(args: &Args, bench: &Bench, clerk: &Clerk) -> Result<()> {
    let judges = bench.panel.members();
    let mut samplings: Vec<Sampling<Pair>> = judges.iter().map(|_| Sampling::default()).collect();
    args.jsonl.read(
        |_, record| pair_of(&record),
        |pairs| {
            let mut each = samplings.iter_mut().zip(judges);
            each.try_for_each(|(sampling, judge)| sampling.take(clerk, judge, pairs))
        },
    )?;
    for (sampling, judge) in samplings.iter().zip(judges) {
        print!("{}", sampling.estimate(clerk, judge)?);
    }
    Ok(())
}

/// Labels the records.
fn label(args: &Args, bench: &Bench, clerk: &Clerk) -> Result<()> {
    let mut routing = Routing::open(&args.routing)?;
    let mut report = args.report.as_ref().map(|_| RunReport::of(bench.panel.members()));
    let (mut fates, mut standing, mut refused) = (Fates::default(), Standing::new("pairs"), None);
    let mut absences = Absences::default();
    let parse = |_, record| {
        let (pair, human) = pair_and_human_label_of(&record)?;
        Ok(Input { record, pair, human })
    };
    args.jsonl.process_until(parse, |inputs| {
        let pairs: Vec<Pair> = inputs.iter().map(|input| input.pair.clone()).collect();
        let (said, refusal) = bench.ask(clerk, &pairs)?;
        clerk.note_panels(&bench.panel_labels(&pairs, &said))?;
        let mut written = Vec::new();
        for (input, said) in inputs.iter().zip(said) {
            let Some(said) = said else { break };
            let Input { record, pair, human } = input;
            if said.together.is_ok() {
                absences.note(bench.panel.members(), &said.members);
            }
            if let Some(report) = &mut report {
                report.said(pair, human.as_ref(), &said.members);
            }
            let fate = match routing.label(&said.together, &said.label_id) {
                Err(unscorable) => {
                    standing.failed(&unscorable);
                    written.push(unscorable_record(record, pair, human.as_ref(), &unscorable));
                    Fate::Unscorable
                }
                Ok((label, source)) => {
                    standing.judged();
                    let answered = (source == Source::Human).then(|| HumanLabel::new(label));
                    let human = human.as_ref().or(answered.as_ref());
                    let mut record = bench.record(input, human, label, &said);
                    record.insert("label_source".into(), json!(source));
                    let kept = routing.route(label, source, record)?;
                    let is_kept = kept.is_some();
                    written.extend(kept);
                    match is_kept {
                        true => Fate::Labelled(label, source == Source::Human),
                        false => Fate::LeftOut(label),
                    }
                }
            };
            fates.count(&fate);
            if let Some(report) = &mut report {
                report.became(&fate);
            }
        }
        refused = refusal;
        Ok(match refused.is_some() || standing.is_hopeless() {
            true => Step::Break(written),
            false => Step::Continue(written),
        })
    })?;
    if refused.is_none() && !standing.is_hopeless() {
        routing.warn_of_unused_answers();
    }
    if let (Some(report), Some(path)) = (report, &args.report) {
        report.write(path, &fates, args.asking.asking().seed, &describe_spent(clerk))?;
    }
    eprintln!("{fates}");
    standing.warn();
    absences.warn();
    if args.clerk.keeps_account() {
        eprintln!("spent, with earlier runs of this ledger: {}", describe_spent(clerk));
    }
    match refused {
        Some(refused) => bail!("stopped at the ceiling: {refused}"),
        None => standing.conclude(),
    }
}

impl Bench {
    /// Asks every member about the pairs, all at the same time: they wait for different servers, or take
    /// turns at the device.
    fn ask(&self, clerk: &Clerk, pairs: &[Pair]) -> Result<(Answers, Option<Refused>)> {
        let asked = thread::scope(|scope| {
            let ask = |judge| scope.spawn(move || clerk.compare(judge, pairs, None));
            let asking: Vec<_> = self.panel.members().iter().map(ask).collect();
            asking.into_iter().map(|member| member.join()).collect::<Vec<_>>()
        });
        let (mut members, mut refused) = (Vec::new(), None);
        for asked in asked {
            let Asked { answers, refused: refusal, .. } =
                asked.unwrap_or_else(|panic| resume_unwind(panic))?;
            refused = refused.or(refusal);
            members.push(answers);
        }
        let said = pairs.iter().enumerate().map(|(i, pair)| {
            let said: Option<Vec<_>> = members.iter().map(|answers| answers[i].clone()).collect();
            Some(self.said(pair, said?))
        });
        Ok((said.collect(), refused))
    }

    fn said(&self, pair: &Pair, members: Vec<Judgement<Comparison>>) -> Said {
        let (label_id, together) = match (self.panel.members(), members.as_slice()) {
            ([judge], [said]) => {
                let label = said.as_ref().map(|said| said.label).map_err(Clone::clone);
                (judge.label_id(pair), label)
            }
            _ => (self.panel.label_id(pair), self.panel.together(&members)),
        };
        Said { label_id, together, members }
    }

    /// What the ledger keeps of labels that several made together; nothing where there is one labeler.
    fn panel_labels(&self, pairs: &[Pair], answers: &[Option<Said>]) -> Vec<PanelLabel> {
        let judges = self.panel.members();
        if judges.len() == 1 {
            return Vec::new();
        }
        let label = |(pair, said): (&Pair, &Option<Said>)| {
            let Said { label_id, together, .. } = said.as_ref()?;
            Some(PanelLabel {
                label_id: label_id.clone(),
                rule: self.panel.rule().to_string(),
                quorum: self.panel.quorum() as u64,
                label: *together.as_ref().ok()?,
                members: judges.iter().map(|judge| judge.label_id(pair)).collect(),
            })
        };
        pairs.iter().zip(answers).filter_map(label).collect()
    }

    fn record(
        &self,
        input: &Input,
        human: Option<&HumanLabel>,
        label: SoftLabel,
        said: &Said,
    ) -> Record {
        let Input { record, pair, .. } = input;
        let judge = &self.panel.members()[0];
        let mut record = preference_record(record, pair, human, label);
        record.insert("label_id".into(), json!(said.label_id));
        match (self.panel.members(), said.members.as_slice()) {
            ([only], [said]) => {
                // It may have failed where a person answered.
                if let Ok(comparison) = said {
                    record.insert("order_ab".into(), json!(comparison.ab));
                    record.insert("order_ba".into(), json!(comparison.ba));
                }
                record.insert("model_hash".into(), json!(only.labeler().hash));
            }
            (judges, members) => {
                let member = |(judge, said): (&Judge, &Judgement<Comparison>)| {
                    let (id, labeler) = (judge.label_id(pair), judge.labeler());
                    let mut member =
                        json!({"label_id": id, "model": labeler.name, "model_hash": labeler.hash});
                    match said {
                        Ok(comparison) => {
                            member["soft_label"] = json!(comparison.label);
                            member["order_ab"] = json!(comparison.ab);
                            member["order_ba"] = json!(comparison.ba);
                        }
                        Err(unscorable) => member["unscorable"] = json!(unscorable),
                    }
                    member
                };
                let members: Vec<_> = judges.iter().zip(members).map(member).collect();
                record.insert("panel".into(), json!(members));
            }
        }
        record.insert("template".into(), json!(judge.template().name));
        record.insert("template_hash".into(), json!(judge.template_hash()));
        if let Some(asking) = judge.asking().hash() {
            record.insert("asking".into(), json!(judge.asking()));
            record.insert("asking_hash".into(), json!(asking));
        }
        record
    }
}
