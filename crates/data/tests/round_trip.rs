//! What is written in a format reads back as what it was, for all examples that the format holds.

use proptest::prelude::*;
use rlaif_data::{Example, OutputFormat, Reader, Writer, examples_of};
use rlaif_types::{
    Confidence, Finish, HumanLabel, Message, Pair, Preference, Prompt, Role, SoftLabel,
};

/// Texts with everything that a format might trip over. None begins or ends with a blank: HH's
/// transcripts do not keep those.
fn text() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\\\[\\]{}:,\u{1F600}]{1,8}( |\n\n|\t)[a-z\u{0}]{1,8}"
}

fn messages() -> impl Strategy<Value = Prompt> {
    prop::collection::vec((text(), text()), 0..3).prop_flat_map(|earlier| {
        text().prop_map(move |last| {
            let turns = earlier
                .iter()
                .flat_map(|(asked, answered)| [Message::user(asked), Message::assistant(answered)]);
            Prompt::Messages(turns.chain([Message::user(last)]).collect())
        })
    })
}

fn label() -> impl Strategy<Value = SoftLabel> {
    (0_u32..=8).prop_map(|eighths| SoftLabel::new(f64::from(eighths) / 8.0).unwrap())
}

fn human() -> impl Strategy<Value = HumanLabel> {
    let confidence = prop::option::of((1_u64..=9).prop_map(|c| Confidence::new(c).unwrap()));
    let margin = prop::option::of((-8_i32..8).prop_map(|m| f64::from(m) / 4.0));
    (label(), confidence, margin, prop::option::of(text())).prop_map(
        |(prefers_a, confidence, margin, annotator)| HumanLabel {
            prefers_a,
            confidence,
            margin,
            annotator,
        },
    )
}

fn finish() -> impl Strategy<Value = Finish> {
    prop_oneof![Just(Finish::Stop), Just(Finish::Length)]
}

fn preference(prompt: impl Strategy<Value = Prompt>) -> impl Strategy<Value = Preference> {
    let labels = (prop::option::of(human()), prop::option::of(label()));
    let ends = (finish(), finish()).prop_map(|(a, b)| [a, b]);
    let sides = (text(), text(), ends);
    (prompt, sides, labels).prop_map(|(prompt, (response_a, response_b, finish), (human, ai))| {
        Preference { pair: Pair { prompt, response_a, response_b }, human, ai, finish }
    })
}

/// As formats that name a chosen side keep it: preferred side first, none where undecided.
fn preferred_first(preference: &Preference) -> Option<Preference> {
    match preference.prefers_a()?.value() {
        p if p > 0.5 => Some(preference.clone()),
        p if p < 0.5 => Some(preference.swapped()),
        _ => None,
    }
}

/// Through a file of `format`, one after the other, in each container.
fn through(format: OutputFormat, examples: &[Example]) -> Vec<Vec<Example>> {
    let folder = tempfile::tempdir().unwrap();
    let there_and_back = |name| {
        let path = folder.path().join(name);
        let mut writer = Writer::create(&path, Some(format)).unwrap();
        for example in examples {
            writer.write(&format.write(example, None).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let read = Reader::open(&path).unwrap().read_all(|record| examples_of(&record)).unwrap();
        read.into_iter().flatten().collect()
    };
    ["a.jsonl", "a.json.gz", "a.parquet"].map(there_and_back).to_vec()
}

fn check(format: OutputFormat, examples: Vec<Example>) {
    for read in through(format, &examples) {
        assert_eq!(read, examples, "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pairs_keep_everything(preferences in prop::collection::vec(preference(messages()), 1..5)) {
        check(OutputFormat::Pairs, preferences.into_iter().map(Example::Preference).collect());
    }

    #[test]
    fn trl_keeps_everything_with_the_preferred_side_first(
        preferences in prop::collection::vec(preference(messages()), 1..5),
    ) {
        let decided: Vec<Example> =
            preferences.iter().filter_map(preferred_first).map(Example::Preference).collect();
        check(OutputFormat::Trl, decided);
    }

    #[test]
    fn trl_of_text_keeps_everything(preferences in prop::collection::vec(
        preference(text().prop_map(Prompt::Text)), 1..5,
    )) {
        let decided: Vec<Example> =
            preferences.iter().filter_map(preferred_first).map(Example::Preference).collect();
        check(OutputFormat::TrlText, decided);
    }

    #[test]
    fn transcripts_keep_the_choice(preference in preference(messages())) {
        let Some(first) = preferred_first(&preference) else { return Ok(()) };
        let human = Some(HumanLabel::new(SoftLabel::new(1.0).unwrap()));
        let kept = Preference { pair: first.pair, human, ai: None, finish: [Finish::Stop; 2] };
        check(OutputFormat::Hh, vec![Example::Preference(kept)]);
    }

    #[test]
    fn annotations_keep_the_label_and_who_gave_it(
        prompt in text().prop_map(Prompt::Text),
        (response_a, response_b) in (text(), text()),
        (prefers_a, annotator) in (label(), prop::option::of(text())),
    ) {
        let human = Some(HumanLabel { annotator, ..HumanLabel::new(prefers_a) });
        let pair = Pair { prompt, response_a, response_b };
        let preference = Preference { pair, human, ai: None, finish: [Finish::Stop; 2] };
        check(OutputFormat::AlpacaAnnotations, vec![Example::Preference(preference)]);
    }

    #[test]
    fn demonstrations_and_prompts_keep_everything(
        prompt in messages(),
        asked in text().prop_map(Prompt::Text),
        (response, finish) in (text(), finish()),
    ) {
        let said = |prompt: &Prompt| Example::Demonstration {
            prompt: prompt.clone(),
            response: response.clone(),
            generator: None,
            finish,
        };
        check(OutputFormat::Sft, vec![said(&prompt)]);
        check(OutputFormat::SftText, vec![said(&asked)]);
        check(OutputFormat::Prompts, vec![Example::Prompt(prompt)]);
        check(OutputFormat::Prompts, vec![Example::Prompt(asked)]);
    }

    #[test]
    fn outputs_keep_who_answered(
        prompt in text().prop_map(Prompt::Text),
        (response, author) in (text(), text()),
    ) {
        let generator = Some(author);
        let said = Example::Demonstration { prompt, response, generator, finish: Finish::Stop };
        check(OutputFormat::AlpacaOutputs, vec![said]);
    }
}

#[test]
fn a_format_refuses_what_it_has_no_place_for() {
    let asked = Prompt::Messages(vec![Message { role: Role::System, content: "Be kind.".into() }]);
    let pair = Pair { prompt: asked.clone(), response_a: "a".into(), response_b: "b".into() };
    let human = Some(HumanLabel::new(SoftLabel::new(1.0).unwrap()));
    let preference = |human| {
        Example::Preference(Preference {
            pair: pair.clone(),
            human,
            ai: None,
            finish: [Finish::Stop; 2],
        })
    };
    assert!(OutputFormat::Hh.write(&preference(human), None).is_err());
    let undecided = OutputFormat::Trl.write(&preference(None), None).unwrap_err();
    assert_eq!(undecided, rlaif_data::Unwritable::Undecided);
    assert!(OutputFormat::Sft.write(&Example::Prompt(asked.clone()), None).is_err());
    assert!(OutputFormat::Pairs.write(&Example::Prompt(asked), None).is_err());
}
