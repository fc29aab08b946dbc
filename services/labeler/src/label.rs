//! Labels of pairs, with their provenance.

use crate::{account, with_judge};
use rlaif_job::{Label, LabelRecord, Tokens, WorkResult};
use rlaif_judge::Judge;
use rlaif_types::{Comparison, Finish, Judgement, Pair};
use rlaif_worker::{Failure, JobResources, Progress};

pub(crate) fn label(
    job: &JobResources,
    label: &Label,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    with_judge(job, &label.labeler, |judge| {
        let mut used = Tokens::default();
        let comparisons = account::compare(job, judge, &label.pairs, &mut used);
        progress.used(used);
        let records = label.pairs.iter().zip(comparisons?);
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
        finish_a: Finish::Stop,
        finish_b: Finish::Stop,
        comparison,
        unscorable,
        template: judge.template().name.clone(),
        template_hash: judge.template_hash().clone(),
        asking: judge.asking().clone(),
        labeler: judge.labeler().name.clone(),
        labeler_hash: judge.labeler().hash.clone(),
    }
}
