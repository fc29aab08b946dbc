//! What labeling will take, before it begins.

use super::Labelers;
use super::questions::Question;
use anyhow::Result;
use rlaif_clerk::Clerk;
use rlaif_job::{Asked, Job, Questions, Submission};
use rlaif_judge::Judge;
use rlaif_ledger::{Estimate, Interval, Plan, Sampled};
use rlaif_template::Kind;
use rlaif_types::{ContentHash, Item, Money, Pair, Prompt};
use std::collections::BTreeMap;
use std::time::Instant;

/// Questions whose prompts are measured.
const SAMPLE: usize = 256;
/// Of these, questions that a model of this process is asked, to see how long it takes.
const TIMED: usize = 4;
/// What the paper's labeler wrote, in tokens (section 1).
const USUAL_RATIONALE: u64 = 61;

/// Collects what has to be known of the questions.
pub struct Sampling<Q> {
    questions: u64,
    /// Those that the ledger does not answer.
    unknown: u64,
    /// Those with the smallest hashes among these: a sample that does not depend on their order.
    sample: BTreeMap<ContentHash, Q>,
}

impl<Q> Default for Sampling<Q> {
    fn default() -> Self {
        Self { questions: 0, unknown: 0, sample: BTreeMap::new() }
    }
}

impl<Q: Question> Sampling<Q> {
    /// Takes in the next questions.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn take(&mut self, clerk: &Clerk, judge: &Judge, questions: &[Q]) -> Result<()> {
        self.questions += questions.len() as u64;
        for (question, known) in questions.iter().zip(Q::known(clerk, judge, questions)?) {
            if known {
                continue;
            }
            self.unknown += 1;
            self.sample.insert(question.id(judge), question.clone());
            if self.sample.len() > SAMPLE {
                self.sample.pop_last();
            }
        }
        Ok(())
    }

    /// What asking `judge` about them will take, without those that do not fit its context: these are counted, and
    /// not asked. A model of this process is asked about a few of the others, which the ledger keeps; an endpoint
    /// is asked nothing.
    ///
    /// # Errors
    /// When the judge has no price, or cannot be asked.
    pub fn estimate(&self, clerk: &Clerk, judge: &Judge) -> Result<String> {
        let name = &judge.labeler().name;
        let mut asked = format!("{} {}, {} to ask", self.questions, Q::MANY, self.unknown);
        if self.unknown == 0 {
            return Ok(format!("{name}: {asked}: the ledger has all labels\n"));
        }
        let fitting: Vec<&Q> =
            self.sample.values().filter(|question| question.fits(judge)).collect();
        let too_long = self.of_all(self.sample.len() - fitting.len());
        if too_long > 0 {
            let about = if self.unknown > self.sample.len() as u64 { "about " } else { "" };
            asked += &format!(
                "; too long for the labeler's context, and not counted: {about}{too_long}"
            );
        }
        let sampled = Sampled {
            prompt_tokens: fitting.iter().filter_map(|q| q.prompt_tokens(judge)).collect(),
            words: fitting.iter().copied().map(words).collect(),
            seconds: seconds(&fitting, clerk, judge)?,
        };
        let estimate = estimate(judge, self.unknown - too_long, sampled, clerk)?;
        Ok(match estimate {
            Some(estimate) => describe(name, &asked, &estimate, &clerk.prices().currency),
            None => format!("{name}: {asked}: none of them can be asked about\n"),
        })
    }

    /// Of so many questions in the sample, how many there are among all that are to be asked.
    fn of_all(&self, sampled: usize) -> u64 {
        (self.unknown as f64 * sampled as f64 / self.sample.len() as f64).round() as u64
    }
}

/// How long a model of this process takes for a few of these.
fn seconds<Q: Question>(questions: &[&Q], clerk: &Clerk, judge: &Judge) -> Result<Vec<f64>> {
    if !judge.labeler().is_local() {
        return Ok(Vec::new());
    }
    let timed = questions.iter().take(TIMED).map(|question| {
        let started = Instant::now();
        question.ask(clerk, judge)?;
        Ok(started.elapsed().as_secs_f64())
    });
    timed.collect()
}

/// What asking `judge` so many questions takes, going by a sample of them.
fn estimate(
    judge: &Judge,
    items: u64,
    mut sampled: Sampled,
    clerk: &Clerk,
) -> Result<Option<Estimate>> {
    let reasoning = judge.asking().reasoning.as_ref();
    // An endpoint writes the verdict; a model of this process only weighs it.
    let verdict = u64::from(!judge.labeler().is_local());
    let completion_tokens = reasoning.map_or(Interval::exactly(verdict), |reasoning| {
        let high = reasoning.max_tokens as u64 + verdict;
        Interval { low: 1, expected: USUAL_RATIONALE.min(high), high }
    });
    // An endpoint reads the prompt again for the verdict after a rationale; a model of this process
    // keeps it.
    let readings = if reasoning.is_some() && !judge.labeler().is_local() { 2.0 } else { 1.0 };
    sampled.prompt_tokens.iter_mut().for_each(|tokens| *tokens *= readings);
    let plan = Plan {
        items,
        prompts: judge.prompts_per_item(),
        samples: reasoning.map_or(1, |reasoning| reasoning.samples as u64),
        completion_tokens,
    };
    Ok(Estimate::of(&plan, &sampled, &clerk.price(judge)?))
}

