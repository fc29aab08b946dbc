//! The two kinds of question, as the clerk needs them.

use rlaif_judge::{Accounted, Effort, Error, Judge, Keys, Memory};
use rlaif_ledger::{Answer, Question};
use rlaif_types::{Comparison, Item, LabelId, Pair, Rating};

pub(crate) trait Kind {
    type About: Clone;
    type Said: Clone;

    fn id(judge: &Judge, about: &Self::About) -> LabelId;
    fn question(about: &Self::About) -> Question;
    fn at_most(judge: &Judge, about: &Self::About) -> Effort;
    fn ask(
        judge: &Judge,
        about: &[Self::About],
        memory: &mut dyn Memory,
    ) -> Result<Vec<Accounted<Self::Said>>, Error>;
    /// What a memory keeps the single answers by that it is made of.
    fn keys(judge: &Judge, about: &Self::About) -> Vec<Keys>;
    fn answer(said: Self::Said) -> Answer;
    fn said(answer: Answer) -> Option<Self::Said>;
}

/// Which of two responses is better.
pub(crate) struct Comparisons;

impl Kind for Comparisons {
    type About = Pair;
    type Said = Comparison;

    fn id(judge: &Judge, pair: &Pair) -> LabelId {
        judge.label_id(pair)
    }

    fn question(pair: &Pair) -> Question {
        Question::Compare(pair.clone())
    }

    fn at_most(judge: &Judge, pair: &Pair) -> Effort {
        judge.compare_at_most(pair)
    }

    fn ask(
        judge: &Judge,
        pairs: &[Pair],
        memory: &mut dyn Memory,
    ) -> Result<Vec<Accounted<Comparison>>, Error> {
        judge.compare_accounted(pairs, memory)
    }

    fn keys(judge: &Judge, pair: &Pair) -> Vec<Keys> {
        judge.compare_keys(pair)
    }

    fn answer(said: Comparison) -> Answer {
        Answer::Comparison(said)
    }

    fn said(answer: Answer) -> Option<Comparison> {
        match answer {
            Answer::Comparison(said) => Some(said),
            Answer::Rating(_) => None,
        }
    }
}

/// How good one response is.
pub(crate) struct Ratings;

impl Kind for Ratings {
    type About = Item;
    type Said = Rating;

    fn id(judge: &Judge, item: &Item) -> LabelId {
        judge.rating_id(item)
    }

    fn question(item: &Item) -> Question {
        Question::Rate(item.clone())
    }

    fn at_most(judge: &Judge, item: &Item) -> Effort {
        judge.rate_at_most(item)
    }

    fn ask(
        judge: &Judge,
        items: &[Item],
        memory: &mut dyn Memory,
    ) -> Result<Vec<Accounted<Rating>>, Error> {
        judge.rate_accounted(items, memory)
    }

    fn keys(judge: &Judge, item: &Item) -> Vec<Keys> {
        judge.rate_keys(item)
    }

    fn answer(said: Rating) -> Answer {
        Answer::Rating(said)
    }

    fn said(answer: Answer) -> Option<Rating> {
        match answer {
            Answer::Rating(said) => Some(said),
            Answer::Comparison(_) => None,
        }
    }
}
