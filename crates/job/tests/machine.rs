//! What follows from results does not depend on the order in which they come, on how often, or on how
//! often the machine is built anew from them.

use proptest::prelude::*;
use rlaif_job::{
    CheckedModel, Contest, Effect, Error, EvaluationRecord, Inputs, Job, Judged, LabelRecord,
    LeftOut, Lessons, Machine, ModelRef, PolicyStep, RewardSummary, Rollout, Stepped, TaskId,
    Trained, Unlearnable, Verdict, Work, WorkItem, WorkResult, reward_quality,
};
use rlaif_template::{Asking, Template};
use rlaif_types::{
    Comparison, ContentHash, Episode, Finish, Judgement, LabelId, LabelSource, OrderScores, Pair,
    Prompt, SoftLabel, Unscorable, UnscorableReason,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PAIRS: usize = 10;
const STEPS: usize = 3;

/// A job whose rollouts may be drawn `ahead` steps before they are learned from.
fn machine(ahead: usize) -> Machine {
    machine_of(&format!(
        "[reward_model]\npairs = {PAIRS}\n[rl]\nreward = 'model'\nsteps = {STEPS}\nbatch_size = 6\n\
         reinforce.max_off_policy_steps = {ahead}\n"
    ))
}

/// A job with these sections.
fn machine_of(sections: &str) -> Machine {
    seeded_machine_of(0, sections)
}

fn seeded_machine_of(seed: u64, sections: &str) -> Machine {
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

/// A worker without a model: its answers depend on the item alone, as a real one's do.
fn answer(item: &WorkItem) -> WorkResult {
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
            WorkResult::Pairs(work.prompts.iter().map(pair).collect())
        }
        Work::Label(work) => WorkResult::Labels(work.pairs.iter().map(label).collect()),
        Work::TrainReward(_) => WorkResult::RewardTrained {
            trained: trained("reward"),
            summary: RewardSummary {
                quality: reward_quality(&[(0.7, SoftLabel::new(0.75).unwrap())]),
                trained_on: 9,
                mean: 0.0,
                std: 1.0,
                start_hash: Some(ContentHash::of("start")),
                by_source: BTreeMap::new(),
            },
        },
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
fn version(model: &ModelRef) -> u32 {
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
struct Left {
    files: BTreeMap<&'static str, Vec<Value>>,
    artifacts: BTreeMap<String, Vec<u8>>,
    stages: BTreeMap<&'static str, Value>,
}

impl Left {
    fn take_in(&mut self, effects: Vec<Effect>) {
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
fn run(
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

#[test]
fn a_job_is_done_with_every_task_done_once() {
    let (left, tasks) = run(&|| machine(0), &mut |_| 0, usize::MAX);
    assert_eq!(left.files["labels.jsonl"].len(), PAIRS);
    assert_eq!(left.files["samples.jsonl"].len(), 6 * STEPS);
    assert_eq!(left.files["evaluation.jsonl"].len(), 7);
    // 2 checks, 3 chunks sampled and labelled, the reward model, per step 2 chunks drawn and scored
    // and the step itself, 2 chunks answered and judged.
    assert_eq!(tasks.len(), 2 + 2 * 3 + 1 + STEPS * (2 * 2 + 1) + 2 * 2);
    assert!(left.artifacts.is_empty(), "batches that a checkpoint covers are deleted");
    assert!(["label", "reward", "policy", "evaluate"].iter().all(|s| left.stages.contains_key(s)));
}

/// A result with one thing less; none where it is no list.
fn shorter(result: &WorkResult) -> Option<WorkResult> {
    let mut shorter = result.clone();
    match &mut shorter {
        WorkResult::Pairs(list) => drop(list.pop()),
        WorkResult::Labels(list) => drop(list.pop()),
        WorkResult::Rollouts(list) => drop(list.pop()),
        WorkResult::Rewards(list) => drop(list.pop()),
        WorkResult::Contests(list) => drop(list.pop()),
        WorkResult::Evaluations(list) => drop(list.pop()),
        _ => return None,
    }
    Some(shorter)
}

#[test]
fn what_is_no_answer_to_its_task_is_refused_and_changes_nothing() {
    for sections in [MIXTURE, STALENESS, SELECTION] {
        let (mut machine, mut waiting) = (machine_of(sections), Vec::new());
        while machine.outcome().is_none() {
            waiting.extend(machine.ready());
            let item: WorkItem = waiting.remove(0);
            let right = answer(&item);
            // No task of these jobs asks for an empty list.
            let another = WorkResult::Rewards(Vec::new());
            for wrong in [Some(another), shorter(&right)].into_iter().flatten() {
                let error = machine.complete(item.task, wrong).unwrap_err();
                assert!(matches!(error, Error::WrongAnswer { .. }), "{error}");
            }
            assert!(!machine.has(item.task));
            machine.complete(item.task, right).unwrap();
        }
    }
}

#[test]
fn an_answer_to_what_nobody_asks_is_refused() {
    let mut machine = machine(0);
    let rewards = || WorkResult::Rewards(vec![Ok(0.5)]);
    for task in [
        TaskId::Label(0),
        TaskId::Sample(usize::MAX),
        TaskId::Rollout { step: usize::MAX, chunk: 0 },
        TaskId::Score { step: 0, chunk: 0, part: usize::MAX },
        TaskId::Validate { step: 0, chunk: 0 },
        TaskId::SavePolicy,
    ] {
        let error = machine.complete(task, rewards()).unwrap_err().to_string();
        assert!(error.contains("where nothing is asked for"), "{error}");
    }
}

#[test]
fn what_could_not_be_judged_is_counted_by_stage() {
    let mut machine = machine(0);
    let unjudged = || Unscorable::new(UnscorableReason::NoVerdict, "it said neither");
    while machine.outcome().is_none() {
        let item = machine.ready().swap_remove(0);
        let mut result = answer(&item);
        match &mut result {
            WorkResult::Labels(labels) => {
                (labels[0].comparison, labels[0].unscorable) = (None, Some(unjudged()));
            }
            WorkResult::Rewards(rewards) => rewards[0] = Err(unjudged()),
            WorkResult::Evaluations(records) => {
                for verdict in records[0].verdicts.values_mut() {
                    *verdict = Judged::Unscorable(unjudged());
                }
            }
            _ => {}
        }
        machine.complete(item.task, result).unwrap();
        machine.forget_handed_out();
    }
    let counts = machine.progress().into_iter().map(|stage| (stage.stage, stage.unscorable));
    // One in each chunk: three of labels, two of each step, two of contests.
    let expected =
        [("sample", 0), ("label", 3), ("reward", 0), ("policy", 2 * STEPS), ("evaluate", 2)];
    assert!(counts.eq(expected.map(|(stage, count)| (stage.to_owned(), count))));
}

#[test]
fn a_step_repeats_the_batches_since_the_checkpoint() {
    let (left, _) = run(&|| machine(0), &mut |_| 0, usize::MAX);
    let steps = left.files["metrics.jsonl"].iter().filter(|m| m["stage"] == "policy");
    let batches: Vec<usize> = steps.map(|m| m["batches"].as_array().unwrap().len()).collect();
    // Step 2 is checkpointed.
    assert_eq!(batches, [1, 2, 1]);
}

/// The batches that the steps learn from, as they are put.
fn batches(ahead: usize) -> Vec<Vec<Episode>> {
    let mut machine = machine(ahead);
    let mut batches = BTreeMap::new();
    let mut waiting: Vec<WorkItem> = Vec::new();
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        let item = waiting.remove(0);
        for effect in machine.complete(item.task, answer(&item)).unwrap() {
            if let Effect::Put { artifact, bytes } = effect {
                batches.insert(artifact, serde_json::from_slice(&bytes).unwrap());
            }
        }
    }
    batches.into_values().collect()
}

#[test]
fn rollouts_are_drawn_as_far_ahead_as_is_allowed_and_say_so() {
    for ahead in 0..3 {
        for (step, batch) in batches(ahead).iter().enumerate() {
            assert_eq!(batch.len(), 6);
            for episode in batch {
                assert_eq!(episode.off_policy_steps, step.min(ahead));
                assert_eq!(episode.prompt[0] as usize, step - step.min(ahead), "who drew it");
            }
        }
    }
}

/// Every item of a job, in the order in which it is handed out.
fn items(mut machine: Machine) -> Vec<WorkItem> {
    let mut items: Vec<WorkItem> = Vec::new();
    let mut done = 0;
    while machine.outcome().is_none() {
        items.extend(machine.ready());
        machine.complete(items[done].task, answer(&items[done])).unwrap();
        done += 1;
    }
    items
}

#[test]
fn the_adapters_of_each_stage_are_drawn_from_the_jobs_seed_for_that_stage_alone() {
    let seeds = |seed| {
        let machine = seeded_machine_of(
            seed,
            "[lora]\n[sft]\nby = 'labeler'\n[reward_model]\npairs = 2\n\
             [rl]\nreward = 'model'\nsteps = 2\nbatch_size = 2\n",
        );
        let training = |item: &WorkItem| match &item.work {
            Work::FineTune(work) => Some(work.training.clone()),
            Work::TrainReward(work) => Some(work.training.clone()),
            Work::PolicyStep(work) => Some(work.training.clone()),
            _ => None,
        };
        let trained = items(machine)
            .into_iter()
            .filter_map(|item| Some((item.task.stage(), training(&item)?.lora.unwrap().seed)));
        trained.collect::<BTreeSet<(&str, u64)>>()
    };
    let (one, other) = (seeds(1), seeds(2));
    assert_eq!(one, seeds(1));
    // Both steps of the policy have the same.
    assert_eq!(
        one.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(),
        ["policy", "reward", "sft"]
    );
    let drawn: BTreeSet<u64> = one.iter().chain(&other).map(|(_, seed)| *seed).collect();
    assert_eq!(drawn.len(), 6, "{one:?} {other:?}");
}

#[test]
fn a_reward_model_starts_where_its_job_says() {
    for (from, expected) in [
        ("", ModelRef::Saved("sft".into())),
        ("from = 'base'", ModelRef::Named("m".into())),
        ("from = 'rm'", ModelRef::Named("rm".into())),
    ] {
        let machine = machine_of(&format!(
            "[sft]\nby = 'labeler'\n[reward_model]\npairs = 2\n{from}\n\
             [rl]\nreward = 'model'\nsteps = 1\nbatch_size = 2\n"
        ));
        let starts = items(machine).into_iter().filter_map(|item| match item.work {
            Work::TrainReward(work) => Some(work.training.start.model),
            _ => None,
        });
        assert_eq!(starts.collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn the_responses_of_a_group_follow_each_other_and_have_seeds_of_their_own() {
    let machine = machine_of(
        "[rl]\nreward = 'labeler'\nsteps = 2\nbatch_size = 6\ngroup_size = 3\nalgorithm = 'rloo'\n",
    );
    let mut drawn = Vec::new();
    for item in items(machine) {
        if let Work::Rollout(work) = item.work {
            drawn.extend((work.first..).zip(work.prompts));
        }
    }
    let numbers: Vec<usize> = drawn.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>(), "a draw's seed follows from its number");
    let groups: Vec<&Prompt> = drawn.chunks(3).map(|group| &group[0].1).collect();
    for (group, prompt) in drawn.chunks(3).zip(&groups) {
        assert!(group.iter().all(|(_, p)| p == *prompt));
    }
    assert_eq!(groups.iter().map(|p| p.as_context()).collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn match_ups_are_of_whole_groups() {
    let machine = machine_of(
        "[rl]\nreward = 'pairwise'\nsteps = 1\nbatch_size = 9\ngroup_size = 3\nalgorithm = 'grpo'\n",
    );
    let matched = items(machine).into_iter().filter_map(|item| match item.work {
        Work::MatchUps(work) => Some((work.group_size, work.items.len())),
        _ => None,
    });
    // Chunks of four would part a group.
    assert_eq!(matched.collect::<Vec<_>>(), [(3, 6), (3, 3)]);
}

const MIXTURE: &str = "[reward_model]\npairs = 4\n[rl]\nreward = 'mixture'\nsteps = 1\n\
    batch_size = 6\n[[rl.mixture]]\nsource = 'model'\nweight = 0.5\n\
    [[rl.mixture]]\nsource = 'labeler'\nname = 'tone'\ntemplate = 'sentiment/rating'\nweight = 2.0\n";

#[test]
fn a_mixture_asks_every_part_about_every_response_and_sums_what_they_say() {
    let mut machine = machine_of(MIXTURE);
    let (mut waiting, mut asked, mut batch) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut records = Vec::new();
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        // The newest first, so that the parts do not come in their order.
        let item: WorkItem = waiting.pop().unwrap();
        let result = match &item.work {
            Work::Score(work) => WorkResult::Rewards(vec![Ok(1.0); work.items.len()]),
            Work::Rate(work) => {
                asked.insert(work.labeler.template.name.clone());
                let mut ratings = vec![Ok(0.25); work.items.len()];
                ratings[0] = Err(Unscorable::new(UnscorableReason::NoVerdict, "mute"));
                WorkResult::Rewards(ratings)
            }
            _ => answer(&item),
        };
        for effect in machine.complete(item.task, result).unwrap() {
            match effect {
                Effect::Put { bytes, .. } => {
                    batch = serde_json::from_slice::<Vec<Episode>>(&bytes).unwrap()
                }
                Effect::Append { file: "metrics.jsonl", records: new } => records.extend(new),
                _ => {}
            }
        }
    }
    assert_eq!(asked, ["sentiment/rating".to_owned()].into(), "by its own template");
    let rewards: Vec<Judgement<f64>> = batch.into_iter().map(|episode| episode.reward).collect();
    let mute = || Err(Unscorable::new(UnscorableReason::NoVerdict, "tone: mute"));
    // Chunks of four, of each of which the first could not be rated.
    assert_eq!(rewards, [mute(), Ok(1.0), Ok(1.0), Ok(1.0), mute(), Ok(1.0)]);
    let step = records.iter().find(|record| record["stage"] == "policy").unwrap();
    assert_eq!(
        (&step["rewards/model/mean"], &step["rewards/tone/mean"]),
        (&json!(1.0), &json!(0.25))
    );
    let policy = machine.progress().into_iter().find(|stage| stage.stage == "policy").unwrap();
    assert_eq!(policy.unscorable, 2, "a response counts once, whoever could not judge it");
}

const STALENESS: &str = "[reward_model]\npairs = 4\nstaleness = { every = 2, pairs = 6 }\n\
    [rl]\nreward = 'model'\nsteps = 3\nbatch_size = 6\nreinforce.max_off_policy_steps = 1\n";

#[test]
fn the_reward_model_is_held_against_the_labeler_on_what_the_policy_writes_then() {
    let (left, tasks) = run(&|| machine_of(STALENESS), &mut |_| 0, usize::MAX);
    let measured: Vec<&Value> =
        left.files["metrics.jsonl"].iter().filter(|m| m["stage"] == "staleness").collect();
    let steps: Vec<u64> = measured.iter().filter_map(|m| m["step"].as_u64()).collect();
    assert_eq!(steps, [0, 2, 3], "the start, every second step, the end");
    // Two chunks, three times: sampled, labelled and scored.
    let count = tasks.iter().filter(|task| task.contains("0-staleness")).count();
    assert_eq!((count, left.files["staleness.jsonl"].len()), (2 * 3 * 3, 6 * 3));
    // The worker of these tests finds all pairs equal.
    assert!(measured.iter().all(|m| m["ties"] == 6 && m["pairs"] == 0), "{measured:?}");
    let order = left.files["metrics.jsonl"].iter();
    let order =
        order.filter(|m| m["stage"] != "reward").map(|m| (m["stage"].as_str(), m["step"].as_u64()));
    let (policy, staleness) = (Some("policy"), Some("staleness"));
    let expected =
        [(staleness, 0), (policy, 1), (policy, 2), (staleness, 2), (policy, 3), (staleness, 3)];
    assert!(order.eq(expected.map(|(stage, step)| (stage, Some(step)))));
}

#[test]
fn a_measurement_asks_the_policy_as_it_is_and_the_next_step_waits_for_it() {
    let mut machine = machine_of(STALENESS);
    let mut waiting: Vec<WorkItem> = Vec::new();
    // All but the measurement after step 2.
    let held_back = |item: &WorkItem| matches!(item.task, TaskId::Staleness { step: 2, .. });
    loop {
        waiting.extend(machine.ready());
        let Some(next) = waiting.iter().position(|item| !held_back(item)) else { break };
        let item = waiting.remove(next);
        machine.complete(item.task, answer(&item)).unwrap();
    }
    assert!(machine.has(TaskId::Step(1)) && !machine.has(TaskId::Step(2)));
    assert!(machine.has(TaskId::Score { step: 2, chunk: 1, part: 0 }), "its rollouts do not wait");
    for item in &waiting {
        let Work::SamplePairs(work) = &item.work else { panic!("{item:?}") };
        assert_eq!(version(&work.policy.model), 2);
        assert!(work.prompts.iter().all(|p| p.as_context().contains("held out")));
    }
    assert_eq!(waiting.len(), 2);
}

const SELECTION: &str = "[rl]\nreward = 'labeler'\nsteps = 5\nbatch_size = 6\n\
    [rl.selection]\nevery = 2\ncandidates = 2\nprompts = 3\n";

/// Answers of a labeler that rates the versions of SELECTION 0.125, 0.5 and 0.25, and of a judge that finds the
/// last of these the best.
fn select(item: &WorkItem) -> WorkResult {
    match (&item.work, item.task) {
        (Work::Rate(work), TaskId::ValidateScore { step, .. }) => {
            let reward = [(2, 0.125), (4, 0.5), (5, 0.25)].into_iter().find(|(s, _)| *s == step);
            WorkResult::Rewards(vec![Ok(reward.unwrap().1); work.items.len()])
        }
        (Work::Judge(work), TaskId::JudgeCandidate { step, .. }) => {
            let verdict =
                Judged::Verdict(Verdict::of_scores(if step == 5 { 0.9 } else { 0.1 }, 0.5));
            let name = &work.templates[0].name;
            let record = |contest: &Contest| EvaluationRecord {
                contest: contest.clone(),
                verdicts: [(name.clone(), verdict.clone())].into(),
            };
            WorkResult::Evaluations(work.contests.iter().map(record).collect())
        }
        _ => answer(item),
    }
}

#[test]
fn of_the_versions_with_the_highest_reward_the_one_that_the_judge_prefers_is_left() {
    let mut machine = machine_of(SELECTION);
    let (mut waiting, mut done, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    while machine.outcome().is_none() {
        waiting.extend(machine.ready());
        let item: WorkItem = waiting.remove(0);
        for effect in machine.complete(item.task, select(&item)).unwrap() {
            if let Effect::Delete { artifact } = effect {
                deleted.push(artifact);
            }
        }
        done.push(item);
    }
    let selection = machine.outcome().unwrap().selection.unwrap();
    let versions: Vec<_> = selection.versions.iter().map(|v| (v.step, v.reward)).collect();
    assert_eq!(versions, [(2, Some(0.125)), (4, Some(0.5)), (5, Some(0.25))]);
    let rates: Vec<Option<f64>> =
        selection.versions.iter().map(|v| v.win_rate.as_ref().map(|rate| rate.win_rate)).collect();
    assert_eq!((rates, selection.chosen), (vec![None, Some(0.0), Some(1.0)], 5));

    let (mut validated, mut evaluated) = (BTreeSet::new(), BTreeSet::new());
    for item in &done {
        match (&item.work, item.task) {
            (Work::Rollout(work), TaskId::Validate { step, .. }) => {
                let ModelRef::Version { parameters, .. } = &work.policy.model else {
                    panic!("{:?}", work.policy.model)
                };
                assert_eq!(*parameters, format!("candidates/{step}"), "what is kept is validated");
                validated.extend(work.prompts.iter().map(|p| p.as_context()));
            }
            (Work::Respond(work), TaskId::Respond(_)) => {
                assert_eq!(work.trained.policy.model, ModelRef::Saved("saved/5".into()));
                evaluated.extend(work.trained.prompts.iter().map(|p| p.as_context()));
            }
            (Work::PolicyStep(work), _) => {
                assert_eq!(work.candidate, [2, 4, 5].contains(&work.step))
            }
            _ => {}
        }
    }
    assert_eq!((validated.len(), evaluated.len()), (3, 4));
    assert!(validated.is_disjoint(&evaluated), "what chose is not what measures");
    let candidates = deleted.into_iter().filter(|a| a.starts_with("candidates/"));
    // The worst as soon as two are better, the others once the winner is saved.
    assert_eq!(candidates.collect::<Vec<_>>(), ["candidates/2", "candidates/4", "candidates/5"]);
}

#[test]
fn the_labelers_own_answers_to_every_prompt_are_fine_tuned_on_where_that_is_asked() {
    let mut machine =
        machine_of("[sft]\nby = 'labeler'\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 4\n");
    let (mut asked, mut written, mut tuned) = (Vec::new(), Vec::new(), None);
    while tuned.is_none() {
        // Later chunks first: what is written is in the order of the prompts all the same.
        for item in machine.ready().into_iter().rev() {
            match &item.work {
                Work::Rollout(work) => asked.extend(work.prompts.clone()),
                Work::FineTune(work) => tuned = Some(work.demonstrations.clone()),
                _ => {}
            }
            for effect in machine.complete(item.task, answer(&item)).unwrap() {
                match effect {
                    Effect::Append { file: "demonstrations.jsonl", records } => {
                        written.extend(records)
                    }
                    Effect::Publish { file } => assert_eq!(file, "demonstrations.jsonl"),
                    _ => {}
                }
            }
        }
    }
    assert_eq!((asked.len(), written.len()), (7, 7));
    let prompts: Vec<Value> = (0..7).map(|i| json!(format!("train {i}"))).collect();
    assert_eq!(written.iter().map(|r| r["prompt"].clone()).collect::<Vec<_>>(), prompts);
    assert_eq!(tuned.as_deref(), Some("demonstrations.jsonl"));
}

#[test]
fn an_answer_that_was_cut_off_is_a_demonstration_without_an_end() {
    let mut machine =
        machine_of("[sft]\nby = 'labeler'\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 4\n");
    let texts = ["Whole.", "Cut", "", "Whole, too."];
    let ends = [Finish::Stop, Finish::Length, Finish::Length, Finish::Stop];
    let mut written = Vec::new();
    while written.is_empty() {
        for item in machine.ready() {
            let mut result = answer(&item);
            if let WorkResult::Rollouts(rollouts) = &mut result {
                for (rollout, (text, finish)) in rollouts.iter_mut().zip(texts.iter().zip(ends)) {
                    (rollout.text, rollout.finish) = ((*text).to_owned(), finish);
                }
                // Journals from before this was told say nothing of it.
                let before = serde_json::to_value(&rollouts[0]).unwrap();
                assert!(before.get("finish").is_none());
                assert_eq!(serde_json::from_value::<Rollout>(before).unwrap(), rollouts[0]);
            }
            for effect in machine.complete(item.task, result).unwrap() {
                if let Effect::Append { file: "demonstrations.jsonl", records } = effect {
                    written.extend(records);
                }
            }
        }
    }
    let what = |record: &Value| (record["completion"].clone(), record.get("finish").cloned());
    let cut = Some(json!("length"));
    let expected = [("Whole.", None), ("Cut", cut.clone()), ("", cut), ("Whole, too.", None)];
    let expected = expected.map(|(text, finish)| (json!(text), finish));
    assert_eq!(written.iter().take(4).map(what).collect::<Vec<_>>(), expected);
}

#[test]
fn given_labels_alone_need_no_pairs_and_beside_the_labelers_both_are_learned_from() {
    let labelled = Some("labels.jsonl");
    for (source, wanted, sampled, labels) in [
        ("human", 10, 0, None),
        ("mixed", 10, 10, labelled),
        ("mixed", 0, 0, None),
        ("ai", 10, 10, labelled),
        ("ai", 0, 0, None),
    ] {
        let machine = machine_of(&format!(
            "[reward_model]\nlabels = '{source}'\npairs = {wanted}\n\
             [rl]\nreward = 'model'\nsteps = 1\nbatch_size = 4\n"
        ));
        let stages: Vec<String> = machine.progress().into_iter().map(|s| s.stage).collect();
        assert_eq!(stages.contains(&"label".to_owned()), labels.is_some(), "{source}: {stages:?}");
        let (mut pairs, mut trained) = (0, Vec::new());
        for item in items(machine) {
            match item.work {
                Work::SamplePairs(work) => pairs += work.prompts.len(),
                Work::TrainReward(work) => trained.push((work.labels, work.preferences)),
                _ => {}
            }
        }
        assert_eq!(pairs, sampled, "{source}");
        let given = Some("data/preferences.jsonl".to_owned());
        assert_eq!(trained, [(labels.map(str::to_owned), given)], "{source}");
    }
}

#[test]
fn given_preferences_need_no_rollouts() {
    let machine =
        machine_of("[rl]\nreward = 'preferences'\nsteps = 3\nbatch_size = 5\nalgorithm = 'dpo'\n");
    let items = items(machine);
    let drawn = items.iter().any(|i| matches!(i.work, Work::Rollout(_) | Work::SamplePairs(_)));
    assert!(!drawn);
    let steps = items.iter().filter_map(|item| match &item.work {
        Work::PolicyStep(work) => Some((work.step, &work.lessons)),
        _ => None,
    });
    let (file, labels) = ("data/preferences.jsonl".into(), LabelSource::Mixed);
    let given = Lessons::Preferences { file, labels, batch_size: 5 };
    assert!(steps.eq([(1, &given), (2, &given), (3, &given)]));
}

#[test]
fn what_is_not_learned_from_and_what_a_reward_model_started_from_are_in_the_outcome() {
    let sections = "[sft]\nby = 'labeler'\n[reward_model]\npairs = 4\n\
        [rl]\nreward = 'model'\nsteps = 2\nbatch_size = 4\n";
    let (mut machine, mut left) = (machine_of(sections), Left::default());
    let mut too_long = LeftOut::default();
    assert_eq!(too_long.keep::<()>(Err(Unlearnable::TooLong)), None);
    while machine.outcome().is_none() {
        let item = machine.ready().swap_remove(0);
        let mut result = answer(&item);
        match &mut result {
            WorkResult::FineTuned(trained) | WorkResult::RewardTrained { trained, .. } => {
                trained.left_out = too_long.clone();
            }
            WorkResult::Stepped(stepped) => stepped.left_out = too_long.clone(),
            _ => {}
        }
        left.take_in(machine.complete(item.task, result).unwrap());
        machine.forget_handed_out();
    }
    let outcome = machine.outcome().unwrap();
    assert_eq!(outcome.reward_start, Some(ContentHash::of("start")), "the manifest's");
    assert_eq!(outcome.left_out.keys().collect::<Vec<_>>(), ["policy", "reward", "sft"]);
    for (stage, left_out) in outcome.left_out {
        assert_eq!(left_out, too_long);
        assert_eq!(left.stages[stage.as_str()]["left_out"], json!({"too_long": 1}), "{stage}");
    }
}

#[test]
fn the_next_steps_rollouts_do_not_wait_for_the_step() {
    let mut machine = machine(1);
    let mut waiting: Vec<WorkItem> = Vec::new();
    // Everything but policy steps is answered.
    loop {
        waiting.extend(machine.ready());
        let next = waiting.iter().position(|item| !matches!(item.work, Work::PolicyStep(_)));
        let Some(next) = next else { break };
        let item = waiting.remove(next);
        machine.complete(item.task, answer(&item)).unwrap();
    }
    assert_eq!(waiting.iter().map(|item| item.task).collect::<Vec<_>>(), [TaskId::Step(0)]);
    assert!(
        machine.has(TaskId::Score { step: 1, chunk: 1, part: 0 }),
        "step 1 waits with its batch"
    );
    assert!(!machine.has(TaskId::Rollout { step: 2, chunk: 0 }), "that would be too far ahead");
}

proptest! {
    #[test]
    fn neither_order_nor_restarts_change_what_a_job_leaves(
        choices in prop::collection::vec(any::<prop::sample::Index>(), 64),
        rebuild_every in 1usize..40,
        ahead in 0usize..3,
    ) {
        // Both are due after the same steps.
        let measured_twice = format!("{STALENESS}selection = {{ every = 2, candidates = 2, prompts = 2 }}\n");
        let makers: [&dyn Fn() -> Machine; 5] = [
            &|| machine(ahead),
            &|| machine_of(MIXTURE),
            &|| machine_of(STALENESS),
            &|| machine_of(SELECTION),
            &|| machine_of(&measured_twice),
        ];
        for make in makers {
            let expected = run(make, &mut |_| 0, usize::MAX);
            let mut choices = choices.iter();
            let mut choose = |count: usize| choices.next().map_or(0, |choice| choice.index(count));
            prop_assert_eq!(run(make, &mut choose, rebuild_every), expected);
        }
    }
}