/// What a person would have to read.
fn words<Q: Question>(question: &Q) -> f64 {
    question.texts().iter().map(|text| text.split_whitespace().count()).sum::<usize>() as f64
}

/// What a job will ask its labeler and its judge, stage by stage, with every response as long as it may be: nothing is
/// drawn yet. They are asked nothing.
///
/// # Errors
/// When the job's files cannot be read, or one of them cannot be started or has no price.
pub fn estimate_job(job: &Job, clerk: &Clerk) -> Result<String> {
    let submission = Submission::read(job.clone())?;
    let inputs = submission.inputs()?;
    let mut labelers = Labelers::on(job.device.parse().map_err(anyhow::Error::msg)?);
    let labeler = labelers.start(&job.labeler.model)?;
    let judge = job.evaluate.judge.as_ref().map(|judge| &judge.model);
    let judging = match judge {
        Some(model) => labelers.start(model)?,
        None => labeler.clone(),
    };
    let mut text = String::new();
    let (mut cost, mut tokens) = (Money::default(), 0);
    for questions in job.questions(&inputs) {
        let engine = match questions.asked {
            Asked::Labeler => labeler.clone(),
            Asked::Judge => judging.clone(),
        };
        let judge = Judge::new(engine, questions.template.clone(), questions.asking.clone())?;
        let sampled = longest(job, &questions, &judge);
        let compares = questions.template.kind == Kind::Compare;
        let many = if compares { Pair::MANY } else { Item::MANY };
        let name = format!("{} by {}", questions.stage, questions.template.name);
        let count = questions.count as u64;
        if let Some(estimate) = estimate(&judge, count, sampled, clerk)? {
            let asked = format!("{count} {many}");
            cost = cost + estimate.cost[2];
            tokens += estimate.prompt_tokens.high + estimate.completion_tokens.high;
            text += &describe(&name, &asked, &estimate, &clerk.prices().currency);
        }
    }
    let currency = &clerk.prices().currency;
    let models = match judge {
        Some(judge) => format!("{} and {judge}", job.labeler.model),
        None => job.labeler.model.clone(),
    };
    Ok(format!(
        "{text}all together at most {} {currency} and {tokens} tokens of {models}, with responses of {} tokens\n",
        cost.rounded_to_cents(),
        job.sampling.max_new_tokens
    ))
}

/// Prompts with responses as long as the job lets them be.
fn longest(job: &Job, questions: &Questions<'_>, judge: &Judge) -> Sampled {
    // A word is a token or more.
    let response = vec!["word"; job.sampling.max_new_tokens].join(" ");
    let sample = spread(questions.prompts).cloned();
    let (mut sampled, compares) = (Sampled::default(), questions.template.kind == Kind::Compare);
    for prompt in sample {
        let (prompt_tokens, words) = if compares {
            let (response_a, response_b) = (response.clone(), format!("{response} "));
            let pair = Pair { prompt, response_a, response_b };
            (pair.prompt_tokens(judge), words(&pair))
        } else {
            let item = Item { prompt, response: response.clone() };
            (item.prompt_tokens(judge), words(&item))
        };
        sampled.prompt_tokens.extend(prompt_tokens);
        sampled.words.push(words);
    }
    sampled
}

/// Some of these, evenly spread.
fn spread(prompts: &[Prompt]) -> impl Iterator<Item = &Prompt> {
    prompts.iter().step_by(prompts.len().div_ceil(SAMPLE).max(1))
}

fn describe(name: &str, ledger: &str, estimate: &Estimate, currency: &str) -> String {
    let range = |Interval { low, expected, high }: Interval| match low == high {
        true => expected.to_string(),
        false => format!("{expected} ({low} to {high})"),
    };
    let [low, expected, high] = estimate.cost.map(|cost| cost.rounded_to_cents());
    let seconds = estimate.seconds.map_or("not known: the labeler is not asked".to_owned(), |s| {
        format!("{} s on this machine, one at a time", range(s))
    });
    format!(
        "{name}: {ledger}\n  calls          {}\n  tokens read    {}\n  tokens written {}\n  cost           \
         {expected} {currency} ({low} to {high}); people's labels: {} USD\n  time           {seconds}\n",
        estimate.calls,
        range(estimate.prompt_tokens),
        range(estimate.completion_tokens),
        estimate.human_cost.rounded_to_cents(),
    )
}
