//! Answers that outlive the asking: what an endpoint was paid for is not asked for again because another
//! question of the same item failed, because the process was killed, or because another label is to be made
//! of it. A rationale is an answer of its own, so nor is it because the verdict behind it failed.

use crate::engine::{Accounted, Effort, Engine, Identity, Question, Reading};
use rlaif_types::{ContentHash, Hasher, canonical_json};
use serde_json::json;
use std::collections::HashSet;

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The answer.
    pub reading: Reading,
    /// What it took when it was asked for.
    pub took: Effort,
    /// Whether somebody has accounted for that.
    pub accounted: bool,
}

/// What a memory keeps the answer to a question by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The whole answer.
    pub answer: ContentHash,
    /// The rationale in it, where one is wanted.
    pub rationale: Option<ContentHash>,
}

impl Keys {
    /// One or both.
    pub fn all(self) -> impl Iterator<Item = ContentHash> {
        [Some(self.answer), self.rationale].into_iter().flatten()
    }
}

/// Keeps answers to single questions, by [`Question::id`].
pub trait Memory {
    /// Whether it keeps anything: else questions need no identity.
    fn remembers(&self) -> bool {
        true
    }

    /// The answers that are known, in the order of `ids`. What one took and nobody has accounted for is told
    /// of here, and from now on is the asker's to account for.
    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>>;

    /// Takes in answers, as soon as they are there, with what each took. The rationale in a whole answer was kept
    /// before, by itself, with its own.
    fn keep(&mut self, answers: &[(ContentHash, &Reading, Effort)]);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forgetful;

impl Memory for Forgetful {
    fn remembers(&self) -> bool {
        false
    }

    fn recall(&mut self, ids: &[ContentHash]) -> Vec<Option<Recalled>> {
        vec![None; ids.len()]
    }

