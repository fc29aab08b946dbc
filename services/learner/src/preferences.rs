//! Given preferences as the policy reads them.

use rlaif_data::{Reader, preferences_of};
use rlaif_rl::PreferencePair;
use rlaif_types::{LabelSource, Preference};
use rlaif_worker::{Dialogue, Failure, JobResources};
use std::io::Cursor;

/// The pairs of the artifact `file`, as `labels` has them. One of which nobody of these said which response
/// is better, with an empty response, or too long for the policy's context, is left out.
///
/// # Errors
/// When none is left.
pub(crate) fn preference_pairs(
    job: &JobResources,
    dialogue: &Dialogue,
    file: &str,
    labels: LabelSource,
) -> Result<Vec<PreferencePair>, Failure> {
    let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
    let all: Vec<Preference> =
        reader.read_all(|record| preferences_of(&record))?.into_iter().flatten().collect();
    let pairs: Vec<PreferencePair> = all.iter().filter_map(|p| pair(dialogue, p, labels)).collect();
    match pairs.is_empty() {
        true => Err(Failure::impossible(format!(
            "{file}: of {} preferences not one has a label that rl.labels = \"{}\" learns from and fits \
             the policy's context",
            all.len(),
            labels.as_str()
        ))),
        false => Ok(pairs),
    }
}

fn pair(
    dialogue: &Dialogue,
    preference: &Preference,
    labels: LabelSource,
) -> Option<PreferencePair> {
    let (label, _) = labels.of(preference)?;
    let texts = [&preference.pair.response_a, &preference.pair.response_b];
    if texts.iter().any(|text| text.is_empty()) {
        return None;
    }
    let [a, b] = texts.map(|text| dialogue.response(text));
    let prompt = dialogue.prompt(&preference.pair.prompt, a.len().max(b.len())).ok()?;
    Some(PreferencePair { prompt, a, b, label })
}
