//! Labels with their provenance.

use rlaif_job::LabelRecord;
use rlaif_judge::{Error, Judge};
use rlaif_types::{Comparison, Judgement, Pair};

/// Labels pairs in one batch.
///
/// # Errors
/// When the judge's template is not for comparisons.
pub fn label(judge: &Judge, pairs: &[Pair]) -> Result<Vec<LabelRecord>, Error> {
    let comparisons = judge.compare(pairs)?;
    Ok(pairs.iter().zip(comparisons).map(|(pair, c)| record(judge, pair, c)).collect())
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
