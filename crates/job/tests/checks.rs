//! What a job names on its workers' machines is looked over before anything is paid for.

use rlaif_job::{
    CheckedModel, Error, Inputs, Job, LeftOut, Machine, Predicted, RewardSummary, TaskId, Trained,
    Work, WorkItem, WorkResult, reward_quality,
};
use rlaif_template::Template;
use rlaif_types::{ContentHash, Prompt, SoftLabel};
use std::collections::BTreeMap;

/// A job that names four models.
fn machine() -> Machine {
    let text = "name = 't'\n[policy]\nmodel = 'p'\n[labeler]\nmodel = 'l'\ntemplate = 'sentiment/compare'\n\
        [data]\nprompts = 'p'\nheldout_prompts = 'h'\n\
        [evaluate]\ntemplates = ['sentiment/review']\njudge = { model = 'j' }\n\
        [reward_model]\nfrom = 'rm'\n[rl]\nreward = 'model'\nsteps = 1\nbatch_size = 2\n";
    let job = Job::from_toml(text).unwrap();
    let prompts = |word: &str| vec![Prompt::Text(word.into()); 2];
    let inputs = Inputs {
        prompts: prompts("train"),
        heldout: prompts("held out"),
        template: Template::load("sentiment/compare").unwrap(),
        evaluation_templates: vec![Template::load("sentiment/review").unwrap()],
        mixture_templates: Vec::new(),
    };
    Machine::new("job", job, inputs)
}

fn tasks(items: &[WorkItem]) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = items.iter().map(|item| item.task).collect();
    tasks.sort();
    tasks
}

fn checked(name: &str) -> WorkResult {
    WorkResult::Checked(CheckedModel { name: name.into(), hash: ContentHash::of(name) })
}

#[test]
fn nothing_is_sampled_before_every_model_was_looked_over() {
    let mut machine = machine();
    let checks = machine.ready();
    let all = [TaskId::CheckPolicy, TaskId::CheckLabeler, TaskId::CheckJudge, TaskId::CheckReward];
    assert_eq!(tasks(&checks), all);
    // Each is asked what it will be asked.
    let asked = |task: TaskId| {
        let item = checks.iter().find(|item| item.task == task).unwrap();
        let Work::CheckLabeler(check) = &item.work else { panic!("{:?}", item.work) };
        check.templates.iter().map(|template| template.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(asked(TaskId::CheckLabeler), ["sentiment/compare"]);
    assert_eq!(asked(TaskId::CheckJudge), ["sentiment/review"]);
    for task in all {
        assert!(machine.ready().is_empty(), "{task} is still open");
        machine.complete(task, checked("m")).unwrap();
    }
    assert!(tasks(&machine.ready()).contains(&TaskId::Sample(0)));
}

#[test]
fn a_wrong_start_of_the_reward_model_ends_the_job_before_a_label_is_paid_for() {
    let mut machine = machine();
    machine.ready();
    let wrong = WorkResult::Impossible("reward_model.from: there is no such model".into());
    let error = machine.complete(TaskId::CheckReward, wrong).unwrap_err();
    assert!(matches!(error, Error::Stage { stage: "check", .. }), "{error}");
    assert_eq!(error.to_string(), "check: reward_model.from: there is no such model");
    // Once it is mended it is looked over again.
    machine.forget_handed_out();
    assert!(tasks(&machine.ready()).contains(&TaskId::CheckReward));
}

/// As in a journal from before there was this check.
#[test]
fn what_the_reward_model_starts_from_is_not_looked_over_once_that_is_trained() {
    let mut machine = machine();
    for task in [TaskId::CheckPolicy, TaskId::CheckLabeler, TaskId::CheckJudge] {
        machine.complete(task, checked("m")).unwrap();
    }
    assert_eq!(tasks(&machine.ready()), [TaskId::CheckReward]);
    machine.forget_handed_out();
    let trained = WorkResult::RewardTrained {
        trained: Trained {
            model: "reward".into(),
            metrics: Vec::new(),
            examples: 1,
            left_out: LeftOut::default(),
        },
        summary: RewardSummary {
            quality: reward_quality(&[Predicted {
                prompt: 0,
                lengths: [2, 1],
                label: SoftLabel::new(0.75).unwrap(),
                prefers_a: 0.75,
            }]),
            trained_on: 1,
            mean: 0.0,
            std: 1.0,
            start_hash: Some(ContentHash::of("rm")),
            by_source: BTreeMap::new(),
            against_people: None,
        },
    };
    machine.complete(TaskId::Reward, trained).unwrap();
    let next = tasks(&machine.ready());
    assert!(next.contains(&TaskId::Rollout { step: 0, chunk: 0 }), "{next:?}");
    assert!(!next.contains(&TaskId::CheckReward), "{next:?}");
}
