//! What numbers models compute in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a model computes in while it trains, and while it answers for a job. Weights that learn, losses, log-
/// probabilities, rewards and optimisers are f32 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 bits of an f32: half the memory of activations, and a GPU's matrix units.
    Bf16,
}

impl Precision {
    /// Whether it is the default, which resolved settings leave out.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::F32, Self::Bf16]
            .into_iter()
            .find(|known| known.to_string() == name)
            .ok_or_else(|| format!("{name:?} is no precision; use f32 or bf16"))
    }
}