    fn keep(&mut self, _: &[(ContentHash, &Reading, Effort)]) {}
}

/// Answers from `memory`, else from `engine`: rationales first, then the verdicts behind them, each kept as soon
/// as it is there.
pub(crate) fn read(
    engine: &dyn Engine,
    questions: &[Question],
    memory: &mut dyn Memory,
) -> Vec<Accounted<Reading>> {
    let ids = ids(engine, questions);
    let mut answers = recall(memory, &ids);
    let rationales = rationales(engine, questions, &answers, memory);
    let verdict = |place: usize| match &rationales[place] {
        None => Some((place, questions[place].clone())),
        Some(rationale) => {
            let said = rationale.outcome.as_ref().ok()?.rationale.as_deref();
            Some((place, questions[place].after(said.unwrap_or_default())))
        }
    };
    let open = (0..questions.len()).filter(|place| answers[*place].is_none());
    let (places, verdicts): (Vec<usize>, Vec<Question>) = open.filter_map(verdict).unzip();
    let whole = |place: usize, verdict: Reading| match &rationales[place] {
        Some(Accounted { outcome: Ok(rationale), .. }) => verdict.behind(rationale),
        _ => verdict,
    };
    let said = ask(engine, &verdicts, memory, |number, verdict| {
        let place = places[number];
        (ids[place].clone(), whole(place, verdict.clone()))
    });
    for (place, Accounted { outcome, effort }) in places.into_iter().zip(said) {
        let outcome = outcome.map(|verdict| whole(place, verdict));
        answers[place] = Some(Accounted { outcome, effort });
    }
    let answered = answers.into_iter().zip(rationales).map(|of_one| match of_one {
        (Some(answer), None) => answer,
        // Also where it was known: a killed run may have paid for both, and accounted for neither.
        (Some(mut answer), Some(rationale)) => {
            answer.effort += rationale.effort;
            answer
        }
        (None, Some(failed)) => failed,
        (None, None) => unreachable!("it was recalled or asked"),
    });
    answered.collect()
}

/// The rationales that are wanted: those that are known, and those that a verdict is still to stand behind.
fn rationales(
    engine: &dyn Engine,
    questions: &[Question],
    answers: &[Option<Accounted<Reading>>],
    memory: &mut dyn Memory,
) -> Vec<Option<Accounted<Reading>>> {
    let alone = questions.iter().map(Question::rationale).enumerate();
    let (places, alone): (Vec<usize>, Vec<Question>) =
        alone.filter_map(|(place, question)| Some((place, question?))).unzip();
    let ids = ids(engine, &alone);
    let mut rationales = vec![None; questions.len()];
    for (place, known) in places.iter().zip(recall(memory, &ids)) {
        rationales[*place] = known;
    }
    let wanted = places.into_iter().zip(ids).zip(alone);
    let (wanted, asked): (Vec<(usize, ContentHash)>, Vec<Question>) = wanted
        .filter(|((place, _), _)| answers[*place].is_none() && rationales[*place].is_none())
        .unzip();
    let said = ask(engine, &asked, memory, |number, said| (wanted[number].1.clone(), said.clone()));
    for ((place, _), said) in wanted.into_iter().zip(said) {
        rationales[place] = Some(said);
    }
    rationales
}

fn ids(engine: &dyn Engine, questions: &[Question]) -> Vec<ContentHash> {
    questions.iter().map(|question| question.id(engine.identity())).collect()
}

/// What is known, in the order of `ids`. Of equal questions the first has the effort, as where an engine is asked.
fn recall(memory: &mut dyn Memory, ids: &[ContentHash]) -> Vec<Option<Accounted<Reading>>> {
    let mut seen = HashSet::new();
    let mut answer = |recalled: Recalled, id| {
        let is_due = seen.insert(id) && !recalled.accounted;
        let effort = if is_due { recalled.took } else { Effort::default() };
        Accounted { outcome: Ok(recalled.reading), effort }
    };
    let recalled = memory.recall(ids).into_iter().zip(ids);
    recalled.map(|(recalled, id)| Some(answer(recalled?, id))).collect()
}

/// Asks `engine`. What is kept of an answer, and by what, `whole` says by its place.
fn ask(
    engine: &dyn Engine,
    questions: &[Question],
    memory: &mut dyn Memory,
    whole: impl Fn(usize, &Reading) -> (ContentHash, Reading),
) -> Vec<Accounted<Reading>> {
    engine.read_each(questions, &mut |some| {
        let read = some.iter().filter_map(|&(place, answer)| {
            let (id, reading) = whole(place, answer.outcome.as_ref().ok()?);
            Some((id, reading, answer.effort))
        });
        let read: Vec<(ContentHash, Reading, Effort)> = read.collect();
        let kept: Vec<(ContentHash, &Reading, Effort)> =
            read.iter().map(|(id, reading, effort)| (id.clone(), reading, *effort)).collect();
        memory.keep(&kept);
    })
}

impl Question {
    /// What identifies it, asked of `engine`: all that its answer depends on, and nothing else. What becomes
    /// of the answer, such as a clamp, is no part of it, nor is a seed of which nothing is drawn.
    pub fn id(&self, engine: &Identity) -> ContentHash {
        let thought = self.thought.as_ref().map(|t| {
            let draws = (t.temperature > 0.0).then_some((t.top_k, t.seed));
            let (top_k, seed) = draws.unzip();
            json!([t.max_tokens, t.temperature, top_k, seed, t.stop, t.ending])
        });
        let mut hasher = Hasher::new();
        hasher.field(engine.hash.as_str()).field(&self.shown).field(&self.begun);
        hasher.field(canonical_json(&json!([self.layout, self.verdicts.as_ref(), thought])));
        hasher.finish()
    }

    /// What a memory keeps its answer by.
    pub(crate) fn keys(&self, engine: &Identity) -> Keys {
        let rationale = self.rationale().map(|rationale| rationale.id(engine));
        Keys { answer: self.id(engine), rationale }
    }
}
