//! Rows as they stand in published datasets, and what each of them says.

use rlaif_data::{
    Example, Format, OutputFormat, Record, any_prompt_of, demonstration_of, examples_of, item_of,
    pair_and_human_label_of, pair_of, preference_record, preferences_of, unscorable_record,
};
use rlaif_types::{
    Finish, Item, Message, Pair, Preference, Prompt, SoftLabel, Unscorable, UnscorableReason,
};
use serde_json::{Value, json};

fn record(json: Value) -> Record {
    json.as_object().unwrap().clone()
}

fn preference(json: Value) -> Preference {
    let mut preferences = preferences_of(&record(json)).unwrap();
    assert_eq!(preferences.len(), 1);
    preferences.remove(0)
}

fn error(json: Value) -> String {
    examples_of(&record(json)).unwrap_err()
}

fn pair(prompt: Prompt, a: &str, b: &str) -> Pair {
    Pair { prompt, response_a: a.into(), response_b: b.into() }
}

fn user(content: &str) -> Prompt {
    Prompt::Messages(vec![Message::user(content)])
}

fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[test]
fn trl_with_messages_and_a_margin() {
    let row = json!({"prompt": [said("user", "Hi")], "chosen": [said("assistant", "Yo")],
                     "rejected": [said("assistant", "No")], "margin": 1.5});
    assert_eq!(Format::of(&record(row.clone())), Some(Format::Trl));
    let read = preference(row);
    assert_eq!(read.pair, pair(user("Hi"), "Yo", "No"));
    let human = read.human.unwrap();
    assert_eq!((human.prefers_a.value(), human.margin), (1.0, Some(1.5)));
    assert_eq!(read.ai, None);
}

