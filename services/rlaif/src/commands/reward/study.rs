//! Labelled pairs of a file, divided by prompt into those to learn from and those to measure on, and
//! reward models made of the first and held against the second.

use super::options::StudyArgs;
use crate::commands::download::DownloadBar;
use crate::commands::progress::Bars;
use anyhow::{Context, Result, anyhow, bail};
use rlaif_audit::{RewardAudit, RewardObservation};
use rlaif_data::{Example as Datum, GroupKey, Reader, Split, examples_of};
use rlaif_hub::Store;
use rlaif_job::{RewardModelConfig, StageProgress, hash_file, shuffled};
use rlaif_models::{Checkpoint, Engine, EngineOptions, ScalarModel, shared_prefix};
use rlaif_reward::{Example, Fit, pair_scores, pair_sequences};
use rlaif_rl::{LabelledPair, PairScores};
use rlaif_types::{ContentHash, LabelSource, LoraConfig, Preference, SoftLabel};
use rlaif_worker::memory::Trainer;
use rlaif_worker::{Dialogue, Failure, open_checkpoint};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A share of the split is a whole number of these.
const SHARES: f64 = 1e6;

/// What reward models are made and measured with.
pub struct Study {
    pub checkpoint: Checkpoint,
    pub config: RewardModelConfig,
    pub lora: Option<LoraConfig>,
    pub seed: u64,
    pub chat: bool,
    /// Hash of the file of pairs.
    pub data: ContentHash,
    pub counts: Counts,
    start: ScalarModel,
    micro_batch_tokens: usize,
    /// Drawn by the seed, so that the first of them are a sample of all.
    train: Vec<Pair>,
    heldout: Vec<Pair>,
}

/// The pairs of the file, on the side that each is on.
#[derive(Default)]
struct Sides {
    train: Vec<Pair>,
    heldout: Vec<Pair>,
    counts: Counts,
}

/// What became of the pairs of the file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// To learn from, whoever labelled them.
    pub train: usize,
    /// To measure on.
    pub heldout: usize,
    /// Left out, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// A pair in the model's tokens.
struct Pair {
    preference: Preference,
    weight: f32,
    a: Vec<u32>,
    b: Vec<u32>,
}

/// A reward model, and what it was made of and came to.
pub struct Made {
    pub model: ScalarModel,
    pub engine: Engine,
    /// The pairs learned from.
    pub learned: Vec<LabelledPair>,
    /// How many of their labels were people's, and how many a model's.
    pub by_source: BTreeMap<LabelSource, usize>,
    /// One record for each step.
    pub metrics: Vec<Value>,
    pub audit: RewardAudit,
}

impl Study {
    /// Reads the pairs and then the model, if what is to be done fits into the memory.
    pub fn prepare(args: &StudyArgs) -> Result<Self> {
        let (config, lora) = (args.config()?, args.lora());
        let path = Store::from_env().resolve(&args.model.model, &mut DownloadBar::new())?;
        let checkpoint = open_checkpoint(&path)?;
        let activations = args.model.device.computing_in(args.precision)?;
        let dialogue = Dialogue::of(&checkpoint, args.chat).map_err(describe)?;
        let data = hash_file(&args.input)?;
        let Sides { train, heldout, counts } = Sides::read(args, &config, &dialogue)?;
        let trainer = Trainer {
            name: "while the reward model learns",
            network: checkpoint.config.clone(),
            lora: lora.clone(),
            optimizers: vec![config.optimizer.clone()],
            average: false,
            micro_batch_tokens: args.micro_batch_tokens,
            longest: train.iter().map(Pair::tokens).max().unwrap_or(0),
            gradient_checkpointing: args.gradient_checkpointing,
            precision: args.precision,
            resumable: false,
        };
        args.memory.check_trainer(&trainer, args.model.device)?;
        let start = ScalarModel::start_of(&checkpoint, &args.model.device.open()?)
            .with_context(|| format!("loading {}", args.model.model))?;
        let mut start = start.with_activations(activations);
        start.backbone = start.backbone.with_gradient_checkpointing(args.gradient_checkpointing);
        Ok(Self {
            checkpoint,
            config,
            lora,
            seed: args.seed,
            chat: args.chat,
            data,
            counts,
            start,
            micro_batch_tokens: args.micro_batch_tokens,
            train,
            heldout,
        })
    }

    /// How many pairs to learn from have such a label.
    pub fn labelled(&self, labels: LabelSource) -> usize {
        self.train.iter().filter(|pair| labels.of(&pair.preference).is_some()).count()
    }

    /// Makes a reward model of such labels, of at most so many, and measures it.
    pub fn make(&self, labels: LabelSource, limit: Option<usize>) -> Result<Made> {
        let limit = limit.unwrap_or(usize::MAX);
        let examples: Vec<Example> =
            self.train.iter().filter_map(|pair| pair.example(labels)).take(limit).collect();
        if examples.is_empty() {
            bail!("no pair to learn from has a label of --labels {}", labels.as_str());
        }
        let fit = Fit::new(&self.config, self.seed, examples).map_err(describe)?;
        let mut trainer = fit.trainer(&self.start, self.lora.as_ref(), self.micro_batch_tokens);
        let stage = format!("{} labels of {}", fit.train().len(), labels.as_str());
        let mut bars = Bars::new();
        let metrics = fit.run(&mut trainer, |step, metrics| {
            let stage = StageProgress::new(&stage, step, fit.steps());
            bars.show(&StageProgress { note: metrics.note(), ..stage });
        });
        let metrics = metrics.map_err(describe)?;
        let model = trainer.model.merged();
        let engine = Engine::start(model.clone(), &self.checkpoint, EngineOptions::default())?;
        let audit = self.audit(&engine)?;
        let (learned, by_source) = (fit.train().to_vec(), fit.by_source().clone());
        Ok(Made { model, engine, learned, by_source, metrics, audit })
    }

