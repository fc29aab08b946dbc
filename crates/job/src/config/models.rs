//! The models of a job: the one to align, the labeler that it learns from, and the judge of what it learned.

use rlaif_template::Asking;
use rlaif_types::{Ceiling, Money, Price, Problems, amount};
use serde::{Deserialize, Serialize};

/// The model to align.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// A folder, a .gguf file, or a pulled model by its name or `hf:` specification.
    pub model: String,
    /// Put prompts through the model's chat template.
    #[serde(default = "yes")]
    pub chat: bool,
}

fn yes() -> bool {
    true
}

/// The model that the policy learns from, and what it is asked. It also judges the result, unless `evaluate.judge`
/// names another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelerConfig {
    /// A folder, a .gguf file, a pulled model by its name or `hf:` specification, or a .toml file that
    /// describes an endpoint, where the labelers run.
    pub model: String,
    /// A built-in template or a .toml file: for comparisons where a reward model is trained, for
    /// ratings where the labeler's rating is the reward.
    pub template: String,
    /// How the template is asked: exemplars, rationales. Evaluation asks for verdicts straight away.
    #[serde(default, skip_serializing_if = "Asking::is_plain")]
    pub asking: Asking,
    /// What it charges, in dollars, as in a table of prices: `{ input_per_1m = 0.15, output_per_1m = 0.6 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Money that the job may spend on it; raise it when resuming.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "amount")]
    pub max_cost: Option<Money>,
    /// Tokens that it may read and write for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

impl LabelerConfig {
    /// What it may be asked for.
    pub fn ceiling(&self) -> Ceiling {
        Ceiling { max_cost: self.max_cost, max_tokens: self.max_tokens }
    }
}

/// The model that judges what a policy has learned, where that is not its labeler. It runs where labelers run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// Named as `labeler.model` is.
    pub model: String,
    /// What it charges, written as `labeler.price`; it counts under `labeler.max_cost` and `max_tokens` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl JudgeConfig {
    /// What makes no sense beside this labeler.
    pub(super) fn problems(&self, labeler: &LabelerConfig) -> Problems {
        let mut problems = Problems::default();
        problems.check(!self.model.is_empty(), "model", "must name a model");
        let what = "is labeler.model, which judges without this table; name another model, or remove the table";
        problems.check(self.model != labeler.model, "model", what);
        let what =
            "goes with labeler.price: what a job costs is what both take; name both prices or none";
        problems.check(self.price.is_some() == labeler.price.is_some(), "price", what);
        problems
    }
}
