//! `rlaif eval`: which of several arms writes better responses to prompts that none was trained on.

use super::asking::AskingArgs;
use super::files::Files;
use crate::evaluation::{
    Annotations, Arm, Drawing, Jury, Meeting, Named, Output, Policy, Responses, Run, Scoring,
    Source, Training, given_texts, read_rankings, respond, samples,
};
use crate::labeling::{ClerkArgs, Labelers, describe_spent};
use anyhow::{Context, Result, bail};
use rlaif_clerk::Clerk;
use rlaif_contest::{ArmSummary, Contest, Evaluation, Judged, Options, People};
use rlaif_data::{Reader, examples_of};
use rlaif_job::SamplingConfig;
use rlaif_judge::{Engine, Judge};
use rlaif_ledger::Ledger;
use rlaif_models::DeviceName;
use rlaif_template::{Asking, Kind, Template};
use rlaif_types::{ContentHash, Prompt, Unscorable, says_nothing};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Compare arms on held-out prompts: pairwise win rates, corrected for length, and harmless rates.
///
/// An arm is a policy (its responses are generated), a file of texts, or the best of several draws.
/// Every arm meets every other on every prompt, or those of --compare, in both orders. --out keeps
/// responses, judgements and the report; the same command goes on there after an interruption.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif eval --prompts heldout.jsonl --arm start=start-of:runs/a --arm rlaif=runs/a --judge gpt.toml \
    --out evals/a\n  \
    rlaif eval --prompts heldout.jsonl --arm rlaif=runs/a --arm \
    best=best-of:4,start-of:runs/a,reward=runs/a --arm people=written.jsonl --judge big.gguf --harmless harmless/rubric --out evals/b\n  \
    rlaif eval --annotations alpaca/annotations.json --out evals/c")]
pub struct Args {
    /// An arm; at least two. SOURCE is a policy, a file of responses (JSONL, JSON or Parquet; instruction
    /// with output, or prompt with completion), or best-of:N,POLICY,SCORER, where SCORER is reward=MODEL or
    /// rating=MODEL. A policy is a model as --model elsewhere, the folder of a run for what it trained, or
    /// start-of:FOLDER for where it began.
    #[arg(long = "arm", value_name = "NAME=SOURCE", required_unless_present = "annotations")]
    arms: Vec<Arm>,
    /// Two arms that meet; may be given several times. By default every arm meets every other.
    #[arg(long, value_name = "ARM/ARM")]
    compare: Vec<Meeting>,
    /// Prompts to answer, in any format that `rlaif data` reads, such as AlpacaEval's; each counts once.
    #[arg(long, value_name = "FILE", required_unless_present = "annotations")]
    prompts: Option<PathBuf>,
    /// Only the first so many of them.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Who judges: a model or an endpoint's .toml file, neither an arm nor the arms' training labeler.
    #[arg(long, short, value_name = "MODEL", required_unless_present = "annotations")]
    judge: Option<String>,
    /// A built-in template for comparisons, or a .toml file.
    #[arg(long, default_value = "helpful/detailed")]
    template: String,
    /// Also judge each response by itself with this rubric or rating; harmless is a reward above 0.
    #[arg(long, value_name = "TEMPLATE")]
    harmless: Option<String>,
    /// People's rankings of the arms: {"prompt", "ranking": [arms, best first, no ties], "rater"}.
    #[arg(long, value_name = "FILE")]
    rankings: Option<PathBuf>,
    /// Verdicts that exist already, as AlpacaEval's annotations; nobody is asked.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "arms", "compare", "prompts", "judge", "harmless", "rankings", "training_prompts", "trained_by",
    ])]
    annotations: Option<PathBuf>,
    /// Prompts that arms were trained on: a file, or a run folder. A run folder that an arm lies in is
    /// known anyway.
    #[arg(long, value_name = "PATH")]
    training_prompts: Vec<PathBuf>,
    /// Who labelled what arms were trained on: a labeler's name, or a run folder.
    #[arg(long, value_name = "NAME")]
    trained_by: Vec<String>,
    /// Longest response, in tokens; by default a run's own policies' as in the run, others' 256.
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// A text that ends responses, which keep it; may be given several times. By default a run's own
    /// policies stop as in the run.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Temperature of policies; 0 takes the most likely token.
    #[arg(long, default_value_t = 0.0)]
    policy_temperature: f32,
    /// Temperature of draws for best-of.
    #[arg(long, default_value_t = 0.9)]
    draw_temperature: f32,
    /// Put prompts to policies as plain text. By default a model with a chat template is asked through it,
    /// unless it is of a run that did not.
    #[arg(long)]
    plain: bool,
    /// Leave symbols at the end of responses that are neither words nor the end of a sentence.
    #[arg(long)]
    keep_junk: bool,
    /// Template of best-of's ratings.
    #[arg(long, default_value = "helpful/rating")]
    rating_template: String,
    /// Preferences no further than this from one half are ties.
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.0)]
    tie_band: f64,
    /// Where models of this process run: cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// The evaluation's folder.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    asking: AskingArgs,
    #[command(flatten)]
    clerk: ClerkArgs,
}

