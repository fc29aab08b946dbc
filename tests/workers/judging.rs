//! Judgements through the workers keep their rules.

use crate::bench::{MODEL, Process, generate, named, policy, prompts};
use rlaif_job::{
    Contest, JudgeContests, Judged, Label, Labeler, MatchUps, ModelRef, Rate, Score, TaskId, Work,
    WorkResult,
};
use rlaif_models::{CausalLm, Checkpoint, ScalarModel};
use rlaif_template::{Asking, Choice, Reasoning, Template};
use rlaif_types::{Item, Pair, Prompt, Rationale, UnscorableReason};

fn labeler(template: &str) -> Labeler {
    let template = Template::load(template).unwrap();
    Labeler { model: named(), template, asking: Asking::default() }
}

/// Asks in few words, which is all that fits a tiny model, and can be asked in every way.
fn curt(asking: Asking) -> Labeler {
    let text = "name = 'curt'\nkind = 'compare'\npreamble = 'Better?'\n\
        exemplar = ' {response_1}|{response_2}={verdict}'\n\
        sample = ' {response_1}|{response_2}'\nending = '='\nverdicts = ['1', '2']\n\
        [rationale]\nrequest = ' Why?'\nbegin = ' For'\n\
        [[exemplars]]\ncontext = ''\nresponse_1 = 'yes'\nresponse_2 = 'no'\nverdict = '1'\n\
        [[exemplars]]\ncontext = ''\nresponse_1 = 'bad'\nresponse_2 = 'good'\nverdict = '2'\n\
        [[exemplars]]\ncontext = ''\nresponse_1 = 'sun'\nresponse_2 = 'rain'\nverdict = '1'\n";
    Labeler { model: named(), template: Template::parse("curt", text).unwrap(), asking }
}

fn pair(a: &str, b: &str) -> Pair {
    Pair { prompt: Prompt::Text("Say it".into()), response_a: a.into(), response_b: b.into() }
}

#[test]
fn exchanging_candidates_exchanges_the_label_exactly_however_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let pairs = vec![pair("It is good.", "No."), pair("A dog", "Two dogs and a cat")];
    let label = |asking: &Asking, pairs: Vec<Pair>| {
        let labeler = curt(asking.clone());
        match process.done(TaskId::Label(0), Work::Label(Label { labeler, pairs })) {
            WorkResult::Labels(labels) => labels,
            other => panic!("labeling gave {other:?}"),
        }
    };
    for asking in ways_of_asking() {
        let swapped = label(&asking, pairs.iter().map(Pair::swapped).collect());
        for (there, back) in label(&asking, pairs.clone()).iter().zip(&swapped) {
            let (there, back) =
                (there.comparison.clone().unwrap(), back.comparison.clone().unwrap());
            assert_ne!(there.label.value(), 0.5, "the example decides nothing: {asking:?}");
            assert_eq!(there.label.swapped(), back.label, "{asking:?}");
            assert_eq!((there.ab, there.ba), (back.ba, back.ab), "{asking:?}");
        }
    }
}

/// Plain, with exemplars, with a rationale, with several, clamped.
fn ways_of_asking() -> Vec<Asking> {
    let shots = Asking { shots: 2, exemplars: Choice::Random, seed: 7, ..Asking::default() };
    let thinks = |reasoning| Asking { reasoning: Some(reasoning), ..Asking::default() };
    let greedy = Reasoning { max_tokens: 12, ..Reasoning::default() };
    let several = Reasoning { samples: 3, temperature: 1.0, ..greedy.clone() };
    let clamped = Reasoning { clamp: Some(0.3), ..several.clone() };
    vec![Asking::default(), shots, thinks(greedy), thinks(several), thinks(clamped)]
}

#[test]
fn a_rationale_is_kept_with_the_verdict_that_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let label = |reasoning: Reasoning| {
        let labeler = curt(Asking { reasoning: Some(reasoning), ..Asking::default() });
        let pairs = vec![pair("It is good.", "No.")];
        match process.done(TaskId::Label(0), Work::Label(Label { labeler, pairs })) {
            WorkResult::Labels(labels) => labels[0].comparison.clone().unwrap(),
            other => panic!("labeling gave {other:?}"),
        }
    };
    let greedy = Reasoning { max_tokens: 12, ..Reasoning::default() };
    let one = label(greedy.clone());
    assert_eq!(one.ab.rationales.len(), 1);
    assert!((1..=12).contains(&one.ab.completion_tokens), "{one:?}");
    assert_eq!(one.ab.rationales[0].verdict_logprobs, one.ab.verdict_logprobs);
    // With the single most likely token to choose from, a temperature changes nothing.
    let cold = label(Reasoning { temperature: 0.7, top_k: 1, ..greedy.clone() });
    assert_eq!(cold, one);
    // The mean of the distributions, not of anything else.
    let three = label(Reasoning { samples: 3, temperature: 1.0, ..greedy });
    assert_eq!(three.ab.rationales.len(), 3);
    let softmax =
        |r: &Rationale| 1.0 / (1.0 + (r.verdict_logprobs[1] - r.verdict_logprobs[0]).exp());
    let mean = three.ab.rationales.iter().map(softmax).sum::<f64>() / 3.0;
    // Both are on the labels' grid of 2^-40.
    assert!((three.ab.prefers_first.value() - mean).abs() < 1e-11, "{three:?}");
    assert_eq!(three.ab.prompt_tokens, 3 * one.ab.prompt_tokens);
}

