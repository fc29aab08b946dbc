//! Judges asked on the worker's account.

use rlaif_clerk::Asked;
use rlaif_job::Tokens;
use rlaif_judge::Judge;
use rlaif_service::telemetry;
use rlaif_types::{Comparison, Item, Judgement, Pair, Rating, UnscorableReason};
use rlaif_worker::{Failure, JobResources};
use tracing::Span;

/// Labels pairs, and says what that took.
pub(crate) fn compare(
    job: &JobResources,
    judge: &Judge,
    pairs: &[Pair],
) -> Result<(Vec<Judgement<Comparison>>, Tokens), Failure> {
    let trace_id = telemetry::trace_id(&Span::current());
    said(judge, job.clerk().compare(judge, pairs, trace_id.as_deref())?)
}

/// Rates items, and says what that took.
pub(crate) fn rate(
    job: &JobResources,
    judge: &Judge,
    items: &[Item],
) -> Result<(Vec<Judgement<Rating>>, Tokens), Failure> {
    let trace_id = telemetry::trace_id(&Span::current());
    said(judge, job.clerk().rate(judge, items, trace_id.as_deref())?)
}

fn said<T>(judge: &Judge, asked: Asked<T>) -> Result<(Vec<Judgement<T>>, Tokens), Failure> {
    if let Some(refused) = asked.refused {
        return Err(Failure::impossible(format!(
            "the labeler stopped at its ceiling (labeler.max_cost and max_tokens of the job, --max-cost and \
             --max-tokens of `rlaif run`, or worker.ledger): {refused}, then resume the job"
        )));
    }
    let answers: Vec<Judgement<T>> = asked.answers.into_iter().flatten().collect();
    // An endpoint that answers nothing at all is down: another time it may be up.
    let failure = |answer: &Judgement<T>| answer.as_ref().err().cloned();
    let failures: Vec<_> = answers.iter().filter_map(failure).collect();
    let is_down = failures.iter().all(|why| why.reason == UnscorableReason::EngineFailed);
    if let Some(first) = failures.first()
        && is_down
        && failures.len() == answers.len()
        && !judge.labeler().is_local()
    {
        let labeler = judge.labeler();
        return Err(Failure::Retry(format!("{} at {}: {first}", labeler.name, labeler.place)));
    }
    Ok((answers, Tokens::new(asked.effort.prompt_tokens, asked.effort.completion_tokens)))
}
