//! The judge's verdicts on all arms' responses.

use super::arms::Meeting;
use super::responses::Responses;
use crate::commands::progress_bar;
use crate::labeling::Standing;
use anyhow::{Result, bail};
use rlaif_clerk::Clerk;
use rlaif_contest::{Contest, Harmless, Harmlessness, Verdict};
use rlaif_judge::Judge;
use rlaif_types::{Comparison, Item, Pair, Prompt};

/// Contests asked about together.
const CHUNK: usize = 32;

/// Who judges, on whose account.
pub struct Jury<'a> {
    /// Answers prompts' contests.
    pub judge: &'a Judge,
    /// Keeps the account.
    pub clerk: &'a Clerk,
    /// What was asked of the arms.
    pub prompts: &'a [Prompt],
}

impl Jury<'_> {
    /// Every arm against every other, or only the `meetings` where there are any, on every prompt. What silence settles
    /// is not asked about.
    ///
    /// # Errors
    /// When the judge cannot be asked, refuses to answer or can judge nothing, or a ceiling is reached.
    pub fn contests(&self, arms: &[Responses], meetings: &[Meeting]) -> Result<Vec<Contest>> {
        // The arm whose name comes first is A, whichever order the arms were named in: so the same
        // question is found in the ledger.
        let mut arms: Vec<&Responses> = arms.iter().collect();
        arms.sort_by(|a, b| a.arm.cmp(&b.arm));
        let meet = |first: &Responses, second: &Responses| {
            let between = |meeting: &Meeting| meeting.is_between(&first.arm, &second.arm);
            meetings.is_empty() || meetings.iter().any(between)
        };
        let (mut contests, mut standing) = (Vec::new(), Standing::new("contests"));
        for (place, first) in arms.iter().enumerate() {
            for second in arms[place + 1..].iter().filter(|second| meet(first, second)) {
                eprintln!("{} against {}", first.arm, second.arm);
                contests.extend(self.between(first, second, &mut standing)?);
            }
        }
        Ok(contests)
    }

    fn between(
        &self,
        first: &Responses,
        second: &Responses,
        standing: &mut Standing,
    ) -> Result<Vec<Contest>> {
        let mut contests: Vec<Contest> = (0..self.prompts.len())
            .map(|prompt| Contest {
                prompt,
                first: first.arm.clone(),
                second: second.arm.clone(),
                lengths: [first, second].map(|arm| arm.chars(prompt)),
                verdict: None,
            })
            .collect();
        let pair = |number: usize| {
            let (a, b) = (first.texts[number].as_ref().ok()?, second.texts[number].as_ref().ok()?);
            let (response_a, response_b) = (a.clone(), b.clone());
            Some((number, Pair { prompt: self.prompts[number].clone(), response_a, response_b }))
        };
        let (mut numbers, mut pairs) = (Vec::new(), Vec::new());
        for (number, pair) in (0..self.prompts.len()).filter_map(pair) {
            match pair.by_silence() {
                Some(label) => {
                    let settled = Verdict { preference: label.value(), orders: None };
                    contests[number].verdict = Some(settled);
                }
                None => {
                    numbers.push(number);
                    pairs.push(pair);
                }
            }
        }
        let bar = progress_bar(Some(pairs.len()));
        for (numbers, pairs) in numbers.chunks(CHUNK).zip(pairs.chunks(CHUNK)) {
            let asked = self.clerk.compare(self.judge, pairs, None)?;
            if let Some(refused) = asked.refused {
                bail!("{refused}; the same command goes on with what was judged");
            }
            for (number, said) in numbers.iter().zip(asked.answers.into_iter().flatten()) {
                standing.said(&said);
                contests[*number].verdict = said.ok().map(|said| verdict(&said));
            }
            // A refusal would leave a report of a part as if it were the whole.
            standing.check()?;
            bar.inc(pairs.len() as u64);
        }
        bar.finish_and_clear();
        Ok(contests)
    }

    /// How often each arm's responses are harmless, each judged by itself; the judge's template is a
    /// rubric or a rating.
    ///
    /// # Errors
    /// As [`Jury::contests`].
    pub fn harmless(&self, arms: &[Responses]) -> Result<Harmlessness> {
        let mut standing = Standing::new("responses");
        let of_arm = |arm: &Responses| {
            eprintln!("{}: harmless?", arm.arm);
            Ok(Harmless::of(&arm.arm, &self.rewards(arm, &mut standing)?))
        };
        let template = self.judge.template().name.clone();
        Ok(Harmlessness { template, arms: arms.iter().map(of_arm).collect::<Result<_>>()? })
    }

    fn rewards(&self, arm: &Responses, standing: &mut Standing) -> Result<Vec<Option<f64>>> {
        let mut rewards = vec![None; arm.texts.len()];
        let item = |(number, text): (usize, &Result<String, _>)| {
            let (prompt, response) = (self.prompts[number].clone(), text.as_ref().ok()?.clone());
            Some((number, Item { prompt, response }))
        };
        let (numbers, items): (Vec<usize>, Vec<Item>) =
            arm.texts.iter().enumerate().filter_map(item).unzip();
        for (numbers, items) in numbers.chunks(CHUNK).zip(items.chunks(CHUNK)) {
            let asked = self.clerk.rate(self.judge, items, None)?;
            if let Some(refused) = asked.refused {
                bail!("{refused}; the same command goes on with what was judged");
            }
            for (number, said) in numbers.iter().zip(asked.answers.into_iter().flatten()) {
                standing.said(&said);
                rewards[*number] = said.ok().map(|rating| rating.reward);
            }
            standing.check()?;
        }
        Ok(rewards)
    }
}

fn verdict(said: &Comparison) -> Verdict {
    let orders = [&said.ab, &said.ba].map(|order| order.prefers_first.value());
    Verdict { preference: said.label.value(), orders: Some(orders) }
}
