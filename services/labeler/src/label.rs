//! Labels of pairs, with their provenance.

use crate::with_judges;
use rlaif_job::{Label, LabelRecord, Tokens, WorkResult};
use rlaif_judge::Judge;
use rlaif_types::{Comparison, Judgement, Pair};
use rlaif_worker::{Failure, JobResources, Progress};
use std::slice;

pub(crate) fn label(
    job: &JobResources,
    label: &Label,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let template = slice::from_ref(&label.labeler.template);
    with_judges(job, &label.labeler.model, template, |judges| {
        let judge = &judges[0];
        let comparisons = judge.compare(&label.pairs)?;
        progress.used(tokens_of_comparisons(&comparisons));
        let records = label.pairs.iter().zip(comparisons);
        Ok(WorkResult::Labels(records.map(|(pair, c)| record(judge, pair, c)).collect()))
    })
}

/// What was read for those that could be judged.
pub(crate) fn tokens_of_comparisons(comparisons: &[Judgement<Comparison>]) -> Tokens {
    let both = |c: &Comparison| c.ab.prompt_tokens + c.ba.prompt_tokens;
    Tokens::read(comparisons.iter().flatten().map(both).sum())
}

fn record(judge: &Judge, pair: &Pair, comparison: Judgement<Comparison>) -> LabelRecord {
    let (comparison, unscorable) = match comparison {
        Ok(comparison) => (Some(comparison), None),
        Err(unscorable) => (None, Some(unscorable)),
    };
    LabelRecord {
        label_id: judge.label_id(pair),
        pair: pair.clone(),
        comparison,
        unscorable,
        template: judge.template().name.clone(),
        template_hash: judge.template_hash().clone(),
        labeler: judge.model().info().name.clone(),
        labeler_hash: judge.model().info().hash.clone(),
    }
}
