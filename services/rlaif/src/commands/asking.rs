//! Options that say how a template is asked.

use clap::Args;
use rlaif_template::{Asking, Choice, Reasoning};

#[derive(Args)]
#[command(next_help_heading = "How to ask")]
pub struct AskingArgs {
    /// Exemplars shown first; the built-in templates for comparisons have eight.
    #[arg(long, default_value_t = 0)]
    shots: usize,
    /// Draw the exemplars anew for every question, instead of the template's first ones.
    #[arg(long)]
    random_exemplars: bool,
    /// Show the exemplars' rationales, too.
    #[arg(long)]
    exemplar_rationales: bool,
    /// Ask for a rationale before the verdict (chain of thought).
    #[arg(long)]
    cot: bool,
    /// Longest rationale, in tokens.
    #[arg(long, default_value_t = Reasoning::default().max_tokens, requires = "cot")]
    max_rationale_tokens: usize,
    /// Rationales for each order, over which the verdict is averaged (self-consistency).
    #[arg(long, default_value_t = Reasoning::default().samples, requires = "cot")]
    samples: usize,
    /// Temperature of the rationales; 0 takes the most likely token.
    #[arg(long, default_value_t = Reasoning::default().temperature, requires = "cot")]
    temperature: f32,
    /// Draw rationales from the k most likely tokens only; 0 from all.
    #[arg(long, default_value_t = Reasoning::default().top_k, requires = "cot")]
    top_k: usize,
    /// Keep each order's probability within [CLAMP, 1 - CLAMP] (Constitutional AI: 0.4).
    #[arg(long, requires = "cot")]
    clamp: Option<f64>,
    /// Less probability than this for all verdicts together makes a judgement unscorable.
    #[arg(long, default_value_t = 0.0)]
    min_verdict_mass: f64,
    /// Seed of exemplars and rationales that are drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl AskingArgs {
    /// What the options say.
    pub fn asking(&self) -> Asking {
        let reasoning = Reasoning {
            max_tokens: self.max_rationale_tokens,
            samples: self.samples,
            temperature: self.temperature,
            top_k: self.top_k,
            clamp: self.clamp,
        };
        Asking {
            shots: self.shots,
            exemplars: if self.random_exemplars { Choice::Random } else { Choice::First },
            exemplar_rationales: self.exemplar_rationales,
            reasoning: self.cot.then_some(reasoning),
            min_verdict_mass: self.min_verdict_mass,
            seed: self.seed,
        }
    }
}
