//! Contests judged, by every template: a comparison in both orders, or two ratings.

use crate::{account, with_judges};
use rlaif_job::{Contest, EvaluationRecord, JudgeContests, Tokens, Verdict, WorkResult};
use rlaif_judge::Judge;
use rlaif_template::Kind;
use rlaif_types::{Item, Judgement, Pair};
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
        for judge in judges {
            progress.goes_on()?;
            let (verdicts, tokens) = verdicts(job, judge, &work.contests)?;
            used += tokens;
            for (record, verdict) in records.iter_mut().zip(verdicts) {
                record.verdicts.insert(judge.template().name.clone(), verdict.into());
            }
        }
        progress.used(used);
        Ok(WorkResult::Evaluations(records))
    })
}

/// The verdicts, and what they took.
fn verdicts(
    job: &JobResources,
    judge: &Judge,
    contests: &[Contest],
) -> Result<(Vec<Judgement<Verdict>>, Tokens), Failure> {
    if judge.template().kind == Kind::Compare {
        let pairs: Vec<Pair> = contests
            .iter()
            .map(|contest| Pair {
                prompt: contest.prompt.clone(),
                response_a: contest.trained.clone(),
                response_b: contest.start.clone(),
            })
            .collect();
        let (comparisons, tokens) = account::compare(job, judge, &pairs)?;
        let verdicts = comparisons
            .into_iter()
            .map(|c| c.map(|c| Verdict::of_scores(c.label.value(), c.label.swapped().value())));
        return Ok((verdicts.collect(), tokens));
    }
    let items: Vec<Item> = contests
        .iter()
        .flat_map(|c| [&c.trained, &c.start].map(|r| (c.prompt.clone(), r.clone())))
        .map(|(prompt, response)| Item { prompt, response })
        .collect();
    let (ratings, tokens) = account::rate(job, judge, &items)?;
    let verdicts = ratings.chunks_exact(2).map(|both| {
        let score = |i: usize| both[i].as_ref().map(|r| r.score).map_err(Clone::clone);
        Ok(Verdict::of_scores(score(0)?, score(1)?))
    });
    Ok((verdicts.collect(), tokens))
}
