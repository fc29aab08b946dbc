//! Contests judged: a comparison in both orders, or two ratings.

use rlaif_job::{Contest, Verdict};
use rlaif_judge::{Error, Judge};
use rlaif_template::Kind;
use rlaif_types::{Item, Judgement, Pair};

/// Judges contests: a comparison in both orders, or two ratings.
///
/// # Errors
/// When the judge cannot ask at all.
pub fn judge(judge: &Judge, contests: &[Contest]) -> Result<Vec<Judgement<Verdict>>, Error> {
    if judge.template().kind == Kind::Compare {
        let pairs: Vec<Pair> = contests
            .iter()
            .map(|contest| Pair {
                prompt: contest.prompt.clone(),
                response_a: contest.trained.clone(),
                response_b: contest.start.clone(),
            })
            .collect();
        let comparisons = judge.compare(&pairs)?;
        let verdicts = comparisons
            .into_iter()
            .map(|c| c.map(|c| Verdict::of_scores(c.label.value(), c.label.swapped().value())));
        return Ok(verdicts.collect());
    }
    let items: Vec<Item> = contests
        .iter()
        .flat_map(|c| [&c.trained, &c.start].map(|r| (c.prompt.clone(), r.clone())))
        .map(|(prompt, response)| Item { prompt, response })
        .collect();
    let ratings = judge.rate(&items)?;
    let verdicts = ratings.chunks_exact(2).map(|both| {
        let score = |i: usize| both[i].as_ref().map(|r| r.score).map_err(Clone::clone);
        Ok(Verdict::of_scores(score(0)?, score(1)?))
    });
    Ok(verdicts.collect())
}
