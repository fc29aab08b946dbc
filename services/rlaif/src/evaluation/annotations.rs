//! AlpacaEval's annotations: which of two outputs was preferred, as others said it.

use anyhow::{Result, bail};
use rlaif_contest::{ArmSummary, Contest, Verdict};
use rlaif_data::{Reader, Record, preferences_of};
use rlaif_types::{Pair, SoftLabel};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Contests that were judged elsewhere.
pub struct Annotations {
    /// The generators, in the order of their first appearance.
    pub arms: Vec<ArmSummary>,
    /// Prompts among them.
    pub prompts: usize,
    /// The contests.
    pub contests: Vec<Contest>,
}

impl Annotations {
    /// Reads a file of annotations with `generator_1` and `generator_2`.
    ///
    /// # Errors
    /// When it has a record that is none, or no record at all.
    pub fn read(path: &Path) -> Result<Self> {
        let rows = Reader::open(path)?.read_all(|record| row(&record))?;
        if rows.is_empty() {
            bail!("{}: no annotations", path.display());
        }
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let (mut names, mut lengths) = (Vec::new(), BTreeMap::new());
        let mut contests = Vec::new();
        for Row { pair, generators, label } in rows {
            let next = numbers.len();
            let prompt = *numbers.entry(pair.prompt.as_context()).or_insert(next);
            let chars = pair.lengths();
            for (name, chars) in generators.iter().zip(chars) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
                lengths.insert((name.clone(), prompt), chars);
            }
            let [first, second] = generators;
            let verdict = label.map(|label| Verdict { preference: label.value(), orders: None });
            contests.push(Contest { prompt, first, second, lengths: chars, verdict });
        }
        let arm = |name: String| {
            let of_arm = lengths.iter().filter(|((arm, _), _)| *arm == name);
            let of_arm: Vec<f64> = of_arm.map(|(_, chars)| *chars as f64).collect();
            ArmSummary {
                source: format!("outputs in {}", path.display()),
                responses: of_arm.len(),
                mean_chars: of_arm.iter().sum::<f64>() / of_arm.len() as f64,
                name,
            }
        };
        let arms = names.into_iter().map(arm).collect();
        Ok(Self { arms, prompts: numbers.len(), contests })
    }
}

struct Row {
    pair: Pair,
    generators: [String; 2],
    label: Option<SoftLabel>,
}

fn row(record: &Record) -> Result<Row, String> {
    let generator = |field: &str| {
        let name = record.get(field).and_then(|name| name.as_str()).filter(|name| !name.is_empty());
        name.map(str::to_owned).ok_or_else(|| format!("{field:?} must name whose output it is"))
    };
    let generators = [generator("generator_1")?, generator("generator_2")?];
    if generators[0] == generators[1] {
        return Err(format!("both outputs are of {:?}", generators[0]));
    }
    let mut preferences = preferences_of(record)?;
    let preference = preferences.pop().ok_or("the record compares nothing")?;
    Ok(Row { label: preference.prefers_a(), pair: preference.pair, generators })
}