#[test]
fn trl_with_text_and_an_implicit_prompt() {
    let explicit = json!({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."});
    let implicit = json!({"chosen": "The sky is blue.", "rejected": "The sky is green."});
    let expected = pair(Prompt::Text("The sky is".into()), " blue.", " green.");
    assert_eq!(preference(explicit).pair, expected);
    assert_eq!(preference(implicit).pair, expected);
    let nothing_shared = json!({"chosen": "blue", "rejected": "green"});
    assert!(error(nothing_shared).contains("\"prompt\" is missing"));
}

#[test]
fn beside_sides_of_text_the_prompt_may_be_called_messages() {
    // Both sides begin with "A": without its messages a record would be read as a prompt of one letter.
    let row = json!({"messages": [said("user", "Hi"), said("assistant", "Yo"), said("user", "Bye")],
                     "chosen": "A good day", "rejected": "A bad day"});
    let turns = vec![Message::user("Hi"), Message::assistant("Yo"), Message::user("Bye")];
    assert_eq!(preference(row).pair, pair(Prompt::Messages(turns), "A good day", "A bad day"));
}

#[test]
fn ultrafeedback_repeats_its_prompt_in_both_sides() {
    let side = |answer| json!([said("user", "Hi"), said("assistant", answer)]);
    let row = json!({"prompt": "Hi", "prompt_id": "7", "chosen": side("Yo"), "rejected": side("No"),
                     "messages": side("Yo"), "score_chosen": 8.0, "score_rejected": 3.0});
    assert_eq!(preference(row).pair, pair(user("Hi"), "Yo", "No"));
}

#[test]
fn sides_that_say_the_same_keep_their_last_message() {
    let side = json!([said("user", "Hi"), said("assistant", "Yo")]);
    let read = preference(json!({"chosen": side, "rejected": side}));
    assert_eq!(read.pair, pair(user("Hi"), "Yo", "Yo"));
}

#[test]
fn hh_rlhf_transcripts() {
    let begin = "\n\nHuman: Hi\n\nAssistant: Hello\n\nand more\n\nHuman: Bye\n\nAssistant:";
    let row = json!({"chosen": format!("{begin} So long"), "rejected": format!("{begin} What?")});
    assert_eq!(Format::of(&record(row.clone())), Some(Format::Hh));
    let turns =
        vec![Message::user("Hi"), Message::assistant("Hello\n\nand more"), Message::user("Bye")];
    let read = preference(row);
    assert_eq!(read.pair, pair(Prompt::Messages(turns), "So long", "What?"));
    assert!(read.human.unwrap().prefers_a.prefers_a());
    let differ = json!({"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: x"});
    assert!(error(differ).contains("differ"));
}

#[test]
fn tldr_comparisons_with_choice_and_confidence() {
    let row = json!({
        "info": {"id": "t3_1", "post": "I lost my keys.\n", "title": "Keys", "subreddit": "tifu"},
        "split": "train",
        "summaries": [{"text": " Lost keys.", "policy": "sup1", "note": null},
                      {"text": " Keys.", "policy": "ref", "note": "ok"}],
        "choice": 1, "worker": "w9", "batch": "batch3", "extra": {"confidence": 8}});
    let read = preference(row.clone());
    let context = "SUBREDDIT: r/tifu\n\nTITLE: Keys\n\nPOST: I lost my keys.\n\nTL;DR:";
    assert_eq!(read.pair, pair(Prompt::Text(context.into()), "Lost keys.", "Keys."));
    let human = read.human.unwrap();
    assert_eq!(human.prefers_a.value(), 0.0);
    assert_eq!(human.confidence.unwrap().value(), 8);
    assert_eq!(human.annotator.as_deref(), Some("w9"));

    let mut article = record(row.clone());
    article.insert("info".into(), json!({"article": "News.", "title": "T", "site": "cnn"}));
    article.remove("extra");
    let read = preference(Value::Object(article));
    assert_eq!(read.pair.prompt.as_context(), "TITLE: T\n\nARTICLE: News.\n\nTL;DR:");
    assert_eq!(read.human.unwrap().confidence, None);

    let mut bad = record(row);
    bad.insert("choice".into(), json!(2));
    assert!(error(Value::Object(bad)).contains("0 or 1"));
}

#[test]
fn tldr_comparisons_in_one_level_say_the_same() {
    let row = json!({
        "id": "batch3-1", "post_id": "t3_1", "subreddit": "tifu", "title": "Keys", "post": "I lost my keys.\n",
        "summary_0": " Lost keys.", "summary_1": " Keys.", "choice": 1, "worker": "w9", "confidence": 8});
    assert_eq!(Format::of(&record(row.clone())), Some(Format::Tldr));
    let published = json!({
        "info": {"id": "t3_1", "post": "I lost my keys.\n", "title": "Keys", "subreddit": "tifu"},
        "summaries": [{"text": " Lost keys."}, {"text": " Keys."}],
        "choice": 1, "worker": "w9", "extra": {"confidence": 8}});
    assert_eq!(preference(row.clone()), preference(published));

    let mut cut = record(row);
    cut.remove("post");
    assert!(error(Value::Object(cut)).contains("no text \"post\""));
}

#[test]
fn tldr_posts_are_prompts_and_with_a_summary_demonstrations() {
    let row =
        json!({"id": "t3_1", "subreddit": "tifu", "title": "Keys", "post": "I lost my keys."});
    let prompt = "SUBREDDIT: r/tifu\n\nTITLE: Keys\n\nPOST: I lost my keys.\n\nTL;DR:";
    let expected = Prompt::Text(prompt.to_owned());
    assert_eq!(examples_of(&record(row.clone())).unwrap(), [Example::Prompt(expected.clone())]);
    for field in ["summary", "reference"] {
        let mut summarised = record(row.clone());
        summarised.insert(field.into(), json!(" Lost keys."));
        let read = demonstration_of(&summarised).unwrap();
        assert_eq!(read, (expected.clone(), "Lost keys.".to_owned(), Finish::Stop));
    }
}

#[test]
fn nemo_gives_each_comparison_that_the_ranks_state() {
    let ranked = |rank: i64, text| json!({"rank": rank, "completion": [said("assistant", text)]});
    let row =
        |completions: Value| json!({"context": [said("user", "Hi")], "completions": completions});
    let two = preference(row(json!([ranked(1, "bad"), ranked(0, "good")])));
    assert_eq!(two.pair, pair(user("Hi"), "good", "bad"));
    let four = json!([ranked(2, "c"), ranked(0, "a"), ranked(1, "b"), ranked(1, "b too")]);
    let pairs: Vec<(String, String)> = preferences_of(&record(row(four.clone())))
        .unwrap()
        .into_iter()
        .map(|p| (p.pair.response_a, p.pair.response_b))
        .collect();
    let expected = [("a", "b"), ("a", "b too"), ("a", "c"), ("b", "c"), ("b too", "c")];
    assert_eq!(pairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(pair_of(&record(row(four))).unwrap_err().contains("5 pairs"));
    assert!(error(row(json!([ranked(0, "a")]))).contains("from 2 to 16"));
}

#[test]
fn demonstrations_and_prompts() {
    let expected = Example::Demonstration {
        prompt: user("Hi"),
        response: "Yo".into(),
        generator: None,
        finish: Finish::Stop,
    };
    for row in [
        json!({"messages": [said("user", "Hi"), said("assistant", "Yo")]}),
        json!({"prompt": [said("user", "Hi")], "completion": "Yo"}),
        json!({"prompt": [said("user", "Hi")], "completion": [said("assistant", "Yo")]}),
        json!({"prompt": [said("user", "Hi")], "response": "Yo"}),
    ] {
        assert_eq!(examples_of(&record(row)).unwrap(), std::slice::from_ref(&expected));
    }
    assert!(error(json!({"messages": [said("system", "Hi")]})).contains("assistant"));
    assert!(error(json!({"messages": [said("assistant", "Hi")]})).contains("without a prompt"));
    let asked = record(json!({"messages": [said("user", "Hi")]}));
    assert_eq!(examples_of(&asked).unwrap(), [Example::Prompt(user("Hi"))]);
    assert_eq!(any_prompt_of(&asked), Ok(user("Hi")));
    assert!(item_of(&asked).unwrap_err().contains("no response"));
    let mut answered = asked;
    answered.insert("prompt".into(), json!([said("user", "Hi")]));
    answered.insert("completion".into(), json!("Yo"));
    assert_eq!(examples_of(&answered).unwrap(), std::slice::from_ref(&expected));
    let prompt = examples_of(&record(json!({"prompt": "Hi", "completion": null}))).unwrap();
    assert_eq!(prompt, [Example::Prompt(Prompt::Text("Hi".into()))]);
}

#[test]
fn one_response_and_its_prompt_are_read_from_every_format_that_has_one() {
    let post = json!({"post": "I lost my keys.", "summary": "Lost keys."});
    for (row, response) in [
        (json!({"prompt": "Hi", "response": "Yo"}), "Yo"),
        (json!({"prompt": "Hi", "completion": "Yo"}), "Yo"),
        (json!({"messages": [said("user", "Hi"), said("assistant", "Yo")]}), "Yo"),
        (json!({"instruction": "Greet", "input": "Ann", "output": "Yo"}), "Yo"),
        (post, "Lost keys."),
    ] {
        let row = record(row);
        let Item { prompt, response: read } = item_of(&row).unwrap();
        assert_eq!(read, response);
        assert_eq!(any_prompt_of(&row).unwrap(), prompt);
    }
    let none = |json| item_of(&record(json)).unwrap_err();
    assert!(none(json!({"prompt": "Hi"})).contains("no response"));
    let two = json!({"prompt": "Hi", "response_a": "Yo", "response_b": "No"});
    assert_eq!(any_prompt_of(&record(two.clone())), Ok(Prompt::Text("Hi".into())));
    assert!(none(two).contains("several responses"));
}

#[test]
fn what_was_generated_comes_before_the_responses_of_its_source() {
    let generated = |source: Value| {
        let mut generated = record(source);
        generated.insert("prompt".into(), json!("Hi"));
        generated.insert("completion".into(), json!("new"));
        item_of(&generated).unwrap()
    };
    for source in [
        json!({"chosen": "Yo", "rejected": "No"}),
        json!({"instruction": "Hi", "output": "Yo"}),
        json!({"post": "Hi", "summary": "Yo"}),
        json!({"messages": [said("user", "Hi"), said("assistant", "Yo")]}),
    ] {
        let expected = Item { prompt: Prompt::Text("Hi".into()), response: "new".into() };
        assert_eq!(generated(source), expected);
    }
}

#[test]
fn alpaca_eval_outputs_and_annotations() {
    let output = json!({"instruction": "Hi", "output": "Yo", "generator": "m", "dataset": "d"});
    let expected = Example::Demonstration {
        prompt: Prompt::Text("Hi".into()),
        response: "Yo".into(),
        generator: Some("m".into()),
        finish: Finish::Stop,
    };
    assert_eq!(examples_of(&record(output)).unwrap(), [expected]);
    let stated = [(json!(1), 1.0), (json!(2.0), 0.0), (json!(1.5), 0.5), (json!(0), 0.5)];
    for (stated, prefers_a) in stated {
        let row = json!({"instruction": "Hi", "output_1": "Yo", "output_2": "No",
                         "preference": stated, "annotator": 3});
        let human = preference(row).human.unwrap();
        assert_eq!(human.prefers_a.value(), prefers_a);
        assert_eq!(human.annotator.as_deref(), Some("3"));
    }
    let unjudged =
        json!({"instruction": "Hi", "output_1": "Yo", "output_2": "No", "preference": null});
    assert_eq!(preference(unjudged).human, None);
    let bad = json!({"instruction": "Hi", "output_1": "a", "output_2": "b", "preference": 3});
    assert!(error(bad).contains("from 1 to 2"));
}

#[test]
fn what_a_labeler_wrote_is_a_models_label_not_peoples() {
    let row = json!({"prompt": "Hi", "chosen": "No", "rejected": "Yo", "response_a": "Yo",
                     "response_b": "No", "soft_label": 0.25});
    let read = preference(row);
    assert_eq!(read.pair, pair(Prompt::Text("Hi".into()), "Yo", "No"));
    assert_eq!((read.human, read.ai.unwrap().value()), (None, 0.25));
    let without_candidates =
        json!({"prompt": "Hi", "chosen": "No", "rejected": "Yo", "soft_label": 0.75});
    assert_eq!(preference(without_candidates).human, None);
}

#[test]
fn a_labelers_verdict_stands_beside_what_people_chose() {
    let transcript = |answer: &str| format!("\n\nHuman: Hi\n\nAssistant: {answer}");
    let ranked = |rank: u64, text| json!({"rank": rank, "completion": [said("assistant", text)]});
    // What people preferred, and their place on the scale of nine.
    let rows = [
        (json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No"}), 1.0, None),
        (json!({"chosen": transcript("Yo"), "rejected": transcript("No")}), 1.0, None),
        (
            json!({"info": {"post": "p"}, "summaries": [{"text": "Yo"}, {"text": "No"}],
                   "choice": 1, "worker": "w9", "extra": {"confidence": 8}}),
            0.0,
            Some(8),
        ),
        (
            json!({"post": "p", "summary_0": "Yo", "summary_1": "No", "choice": 0, "confidence": 2}),
            1.0,
            Some(2),
        ),
        (
            json!({"context": [said("user", "Hi")], "completions": [ranked(1, "No"), ranked(0, "Yo")]}),
            1.0,
            None,
        ),
        (
            json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No", "human_label": 0.75,
                   "human_confidence": 3}),
            0.75,
            Some(3),
        ),
    ];
    let why = Unscorable::new(UnscorableReason::EngineFailed, "no log-probabilities");
    for (row, prefers_a, place) in rows {
        let row = record(row);
        let stated = preferences_of(&row).unwrap().remove(0);
        let (pair, human) = pair_and_human_label_of(&row).unwrap();
        assert_eq!((&pair, &human), (&stated.pair, &stated.human));
        // The labeler prefers the other one, and does so again when it is shown its own output.
        let other = SoftLabel::new(1.0 - prefers_a).unwrap();
        let labelled = preference_record(&row, &pair, human.as_ref(), other);
        let (_, human) = pair_and_human_label_of(&labelled).unwrap();
        let again = preference_record(&labelled, &pair, human.as_ref(), other);
        let failed = unscorable_record(&row, &pair, human.as_ref(), &why);
        for (output, ai) in [(labelled, Some(other)), (again, Some(other)), (failed, None)] {
            let read = preference(Value::Object(output));
            assert_eq!((read.human.as_ref(), read.ai), (stated.human.as_ref(), ai), "{row:?}");
            assert_eq!(read.pair, stated.pair);
            let human = read.human.unwrap();
            assert_eq!(
                (human.prefers_a.value(), human.confidence.map(|c| c.value())),
                (prefers_a, place)
            );
        }
    }
}

#[test]
fn what_could_not_be_judged_is_no_preference_whatever_label_stands_beside_it() {
    let with = |label: Value| {
        let mut row = record(json!({"prompt": "Hi",
            "unscorable": {"reason": "engine_failed", "detail": "no log-probabilities"}}));
        row.extend(record(label));
        row
    };
    let sides = json!({"chosen": "Yo", "rejected": "No"});
    let transcripts = json!({"prompt": null, "chosen": "\n\nHuman: Hi\n\nAssistant: Yo",
        "rejected": "\n\nHuman: Hi\n\nAssistant: No"});
    let judged_before = json!({"response_a": "Yo", "response_b": "No", "soft_label": 0.75});
    for (label, field) in
        [(sides, "\"chosen\""), (transcripts, "\"chosen\""), (judged_before, "\"soft_label\"")]
    {
        let row = with(label);
        let error = examples_of(&row).unwrap_err();
        assert!(error.contains("could not be judged") && error.contains(field), "{error}");
        // It can be asked about again.
        assert_eq!(pair_of(&row).unwrap().response_b, "No");
    }
    let unlabelled = with(json!({"response_a": "Yo", "response_b": "No"}));
    assert_eq!(preferences_of(&unlabelled).unwrap()[0].prefers_a(), None);
    // What people say in so many words is theirs, whatever a model could not do.
    let by_people = with(json!({"response_a": "Yo", "response_b": "No", "human_label": 1.0}));
    assert_eq!(preferences_of(&by_people).unwrap()[0].prefers_a().unwrap().value(), 1.0);
    // A null is none: rows of Parquet have all columns.
    let judged =
        preference(json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No", "unscorable": null}));
    assert_eq!(judged.human.unwrap().prefers_a.value(), 1.0);
}

#[test]
fn a_side_that_was_cut_off_stays_so_whoever_prefers_which() {
    // As `rlaif contrast` writes it: A is the chosen side.
    let drawn = json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No, I",
        "finish_a": "stop", "finish_b": "length"});
    let read = preference(drawn.clone());
    assert_eq!(read.finish, [Finish::Stop, Finish::Length]);
    let (pair, human) = pair_and_human_label_of(&record(drawn.clone())).unwrap();
    let (a, b) = (SoftLabel::new(0.9).unwrap(), SoftLabel::new(0.1).unwrap());
    for label in [a, b] {
        let labelled = preference_record(&record(drawn.clone()), &pair, human.as_ref(), label);
        assert_eq!(preference(Value::Object(labelled)).finish, read.finish);
    }
    // Whichever candidate stands first, and as a demonstration.
    let other = Example::Preference(read.swapped());
    let trl = OutputFormat::Trl.write(&other, None).unwrap();
    assert_eq!((trl.get("finish_a"), &trl["finish_b"]), (None, &json!("length")));
    let worse = Preference { human: None, ai: Some(b), ..read };
    let trl = OutputFormat::Trl.write(&Example::Preference(worse.clone()), None).unwrap();
    assert_eq!((&trl["finish_a"], trl.get("finish_b")), (&json!("length"), None));
    let sft = OutputFormat::SftText.write(&Example::Preference(worse), None).unwrap();
    assert_eq!((&sft["completion"], &sft["finish"]), (&json!("No, I"), &json!("length")));
}

#[test]
fn what_is_of_no_format_is_said() {
    assert!(error(json!({"text": "x"})).contains("no known format"));
    assert!(error(json!({"prompt": "x", "chosen": "y"})).contains("rejected"));
    let role = json!({"prompt": [said("tool", "x")]});
    assert!(error(role).contains("messages"));
}

#[test]
fn demonstrations_are_of_two_formats_and_preferences_are_none() {
    let of = |json| demonstration_of(&record(json));
    let text = json!({"prompt": "Hi", "completion": "Yo"});
    assert_eq!(of(text), Ok((Prompt::Text("Hi".into()), "Yo".into(), Finish::Stop)));
    let messages = json!({"messages": [said("user", "Hi"), said("assistant", "Yo")]});
    assert_eq!(of(messages), Ok((user("Hi"), "Yo".into(), Finish::Stop)));
    let cut = json!({"prompt": "Hi", "completion": "Yo", "finish": "length"});
    assert_eq!(of(cut), Ok((Prompt::Text("Hi".into()), "Yo".into(), Finish::Length)));
    let pair = json!({"prompt": "Hi", "chosen": "Yo", "rejected": "No"});
    assert!(of(pair).unwrap_err().contains("\"messages\""));
}
