//! Rotary angles by position, with the scalings of long-context models.

use crate::config::{ModelConfig, RopeScaling};
use crate::kernels::Angles;
use std::f64::consts::PI;
use std::sync::Arc;

/// Cosines and sines of every position a model can see.
#[derive(Debug)]
pub(crate) struct RopeTable {
    cos: Vec<f32>,
    sin: Vec<f32>,
    head_dim: usize,
}

impl RopeTable {
    /// Angles in f64, rounded once: at position 30,000 an f32 product would be off by 1e-3.
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let frequencies = frequencies(config);
        let angles = (0..config.max_position_embeddings)
            .flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let (cos, sin) = angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip();
        Self { cos, sin, head_dim: config.head_dim }
    }

    /// The rows of the given positions.
    pub(crate) fn gather(&self, positions: &[usize]) -> Angles {
        let half = self.head_dim / 2;
        let rows = |table: &[f32]| -> Arc<[f32]> {
            positions.iter().flat_map(|p| &table[p * half..(p + 1) * half]).copied().collect()
        };
        Angles { cos: rows(&self.cos), sin: rows(&self.sin), head_dim: self.head_dim }
    }
}

/// Radians per position of each pair of coordinates.
fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let base = (0..config.head_dim / 2)
        .map(|i| config.rope_theta.powf(-2.0 * i as f64 / config.head_dim as f64));
    match &config.rope_scaling {
        RopeScaling::Default => base.collect(),
        RopeScaling::Linear { factor } => base.map(|f| f / factor).collect(),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => base
            .map(|f| {
                let turns = *original_max_position_embeddings as f64 * f / (2.0 * PI);
                let high = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor))
                    .clamp(0.0, 1.0);
                high * f + (1.0 - high) * f / factor
            })
            .collect(),
    }
}