/// An arm with its responses, and the models behind them.
struct Answered {
    responses: Responses,
    /// How a policy was asked for them.
    asking: Option<String>,
    /// What each model was for, and its hash.
    models: Vec<(&'static str, ContentHash)>,
}

pub fn run(args: Args) -> Result<()> {
    if !(0.0..0.5).contains(&args.tie_band) {
        bail!("--tie-band must be from 0 to less than 0.5, not {}", args.tie_band);
    }
    if args.stop.iter().any(String::is_empty) {
        bail!("--stop needs a text: an empty one would stop every response at once");
    }
    match (&args.annotations, &args.prompts, &args.judge) {
        (Some(path), ..) => args.read_annotations(path),
        (None, Some(prompts), Some(judge)) => args.evaluate(prompts, judge),
        // The options are required unless annotations are given.
        _ => bail!("--prompts and --judge are needed to judge responses"),
    }
}

impl Args {
    fn read_annotations(&self, path: &Path) -> Result<()> {
        let Annotations { arms, prompts, contests } = Annotations::read(path)?;
        let judge = Judged { by: format!("annotations in {}", path.display()), template: None };
        let evaluation = Evaluation::of(prompts, arms, judge, &contests, self.options());
        Output::create(&self.out)?.report(&evaluation, Vec::new())
    }

