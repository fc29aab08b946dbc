//! What is said of a pair beside its candidates, in fields that TRL-like formats share.
//!
//! `soft_label` is what a labeling model said, `human_label` what people said: each the probability
//! that A, the first candidate of the record, is preferred. `unscorable` says why a model could not judge
//! the pair: then neither a soft label nor a chosen side is anybody's label. `finish_a` and `finish_b` say how the
//! candidates ended: `length` of one that was cut off.

use super::fields::{finish, get, has, name, put_finish, real};
use crate::Record;
use rlaif_types::{Confidence, Finish, HumanLabel, Pair, Preference, SoftLabel};
use serde_json::json;

/// Says why a pair, or a response, could not be judged.
pub(crate) const UNSCORABLE: &str = "unscorable";

/// Say how A and B ended.
const FINISH: [&str; 2] = ["finish_a", "finish_b"];

/// The label that a human choice of A is.
pub(super) fn prefers_a() -> SoftLabel {
    SoftLabel::new(1.0).expect("1 is a probability")
}

/// The preference that `record` states of `pair`.
///
/// Where a format names a chosen candidate, people chose it (`is_chosen`), unless a soft label says
/// that a model did.
///
/// # Errors
/// When a field is not what it should be, or the record has a label and says that there is none.
pub(super) fn read(record: &Record, pair: Pair, is_chosen: bool) -> Result<Preference, String> {
    let label = |field: &str| {
        real(record, field)?
            .map(|p| SoftLabel::try_from(p).map_err(|what| format!("{field:?}: {what}")))
            .transpose()
    };
    let (ai, stated) = (label("soft_label")?, label("human_label")?);
    let implied = (is_chosen && ai.is_none()).then(prefers_a);
    if has(record, UNSCORABLE) && (ai.is_some() || implied.is_some() && stated.is_none()) {
        let label = if ai.is_some() { "soft_label" } else { "chosen" };
        return Err(format!(
            "{UNSCORABLE:?} says that this pair could not be judged, but it has {label:?}: remove the one \
             that is not true, or label the pair again"
        ));
    }
    let human = stated.or(implied).map(HumanLabel::new);
    let human = human.map(|human| with_details(record, human)).transpose()?;
    Ok(Preference { pair, human, ai, finish: FINISH.map(|field| finish(record, field)) })
}

fn with_details(record: &Record, mut human: HumanLabel) -> Result<HumanLabel, String> {
    human.confidence = confidence(record, "human_confidence")?;
    human.margin = real(record, "margin")?;
    human.annotator = name(record, "annotator");
    Ok(human)
}

/// The field's place on the scale of nine.
pub(super) fn confidence(record: &Record, field: &str) -> Result<Option<Confidence>, String> {
    let Some(value) = get(record, field) else { return Ok(None) };
    let place = value.as_u64().ok_or_else(|| format!("field {field:?} must be a whole number"))?;
    Confidence::new(place).map(Some)
}

/// Adds to `record` what `preference` says beyond its candidates and, with `is_chosen`, beyond
/// that A was chosen.
pub(super) fn write(record: &mut Record, preference: &Preference, is_chosen: bool) {
    if let Some(soft_label) = preference.ai {
        record.insert("soft_label".into(), json!(soft_label));
    }
    put_finishes(record, preference.finish);
    let Some(human) = &preference.human else { return };
    let is_implied = is_chosen && preference.ai.is_none() && human.prefers_a == prefers_a();
    if !is_implied {
        record.insert("human_label".into(), json!(human.prefers_a));
    }
    if let Some(confidence) = human.confidence {
        record.insert("human_confidence".into(), json!(confidence.value()));
    }
    if let Some(margin) = human.margin {
        record.insert("margin".into(), json!(margin));
    }
    if let Some(annotator) = &human.annotator {
        record.insert("annotator".into(), json!(annotator));
    }
}

/// Says in a pair's record which of A and B were cut off, in `finish_a` and `finish_b`.
pub fn put_finishes(record: &mut Record, finishes: [Finish; 2]) {
    for (field, finish) in FINISH.into_iter().zip(finishes) {
        put_finish(record, field, finish);
    }
}
