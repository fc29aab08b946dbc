//! `rlaif label`: which of two responses is better.

use super::asking::AskingArgs;
use super::jsonl::{JsonlArgs, Step};
use super::routing::{Routing, RoutingArgs};
use crate::labeling::{Asked, Clerk, ClerkArgs, Labelers, LabelersArgs};
use anyhow::{Result, bail};
use rlaif_data::{Record, pair_of, preference_record};
use rlaif_judge::{Judge, Panel, Rule};
use rlaif_ledger::Refused;
use rlaif_template::Template;
use rlaif_types::{Comparison, Judgement, LabelId, Pair, SoftLabel};
use serde_json::json;

/// Label pairs of responses: both orders, softmax over the verdict tokens, mean of the distributions.
///
/// {"prompt", "response_a", "response_b"} in (a prompt is a string or messages), or any other format
/// with two responses, such as TRL pairs {"prompt", "chosen", "rejected"}, of which the chosen one is A.
/// Out comes a TRL preference with "soft_label" (probability that A is better), "label_id" and both
/// orders' log-probabilities. A pair that cannot be judged comes out with "unscorable" and no label.
/// Several models are a panel.
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
}

/// The labelers of a command, asked one after the other.
struct Bench {
    panel: Panel,
    /// Where each runs.
    places: Vec<String>,
}

/// What is said of each pair; none of those that were not begun.
type Answers = Vec<Option<Judgement<Said>>>;

/// What is said of one pair.
struct Said {
    label: SoftLabel,
    label_id: LabelId,
    /// One for each member.
    members: Vec<Judgement<Comparison>>,
}

pub fn run(args: Args) -> Result<()> {
    let mut labelers = Labelers::new(&args.labelers);
    let template = Template::load(&args.template)?;
    let (mut judges, mut places) = (Vec::new(), Vec::new());
    for name in &args.labelers.model {
        let (engine, place) = labelers.start(name)?;
        judges.push(Judge::new(engine, template.clone(), args.asking.asking())?);
        places.push(place);
    }
    let quorum = args.quorum.unwrap_or(judges.len());
    let bench = Bench { panel: Panel::new(judges, args.panel, quorum)?, places };
    let mut clerk = Clerk::new(&args.clerk)?;
    let mut routing = Routing::open(&args.routing)?;
    let (mut unscorable_count, mut refused) = (0, None);
    let parse = |_, record| Ok((pair_of(&record)?, record));
    args.jsonl.process_until(parse, |records| {
        let pairs: Vec<Pair> = records.iter().map(|(pair, _)| pair.clone()).collect();
        let (said, refusal) = bench.ask(&mut clerk, &pairs)?;
        let mut written = Vec::new();
        for ((pair, record), said) in records.iter().zip(said) {
            match said {
                None => break,
                Some(Err(unscorable)) => {
                    unscorable_count += 1;
                    let mut record = record.clone();
                    record.insert("unscorable".into(), json!(unscorable));
                    written.push(record);
                }
                Some(Ok(said)) => {
                    let (label, source) = routing.label(said.label, &said.label_id);
                    let mut record = bench.record(record, pair, label, &said);
                    record.insert("label_source".into(), json!(source));
                    written.extend(routing.route(label, source, record)?);
                }
            }
        }
        refused = refusal;
        Ok(match refused {
            Some(_) => Step::Break(written),
            None => Step::Continue(written),
        })
    })?;
    routing.close()?;
    if unscorable_count > 0 {
        tracing::warn!("pairs that could not be judged: {unscorable_count}; see \"unscorable\"");
    }
    if args.clerk.keeps_account() {
        eprintln!("spent, with earlier runs of this ledger: {}", clerk.describe_spent());
    }
    match refused {
        Some(refused) => bail!("stopped at the ceiling: {refused}"),
        None => Ok(()),
    }
}

impl Bench {
    /// Asks every member about the pairs.
    fn ask(&self, clerk: &mut Clerk, pairs: &[Pair]) -> Result<(Answers, Option<Refused>)> {
        let mut members = Vec::new();
        let mut refused = None;
        for (judge, place) in self.panel.members().iter().zip(&self.places) {
            let Asked { answers, refused: refusal } = clerk.compare(judge, place, pairs)?;
            refused = refused.or(refusal);
            members.push(answers);
        }
        let said = pairs.iter().enumerate().map(|(i, pair)| {
            let said: Option<Vec<_>> = members.iter().map(|answers| answers[i].clone()).collect();
            Some(self.said(pair, said?))
        });
        Ok((said.collect(), refused))
    }

    fn said(&self, pair: &Pair, members: Vec<Judgement<Comparison>>) -> Judgement<Said> {
        if let ([judge], [said]) = (self.panel.members(), members.as_slice()) {
            let label = said.as_ref().map_err(Clone::clone)?.label;
            return Ok(Said { label, label_id: judge.label_id(pair), members });
        }
        let label = self.panel.together(&members)?;
        Ok(Said { label, label_id: self.panel.label_id(pair), members })
    }

    fn record(&self, input: &Record, pair: &Pair, label: SoftLabel, said: &Said) -> Record {
        let judge = &self.panel.members()[0];
        let mut record = preference_record(input, pair, label);
        record.insert("label_id".into(), json!(said.label_id));
        match (self.panel.members(), said.members.as_slice()) {
            ([only], [Ok(comparison)]) => {
                record.insert("order_ab".into(), json!(comparison.ab));
                record.insert("order_ba".into(), json!(comparison.ba));
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