    fn evaluate(&self, prompts: &Path, judge: &str) -> Result<()> {
        self.check_arms()?;
        self.files().check()?;
        // What can be refused is refused before anything is computed.
        let template = self.template(&self.template, &[Kind::Compare])?;
        let harmless = self.harmless.as_ref();
        let harmless =
            harmless.map(|name| self.template(name, &[Kind::Rate, Kind::Rubric])).transpose()?;
        let prompts = self.prompts(prompts)?;
        let names: Vec<String> = self.arms.iter().map(|arm| arm.name.clone()).collect();
        let rankings = self.rankings.as_ref();
        let rankings = rankings.map(|path| read_rankings(path, &prompts, &names)).transpose()?;
        let training = self.training()?;
        training.check(&prompts)?;
        let mut labelers = Labelers::on(self.device);
        labelers.find(judge).with_context(|| format!("--judge {judge}"))?;

        let output = Output::create(&self.out)?;
        let clerk = self.clerk.clerk_with(output.ledger())?;
        let mut arms = Vec::new();
        for arm in &self.arms {
            let answered = self.answer(arm, &prompts, &output, &mut labelers, &clerk);
            arms.push(answered.with_context(|| format!("arm {}", arm.name))?);
        }
        let engine = labelers.start(judge)?;
        let cautions = self.cautions(&arms, &prompts, judge, engine.as_ref(), &training);
        cautions.iter().for_each(|caution| eprintln!("warning: {caution}"));

        let summaries = self.arms.iter().zip(&arms).map(summary).collect();
        let responses: Vec<Responses> = arms.into_iter().map(|arm| arm.responses).collect();
        let judge = Judge::new(engine.clone(), template, self.asking.asking())?;
        let jury = Jury { judge: &judge, clerk: &clerk, prompts: &prompts };
        let contests = jury.contests(&responses, &self.compare)?;
        let judged = Judged {
            by: judge.labeler().name.clone(),
            template: Some(judge.template().name.clone()),
        };
        let mut evaluation =
            Evaluation::of(prompts.len(), summaries, judged, &contests, self.options());
        evaluation.cautions = cautions;
        if let Some(template) = harmless {
            // Rubrics and ratings have neither exemplars nor rationales of comparisons.
            let judge = Judge::new(engine, template, Asking::default())?;
            evaluation.harmless = Some(Jury { judge: &judge, ..jury }.harmless(&responses)?);
        }
        let length = |prompt: usize, arm: &str| {
            responses.iter().find(|r| r.arm == arm).map_or(0, |r| r.chars(prompt))
        };
        evaluation.people = rankings
            .map(|rankings| People::of(&names, &rankings, &contests, length, self.options()));
        self.write(&output, &prompts, &responses, &contests, &evaluation)?;
        eprintln!("spent, with earlier runs of this ledger: {}", describe_spent(&clerk));
        Ok(())
    }

    fn write(
        &self,
        output: &Output,
        prompts: &[Prompt],
        responses: &[Responses],
        contests: &[Contest],
        evaluation: &Evaluation,
    ) -> Result<()> {
        output.annotations(&evaluation.judge.by, prompts, responses, contests)?;
        output.report(evaluation, samples(prompts, responses, contests))
    }

    fn options(&self) -> Options {
        Options { seed: self.seed(), tie_band: self.tie_band }
    }

    /// One seed for everything that is drawn: each draw has its own by what it is for.
    fn seed(&self) -> u64 {
        self.asking.asking().seed
    }

    /// The files that the options name, and those in the evaluation's folder that would be lost if one of
    /// the others were among them.
    fn files(&self) -> Files {
        let texts = self.arms.iter().filter_map(|arm| match &arm.source {
            Source::Texts(path) => Some(path),
            _ => None,
        });
        let output = Output::at(&self.out);
        let responses = self
            .arms
            .iter()
            .flat_map(|arm| [output.responses(&arm.name), output.outputs_file(&arm.name)]);
        let ledger = self.clerk.ledger.is_none().then(|| Ledger::files(&output.ledger()));
        self.clerk
            .files(Files::default())
            .reads("--prompts", &self.prompts)
            .reads("--rankings", &self.rankings)
            .reads("--training-prompts", &self.training_prompts)
            .reads("--arm", texts)
            .writes("--out", responses)
            .writes("--out", ledger.into_iter().flatten())
            .writes("--out", [output.annotations_file(), output.matrix()])
            .writes("--out", output.reports())
    }

    fn check_arms(&self) -> Result<()> {
        if self.arms.len() < 2 {
            bail!("an evaluation compares at least two arms: give --arm several times");
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.arms.iter().find(|arm| !names.insert(arm.name.as_str())) {
            bail!("two arms are called {:?}", twice.name);
        }
        let mut met = self.compare.iter().flat_map(Meeting::names);
        match met.find(|name| !names.contains(name)) {
            Some(unknown) => bail!("--compare names {unknown:?}, which is no --arm"),
            None => Ok(()),
        }
    }

    fn template(&self, name: &str, kinds: &[Kind]) -> Result<Template> {
        let template = Template::load(name)?;
        if !kinds.contains(&template.kind) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| kind.describe()).collect();
            let (kind, wanted) = (template.kind.describe(), wanted.join(" or "));
            bail!("template {name} is for {kind}, not for {wanted}");
        }
        Ok(template)
    }

