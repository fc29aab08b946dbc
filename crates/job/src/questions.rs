//! What a job asks its labeler and its judge, before it is run.

use crate::{Inputs, Job, PartSource};
use rlaif_template::{Asking, Kind, Template};
use rlaif_types::Prompt;

/// Whom a job asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The labeler, whom the policy learns from.
    Labeler,
    /// The judge of what it has learned, where the job names one.
    Judge,
}

/// Questions of one stage to labeler or judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions<'a> {
    /// Which stage asks them.
    pub stage: &'static str,
    /// Whom.
    pub asked: Asked,
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
    /// All questions to labeler and judge, in the order of the stages. What a labeler writes as demonstrations is
    /// not among them.
    pub fn questions<'a>(&self, inputs: &'a Inputs) -> Vec<Questions<'a>> {
        let plain = |stage, count, template, prompts| Questions {
            stage,
            asked: Asked::Labeler,
            count,
            template,
            asking: Asking::default(),
            prompts,
        };
        let asked = self.labeler.asking.clone();
        let mut all = Vec::new();
        if let Some(reward_model) = &self.reward_model {
            if reward_model.samples_pairs() {
                let label = plain("label", reward_model.pairs, &inputs.template, &inputs.prompts);
                all.push(Questions { asking: asked.clone(), ..label });
            }
            if let Some(staleness) = &reward_model.staleness {
                // The start is measured, too.
                let pairs = (1 + self.versions(staleness.every)) * staleness.pairs;
                let measure = plain("staleness", pairs, &inputs.template, &inputs.heldout);
                all.push(Questions { asking: asked.clone(), ..measure });
            }
        }
        let heldout = inputs.heldout.len();
        let (validating, versions, candidates) = match &self.rl.selection {
            Some(selection) => {
                let versions = self.versions(selection.every);
                (selection.prompts.min(heldout), versions, selection.candidates.min(versions))
            }
            None => (0, 0, 0),
        };
        for (number, part) in self.rl.reward_parts().iter().enumerate() {
            let own = inputs.mixture_templates.get(number);
            let (template, asking) = match own.map(Option::as_ref) {
                Some(template) => (template, part.asking.clone()),
                None => (Some(&inputs.template), asked.clone()),
            };
            let Some(template) = template.filter(|_| part.is_the_labelers()) else { continue };
            let responses = self.rl.steps * self.rl.batch_size;
            let count = match part.source {
                // Each group's members meet each other once.
                PartSource::Pairwise => responses * (self.rl.group_size - 1) / 2,
                PartSource::Labeler | PartSource::Model => responses,
            };
            let score = plain("score", count, template, &inputs.prompts);
            all.push(Questions { asking: asking.clone(), ..score });
            let validate = plain("validate", versions * validating, template, &inputs.heldout);
            all.push(Questions { asking, ..validate });
        }
        let contests = (heldout - validating) * self.evaluate.samples_per_prompt;
        let judging = [("select", candidates * validating, 1), ("evaluate", contests, usize::MAX)];
        for (stage, contests, templates) in judging {
            all.extend(inputs.evaluation_templates.iter().take(templates).map(|template| {
                // Of a contest both responses are rated.
                let each = if template.kind == Kind::Compare { 1 } else { 2 };
                let judge = plain(stage, each * contests, template, &inputs.heldout);
                Questions { asked: self.judged_by(), ..judge }
            }));
        }
        all.retain(|questions| questions.count > 0);
        all
    }

    /// Versions of the policy where one is looked at every so many steps, and the last.
    fn versions(&self, every: usize) -> usize {
        self.rl.steps.div_ceil(every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reward: &str) -> Vec<(&'static str, usize, Kind)> {
        let (all, _) = asked_whom(reward);
        all
    }

    /// All questions, and the stages that ask a judge.
    fn asked_whom(reward: &str) -> (Vec<(&'static str, usize, Kind)>, Vec<&'static str>) {
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
            mixture_templates: job
                .rl
                .mixture
                .iter()
                .map(|part| part.template.as_deref().map(template))
                .collect(),
        };
        let questions = job.questions(&inputs);
        let judging = questions.iter().filter(|q| q.asked == Asked::Judge);
        let judging = judging.map(|q| q.stage).collect();
        (questions.iter().map(|q| (q.stage, q.count, q.template.kind)).collect(), judging)
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
    fn each_part_of_a_mixture_asks_by_its_own_template() {
        let found = asked(
            "reward = 'mixture'\nmixture = [{ source = 'model', weight = 1.0 }, \
             { source = 'labeler', weight = 0.5, template = 'helpful/rating' }]\n\
             selection = { every = 2, candidates = 2, prompts = 1 }\n\
             [reward_model]\npairs = 40\nstaleness = { every = 4, pairs = 10 }\n",
        );
        let training = [
            ("label", 40, Kind::Compare),
            // At the start, after 4 steps and after 5.
            ("staleness", 30, Kind::Compare),
            ("score", 40, Kind::Rate),
            ("validate", 3, Kind::Rate),
            ("select", 2, Kind::Compare),
        ];
        assert_eq!(found[..5], training);
        // One of two held-out prompts is the selection's.
        assert_eq!(found[5..], [("evaluate", 3, Kind::Compare), ("evaluate", 6, Kind::Rate)]);
    }

    #[test]
    fn a_judge_is_asked_what_the_labeler_would_be_asked_of_the_result() {
        let job = "reward = 'labeler'\nselection = { every = 2, candidates = 2, prompts = 1 }\n";
        let (by_the_labeler, none) = asked_whom(job);
        let (all, judging) = asked_whom(&format!("{job}[evaluate.judge]\nmodel = 'j'\n"));
        assert_eq!((all, none), (by_the_labeler, Vec::new()));
        assert_eq!(judging, ["select", "evaluate", "evaluate"]);
    }

    #[test]
    fn ratings_are_one_for_each_response() {
        assert_eq!(asked("reward = 'labeler'\n")[0].1, 40);
    }
}
