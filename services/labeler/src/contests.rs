//! Contests judged, by every template: a comparison in both orders, or two ratings.

use crate::{account, with_judges};
use rlaif_job::{Contest, EvaluationRecord, JudgeContests, Tokens, Verdict, WorkResult};
use rlaif_judge::Judge;
use rlaif_template::Kind;
use rlaif_types::{Item, Judgement, Pair, SoftLabel, says_nothing};
use rlaif_worker::{Failure, JobResources, Progress};
use std::collections::BTreeMap;

pub(crate) fn judge(
    job: &JobResources,
    work: &JudgeContests,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    with_judges(job, &work.model, &work.templates, |judges, _| {
        let mut records: Vec<EvaluationRecord> = work
            .contests
            .iter()
            .map(|c| EvaluationRecord { contest: c.clone(), verdicts: BTreeMap::new() })
            .collect();
        let mut used = Tokens::default();
        let judged = judges.iter().try_for_each(|judge| {
            progress.goes_on()?;
            let verdicts = verdicts(job, judge, &work.contests, &mut used)?;
            for (record, verdict) in records.iter_mut().zip(verdicts) {
                record.verdicts.insert(judge.template().name.clone(), verdict.into());
            }
            Ok::<(), Failure>(())
        });
        progress.used(used);
        judged.map(|()| WorkResult::Evaluations(records))
    })
}

/// The verdicts; what they took is added to `used`. Silence loses, whatever is asked: where responses are rated it has
/// the lowest score.
fn verdicts(
    job: &JobResources,
    judge: &Judge,
    contests: &[Contest],
    used: &mut Tokens,
) -> Result<Vec<Judgement<Verdict>>, Failure> {
    if judge.template().kind == Kind::Compare {
        let pairs: Vec<Pair> = contests.iter().map(pair).collect();
        let labels = account::settle(job, judge, &pairs, used)?;
        let verdict = |label: SoftLabel| Verdict::of_scores(label.value(), label.swapped().value());
        return Ok(labels.into_iter().map(|label| label.map(verdict)).collect());
    }
    let items: Vec<Item> = contests
        .iter()
        .flat_map(|c| [&c.trained, &c.start].map(|r| (c.prompt.clone(), r.clone())))
        .map(|(prompt, response)| Item { prompt, response })
        .collect();
    let ratings = account::rate(job, judge, &items, used)?;
    let scores =
        items.iter().zip(ratings).map(|(item, rating)| match says_nothing(&item.response) {
            true => Ok(judge.least_score()),
            false => rating.map(|rating| rating.score),
        });
    let scores: Vec<Judgement<f64>> = scores.collect();
    let verdicts = contests.iter().zip(scores.chunks_exact(2)).map(|(contest, both)| {
        let verdict = Verdict::of_scores(both[0].clone()?, both[1].clone()?);
        // The lowest score may be given to words, too.
        let outcome = pair(contest).by_silence().map_or(verdict.outcome, SoftLabel::value);
        Ok(Verdict { outcome, ..verdict })
    });
    Ok(verdicts.collect())
}

fn pair(contest: &Contest) -> Pair {
    Pair {
        prompt: contest.prompt.clone(),
        response_a: contest.trained.clone(),
        response_b: contest.start.clone(),
    }
}
