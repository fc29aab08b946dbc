//! A reward model fitted to labelled pairs, the same way in a job and out of one: which pairs a step
//! learns from, what it measures, and when it is enough.

use crate::keep_back::keep_back;
use rlaif_data::Fingerprint;
use rlaif_job::{RewardModelConfig, batch_of_step, shuffled};
use rlaif_models::ScalarModel;
use rlaif_rl::{Halt, LabelledPair, PairScores, RewardMetrics, RewardTrainer};
use rlaif_types::{
    HumanLabel, LabelSource, LoraConfig, PairOrder, PairWeighting, Preference, SoftLabel,
};
use rlaif_worker::{Failure, step_record, trainable};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A pair to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Its tokens, its label, and how much it counts.
    pub pair: LabelledPair,
    /// Whose label that is.
    pub source: LabelSource,
    /// How sure the label is, from 0 to 1.
    pub sureness: f64,
    /// Characters of its responses.
    pub lengths: [usize; 2],
    /// What people said of it, where they did and what is learned is a model's label.
    pub people: Option<SoftLabel>,
    /// Its prompt: pairs of one prompt are learned from together, or kept back together.
    pub prompt: Fingerprint,
}

impl Example {
    /// What a preference teaches that counts so much and whose candidates are `a` and `b` in tokens, each with its
    /// prompt; none where nobody of `labels` labelled it.
    pub fn of(
        preference: &Preference,
        labels: LabelSource,
        weight: f32,
        (a, b): (Vec<u32>, Vec<u32>),
    ) -> Option<Self> {
        let (label, source) = labels.of(preference)?;
        let is_learned = source == LabelSource::Human;
        let human = preference.human.as_ref().filter(|_| is_learned);
        let beside = preference.human.as_ref().filter(|_| !is_learned);
        let margin = human.and_then(|human| human.margin).unwrap_or(0.0) as f32;
        let pair = LabelledPair { margin, weight, ..LabelledPair::new(a, b, label) };
        let sureness = human.map_or(label.confidence(), HumanLabel::sureness);
        let prompt = Fingerprint::of_prompt(&preference.pair.prompt);
        let people = beside.map(|human| human.prefers_a);
        let lengths = preference.pair.lengths();
        Some(Self { pair, source, sureness, lengths, people, prompt })
    }
}

/// What one step measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitMetrics {
    /// On its batch, before it changed the model.
    #[serde(flatten)]
    pub step: RewardMetrics,
    /// What is minimised, on the pairs kept back to see the plateau, after it did; none in most steps.
    #[serde(rename = "eval_loss", skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
}

impl FitMetrics {
    /// The figures of interest.
    pub fn note(&self) -> String {
        let accuracy = self.step.accuracy.map(|share| format!(" accuracy {share:.2}"));
        format!("loss {:.3}{}", self.step.loss, accuracy.unwrap_or_default())
    }
}

/// Pairs and the way to learn from them. Every choice follows from the seed and the step's number.
pub struct Fit<'a> {
    config: &'a RewardModelConfig,
    seed: u64,
    train: Vec<LabelledPair>,
    /// How many of those are whose.
    by_source: BTreeMap<LabelSource, usize>,
    /// Kept back to see the plateau.
    validation: Vec<LabelledPair>,
    /// The first epoch of a curriculum; empty without one.
    easy_first: Vec<usize>,
}

impl<'a> Fit<'a> {
    /// Fits to `examples`, whose labels are made hard where the settings say so. Weights are scaled to a mean of 1, so
    /// that the learning rate means what it does without them; pairs of weight 0 are left out.
    ///
    /// # Errors
    /// When nothing is left to learn from.
    pub fn new(
        config: &'a RewardModelConfig,
        seed: u64,
        mut examples: Vec<Example>,
    ) -> Result<Self, Failure> {
        if config.weighting == PairWeighting::Sureness {
            examples.iter_mut().for_each(|e| e.pair.weight *= e.sureness as f32);
        }
        if config.harden {
            examples.iter_mut().for_each(|e| e.pair.label = e.pair.label.vote());
        }
        examples.retain(|example| example.pair.weight > 0.0);
        let kept_back = kept_back(&examples, config, seed);
        let (mut validation, mut train) = (Vec::new(), Vec::new());
        for (example, kept_back) in examples.into_iter().zip(kept_back) {
            if kept_back { validation.push(example) } else { train.push(example) }
        }
        if train.is_empty() {
            return Err(Failure::impossible(
                "not one labelled pair is left to train the reward model on; see the labels for the \
                 reasons (in a job they are in labels.jsonl)",
            ));
        }
        if config.plateau.is_some() && validation.is_empty() {
            tracing::warn!(
                "no pairs are kept back to see the plateau, so training makes all its steps: every prompt has more \
                 pairs than plateau.fraction allows"
            );
        }
        scale_weights(&mut train);
        scale_weights(&mut validation);
        let mut by_source = BTreeMap::new();
        train.iter().for_each(|example| *by_source.entry(example.source).or_default() += 1);
        let easy_first = match config.order {
            PairOrder::Shuffled => Vec::new(),
            PairOrder::EasyFirst => {
                let mut order = shuffled(train.len(), seed, ORDER, 0);
                order.sort_by(|a, b| train[*b].sureness.total_cmp(&train[*a].sureness));
                order
            }
        };
        let pairs = |examples: Vec<Example>| examples.into_iter().map(|e| e.pair).collect();
        let (train, validation) = (pairs(train), pairs(validation));
        Ok(Self { config, seed, train, by_source, validation, easy_first })
    }

