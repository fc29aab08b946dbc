//! Options that say how a template is asked.

use clap::Args;
use rlaif_template::{Asking, Choice, Reasoning};

#[derive(Args)]
#[command(next_help_heading = "How to ask")]
pub struct AskingArgs {
    /// Exemplars shown first; the built-in templates for comparisons have eight.
    #[arg(long, default_value_t = 0)]
    shots: usize,
    /// With --shots: draw the exemplars anew for every question, instead of the template's first ones.
    #[arg(long)]
    random_exemplars: bool,
    /// With --shots: show the exemplars' rationales, too.
    #[arg(long)]
    exemplar_rationales: bool,
    /// Ask for a rationale before the verdict (chain of thought).
    #[arg(long)]
    cot: bool,
    #[command(flatten)]
    reasoning: ReasoningArgs,
    /// Less probability than this for all verdicts together makes a judgement unscorable.
    #[arg(long, default_value_t = 0.0)]
    min_verdict_mass: f64,
    /// Seed of exemplars and rationales that are drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

// How rationales are written and what becomes of their verdicts, wherever a command's --cot asks for them.
#[derive(Args)]
pub struct ReasoningArgs {
    /// With --cot: longest rationale, in tokens.
    #[arg(long, default_value_t = Reasoning::default().max_tokens, requires = "cot")]
    max_rationale_tokens: usize,
    /// With --cot: rationales for each order, over which the verdict is averaged (self-consistency).
    #[arg(long, default_value_t = Reasoning::default().samples, requires = "cot")]
    samples: usize,
    /// With --cot: temperature of the rationales; 0 takes the most likely token.
    #[arg(long, default_value_t = Reasoning::default().temperature, requires = "cot")]
    temperature: f32,
    /// With --cot: draw rationales from the k most likely tokens only; 0 from all.
    #[arg(long, default_value_t = Reasoning::default().top_k, requires = "cot")]
    top_k: usize,
    /// With --cot: keep each order's probability within [CLAMP, 1 - CLAMP] (Constitutional AI: 0.4).
    #[arg(long, requires = "cot")]
    clamp: Option<f64>,
}

impl AskingArgs {
    /// What the options say.
    pub fn asking(&self) -> Asking {
        Asking {
            shots: self.shots,
            exemplars: if self.random_exemplars { Choice::Random } else { Choice::First },
            exemplar_rationales: self.exemplar_rationales,
            reasoning: self.cot.then(|| self.reasoning.reasoning()),
            min_verdict_mass: self.min_verdict_mass,
            seed: self.seed,
        }
    }
}

impl ReasoningArgs {
    /// What the options say.
    pub fn reasoning(&self) -> Reasoning {
        Reasoning {
            max_tokens: self.max_rationale_tokens,
            samples: self.samples,
            temperature: self.temperature,
            top_k: self.top_k,
            clamp: self.clamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    #[test]
    fn an_option_that_needs_a_rationale_says_so() {
        let command = AskingArgs::augment_args(Command::new("asking"));
        let options = command.get_arguments().filter(|option| option.get_action().takes_values());
        for option in options {
            let name = format!("--{}", option.get_long().unwrap());
            let alone = ["asking".to_owned(), format!("{name}=1")];
            let needs_more = command.clone().try_get_matches_from(alone).is_err();
            let help = option.get_help().unwrap().to_string();
            assert_eq!(needs_more, help.starts_with("With --cot"), "{name}: {help}");
        }
    }
}
