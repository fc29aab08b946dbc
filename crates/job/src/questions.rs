//! What a job asks its labeler, before it is run.

use crate::{Inputs, Job, RewardSource};
use rlaif_template::{Asking, Kind, Template};
use rlaif_types::{LabelSource, Prompt};

/// Questions of one stage to the labeler.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions<'a> {
    /// Which stage asks them.
    pub stage: &'static str,
    /// How many: pairs to compare where the template is for comparisons, else responses to rate.
    pub count: usize,
    /// What is asked.
    pub template: &'a Template,
    /// And how.
    pub asking: Asking,
    /// What the responses in question are responses to; drawn from as often as needed.
    pub prompts: &'a [Prompt],
}

impl Job {
    /// All questions to the labeler, in the order of the stages. What a labeler writes as demonstrations is
    /// not among them.
    pub fn questions<'a>(&self, inputs: &'a Inputs) -> Vec<Questions<'a>> {
        let of_training = |stage, count| Questions {
            stage,
            count,
            template: &inputs.template,
            asking: self.labeler.asking.clone(),
            prompts: &inputs.prompts,
        };
        let mut all = Vec::new();
        if let Some(reward_model) = &self.reward_model
            && reward_model.labels != LabelSource::Human
        {
            all.push(of_training("label", reward_model.pairs));
        }
        let responses = self.rl.steps * self.rl.batch_size;
        match self.rl.reward {
            RewardSource::Labeler => all.push(of_training("score", responses)),
            RewardSource::Pairwise => {
                // Each group's members meet each other once.
                let match_ups = responses * (self.rl.group_size - 1) / 2;
                all.push(of_training("score", match_ups));
            }
            RewardSource::Model | RewardSource::Preferences => {}
        }
        let contests = inputs.heldout.len() * self.evaluate.samples_per_prompt;
        all.extend(inputs.evaluation_templates.iter().map(|template| Questions {
            stage: "evaluate",
            // Of a contest both responses are rated.
            count: if template.kind == Kind::Compare { contests } else { 2 * contests },
            template,
            asking: Asking::default(),
            prompts: &inputs.heldout,
        }));
        all.retain(|questions| questions.count > 0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reward: &str) -> Vec<(&'static str, usize, Kind)> {
        let text = format!(
            "name = 't'\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\ntemplate = 'helpful/base'\n\
             [data]\nprompts = 'p.jsonl'\nheldout_prompts = 'h.jsonl'\n\
             [evaluate]\ntemplates = ['helpful/base', 'helpful/rating']\nsamples_per_prompt = 3\n\
             [rl]\nsteps = 5\nbatch_size = 8\n{reward}"
        );
        let job = Job::from_toml(&text).unwrap();
        let template = |name: &str| Template::load(name).unwrap();
        let prompts = vec![Prompt::Text("Hi".into()); 2];
        let inputs = Inputs {
            prompts: prompts.clone(),
            heldout: prompts,
            template: template(&job.labeler.template),
            evaluation_templates: job.evaluate.templates.iter().map(|t| template(t)).collect(),
        };
        let questions = job.questions(&inputs);
        questions.iter().map(|q| (q.stage, q.count, q.template.kind)).collect()
    }

    const EVALUATION: [(&str, usize, Kind); 2] =
        [("evaluate", 6, Kind::Compare), ("evaluate", 12, Kind::Rate)];

    #[test]
    fn a_reward_model_has_its_pairs_labelled() {
        let found = asked("reward = 'model'\n[reward_model]\npairs = 40\n");
        assert_eq!(found[0], ("label", 40, Kind::Compare));
        assert_eq!(found[1..], EVALUATION);
    }

    #[test]
    fn groups_are_matched_up_member_by_member() {
        let found = asked("reward = 'pairwise'\ngroup_size = 4\n");
        // Ten groups of four, six match-ups in each.
        assert_eq!(found[0], ("score", 60, Kind::Compare));
    }

    #[test]
    fn ratings_are_one_for_each_response() {
        assert_eq!(asked("reward = 'labeler'\n")[0].1, 40);
    }
}
