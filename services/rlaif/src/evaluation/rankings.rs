//! People's rankings of the arms' responses, from a file.

use anyhow::Result;
use rlaif_contest::Ranking;
use rlaif_data::{Reader, Record, prompt_of};
use rlaif_types::Prompt;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Reads `{"prompt", "ranking": [arms, best first], "rater"}` from each record.
///
/// # Errors
/// At a record that is no ranking of these arms for one of these prompts, or a second one of the same
/// rater.
pub fn read_rankings(path: &Path, prompts: &[Prompt], arms: &[String]) -> Result<Vec<Ranking>> {
    let numbers: HashMap<String, usize> =
        prompts.iter().enumerate().map(|(number, prompt)| (prompt.as_context(), number)).collect();
    let mut seen = BTreeSet::new();
    let rankings = Reader::open(path)?.read_all(|record| {
        let context = prompt_of(&record)?.as_context();
        let prompt = *numbers.get(&context).ok_or("\"prompt\" is none that is evaluated on")?;
        let ranking = Ranking { prompt, best_first: best_first(&record)?, rater: rater(&record)? };
        ranking.check(arms)?;
        if !seen.insert((prompt, ranking.rater.clone())) {
            return Err(format!("rater {:?} ranked this prompt before", ranking.rater));
        }
        Ok(ranking)
    })?;
    Ok(rankings)
}

fn best_first(record: &Record) -> Result<Vec<String>, String> {
    let names = record.get("ranking").and_then(|ranking| ranking.as_array());
    let names = names.ok_or("\"ranking\" must be a list of arms, best first")?;
    let name = |name: &serde_json::Value| {
        let name = name.as_str().map(str::to_owned);
        name.ok_or_else(|| {
            "\"ranking\" must hold names of arms alone: ties are not allowed".to_owned()
        })
    };
    names.iter().map(name).collect()
}

fn rater(record: &Record) -> Result<String, String> {
    match record.get("rater") {
        Some(serde_json::Value::String(rater)) if !rater.is_empty() => Ok(rater.clone()),
        Some(serde_json::Value::Number(rater)) => Ok(rater.to_string()),
        _ => Err("\"rater\" must say who ranked, by a name or a number".to_owned()),
    }
}
