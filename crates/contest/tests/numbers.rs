//! Small evaluations whose numbers can be counted by hand.

use rlaif_contest::{
    ArmSummary, Contest, Evaluation, HeadToHead, Judged, Matrix, Options, People, Ranking, Verdict,
    document,
};
use rlaif_stats::{LengthRegressor, SizedPreference, length_corrected_win_rate};

const OPTIONS: Options = Options { seed: 1, tie_band: 0.0 };

fn arms(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn contest(prompt: usize, first: &str, second: &str, preference: Option<f64>) -> Contest {
    let verdict = preference.map(|preference| Verdict { preference, orders: None });
    let (first, second) = (first.to_owned(), second.to_owned());
    Contest { prompt, first, second, lengths: [100, 80], verdict }
}

/// Rates to two digits, so that they can be written down.
fn rate(pair: &HeadToHead) -> f64 {
    (100.0 * pair.win_rate.unwrap().value).round() / 100.0
}

#[test]
fn ties_are_half_a_win_and_what_cannot_be_judged_is_counted_apart() {
    let preferences = [Some(0.9), Some(0.5), Some(0.25), Some(0.75), None, Some(1.0)];
    let contests: Vec<Contest> =
        preferences.iter().enumerate().map(|(i, p)| contest(i, "a", "b", *p)).collect();
    let matrix = Matrix::of(&arms(&["a", "b"]), &contests, OPTIONS);
    let pair = matrix.get("a", "b").unwrap();
    assert_eq!((pair.wins, pair.losses, pair.ties, pair.unscorable), (3, 1, 1, 1));
    // 3.5 of 5.
    assert_eq!(rate(&pair), 0.7);
    // 3 or more, or 1 or fewer, of 4: 2 * (1 + 4) / 16.
    assert!((pair.p_value.unwrap() - 0.625).abs() < 1e-12);
    assert!((pair.preference.unwrap() - 0.68).abs() < 1e-12);
    let from_b = matrix.get("b", "a").unwrap();
    assert_eq!((from_b.wins, from_b.losses, rate(&from_b)), (1, 3, 0.3));
    // Within a band of a quarter two more are ties.
    let wide = Matrix::of(&arms(&["a", "b"]), &contests, Options { tie_band: 0.25, ..OPTIONS });
    let pair = wide.get("a", "b").unwrap();
    assert_eq!((pair.wins, pair.losses, pair.ties, rate(&pair)), (2, 0, 3, 0.7));
}

#[test]
fn standings_are_the_mean_over_opponents() {
    let contests = [
        contest(0, "a", "b", Some(1.0)),
        contest(1, "a", "b", Some(1.0)),
        contest(0, "c", "a", Some(1.0)),
        contest(0, "b", "c", Some(0.5)),
        contest(0, "d", "a", None),
    ];
    let matrix = Matrix::of(&arms(&["a", "b", "c", "d"]), &contests, OPTIONS);
    let standings: Vec<(String, Option<f64>, usize)> =
        matrix.standings().into_iter().map(|s| (s.arm, s.mean_win_rate, s.opponents)).collect();
    // a beats b and loses to c; c beats a and ties with b; d was never judged.
    let expected = [
        ("c".to_owned(), Some(0.75), 2),
        ("a".to_owned(), Some(0.5), 2),
        ("b".to_owned(), Some(0.25), 2),
        ("d".to_owned(), None, 0),
    ];
    assert_eq!(standings, expected);
    let unjudged = matrix.get("a", "d").unwrap();
    assert_eq!((unjudged.unscorable, unjudged.win_rate, unjudged.p_value), (1, None, None));
}

#[test]
fn raters_of_one_prompt_who_say_the_same_make_no_interval_narrower() {
    let judged = |raters: usize| {
        let of_prompt = |prompt: usize| Contest {
            lengths: [60 + 17 * prompt, 100],
            ..contest(prompt, "a", "b", Some([0.2, 0.9, 0.75][prompt % 3]))
        };
        let contests: Vec<Contest> =
            (0..12).flat_map(|prompt| std::iter::repeat_n(of_prompt(prompt), raters)).collect();
        Matrix::of(&arms(&["a", "b"]), &contests, OPTIONS).get("a", "b").unwrap()
    };
    let (once, thrice) = (judged(1), judged(3));
    assert_eq!((once.judged, thrice.judged), (12, 36));
    let rates =
        |pair: &HeadToHead| [pair.length_corrected, pair.length_controlled].map(Option::unwrap);
    for (once, thrice) in rates(&once).into_iter().zip(rates(&thrice)) {
        // The mean of three copies may round.
        for (once, thrice) in [
            (once.win_rate, thrice.win_rate),
            (once.interval.low, thrice.interval.low),
            (once.interval.high, thrice.interval.high),
        ] {
            assert!((once - thrice).abs() < 1e-9, "{once} is not {thrice}");
        }
    }
}

#[test]
fn by_the_ratio_of_lengths_each_arm_has_a_reading_of_its_own() {
    // Lengths of 40 to 400 against lengths of 40 to 280, of which the longer mostly wins.
    let contests: Vec<Contest> = (0..60)
        .map(|prompt| {
            let lengths = [40 + 37 * prompt % 361, 40 + 53 * prompt % 241];
            let is_won = lengths[0] > lengths[1] || prompt % 5 == 0;
            let preference = Some(f64::from(u8::from(is_won)));
            Contest { lengths, ..contest(prompt, "a", "b", preference) }
        })
        .collect();
    let matrix = Matrix::of(&arms(&["a", "b"]), &contests, OPTIONS);
    let (from_a, from_b) = (matrix.get("a", "b").unwrap(), matrix.get("b", "a").unwrap());
    let seen_from_b = contests.iter().map(|contest| {
        let [second_length, first_length] = contest.lengths.map(|length| length as f64);
        let preference = 1.0 - contest.verdict.unwrap().preference;
        (contest.prompt, SizedPreference { preference, first_length, second_length })
    });
    let expected = length_corrected_win_rate(seen_from_b, LengthRegressor::Ratio);
    assert_eq!(from_b.length_corrected_by_ratio, expected);
    assert_eq!(from_a.second_length_corrected_by_ratio, expected);
    assert_eq!(from_a.length_corrected_by_ratio, from_b.second_length_corrected_by_ratio);
    // The mirror of the other would be another number.
    let rates = [&from_a, &from_b].map(|pair| pair.length_corrected_by_ratio.unwrap().win_rate);
    assert!((rates[0] + rates[1] - 1.0).abs() > 0.01, "{rates:?}");
}

fn ranking(prompt: usize, rater: &str, best_first: &[&str]) -> Ranking {
    Ranking { prompt, best_first: arms(best_first), rater: rater.to_owned() }
}

#[test]
fn rankings_of_people_become_win_rates_and_concordance() {
    let names = arms(&["a", "b", "c"]);
    let rankings = [
        // Ranks of a, b, c: 1 2 3, 1 2 3, 2 1 3; W = 12 * 14 / (9 * 24) = 7 / 9.
        ranking(0, "x", &["a", "b", "c"]),
        ranking(0, "y", &["a", "b", "c"]),
        ranking(0, "z", &["b", "a", "c"]),
        // Two who disagree fully: W = 0.
        ranking(1, "x", &["a", "b"]),
        ranking(1, "y", &["b", "a"]),
        // Another set of arms is not compared with that.
        ranking(1, "z", &["c", "a"]),
    ];
    // The judge: right on a-b of prompt 0, wrong on a-c; on prompt 1 there is no majority of a-b.
    let judged = [
        contest(0, "a", "b", Some(0.9)),
        contest(0, "c", "a", Some(0.6)),
        contest(1, "a", "b", Some(0.6)),
    ];
    let people = People::of(&names, &rankings, &judged, |_, _| 10, OPTIONS);
    let w = people.concordance.kendall_w.unwrap();
    assert!((w.value - 7.0 / 18.0).abs() < 1e-12, "{w:?}");
    assert_eq!((people.concordance.rankings, people.concordance.raters), (6, 3));
    let pair = people.matrix.get("a", "b").unwrap();
    assert_eq!((pair.wins, pair.losses, rate(&pair)), (3, 2, 0.6));
    assert_eq!(pair.p_value, None, "raters of one prompt are not independent");
    assert_eq!(people.judge_agrees.trials, 2);
    assert_eq!(people.judge_agrees.share, Some(0.5));
}

#[test]
fn a_ranking_names_known_arms_once_each() {
    let check = |best_first: &[&str]| ranking(0, "x", best_first).check(&arms(&["a", "b"]));
    assert_eq!(check(&["b", "a"]), Ok(()));
    assert!(check(&["b", "b"]).unwrap_err().contains("twice"));
    assert!(check(&["b", "z"]).unwrap_err().contains("\"z\"; there are a, b"));
    assert!(check(&["b"]).unwrap_err().contains("at least two"));
}

#[test]
fn the_report_shows_every_number_and_survives_having_none() {
    let summary = |name: &str| ArmSummary {
        name: name.to_owned(),
        source: "policy".to_owned(),
        responses: 2,
        mean_chars: 90.0,
    };
    let judge = Judged { by: "oracle".to_owned(), template: Some("helpful/base".to_owned()) };
    let orders = Some([0.9, 0.75]);
    let mut contests = vec![contest(0, "a", "b", Some(1.0)), contest(1, "a", "b", None)];
    contests[0].verdict = contests[0].verdict.map(|verdict| Verdict { orders, ..verdict });
    let summaries = || vec![summary("a"), summary("b")];
    let mut evaluation = Evaluation::of(2, summaries(), judge.clone(), &contests, OPTIONS);
    evaluation.cautions.push("The judge is an arm.".to_owned());
    let text = document(&evaluation, Vec::new()).to_markdown();
    for what in ["The judge is an arm.", "100.0", "a against b", "oracle by helpful/base"] {
        assert!(text.contains(what), "{what} is not in {text}");
    }
    // Shown first, either won.
    assert!(text.contains("In 1 of 1 contests the same position won"), "{text}");
    let empty = Evaluation::of(0, summaries(), judge, &[], OPTIONS);
    assert!(document(&empty, Vec::new()).to_markdown().contains("Win rates"));
}