    /// The pairs that are learned from.
    pub fn train(&self) -> &[LabelledPair] {
        &self.train
    }

    /// How many of them have whose labels.
    pub fn by_source(&self) -> &BTreeMap<LabelSource, usize> {
        &self.by_source
    }

    /// A trainer that starts at `start`.
    pub fn trainer(
        &self,
        start: &ScalarModel,
        lora: Option<&LoraConfig>,
        micro_batch_tokens: usize,
    ) -> RewardTrainer {
        let model = start.trainable(&trainable(lora));
        RewardTrainer::new(model, self.config.optimizer.clone(), micro_batch_tokens)
            .with_objective(self.config.objective)
            .sharing_prompts(self.config.share_prompts)
    }

    /// Steps in all, where no plateau comes first.
    pub fn steps(&self) -> usize {
        (self.train.len() * self.config.epochs).div_ceil(self.config.batch_size)
    }

    /// Makes one step, from 0.
    ///
    /// # Errors
    /// When loss or gradient is no finite number.
    pub fn step(&self, trainer: &mut RewardTrainer, step: usize) -> Result<FitMetrics, Halt> {
        let batch: Vec<LabelledPair> =
            self.batch(step).into_iter().map(|i| self.train[i].clone()).collect();
        let measured = trainer.step(&batch)?;
        let due = |every: usize| (step + 1).is_multiple_of(every) && !self.validation.is_empty();
        let validation_loss = self
            .config
            .plateau
            .filter(|plateau| due(plateau.every_steps))
            .map(|_| self.validation_loss(&trainer.scores(&self.validation)));
        Ok(FitMetrics { step: measured, validation_loss })
    }

    /// Whether the records of the steps so far show the plateau.
    pub fn is_enough(&self, records: &[Value]) -> bool {
        let losses = records.iter().filter_map(|record| record.get("eval_loss"));
        // JSON has no NaN: null stands for it.
        let losses: Vec<f64> = losses.map(|loss| loss.as_f64().unwrap_or(f64::NAN)).collect();
        self.config.plateau.is_some_and(|plateau| plateau.is_reached(&losses))
    }

    /// Makes all steps; `made` is told of each: its number from 1, and what it measured. Returns their
    /// records, as a job's metrics have them.
    ///
    /// # Errors
    /// When training cannot go on.
    pub fn run(
        &self,
        trainer: &mut RewardTrainer,
        mut made: impl FnMut(usize, &FitMetrics),
    ) -> Result<Vec<Value>, Failure> {
        let mut records = Vec::new();
        while records.len() < self.steps() && !self.is_enough(&records) {
            let step = records.len() + 1;
            let metrics = self
                .step(trainer, records.len())
                .map_err(|halt| Failure::impossible(format!("reward step {step}: {halt}")))?;
            records.push(step_record("reward", step, &metrics));
            made(step, &metrics);
        }
        Ok(records)
    }

    fn batch(&self, step: usize) -> Vec<usize> {
        let size = self.config.batch_size;
        let shuffled = batch_of_step(self.train.len(), size, step, self.seed, ORDER);
        let first_draw = step * size;
        let pick = |(i, drawn): (usize, usize)| {
            self.easy_first.get(first_draw + i).copied().unwrap_or(drawn)
        };
        shuffled.into_iter().enumerate().map(pick).collect()
    }

