//! Judgements through the workers keep their rules.

use crate::bench::{MODEL, Process, generate, named, policy, prompts};
use rlaif_job::{
    Contest, JudgeContests, Judged, Label, Labeler, ModelRef, Rate, Score, TaskId, Work, WorkResult,
};
use rlaif_models::{CausalLm, Checkpoint, ScalarModel};
use rlaif_template::Template;
use rlaif_types::{Item, Pair, Prompt, UnscorableReason};

fn labeler(template: &str) -> Labeler {
    Labeler { model: named(), template: Template::load(template).unwrap() }
}

fn pair(a: &str, b: &str) -> Pair {
    Pair { prompt: Prompt::Text("Say it".into()), response_a: a.into(), response_b: b.into() }
}

#[test]
fn exchanging_candidates_exchanges_the_label_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let pairs = vec![pair("It is good.", "No."), pair("A dog", "Two dogs and a cat")];
    let label = |pairs: Vec<Pair>| {
        let work = Work::Label(Label { labeler: labeler("sentiment/compare"), pairs });
        match process.done(TaskId::Label(0), work) {
            WorkResult::Labels(labels) => labels,
            other => panic!("labeling gave {other:?}"),
        }
    };
    let swapped = label(pairs.iter().map(Pair::swapped).collect());
    for (there, back) in label(pairs).iter().zip(&swapped) {
        let (there, back) = (there.comparison.clone().unwrap(), back.comparison.clone().unwrap());
        assert_ne!(there.label.value(), 0.5, "the example decides nothing");
        assert_eq!(there.label.swapped(), back.label);
        assert_eq!((there.ab, there.ba), (back.ba, back.ab));
    }
}

#[test]
fn an_item_that_cannot_be_judged_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let item =
        |response: &str| Item { prompt: Prompt::Text("Say it".into()), response: response.into() };
    let items = vec![item("It is good."), item(" "), item("No.")];
    let rate = |items: Vec<Item>| {
        let work = Work::Rate(Rate { labeler: labeler("sentiment/rating"), items });
        match process.done(TaskId::Score { step: 1, chunk: 0 }, work) {
            WorkResult::Rewards(rewards) => rewards,
            other => panic!("rating gave {other:?}"),
        }
    };
    let rewards = rate(items.clone());
    assert_eq!(rewards[1].as_ref().unwrap_err().reason, UnscorableReason::BadItem);
    let alone = rate(vec![items[0].clone(), items[2].clone()]);
    assert_eq!([&rewards[0], &rewards[2]], [&alone[0], &alone[1]]);
}

#[test]
fn an_item_that_does_not_fit_the_reward_model_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    save_reward_model(&dir.path().join("checkpoints/reward"));
    let item = |prompt: String| Item { prompt: Prompt::Text(prompt), response: "Yes.".into() };
    let items = vec![item("a ".repeat(10_000)), item("Say it".into()), item(String::new())];
    let work = Work::Score(Score {
        reward_model: policy(ModelRef::Saved("checkpoints/reward".into())),
        mean: 1.0,
        std: 0.5,
        items,
    });
    match process.done(TaskId::Score { step: 1, chunk: 0 }, work) {
        WorkResult::Rewards(rewards) => {
            let reason = |i: usize| rewards[i].as_ref().unwrap_err().reason;
            assert_eq!(reason(0), UnscorableReason::PromptTooLong);
            // A head of zeros says 0, which is (0 - mean) / std.
            assert_eq!(rewards[1], Ok(-2.0));
            assert_eq!(reason(2), UnscorableReason::BadItem);
        }
        other => panic!("scoring gave {other:?}"),
    }
}

fn save_reward_model(folder: &std::path::Path) {
    let checkpoint = Checkpoint::open(MODEL.as_ref()).unwrap();
    let device = rlaif_models::DeviceName::Cpu.open().unwrap();
    let model = CausalLm::load(&checkpoint, &device, burn::tensor::DType::F32).unwrap();
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    ScalarModel::zero(model).save(folder, &checkpoint).unwrap();
}

#[test]
fn a_contest_is_judged_by_every_template() {
    let dir = tempfile::tempdir().unwrap();
    let contests = vec![Contest {
        prompt: Prompt::Text("Say it".into()),
        trained: "It is good.".into(),
        start: "No.".into(),
    }];
    let names = ["sentiment/compare", "sentiment/rating"];
    let templates = names.map(|name| Template::load(name).unwrap()).to_vec();
    let titles: Vec<String> = templates.iter().map(|template| template.name.clone()).collect();
    let work = Work::Judge(JudgeContests { model: named(), templates, contests });
    match Process::start(dir.path()).done(TaskId::Judge(0), work) {
        WorkResult::Evaluations(records) => {
            for title in &titles {
                let Judged::Verdict(verdict) = &records[0].verdicts[title] else {
                    panic!("{title} could not judge it")
                };
                assert!([0.0, 0.5, 1.0].contains(&verdict.outcome));
            }
        }
        other => panic!("judging gave {other:?}"),
    }
}

#[test]
fn both_sides_of_a_contest_draw_alike() {
    let dir = tempfile::tempdir().unwrap();
    let respond = rlaif_job::Respond {
        trained: generate(named(), 0, prompts(4)),
        start: policy(named()),
        strip_trailing_junk: true,
    };
    match Process::start(dir.path()).done(TaskId::Respond(0), Work::Respond(respond)) {
        WorkResult::Contests(contests) => {
            assert_eq!(contests.len(), 4);
            assert!(contests.iter().all(|contest| contest.trained == contest.start));
        }
        other => panic!("responding gave {other:?}"),
    }
}
