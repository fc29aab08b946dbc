//! How outputs of a reward model become rewards: shifted and scaled to mean 0 and variance 1 on its
//! training responses. Each model has its own, so it is published beside the weights.

use rlaif_models::formats::hf::write_json;
use rlaif_rl::PairScores;
use rlaif_worker::Failure;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

/// Its file in a model's folder.
const FILE: &str = "normalisation.json";

/// `reward = (output - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Of the outputs on the training responses.
    pub mean: f64,
    /// Of the same, above 0.
    pub std: f64,
}

/// Outputs as they are.
impl Default for Normalisation {
    fn default() -> Self {
        Self { mean: 0.0, std: 1.0 }
    }
}

impl Normalisation {
    /// The one under which these outputs have mean 0 and variance 1; outputs as they are where there are
    /// none.
    pub fn over(scores: &[PairScores]) -> Self {
        if scores.is_empty() {
            return Self::default();
        }
        let all: Vec<f64> = scores.iter().flat_map(|s| [f64::from(s.a), f64::from(s.b)]).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / all.len() as f64;
        Self { mean, std: variance.sqrt().max(1e-6) }
    }

    /// The reward that an output is.
    pub fn reward(self, output: f64) -> f64 {
        (output - self.mean) / self.std
    }

    /// Writes it into a model's folder.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(self, folder: &Path) -> Result<(), rlaif_models::Error> {
        write_json(&folder.join(FILE), &json!({ "mean": self.mean, "std": self.std }))
    }

    /// The one in a model's folder, or outputs as they are where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or makes no sense.
    pub fn of(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Failure::Retry(format!("{}: {e}", path.display()))),
        };
        let wrong = |what: String| {
            let hint = r#"expected {"mean": .., "std": ..}"#;
            Failure::impossible(format!("{}: {what}; {hint}", path.display()))
        };
        let read: Self = serde_json::from_slice(&json).map_err(|e| wrong(e.to_string()))?;
        match read.std > 0.0 {
            true => Ok(read),
            false => Err(wrong(format!("std must be above 0, not {}", read.std))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_with_a_model_is_read_again_and_nonsense_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Normalisation::of(dir.path()), Ok(Normalisation::default()));
        let published = Normalisation { mean: 0.1 + 0.2, std: 3.0 };
        published.save(dir.path()).unwrap();
        assert_eq!(Normalisation::of(dir.path()), Ok(published));
        for wrong in [r#"{"mean": 1}"#, r#"{"mean": 1, "std": 0}"#, ""] {
            std::fs::write(dir.path().join(FILE), wrong).unwrap();
            let Err(Failure::Impossible(why)) = Normalisation::of(dir.path()) else {
                panic!("accepted {wrong}")
            };
            assert!(why.contains(FILE) && why.contains("expected"), "{why}");
        }
    }
}
