//! `rlaif rate`: how good one response is.

use super::asking::AskingArgs;
use super::files::Files;
use super::jsonl::{JsonlArgs, Step};
use crate::labeling::{ClerkArgs, Labelers, LabelersArgs, Sampling, Standing};
use anyhow::{Result, bail};
use rlaif_data::{Record, item_of, without};
use rlaif_judge::Judge;
use rlaif_template::Template;
use rlaif_types::Item;
use serde_json::json;

/// Rate responses: expected score from 1 to 10, or the weighted answers to a rubric's questions.
///
/// {"prompt", "response"} in, or any other format with one response, such as what `rlaif generate` writes;
/// out the same with "score", "reward" (the score rescaled to [-1, 1]) and "answers" (log-probabilities and
/// distribution of the verdicts). A response that cannot be judged comes out with "unscorable" and no score.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    echo '{\"prompt\":\"Say hello\",\"response\":\"Hello!\"}' | \
    rlaif rate --model model.gguf --template helpful/rating")]
pub struct Args {
    #[command(flatten)]
    labelers: LabelersArgs,
    #[command(flatten)]
    jsonl: JsonlArgs,
    /// A built-in template for ratings or a rubric, or a .toml file.
    #[arg(long, default_value = "helpful/rating")]
    template: String,
    #[command(flatten)]
    asking: AskingArgs,
    #[command(flatten)]
    clerk: ClerkArgs,
    /// Say what it will take, tokens, money and time, and end. A local model is asked about four responses.
    #[arg(long)]
    estimate: bool,
}

impl Args {
    /// The files that the options name.
    fn files(&self) -> Files {
        let files = self.clerk.files(self.jsonl.files());
        files.reads("--model", &self.labelers.model).reads("--template", [&self.template])
    }
}

pub fn run(args: Args) -> Result<()> {
    args.files().check()?;
    let [model] = args.labelers.model.as_slice() else {
        bail!("one --model rates; several judge together in `rlaif label` only");
    };
    let mut labelers = Labelers::new(&args.labelers);
    let engine = labelers.start(model)?;
    let judge = Judge::new(engine, Template::load(&args.template)?, args.asking.asking())?;
    let clerk = args.clerk.clerk()?;
    if args.estimate {
        let mut sampling = Sampling::default();
        let item = |_, record: Record| item_of(&record);
        args.jsonl.read(item, |items| sampling.take(&clerk, &judge, items))?;
        print!("{}", sampling.estimate(&clerk, &judge)?);
        return Ok(());
    }
    let parse = |_, record: Record| Ok((item_of(&record)?, record));
    let (mut standing, mut refused) = (Standing::new("responses"), None);
    args.jsonl.process_until(parse, |records| {
        let items: Vec<Item> = records.iter().map(|(item, _)| item.clone()).collect();
        let asked = clerk.rate(&judge, &items, None)?;
        let mut written = Vec::new();
        for ((item, record), rating) in records.iter().zip(asked.answers) {
            let Some(rating) = rating else { break };
            let mut record =
                without(record, &["score", "reward", "answers", "label_id", "unscorable"]);
            match rating {
                Ok(rating) => {
                    standing.judged();
                    record.insert("score".into(), json!(rating.score));
                    record.insert("reward".into(), json!(rating.reward));
                    record.insert("answers".into(), json!(rating.answers));
                    record.insert("label_id".into(), json!(judge.rating_id(item)));
                }
                Err(unscorable) => {
                    standing.failed(&unscorable);
                    record.insert("unscorable".into(), json!(unscorable));
                }
            }
            record.insert("template".into(), json!(judge.template().name));
            record.insert("template_hash".into(), json!(judge.template_hash()));
            record.insert("model_hash".into(), json!(judge.labeler().hash));
            written.push(record);
        }
        refused = asked.refused;
        Ok(match refused.is_some() || standing.is_hopeless() {
            true => Step::Break(written),
            false => Step::Continue(written),
        })
    })?;
    standing.warn();
    match refused {
        Some(refused) => bail!("stopped at the ceiling: {refused}"),
        None => standing.conclude(),
    }
}
