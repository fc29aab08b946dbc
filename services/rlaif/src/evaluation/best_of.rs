//! The best of several answers, by a reward model or by a labeler's rating.

use super::arms::Scorer;
use super::runs::Named;
use crate::commands::reward::Trained;
use crate::labeling::Labelers;
use anyhow::{Result, bail};
use rlaif_clerk::Clerk;
use rlaif_job::strip_trailing_junk;
use rlaif_judge::Judge;
use rlaif_models::{Checkpoint, DeviceName};
use rlaif_template::{Asking, Template};
use rlaif_types::{ContentHash, Hasher, Item, Judgement, Prompt, Unscorable, UnscorableReason};

/// Scores answers.
pub struct Scoring<'a> {
    engine: ScoringEngine<'a>,
    identity: ContentHash,
    model_hash: ContentHash,
}

enum ScoringEngine<'a> {
    Reward(Box<Trained>),
    Rating(Box<Judge>, &'a Clerk),
}

/// The highest score, and whose it is.
pub struct Best {
    /// The answer.
    pub text: String,
    /// Its score.
    pub score: f64,
}

impl<'a> Scoring<'a> {
    /// Starts whoever scores; a labeler is asked by `rating_template`.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn start(
        scorer: &Scorer,
        rating_template: &str,
        labelers: &mut Labelers,
        device: DeviceName,
        clerk: &'a Clerk,
    ) -> Result<Self> {
        let mut hasher = Hasher::new();
        match scorer {
            Scorer::Reward(name) => {
                let Named { model, run, .. } = Named::reward(name)?;
                let asked = run.map(|run| run.asked()).transpose()?.flatten();
                let chat = |checkpoint: &Checkpoint| {
                    asked.as_ref().map_or(checkpoint.chat_template.is_some(), |asked| asked.chat)
                };
                let model = Box::new(Trained::open(&model, device, chat)?);
                let model_hash = model.info().hash.clone();
                hasher.field("reward").field(model_hash.as_str());
                let engine = ScoringEngine::Reward(model);
                Ok(Self { engine, identity: hasher.finish(), model_hash })
            }
            Scorer::Rating(name) => {
                let template = Template::load(rating_template)?;
                let judge = Judge::new(labelers.start(name)?, template, Asking::default())?;
                let model_hash = judge.labeler().hash.clone();
                hasher.field("rating").field(model_hash.as_str());
                hasher.field(judge.template_hash().as_str());
                let engine = ScoringEngine::Rating(Box::new(judge), clerk);
                Ok(Self { engine, identity: hasher.finish(), model_hash })
            }
        }
    }

    /// Identity of its scores.
    pub fn identity(&self) -> &ContentHash {
        &self.identity
    }

    /// Hash of the model that scores.
    pub fn model_hash(&self) -> &ContentHash {
        &self.model_hash
    }

    /// The best answer to each prompt; the first of equals. Answers that cannot be scored are no
    /// candidates. They are scored as the judge sees them, without trailing symbols.
    ///
    /// # Errors
    /// When the engine fails or refuses to answer, or a ceiling is reached.
    pub fn best(
        &self,
        prompts: &[Prompt],
        answers: Vec<Judgement<Vec<String>>>,
    ) -> Result<Vec<Judgement<Best>>> {
        let item = |prompt: &Prompt, text: &String| Item {
            prompt: prompt.clone(),
            response: strip_trailing_junk(text).to_owned(),
        };
        let items: Vec<Item> = prompts
            .iter()
            .zip(&answers)
            .flat_map(|(prompt, texts)| texts.iter().flatten().map(move |text| item(prompt, text)))
            .collect();
        let mut scores = self.scores(&items)?.into_iter();
        let best = answers.into_iter().map(|texts| {
            let scored = texts?.into_iter().zip(scores.by_ref());
            best_of(scored.collect())
        });
        Ok(best.collect())
    }

    fn scores(&self, items: &[Item]) -> Result<Vec<Judgement<f64>>> {
        match &self.engine {
            ScoringEngine::Reward(model) => model.rewards(items),
            ScoringEngine::Rating(judge, clerk) => {
                let asked = clerk.rate(judge, items, None)?;
                if let Some(refused) = asked.refused {
                    bail!("{refused}; what was rated is in the ledger");
                }
                let ratings = asked.answers.into_iter().flatten();
                let ratings: Vec<Judgement<f64>> =
                    ratings.map(|rating| Ok(rating?.reward)).collect();
                let is_refusal = |why: &&Unscorable| why.reason == UnscorableReason::EngineRefused;
                // The arm would have no response, and nobody would hear why.
                if let Some(why) = ratings.iter().filter_map(|r| r.as_ref().err()).find(is_refusal)
                {
                    bail!(
                        "the labeler that scores refuses to answer: {why}; what was rated is in the ledger"
                    );
                }
                Ok(ratings)
            }
        }
    }
}

fn best_of(scored: Vec<(String, Judgement<f64>)>) -> Judgement<Best> {
    let (mut best, mut why): (Option<Best>, Option<Unscorable>) = (None, None);
    for (text, score) in scored {
        match score {
            Ok(score) if best.as_ref().is_none_or(|best| score > best.score) => {
                best = Some(Best { text, score });
            }
            Ok(_) => {}
            Err(unscorable) => why = why.or(Some(unscorable)),
        }
    }
    best.ok_or_else(|| {
        why.unwrap_or_else(|| Unscorable::new(UnscorableReason::BadItem, "there is no answer"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_testkit::TINY_MODEL;
    use std::path::Path;

    #[test]
    fn to_a_reward_model_an_empty_answer_is_a_candidate_like_any_other() {
        let model = Path::new(TINY_MODEL).with_file_name("tiny-reward");
        let model = Trained::open(model.to_str().unwrap(), DeviceName::Cpu, |_| false).unwrap();
        let hash = model.info().hash.clone();
        let engine = ScoringEngine::Reward(Box::new(model));
        let scoring = Scoring { engine, identity: hash.clone(), model_hash: hash };
        let prompts = [Prompt::Text("Say it".into())];
        let best = |answers: &[&str]| {
            let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
            let best = scoring.best(&prompts, vec![Ok(answers)]).unwrap();
            best.into_iter().next().unwrap().unwrap()
        };
        let (silent, spoken) = (best(&[""]), best(&["No."]));
        assert_ne!(silent.score, spoken.score, "the example decides nothing");
        let highest = if silent.score > spoken.score { "" } else { "No." };
        assert_eq!(best(&["", "No."]).text, highest);
    }

    #[test]
    fn the_first_of_the_highest_counts_and_a_failure_is_no_low_score() {
        let failed = || Err(Unscorable::new(UnscorableReason::NoVerdict, "mute"));
        let scored = [("a", failed()), ("b", Ok(-0.5)), ("c", Ok(0.25)), ("d", Ok(0.25))];
        let scored = scored.map(|(text, score)| (text.to_owned(), score)).to_vec();
        let best = best_of(scored).unwrap();
        assert_eq!((best.text.as_str(), best.score), ("c", 0.25));
        assert_eq!(best_of(vec![("a".into(), failed())]).err().unwrap().detail, "mute");
    }
}
