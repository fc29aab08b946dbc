//! Jobs with prompts of their own, a worker that answers without a model, and what a finished job leaves.

use rlaif_job::{
    CheckedModel, Contest, Effect, EvaluationRecord, Inputs, Job, Judged, LabelRecord, LeftOut,
    Lessons, Machine, ModelRef, PolicyStep, Predicted, RewardSummary, Rollout, SampledPair,
    Stepped, TaskId, Trained, Verdict, Work, WorkItem, WorkResult, reward_quality,
};
use rlaif_template::{Asking, Template};
use rlaif_types::{
    Comparison, ContentHash, Episode, Finish, LabelId, OrderScores, Pair, Prompt, SoftLabel,
    Unscorable, UnscorableReason,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub const PAIRS: usize = 10;
pub const STEPS: usize = 3;

/// A job whose rollouts may be drawn `ahead` steps before they are learned from.
pub fn machine(ahead: usize) -> Machine {
    machine_of(&format!(
        "[reward_model]\npairs = {PAIRS}\n[rl]\nreward = 'model'\nsteps = {STEPS}\nbatch_size = 6\n\
         reinforce.max_off_policy_steps = {ahead}\n"
    ))
}

/// A job with these sections.
pub fn machine_of(sections: &str) -> Machine {
    seeded_machine_of(0, sections)
}

pub fn seeded_machine_of(seed: u64, sections: &str) -> Machine {
    let text = format!(
        "name = 't'\nseed = {seed}\nchunk_size = 4\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\n\
         template = 'sentiment/compare'\n[data]\nprompts = 'p'\nheldout_prompts = 'h'\n\
         preferences = 'f'\n[evaluate]\ntemplates = ['sentiment/compare']\n{sections}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    let prompts = |word: &str| (0..7).map(|i| Prompt::Text(format!("{word} {i}"))).collect();
    let template = Template::load("sentiment/compare").unwrap();
    let inputs = Inputs {
        prompts: prompts("train"),
        heldout: prompts("held out"),
        template: template.clone(),
        evaluation_templates: vec![template],
        mixture_templates: Vec::new(),
    };
    let job = Job::load(&path).unwrap();
    let load = |name: &String| Template::load(name).unwrap();
    let mixture = job.rl.mixture.iter().map(|part| part.template.as_ref().map(load));
    let inputs = Inputs { mixture_templates: mixture.collect(), ..inputs };
    Machine::new("job", job, inputs)
}

/// What a reward model came to that was measured on one label.
fn reward_summary() -> RewardSummary {
    let heldout = Predicted {
        prompt: 0,
        lengths: [2, 1],
        label: SoftLabel::new(0.75).unwrap(),
        prefers_a: 0.7,
    };
    RewardSummary {
        quality: reward_quality(&[heldout]),
        trained_on: 9,
        mean: 0.0,
        std: 1.0,
        start_hash: Some(ContentHash::of("start")),
        by_source: BTreeMap::new(),
        against_people: None,
    }
}

/// A worker without a model: its answers depend on the item alone, as a real one's do.
pub fn answer(item: &WorkItem) -> WorkResult {
    let trained = |model: &str| Trained {
        model: model.into(),
        metrics: vec![json!({"stage": model, "step": 1})],
        examples: 1,
        left_out: LeftOut::default(),
    };
    match &item.work {
        Work::CheckPolicy(_) | Work::CheckLabeler(_) | Work::CheckReward(_) => {
            WorkResult::Checked(CheckedModel { name: "m".into(), hash: ContentHash::of("m") })
        }
        Work::FineTune(_) => WorkResult::FineTuned(trained("sft")),
        Work::SamplePairs(work) => {
            let pair = |prompt: &Prompt| Pair {
                prompt: prompt.clone(),
                response_a: format!("a{}", work.first),
                response_b: "b".into(),
            };
            let sampled = |prompt: &Prompt| SampledPair {
                pair: pair(prompt),
                finish_a: Finish::Length,
                finish_b: Finish::Stop,
            };
            WorkResult::Pairs(work.prompts.iter().map(sampled).collect())
        }
        Work::Label(work) => WorkResult::Labels(work.pairs.iter().map(label).collect()),
        Work::TrainReward(_) => {
            WorkResult::RewardTrained { trained: trained("reward"), summary: reward_summary() }
        }
        Work::Rollout(work) => {
            let rollout = |(i, _): (usize, &Prompt)| Rollout {
                episode: Episode {
                    prompt: vec![version(&work.policy.model)],
                    response: vec![(work.first + i) as u32],
                    logprobs: vec![-1.0],
                    reward: Err(Unscorable::new(UnscorableReason::NoVerdict, "not judged yet")),
                    off_policy_steps: 0,
                },
                text: format!("{}", work.first + i),
                finish: Finish::Stop,
            };
            WorkResult::Rollouts(work.prompts.iter().enumerate().map(rollout).collect())
        }
        Work::Score(work) => {
            WorkResult::Rewards(work.items.iter().map(|i| Ok(i.response.len() as f64)).collect())
        }
        Work::Rate(work) => WorkResult::Rewards(work.items.iter().map(|_| Ok(0.0)).collect()),
        Work::MatchUps(work) => WorkResult::Rewards(work.items.iter().map(|_| Ok(0.5)).collect()),
        Work::PolicyStep(work) => WorkResult::Stepped(Stepped {
            metrics: json!({"stage": "policy", "step": work.step, "batches": batches_of(work)}),
            parameters: format!("versions/{}", work.step),
            checkpointed: work.step % 2 == 0 || work.step == work.steps,
            model: (work.step == work.steps && !work.candidate)
                .then(|| "checkpoints/policy".into()),
            candidate: work.candidate.then(|| format!("candidates/{}", work.step)),
            left_out: LeftOut::default(),
        }),
        Work::SavePolicy(work) => {
            WorkResult::Saved(format!("saved/{}", version(&work.policy.model)))
        }
        Work::Respond(work) => {
            let contest = |prompt: &Prompt| Contest {
                prompt: prompt.clone(),
                trained: "better".into(),
                start: "good".into(),
            };
            WorkResult::Contests(work.trained.prompts.iter().map(contest).collect())
        }
        Work::Judge(work) => {
            let record = |contest: &Contest| EvaluationRecord {
                contest: contest.clone(),
                verdicts: work
                    .templates
                    .iter()
                    .map(|t| (t.name.clone(), Judged::Verdict(Verdict::of_scores(0.6, 0.4))))
                    .collect(),
            };
            WorkResult::Evaluations(work.contests.iter().map(record).collect())
        }
    }
}

fn batches_of(work: &PolicyStep) -> &[String] {
    match &work.lessons {
        Lessons::Rollouts(batches) => batches,
        Lessons::Preferences { .. } => &[],
    }
}

/// Steps made by a policy.
pub fn version(model: &ModelRef) -> u32 {
    match model {
        ModelRef::Version { parameters, .. } => {
            parameters.split_once('/').unwrap().1.parse().unwrap()
        }
        _ => 0,
    }
}

fn label(pair: &Pair) -> LabelRecord {
    let half = SoftLabel::new(0.5).unwrap();
    let order = OrderScores {
        verdict_logprobs: [-1.0, -1.0],
        prefers_first: half,
        prompt_tokens: 9,
        completion_tokens: 0,
        rationales: Vec::new(),
    };
    let comparison = Comparison { label: half, ab: order.clone(), ba: order };
    LabelRecord {
        label_id: LabelId(ContentHash::of(format!("{pair:?}"))),
        pair: pair.clone(),
        finish_a: Finish::Stop,
        finish_b: Finish::Stop,
        comparison: Some(comparison),
        unscorable: None,
        template: "t".into(),
        template_hash: ContentHash::of("t"),
        asking: Asking::default(),
        labeler: "m".into(),
        labeler_hash: ContentHash::of("m"),
    }
}

/// Everything a finished job leaves: its files' records, and the artifacts that remain.
#[derive(Debug, Default, PartialEq)]
pub struct Left {
    pub files: BTreeMap<&'static str, Vec<Value>>,
    pub artifacts: BTreeMap<String, Vec<u8>>,
    pub stages: BTreeMap<&'static str, Value>,
}

impl Left {
    pub fn take_in(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append { file, records } => {
                    self.files.entry(file).or_default().extend(records);
                }
                Effect::Put { artifact, bytes } => drop(self.artifacts.insert(artifact, bytes)),
                Effect::Delete { artifact } => drop(self.artifacts.remove(&artifact)),
                Effect::Finished { stage, summary } => drop(self.stages.insert(stage, summary)),
                Effect::Publish { .. } => {}
            }
        }
    }
}