    fn audit(&self, engine: &Engine) -> Result<RewardAudit> {
        let pairs: Vec<LabelledPair> = self
            .heldout
            .iter()
            .map(|pair| LabelledPair::new(pair.a.clone(), pair.b.clone(), SoftLabel::TIE))
            .collect();
        let scores = pair_scores(engine, &pairs)?;
        if let Some(bad) = scores.iter().find(|s| !(s.a.is_finite() && s.b.is_finite())) {
            bail!("a held-out pair has the rewards {bad:?}; try a lower learning rate");
        }
        let observe = |(pair, score): (&Pair, &PairScores)| {
            let Preference { pair, human, ai, .. } = &pair.preference;
            let [len_a, len_b] = pair.lengths();
            RewardObservation {
                group: pair.prompt.as_context(),
                len_a,
                len_b,
                human: human.as_ref().map(|human| human.prefers_a),
                ai: *ai,
                prefers_a: score.prefers_a(),
            }
        };
        let observations: Vec<_> = self.heldout.iter().zip(&scores).map(observe).collect();
        Ok(RewardAudit::of(&observations, self.seed))
    }
}

impl Sides {
    /// Reads the file that the options name, of whose prompts each is on one side.
    fn read(args: &StudyArgs, config: &RewardModelConfig, dialogue: &Dialogue) -> Result<Self> {
        let mut sides = Self::default();
        let heldout = (config.heldout_fraction * SHARES).round().max(1.0) as u64;
        let parts = vec![SHARES as u64 - heldout, heldout];
        let split = Split::new(GroupKey::Prompt, args.seed, parts).map_err(|what| anyhow!(what))?;
        let records = Reader::open(&args.input)?.read_all(|record| {
            let weight = config.weight_of(&record)?;
            let preference = |datum: Datum| {
                let part = split.part(&record, &datum)?;
                match datum {
                    Datum::Preference(preference) => Ok((preference, weight, part)),
                    _ => Err("expected two responses to a prompt, such as \"prompt\" with \
                              \"chosen\" and \"rejected\""
                        .to_owned()),
                }
            };
            examples_of(&record)?.into_iter().map(preference).collect::<Result<Vec<_>, _>>()
        })?;
        let mut first_refusal = None;
        for (preference, weight, part) in records.into_iter().flatten() {
            if LabelSource::Mixed.of(&preference).is_none() {
                *sides.counts.left_out.entry("without a label").or_default() += 1;
                continue;
            }
            match pair_sequences(dialogue, &preference.pair) {
                Ok((a, b)) if args.max_tokens.is_none_or(|max| a.len().max(b.len()) <= max) => {
                    let pair = Pair { preference, weight, a, b };
                    if part == 0 { sides.train.push(pair) } else { sides.heldout.push(pair) }
                }
                Ok(_) => *sides.counts.left_out.entry("longer than --max-tokens").or_default() += 1,
                Err(refusal) => {
                    *sides
                        .counts
                        .left_out
                        .entry("not readable by the model (conversations need --chat)")
                        .or_default() += 1;
                    first_refusal.get_or_insert(refusal.detail);
                }
            }
        }
        let why = first_refusal.map(|why| format!("; the first of those: {why}"));
        let why = format!("left out: {:?}{}", sides.counts.left_out, why.unwrap_or_default());
        if sides.train.is_empty() || sides.heldout.is_empty() {
            // Pairs go by their prompts, so one prompt is on one side, whatever the share.
            let way_out: &str = match sides.counts.left_out.is_empty() {
                true => "give pairs of more prompts, or another --heldout",
                false => &why,
            };
            bail!(
                "{}: pairs to learn from: {}, to measure on: {}; each side needs one; {way_out}",
                args.input.display(),
                sides.train.len(),
                sides.heldout.len()
            );
        }
        if !sides.counts.left_out.is_empty() {
            tracing::warn!("{why}");
        }
        let mut drawn: Vec<Option<Pair>> = sides.train.drain(..).map(Some).collect();
        let order = shuffled(drawn.len(), args.seed, "training pairs", 0);
        sides.train = order.into_iter().filter_map(|index| drawn[index].take()).collect();
        (sides.counts.train, sides.counts.heldout) = (sides.train.len(), sides.heldout.len());
        Ok(sides)
    }
}

impl Pair {
    /// Tokens that learning it takes at once, in which the beginning of both is there once.
    fn tokens(&self) -> usize {
        self.a.len() + self.b.len() - shared_prefix(&self.a, &self.b)
    }

    fn example(&self, labels: LabelSource) -> Option<Example> {
        let tokens = (self.a.clone(), self.b.clone());
        Example::of(&self.preference, labels, self.weight, tokens)
    }
}

pub fn describe(failure: Failure) -> anyhow::Error {
    anyhow!(failure.into_message())
}