#[test]
fn verdicts_that_the_model_hardly_considers_are_unscorable() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let label = |min_verdict_mass: f64| {
        let labeler = curt(Asking { min_verdict_mass, ..Asking::default() });
        let pairs = vec![pair("It is good.", "No.")];
        match process.done(TaskId::Label(0), Work::Label(Label { labeler, pairs })) {
            WorkResult::Labels(labels) => labels[0].clone(),
            other => panic!("labeling gave {other:?}"),
        }
    };
    let mass = label(0.0).comparison.unwrap().verdict_mass();
    assert!(mass > 0.0 && mass < 0.5, "random weights: {mass}");
    assert!(label(mass / 2.0).comparison.is_some());
    let refused = label(mass * 2.0);
    assert_eq!(refused.comparison, None);
    assert_eq!(refused.unscorable.unwrap().reason, UnscorableReason::NoVerdict);
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
        match process.done(TaskId::Score { step: 1, chunk: 0, part: 0 }, work) {
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
    match process.done(TaskId::Score { step: 1, chunk: 0, part: 0 }, work) {
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

#[test]
fn a_response_that_says_nothing_is_scored_by_a_reward_model_and_not_rated_by_a_labeler() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    save_reward_model(&dir.path().join("checkpoints/reward"));
    let item =
        |response: &str| Item { prompt: Prompt::Text("Say it".into()), response: response.into() };
    let items = vec![item(""), item(" "), item("Yes.")];
    let judged = |work: Work| match process.done(TaskId::Score { step: 1, chunk: 0, part: 0 }, work)
    {
        WorkResult::Rewards(rewards) => rewards,
        other => panic!("judging gave {other:?}"),
    };
    let scored = judged(Work::Score(Score {
        reward_model: policy(ModelRef::Saved("checkpoints/reward".into())),
        mean: 1.0,
        std: 0.5,
        items: items.clone(),
    }));
    // The head of zeros, as of any text.
    assert_eq!(scored, [Ok(-2.0), Ok(-2.0), Ok(-2.0)]);
    let labeler = labeler("sentiment/rating");
    let rated = judged(Work::Rate(Rate { labeler, items }));
    for silent in &rated[..2] {
        assert_eq!(silent.as_ref().unwrap_err().reason, UnscorableReason::BadItem);
    }
    assert!(rated[2].is_ok());
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
fn who_says_nothing_loses_by_every_template_and_in_every_match_up() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let said = Prompt::Text("Say it".into());
    let contest = |trained: &str, start: &str| {
        let (trained, start) = (trained.to_owned(), start.to_owned());
        Contest { prompt: said.clone(), trained, start }
    };
    let contests = vec![contest("", "No."), contest("No.", " "), contest("", "")];
    let names = ["sentiment/compare", "sentiment/rating", "sentiment/rubric"];
    let templates: Vec<Template> = names.map(|name| Template::load(name).unwrap()).into();
    let titles: Vec<String> = templates.iter().map(|template| template.name.clone()).collect();
    let work = Work::Judge(JudgeContests { model: named(), templates, contests });
    let records = match process.done(TaskId::Judge(0), work) {
        WorkResult::Evaluations(records) => records,
        other => panic!("judging gave {other:?}"),
    };
    for (title, least) in titles.iter().zip([0.0, 1.0, 0.0]) {
        let verdict = |i: usize| match &records[i].verdicts[title] {
            Judged::Verdict(verdict) => *verdict,
            Judged::Unscorable(why) => panic!("{title} of {i}: {why}"),
        };
        assert_eq!([0, 1, 2].map(|i| verdict(i).outcome), [0.0, 1.0, 0.5], "{title}");
        assert_eq!((verdict(0).trained, verdict(1).start), (least, least), "{title}");
    }

    let item = |response: &str| Item { prompt: said.clone(), response: response.into() };
    let work = Work::MatchUps(MatchUps {
        labeler: labeler("sentiment/compare"),
        group_size: 3,
        items: vec![item("No."), item(""), item("")],
    });
    match process.done(TaskId::Score { step: 1, chunk: 0, part: 0 }, work) {
        WorkResult::Rewards(rewards) => assert_eq!(rewards, [Ok(1.0), Ok(0.25), Ok(0.25)]),
        other => panic!("matching gave {other:?}"),
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