    /// The prompts, each once.
    fn prompts(&self, path: &Path) -> Result<Vec<Prompt>> {
        let examples = Reader::open(path)?.read_all(|record| examples_of(&record))?;
        let mut prompts: Vec<Prompt> =
            examples.iter().flatten().map(|example| example.prompt().clone()).collect();
        let mut seen = BTreeSet::new();
        prompts.retain(|prompt| seen.insert(prompt.as_context()));
        prompts.truncate(self.limit.unwrap_or(usize::MAX));
        if prompts.is_empty() {
            bail!("{}: no prompts to evaluate on", path.display());
        }
        Ok(prompts)
    }

    fn training(&self) -> Result<Training> {
        let mut training = Training::told(&self.training_prompts, &self.trained_by)?;
        for arm in &self.arms {
            let models = arm.source.models().with_context(|| format!("arm {}", arm.name))?;
            training.of_arm(&arm.name, &models)?;
        }
        Ok(training)
    }

    fn answer(
        &self,
        arm: &Arm,
        prompts: &[Prompt],
        output: &Output,
        labelers: &mut Labelers,
        clerk: &Clerk,
    ) -> Result<Answered> {
        eprintln!("{}: {}", arm.name, arm.source.describe());
        let path = output.responses(&arm.name);
        let mut models = Vec::new();
        let mut asking = None;
        let mut open = |name: &str, draws: usize, temperature: f32| {
            let named = Named::policy(name)?;
            let drawing = self.drawing(&named, draws, temperature)?;
            let policy = Policy::open(&named, drawing, self.device)?;
            models.push(("wrote the responses of", policy.hash().clone()));
            asking = Some(policy.describe_asking());
            anyhow::Ok(policy)
        };
        let responses = match &arm.source {
            Source::Texts(from) => given_texts(&arm.name, from, prompts, &path)?,
            Source::Policy(name) => {
                let policy = open(name, 1, self.policy_temperature)?;
                respond(&arm.name, &policy, None, prompts, &path)?
            }
            Source::BestOf { draws, policy, scorer } => {
                let policy = open(policy, *draws, self.draw_temperature)?;
                let rating = &self.rating_template;
                let scoring = Scoring::start(scorer, rating, labelers, self.device, clerk)?;
                models.push(("chose the responses of", scoring.model_hash().clone()));
                respond(&arm.name, &policy, Some(&scoring), prompts, &path)?
            }
        };
        let responses = match self.keep_junk {
            true => responses,
            false => responses.without_trailing_junk(),
        };
        output.outputs(prompts, &responses)?;
        Ok(Answered { responses, asking, models })
    }

    /// A run's own policies are asked as the run asked them, where the options say nothing else.
    fn drawing(&self, named: &Named, draws: usize, temperature: f32) -> Result<Drawing> {
        let asked = named.run.as_ref().map(Run::asked).transpose()?.flatten();
        let (chat, mut sampling) = match asked {
            Some(asked) => (asked.chat, asked.sampling),
            None => (true, SamplingConfig { max_new_tokens: 256, ..SamplingConfig::default() }),
        };
        sampling.temperature = temperature;
        sampling.max_new_tokens = self.max_new_tokens.unwrap_or(sampling.max_new_tokens);
        if !self.stop.is_empty() {
            sampling.stop.clone_from(&self.stop);
        }
        Ok(Drawing { sampling, draws, chat: chat && !self.plain, seed: self.seed() })
    }

