//! Given preferences as the policy reads them.

use rlaif_data::{Reader, preferences_of};
use rlaif_job::{LeftOut, Unlearnable};
use rlaif_rl::PreferencePair;
use rlaif_types::{LabelSource, Preference, Unscorable};
use rlaif_worker::{Dialogue, Failure, JobResources};
use std::io::Cursor;

/// The pairs of the artifact `file` that somebody of `labels` judged, and what is left out of it.
///
/// # Errors
/// When none can be learned from.
pub(crate) fn preference_pairs(
    job: &JobResources,
    dialogue: &Dialogue,
    file: &str,
    labels: LabelSource,
) -> Result<(Vec<PreferencePair>, LeftOut), Failure> {
    let reader = Reader::new(file, Cursor::new(job.artifacts.get(file)?));
    let all: Vec<Preference> =
        reader.read_all(|record| preferences_of(&record))?.into_iter().flatten().collect();
    let mut left_out = LeftOut::default();
    let read = all.iter().map(|preference| pair(dialogue, preference, labels));
    let pairs: Vec<PreferencePair> = read.filter_map(|pair| left_out.keep(pair)).collect();
    match pairs.is_empty() {
        true => Err(Failure::impossible(format!(
            "{file}: of {} preferences not one can be learned from with rl.labels = \"{}\": {left_out}",
            all.len(),
            labels.as_str()
        ))),
        false => Ok((pairs, left_out)),
    }
}

fn pair(
    dialogue: &Dialogue,
    preference: &Preference,
    labels: LabelSource,
) -> Result<PreferencePair, Unlearnable> {
    let (label, _) = labels.of(preference).ok_or(Unlearnable::Unlabelled)?;
    let Preference { pair, finish: [a_ended, b_ended], .. } = preference;
    let lesson = |text: &str, finish| dialogue.lesson(text, finish).ok_or(Unlearnable::Empty);
    let (a, b) = (lesson(&pair.response_a, *a_ended)?, lesson(&pair.response_b, *b_ended)?);
    let prompt = dialogue.prompt(&pair.prompt, a.len().max(b.len()));
    let prompt = prompt.map_err(Unscorable::from)?;
    Ok(PreferencePair { prompt, a, b, label })
}
