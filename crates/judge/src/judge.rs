//! A labeler: one engine, one template, one way of asking; verdicts from log-probabilities.

use crate::Error;
use crate::engine::{Accounted, Effort, Engine, Identity, Question, Reading, Thought};
use crate::fence::fence;
use crate::local::LocalEngine;
use crate::memory::{self, Keys, Memory};
use crate::verdict::normalise;
use rlaif_models::LanguageModel;
use rlaif_template::{Asking, Choice, Kind, Template, fill};
use rlaif_types::{
    ContentHash, Hasher, Item, Judgement, LabelId, Pair, Rationale, Unscorable, UnscorableReason,
    says_nothing, verdict_mass,
};
use std::sync::Arc;

/// Asks an engine a template's questions. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    engine: Arc<dyn Engine>,
    template: Arc<Template>,
    asking: Arc<Asking>,
    template_hash: ContentHash,
    /// None where it is asked without anything besides.
    asking_hash: Option<ContentHash>,
    /// One for the template's ending, or one for each question of a rubric.
    pub(crate) endings: Arc<[Ending]>,
}

/// An ending and the verdicts that may follow it.
pub(crate) struct Ending {
    text: String,
    verdicts: Arc<[String]>,
}

/// The questions about one item: a group for each verdict that it needs, whose answers make that one.
pub(crate) type Groups = Vec<Vec<Question>>;

/// What came of a question, over all rationales where there are several.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) logprobs: Vec<f64>,
    pub(crate) distribution: Vec<f64>,
    /// Tokens read and written for its answers, whenever they were asked for.
    pub(crate) tokens: [usize; 2],
    pub(crate) rationales: Vec<Rationale>,
}

impl Judge {
    /// A judge that asks `engine` what `template` says, in the way of `asking`.
    ///
    /// # Errors
    /// When the template cannot be asked so, or the engine cannot tell its verdicts apart.
    pub fn new(engine: Arc<dyn Engine>, template: Template, asking: Asking) -> Result<Self, Error> {
        let problems = asking.problems(&template);
        if !problems.is_empty() {
            return Err(Error::Asking { name: template.name, what: problems.to_string() });
        }
        let endings: Vec<Ending> = match template.kind {
            Kind::Compare | Kind::Rate => vec![Ending {
                text: template.ending.clone(),
                verdicts: template.verdicts.clone().into(),
            }],
            Kind::Rubric => template.questions.iter().map(Ending::of_question).collect(),
        };
        for ending in &endings {
            engine.check(&ending.text, &ending.verdicts).map_err(|what| {
                rlaif_template::Error::Invalid { name: template.name.clone(), what }
            })?;
        }
        let (template_hash, asking_hash) = (template.hash(), asking.hash());
        let (template, asking) = (Arc::new(template), Arc::new(asking));
        let endings = endings.into();
        Ok(Self { engine, template, asking, template_hash, asking_hash, endings })
    }

    /// A judge that asks a model of this process.
    ///
    /// # Errors
    /// As [`Judge::new`].
    pub fn local(
        model: Arc<dyn LanguageModel>,
        template: Template,
        asking: Asking,
    ) -> Result<Self, Error> {
        Self::new(Arc::new(LocalEngine::new(model)), template, asking)
    }

    /// What it asks.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Identity of what it asks.
    pub fn template_hash(&self) -> &ContentHash {
        &self.template_hash
    }

