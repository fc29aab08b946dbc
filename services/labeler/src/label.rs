//! Labels of pairs, with their provenance.

use crate::with_judges;
use rlaif_job::{Label, LabelRecord, WorkResult};
use rlaif_judge::Judge;
use rlaif_types::{Comparison, Judgement, Pair};
use rlaif_worker::{Failure, JobResources};
use std::slice;

pub(crate) fn label(job: &JobResources, label: &Label) -> Result<WorkResult, Failure> {
    let template = slice::from_ref(&label.labeler.template);
    with_judges(job, &label.labeler.model, template, |judges| {
        let judge = &judges[0];
        let comparisons = judge.compare(&label.pairs)?;
        let records = label.pairs.iter().zip(comparisons);
        Ok(WorkResult::Labels(records.map(|(pair, c)| record(judge, pair, c)).collect()))
    })
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