    /// What the objective makes of these rewards of the pairs kept back: cross-entropy alone may rise while what is
    /// minimised still falls.
    fn validation_loss(&self, scores: &[PairScores]) -> f64 {
        let pairs = scores.iter().zip(&self.validation);
        let losses = pairs.map(|(scores, pair)| scores.loss(&self.config.objective, pair));
        losses.sum::<f64>() / self.validation.len() as f64
    }
}

/// What the order of pairs is drawn for.
const ORDER: &str = "reward order";

/// Scales weights to a mean of 1.
fn scale_weights(examples: &mut [Example]) {
    let total: f64 = examples.iter().map(|example| f64::from(example.pair.weight)).sum();
    let mean = (total / examples.len() as f64) as f32;
    examples.iter_mut().for_each(|example| example.pair.weight /= mean);
}

/// Which examples are kept back to see the plateau.
fn kept_back(examples: &[Example], config: &RewardModelConfig, seed: u64) -> Vec<bool> {
    let mut kept_back = vec![false; examples.len()];
    if let Some(plateau) = &config.plateau {
        let prompts: Vec<Fingerprint> = examples.iter().map(|example| example.prompt).collect();
        let (validation, _) = keep_back(&prompts, plateau.fraction, seed, "plateau pairs");
        validation.into_iter().for_each(|index| kept_back[index] = true);
    }
    kept_back
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{Finish, Pair, Plateau, Prompt, RewardObjective};
    use serde_json::json;

    /// Pairs of one token and of a prompt each, numbered; the surer, the higher the number.
    fn examples(count: u32) -> Vec<Example> {
        let example = |i: u32| Example {
            pair: LabelledPair::new(vec![i], vec![i], SoftLabel::new(0.9).unwrap()),
            source: LabelSource::Ai,
            sureness: f64::from(i) / f64::from(count),
            lengths: [1, 1],
            people: None,
            prompt: Fingerprint::of_prompt(&Prompt::Text(format!("{i}"))),
        };
        (0..count).map(example).collect()
    }

    fn config() -> RewardModelConfig {
        RewardModelConfig { epochs: 2, batch_size: 3, ..RewardModelConfig::default() }
    }

    #[test]
    fn what_people_said_is_kept_beside_the_label_of_a_model_and_not_beside_their_own() {
        let label = |p| SoftLabel::new(p).unwrap();
        let pair = Pair {
            prompt: Prompt::Text("2+2?".into()),
            response_a: "4".into(),
            response_b: "5".into(),
        };
        let human = Some(HumanLabel::new(label(1.0)));
        let both = Preference { pair, human, ai: Some(label(0.25)), finish: [Finish::Stop; 2] };
        let kept = |preference: &Preference, labels: LabelSource| {
            let example = Example::of(preference, labels, 1.0, (vec![1], vec![2])).unwrap();
            (example.pair.label, example.people)
        };
        for labels in [LabelSource::Ai, LabelSource::Mixed] {
            assert_eq!(kept(&both, labels), (label(0.25), Some(label(1.0))), "{labels:?}");
        }
        assert_eq!(kept(&both, LabelSource::Human), (label(1.0), None));
        let by_people = Preference { ai: None, ..both.clone() };
        assert_eq!(kept(&by_people, LabelSource::Mixed), (label(1.0), None));
        let by_a_model = Preference { human: None, ..both };
        assert_eq!(kept(&by_a_model, LabelSource::Ai), (label(0.25), None));
    }

    #[test]
    fn a_curriculum_goes_from_sure_to_unsure_once_and_is_shuffled_afterwards() {
        let plain = config();
        let shuffled = Fit::new(&plain, 7, examples(6)).unwrap();
        let easy = RewardModelConfig { order: PairOrder::EasyFirst, ..config() };
        let curriculum = Fit::new(&easy, 7, examples(6)).unwrap();
        assert_eq!([curriculum.batch(0), curriculum.batch(1)].concat(), [5, 4, 3, 2, 1, 0]);
        assert_ne!([shuffled.batch(0), shuffled.batch(1)].concat(), [5, 4, 3, 2, 1, 0]);
        assert_eq!(curriculum.batch(2), shuffled.batch(2));
        assert_eq!((curriculum.steps(), shuffled.steps()), (4, 4));
    }

    #[test]
    fn weights_have_a_mean_of_one_and_what_weighs_nothing_is_left_out() {
        let by_sureness = RewardModelConfig { weighting: PairWeighting::Sureness, ..config() };
        let fit = Fit::new(&by_sureness, 7, examples(4)).unwrap();
        let weights: Vec<f32> = fit.train().iter().map(|pair| pair.weight).collect();
        // Sureness 1/4, 2/4, 3/4; that of the first is 0.
        assert_eq!(weights, [0.5, 1.0, 1.5]);
        let unsure = |mut e: Example| {
            e.sureness = 0.0;
            e
        };
        let nothing = examples(4).into_iter().map(unsure).collect();
        assert!(Fit::new(&by_sureness, 7, nothing).is_err());
        let plain = config();
        let equal = Fit::new(&plain, 7, examples(4)).unwrap();
        assert!(equal.train().iter().all(|pair| pair.weight == 1.0));
    }

    #[test]
    fn hard_labels_are_all_for_one_side_a_tie_for_none_and_weigh_as_the_soft_ones_did() {
        let soft = [0.9, 0.45, 0.5, 1.0];
        let labelled = || {
            let labelled = |(mut example, label): (Example, f64)| {
                example.pair.label = SoftLabel::new(label).unwrap();
                example
            };
            examples(4).into_iter().zip(soft).map(labelled).collect::<Vec<_>>()
        };
        let labels = |config: &RewardModelConfig| {
            let fit = Fit::new(config, 7, labelled()).unwrap();
            fit.train().iter().map(|pair| pair.label.value()).collect::<Vec<_>>()
        };
        assert_eq!(labels(&config()), soft.map(|p| SoftLabel::new(p).unwrap().value()));
        let hard = RewardModelConfig { harden: true, ..config() };
        assert_eq!(labels(&hard), [1.0, 0.0, 0.5, 1.0]);
        let weights = |harden: bool| {
            let weighting = PairWeighting::Sureness;
            let config = RewardModelConfig { weighting, harden, ..config() };
            let fit = Fit::new(&config, 7, labelled()).unwrap();
            fit.train().iter().map(|pair| pair.weight).collect::<Vec<_>>()
        };
        assert_eq!(weights(true), weights(false));
    }

    #[test]
    fn what_shows_the_plateau_is_not_learned_from_and_the_records_alone_decide() {
        let plateau = Plateau { fraction: 0.5, patience: 1, ..Plateau::default() };
        let config = RewardModelConfig { plateau: Some(plateau), ..config() };
        let fit = Fit::new(&config, 7, examples(6)).unwrap();
        assert_eq!((fit.train().len(), fit.validation.len()), (3, 3));
        assert!(fit.train().iter().all(|pair| !fit.validation.contains(pair)));
        let record = |loss: f64| json!({"eval_loss": loss});
        assert!(!fit.is_enough(&[record(0.7), json!({"step": 2}), record(0.6)]));
        assert!(fit.is_enough(&[record(0.6), json!({"step": 2}), record(0.7)]));
        assert!(fit.is_enough(&[record(f64::NAN)]), "it went wrong");
    }

    #[test]
    fn what_shows_the_plateau_has_no_prompt_that_is_learned_from() {
        let plateau = Plateau { fraction: 0.5, ..Plateau::default() };
        let config = RewardModelConfig { plateau: Some(plateau), ..config() };
        // Three pairs of each of four prompts; the pairs' tokens say which.
        let of_prompt = |(i, mut example): (usize, Example)| {
            let number = i as u32 % 4;
            example.prompt = Fingerprint::of_prompt(&Prompt::Text(format!("{number}")));
            example.pair.a = vec![number];
            example
        };
        let examples = examples(12).into_iter().enumerate().map(of_prompt).collect();
        let fit = Fit::new(&config, 7, examples).unwrap();
        assert_eq!((fit.train().len(), fit.validation.len()), (6, 6));
        assert!(fit.train().iter().all(|pair| fit.validation.iter().all(|v| v.a != pair.a)));
    }

    #[test]
    fn the_plateau_is_that_of_what_is_minimised() {
        let plateau = Plateau { fraction: 0.5, ..Plateau::default() };
        let objective = RewardObjective { margin: 1.0, center: 0.0 };
        let config = RewardModelConfig { plateau: Some(plateau), objective, ..config() };
        let certain = |mut example: Example| {
            example.pair.label = SoftLabel::new(1.0).unwrap();
            (example.pair.margin, example.pair.weight) = (2.0, 4.0);
            example
        };
        let fit = Fit::new(&config, 7, examples(4).into_iter().map(certain).collect()).unwrap();
        // As far apart as the margin wants, and no further: a coin's loss. Weights have a mean of 1 here, too.
        let loss = fit.validation_loss(&[PairScores { a: 2.0, b: 0.0 }; 2]);
        assert!((loss - 2.0_f64.ln()).abs() < 1e-12, "{loss}");
    }
}