    /// Why the numbers may say less than they seem to.
    fn cautions(
        &self,
        arms: &[Answered],
        prompts: &[Prompt],
        name: &str,
        judge: &dyn Engine,
        training: &Training,
    ) -> Vec<String> {
        let identity = judge.identity();
        let mut cautions = Vec::new();
        cautions.extend(asked_differently(arms));
        cautions.extend(arms.iter().filter_map(|arm| without_response(&arm.responses)));
        cautions.extend(arms.iter().filter_map(|arm| silent(&arm.responses)));
        for arm in arms {
            for (did, _) in arm.models.iter().filter(|(_, hash)| *hash == identity.hash) {
                cautions.push(format!(
                    "the judge {} also {did} the arm {}: models like their own; name another --judge",
                    identity.name, arm.responses.arm
                ));
            }
        }
        if training.is_by([name, &identity.name], &identity.hash) {
            cautions.push(format!(
                "the judge {} also labelled what an arm was trained on: a win may show no more than that \
                 the arm learned to please it; name another --judge",
                identity.name
            ));
        }
        for (run, count) in training.chosen_by(prompts) {
            cautions.push(format!(
                "the policy of {} was chosen among its versions by {count} of these {} prompts, on which it looks better \
                 than elsewhere; the run's own evaluation leaves them out",
                run.display(),
                prompts.len()
            ));
        }
        for file in training.missing() {
            cautions.push(format!(
                "a reward model behind the arms was trained on {}, which is not there any more, so nobody checked that \
                 these prompts are not in it; name it by --training-prompts",
                file.display()
            ));
        }
        cautions.extend(of_unknown_training(training.unknown()));
        cautions
    }
}

/// Arms that may have been trained on these prompts.
fn of_unknown_training(arms: &[String]) -> Option<String> {
    let arms = match arms {
        [] => return None,
        [arm] => format!("arm {arm}"),
        _ => format!("arms {}", arms.join(" and ")),
    };
    Some(format!(
        "it is not known what every model behind the {arms} was trained on, so nobody checked that these prompts are \
         held out from it; name what it was trained on by --training-prompts"
    ))
}

/// A difference between arms that is not in their weights.
fn asked_differently(arms: &[Answered]) -> Option<String> {
    let mut ways: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for arm in arms {
        if let Some(asking) = &arm.asking {
            ways.entry(asking).or_default().push(&arm.responses.arm);
        }
    }
    let described: Vec<String> =
        ways.iter().map(|(asking, arms)| format!("{} {asking}", arms.join(" and "))).collect();
    (ways.len() > 1).then(|| {
        format!(
            "the arms were not asked alike: {}; --plain, --max-new-tokens and --stop make them equal",
            described.join("; ")
        )
    })
}

/// Prompts that an arm is not judged on, and why it is not on the first of them.
fn without_response(responses: &Responses) -> Option<String> {
    let missing: Vec<&Unscorable> =
        responses.texts.iter().filter_map(|text| text.as_ref().err()).collect();
    let (first, arm) = (missing.first()?, &responses.arm);
    let (missing, all) = (missing.len(), responses.texts.len());
    Some(format!(
        "the arm {arm} has no response to {missing} of {all} prompts ({}), so these are in no rate",
        first.detail
    ))
}

/// Prompts that an arm answered with nothing.
fn silent(responses: &Responses) -> Option<String> {
    let silent = responses.texts.iter().flatten().filter(|text| says_nothing(text)).count();
    let (arm, all) = (&responses.arm, responses.texts.len());
    (silent > 0).then(|| {
        format!(
            "the arm {arm} has an empty response to {silent} of {all} prompts; it loses these against any other, \
             and nobody was asked"
        )
    })
}

fn summary((arm, answered): (&Arm, &Answered)) -> ArmSummary {
    let texts = answered.responses.texts.iter().flatten().filter(|text| !text.is_empty());
    let lengths: Vec<f64> = texts.map(|text| text.chars().count() as f64).collect();
    let source = arm.source.describe();
    ArmSummary {
        name: arm.name.clone(),
        source: match &answered.asking {
            Some(asking) => format!("{source}, {asking}"),
            None => source,
        },
        responses: lengths.len(),
        mean_chars: lengths.iter().sum::<f64>() / lengths.len().max(1) as f64,
    }
}