    /// How it asks.
    pub fn asking(&self) -> &Asking {
        &self.asking
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Whom it asks.
    pub fn labeler(&self) -> &Identity {
        self.engine.identity()
    }

    /// Identity of the question "which of this pair", asked by this judge.
    pub fn label_id(&self, pair: &Pair) -> LabelId {
        let asking = self.asking_hash.as_ref();
        LabelId::of_pair(&self.labeler().hash, &self.template_hash, asking, pair)
    }

    /// Identity of the question "how good is this", asked by this judge.
    pub fn rating_id(&self, item: &Item) -> LabelId {
        let asking = self.asking_hash.as_ref();
        LabelId::of_item(&self.labeler().hash, &self.template_hash, asking, item)
    }

    pub(crate) fn expect_kind(&self, kinds: &[Kind], wanted: &'static str) -> Result<(), Error> {
        if kinds.contains(&self.template.kind) {
            return Ok(());
        }
        let name = self.template.name.clone();
        Err(Error::WrongKind { name, found: self.template.kind.describe(), wanted })
    }

    /// The questions whose answers make one verdict about `responses` in this order: one, or one for
    /// each rationale.
    ///
    /// # Errors
    /// When a response is empty.
    pub(crate) fn questions(
        &self,
        context: &str,
        responses: &[&str],
        ending: &Ending,
    ) -> Judgement<Vec<Question>> {
        if responses.iter().any(|response| says_nothing(response)) {
            return Err(Unscorable::new(UnscorableReason::BadItem, "a response is empty"));
        }
        Ok(self.questions_about(context, responses, ending))
    }

    /// [`Judge::questions`] about responses that say something.
    pub(crate) fn questions_about(
        &self,
        context: &str,
        responses: &[&str],
        ending: &Ending,
    ) -> Vec<Question> {
        let (mut shown, fixed) = self.shown(context, responses);
        let (layout, verdicts) = (self.template.layout, ending.verdicts.clone());
        let (Some(reasoning), Some(rationale)) = (&self.asking.reasoning, &self.template.rationale)
        else {
            let begun = ending.text.clone();
            return vec![Question { shown, fixed, begun, layout, verdicts, thought: None }];
        };
        shown += &rationale.request;
        // Each order draws its own rationales, and the same ones whichever candidate is called A.
        let identity = ContentHash::of(&shown);
        let mut stop = rationale.stop.clone();
        stop.extend(Some(ending.text.trim().to_owned()).filter(|ending| !ending.is_empty()));
        let question = |sample| Question {
            shown: shown.clone(),
            fixed,
            begun: rationale.begin.clone(),
            layout,
            verdicts: verdicts.clone(),
            thought: Some(Thought {
                max_tokens: reasoning.max_tokens,
                temperature: reasoning.temperature,
                top_k: reasoning.top_k,
                seed: self.asking.seed_for(&identity, sample),
                stop: stop.clone(),
                ending: format!("\n\n{}", ending.text),
            }),
        };
        (0..reasoning.samples).map(question).collect()
    }

    /// Preamble, exemplars and sample; and how many bytes of it are the same for all.
    fn shown(&self, context: &str, responses: &[&str]) -> (String, usize) {
        let template = self.template.as_ref();
        let identity = identity(context, responses);
        let mut text = template.preamble.clone();
        let form = match self.asking.exemplar_rationales {
            true => &template.exemplar_with_rationale,
            false => &template.exemplar,
        };
        let preamble = text.len();
        for exemplar in self.asking.choose(template, &identity) {
            text += &exemplar.fill(form);
        }
        let fixed = match self.asking.exemplars {
            Choice::First => text.len(),
            Choice::Random => preamble,
        };
        let fence = fence(&identity, &[&[context][..], responses].concat());
        let values: Vec<(&str, &str)> = match responses {
            [one] => vec![("context", context), ("response", one), ("fence", &fence)],
            [one, two, ..] => vec![
                ("context", context),
                ("response_1", one),
                ("response_2", two),
                ("fence", &fence),
            ],
            [] => Vec::new(),
        };
        (text + &fill(&template.sample, &values), fixed)
    }

    /// Prompts that one item is asked with: both orders of a comparison, or each question of a rating;
    /// several rationales not counted.
    pub fn prompts_per_item(&self) -> u64 {
        match self.template.kind {
            Kind::Compare => 2,
            Kind::Rate | Kind::Rubric => self.endings.len() as u64,
        }
    }

    /// Tokens of the prompts of an item, on average; none where it cannot be asked about.
    pub(crate) fn mean_prompt_tokens(&self, item: &Judgement<Groups>) -> Option<f64> {
        let groups = item.as_ref().ok()?;
        let prompts = groups.iter().filter_map(|group| group.first());
        let tokens: usize = prompts.map(|question| self.engine.prompt_tokens(question)).sum();
        Some(tokens as f64 / groups.len() as f64)
    }

    /// Whether each prompt of an item and its answer have room in the engine's context.
    pub(crate) fn fits(&self, item: &Judgement<Groups>) -> bool {
        // Of a group the prompt is the same, and so is the longest rationale.
        let mut prompts = item.iter().flatten().filter_map(|group| group.first());
        prompts.all(|question| self.engine.fits(question))
    }

    /// The most that an item can take, which is nothing where it cannot be asked about.
    pub(crate) fn at_most(&self, item: &Judgement<Groups>) -> Effort {
        let mut most = Effort::default();
        // Of a group the prompt is the same, and so is the longest rationale.
        for group in item.iter().flatten() {
            if let Some(question) = group.first() {
                let each = self.engine.at_most(question);
                group.iter().for_each(|_| most += each);
            }
        }
        most
    }

    /// Asks about all items together, and makes one verdict of the answers to each group of an item. What
    /// cannot be asked about, or fails, does not touch the others.
    pub(crate) fn ask(
        &self,
        items: Vec<Judgement<Groups>>,
        memory: &mut dyn Memory,
    ) -> Vec<Accounted<Vec<Verdict>>> {
        let mut questions: Vec<Question> = Vec::new();
        let shapes: Vec<Judgement<Vec<usize>>> = items
            .into_iter()
            .map(|item| {
                let groups = item?;
                let lengths = groups.iter().map(Vec::len).collect();
                questions.extend(groups.into_iter().flatten());
                Ok(lengths)
            })
            .collect();
        let answers = match memory.remembers() {
            true => memory::read(self.engine.as_ref(), &questions, memory),
            false => self.engine.read(&questions),
        };
        let mut answers = answers.into_iter();
        let verdicts = shapes.into_iter().map(|shape| match shape {
            Ok(lengths) => self.verdicts(&lengths, &mut answers),
            Err(why) => Accounted::unasked(why),
        });
        verdicts.collect()
    }

    /// What a memory keeps the answers about an item by.
    pub(crate) fn keys(&self, item: &Judgement<Groups>) -> Vec<Keys> {
        let identity = self.engine.identity();
        item.iter().flatten().flatten().map(|question| question.keys(identity)).collect()
    }

    /// One item's verdicts, from its share of the answers. All of them are taken before any is looked at:
    /// a failure must not shift the others.
    fn verdicts(
        &self,
        lengths: &[usize],
        answers: &mut impl Iterator<Item = Accounted<Reading>>,
    ) -> Accounted<Vec<Verdict>> {
        let (mut effort, mut verdicts) = (Effort::default(), Vec::new());
        for length in lengths {
            let mut outcomes = Vec::new();
            for answer in answers.take(*length) {
                effort += answer.effort;
                outcomes.push(answer.outcome);
            }
            let outcome: Judgement<Vec<Reading>> = outcomes.into_iter().collect();
            verdicts.push(outcome.and_then(|read| self.verdict(read)));
        }
        Accounted { outcome: verdicts.into_iter().collect(), effort }
    }

    /// The mean of the distributions (paper section 1, self-consistency).
    fn verdict(&self, readings: Vec<Reading>) -> Judgement<Verdict> {
        let mut distributions = Vec::new();
        for reading in &readings {
            distributions.push(normalise(&reading.verdict_logprobs).map_err(no_verdict)?);
        }
        let logprobs = match readings.as_slice() {
            [one] => one.verdict_logprobs.clone(),
            several => {
                let probabilities =
                    |r: &Reading| r.verdict_logprobs.iter().map(|l| l.exp()).collect();
                mean(several.iter().map(probabilities)).into_iter().map(f64::ln).collect()
            }
        };
        let (mass, floor) = (verdict_mass(&logprobs), self.asking.min_verdict_mass);
        if mass < floor {
            let what = format!(
                "the verdicts have a probability of {mass:.2e}, where {floor} is asked for"
            );
            return Err(no_verdict(what));
        }
        Ok(Verdict {
            logprobs: logprobs.into_iter().map(finite).collect(),
            distribution: mean(distributions.into_iter()),
            tokens: [
                readings.iter().map(|reading| reading.prompt_tokens).sum(),
                readings.iter().map(|reading| reading.completion_tokens).sum(),
            ],
            rationales: readings.into_iter().filter_map(rationale).collect(),
        })
    }
}

impl Ending {
    fn of_question(question: &rlaif_template::Question) -> Self {
        let verdicts = vec![question.good.clone(), question.bad.clone()];
        Self { text: question.ending.clone(), verdicts: verdicts.into() }
    }
}

fn rationale(reading: Reading) -> Option<Rationale> {
    let verdict_logprobs = reading.verdict_logprobs.into_iter().map(finite).collect();
    reading.rationale.map(|text| Rationale { text, verdict_logprobs, prefers_first: None })
}

/// Why there is no verdict.
pub(crate) fn no_verdict(what: String) -> Unscorable {
    Unscorable::new(UnscorableReason::NoVerdict, what)
}

/// JSON has no infinity; a verdict that cannot happen is as unlikely as f64 can say.
fn finite(logprob: f64) -> f64 {
    logprob.max(f64::MIN)
}

/// Element by element; of at least one.
fn mean(mut rows: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut sum = rows.next().expect("every question has a reading");
    let mut count = 1.0;
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

/// Depends on all that is shown, whichever order it is shown in.
fn identity(context: &str, responses: &[&str]) -> ContentHash {
    let mut sorted = responses.to_vec();
    sorted.sort_unstable();
    let mut hasher = Hasher::new();
    hasher.field(context);
    for response in sorted {
        hasher.field(response);
    }
    hasher.finish()
}