/// Runs a job whose items are answered in the order `choose` says; after every `rebuild_every`
/// results the machine is thrown away and built anew from the results so far.
pub fn run(
    make: &dyn Fn() -> Machine,
    choose: &mut dyn FnMut(usize) -> usize,
    rebuild_every: usize,
) -> (Left, BTreeSet<String>) {
    let (mut machine, mut left) = (make(), Left::default());
    let mut results: BTreeMap<String, (TaskId, WorkResult)> = BTreeMap::new();
    let mut waiting: Vec<WorkItem> = Vec::new();
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        let item = waiting.swap_remove(choose(waiting.len()));
        let result = answer(&item);
        left.take_in(machine.complete(item.task, result.clone()).unwrap());
        let again = machine.complete(item.task, result.clone()).unwrap();
        assert!(again.is_empty(), "{} counted twice", item.task);
        let new = results.insert(item.task.to_string(), (item.task, result)).is_none();
        assert!(new, "{} was handed out again", item.task);
        if results.len().is_multiple_of(rebuild_every) {
            (machine, left) = (make(), Left::default());
            // As from the journal, whose keys are the tasks' names.
            for (task, result) in results.values() {
                left.take_in(machine.complete(*task, result.clone()).unwrap());
            }
            waiting.clear();
        }
    }
    assert!(machine.ready().is_empty(), "a finished job has nothing to do");
    (left, results.into_keys().collect())
}

/// Every item of a job, in the order in which it is handed out.
pub fn items(mut machine: Machine) -> Vec<WorkItem> {
    let mut items: Vec<WorkItem> = Vec::new();
    let mut done = 0;
    while machine.outcome().is_none() {
        items.extend(machine.ready());
        machine.complete(items[done].task, answer(&items[done])).unwrap();
        done += 1;
    }
    items
}
