//! The way from an answer's first token down to whole verdicts: as far as it matters, and with an account of what the
//! server did not name, which is never taken for zero.

use crate::spelling::{Branch, Spellings};
use std::collections::BTreeMap;

/// What a verdict could have besides what is named makes no difference below this share of what all verdicts have.
pub(crate) const NEGLIGIBLE: f64 = 0.01;
/// What has less than this share is not worth a call. Several of these together stay below [`NEGLIGIBLE`].
const WORTH_A_CALL: f64 = 1e-3;

/// Probabilities of verdicts while a server is asked for them, token by token.
pub(crate) struct Descent {
    spellings: Spellings,
    /// Texts that verdicts begin with and that are not asked about yet, with their lengths. The shortest comes first,
    /// so a text is asked about once, after all that leads to it.
    open: BTreeMap<(usize, String), Reached>,
    /// Of each verdict, as named.
    known: Vec<f64>,
    /// The most that each could have besides.
    unnamed: Vec<f64>,
}

/// What leads to a text.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    probability: f64,
    /// The most that a token could have which was not named and goes on beyond this text in the same spelling. Where
    /// the spelling is found behind this text, there is no such token: models do not spell one text in two ways.
    beside: f64,
}

/// A text to ask about.
pub(crate) struct Open {
    /// The answer's beginning, empty at first.
    pub(crate) text: String,
    /// Its share of all that may still become a verdict, or is one.
    pub(crate) share: f64,
    reached: Reached,
}

impl Descent {
    /// To `verdicts` verdicts of these spellings.
    pub(crate) fn new(spellings: Spellings, verdicts: usize) -> Self {
        let root = Reached { probability: 1.0, beside: 0.0 };
        Self {
            spellings,
            open: BTreeMap::from([((0, String::new()), root)]),
            known: vec![0.0; verdicts],
            unnamed: vec![0.0; verdicts],
        }
    }

    /// What to ask about next, leaving out what makes no difference.
    pub(crate) fn pop(&mut self) -> Option<Open> {
        while let Some(((_, text), reached)) = self.open.pop_first() {
            let waiting: f64 = self.open.values().map(|reached| reached.probability).sum();
            let known: f64 = self.known.iter().sum();
            let share = reached.probability / (known + waiting + reached.probability);
            let open = Open { text, share, reached };
            if share >= WORTH_A_CALL {
                return Some(open);
            }
            self.leave(&open);
        }
        None
    }

    /// Does not ask about `open`: each verdict that it begins could have all of it.
    pub(crate) fn leave(&mut self, open: &Open) {
        let Reached { probability, beside } = open.reached;
        for (verdict, unnamed) in self.unnamed.iter_mut().enumerate() {
            if self.spellings.leads(&open.text, verdict) {
                *unnamed += probability + beside;
            }
        }
    }

    /// Takes in the server's `candidates`, tokens with their log-probabilities, for what comes after `open`.
    pub(crate) fn follow(&mut self, open: &Open, candidates: &[(String, f64)]) {
        let Reached { probability: reached, beside } = open.reached;
        // A token that is not named has at most what the last one named has. What all of those leave of 1 says
        // nothing: some servers give probabilities of the named ones alone, which leave nothing.
        let least = candidates.iter().map(|(_, logprob)| logprob.exp()).fold(1.0, f64::min);
        let beside = beside + reached * least;
        let Branch { ends, longer } = self.spellings.branch(&open.text, candidates);
        // A blank alone leads to every verdict, and so names none.
        let leads =
            |text: &str, verdict| !text.trim().is_empty() && self.spellings.leads(text, verdict);
        let is_named = |verdict: usize| {
            ends.iter().any(|(named, _)| *named == verdict)
                || longer.iter().any(|(text, _)| leads(text, verdict))
        };
        for verdict in self.spellings.unnamed(&open.text, candidates) {
            // Who says "1" hardly says " 1" at the same place.
            if !is_named(verdict) {
                self.unnamed[verdict] += beside;
            }
        }
        for (verdict, probability) in ends {
            self.known[verdict] += reached * probability;
        }
        for (text, probability) in longer {
            let to = self.open.entry((text.len(), text)).or_default();
            to.probability += reached * probability;
            to.beside += beside;
        }
    }

    /// Log-probabilities of the verdicts, which have these texts.
    ///
    /// # Errors
    /// When what was not named could make a difference.
    pub(crate) fn finish(self, verdicts: &[String]) -> Result<Vec<f64>, String> {
        let known: f64 = self.known.iter().sum();
        let unsure = (0_usize..).zip(self.unnamed).max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((verdict, most)) = unsure
            && most > NEGLIGIBLE * known
        {
            let verdict: &String = &verdicts[verdict];
            return Err(format!(
                "the verdict {verdict:?} is not among the tokens that the endpoint names, or not in every \
                 spelling, and could have up to {most:.1e} besides where those named have {known:.1e}: raise \
                 top_logprobs, or let the template ask more plainly"
            ));
        }
        Ok(self.known.into_iter().map(f64::ln).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// What `server`, which gives candidates with their probabilities for a beginning, is asked about, and what comes
    /// of it.
    fn descend(
        verdicts: &[&str],
        server: impl Fn(&str) -> &'static [(&'static str, f64)],
    ) -> (Vec<String>, Result<Vec<f64>, String>) {
        let verdicts = texts(verdicts);
        let spellings = Spellings::new(&verdicts, false);
        let mut descent = Descent::new(spellings, verdicts.len());
        let mut asked = Vec::new();
        while let Some(open) = descent.pop() {
            let named = server(&open.text).iter();
            let named: Vec<_> = named.map(|(token, p)| ((*token).to_owned(), p.ln())).collect();
            descent.follow(&open, &named);
            asked.push(open.text);
        }
        let probabilities = descent.finish(&verdicts);
        (asked, probabilities.map(|logprobs| logprobs.into_iter().map(f64::exp).collect()))
    }

    #[test]
    fn what_makes_no_difference_is_not_asked_about() {
        let (asked, found) = descend(&["Yes", "No"], |_| {
            &[
                ("Yes", 0.5),
                ("No", 0.49),
                ("Y", 1e-7),
                (" Y", 1e-7),
                ("N", 1e-7),
                (" N", 1e-7),
                ("Ye", 1e-7),
                (" Ye", 1e-7),
                (" ", 1e-7),
            ]
        });
        assert_eq!(asked, [""]);
        let found = found.unwrap();
        assert!((found[0] - 0.5).abs() < 1e-9 && (found[1] - 0.49).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_text_that_is_reached_in_two_ways_is_asked_about_once() {
        let (asked, found) = descend(&["Yes", "No"], |text| match text {
            "" => &[("Ye", 0.3), ("Y", 0.5), ("No", 0.2)],
            "Y" => &[("e", 1.0)],
            _ => &[("s", 1.0)],
        });
        assert_eq!(asked, ["", "Y", "Ye"]);
        let found = found.unwrap();
        assert!((found[0] - 0.8).abs() < 1e-9 && (found[1] - 0.2).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn no_server_can_make_it_ask_more_often_than_there_are_beginnings() {
        let (asked, found) = descend(&["Yes", "No"], |text| match text {
            "" => &[(" ", 0.4), ("Y", 0.3), ("N", 0.3)],
            " " => &[("Y", 0.5), ("N", 0.5)],
            "Y" | " Y" => &[("e", 1.0)],
            "N" | " N" => &[("o", 1.0)],
            _ => &[("s", 1.0)],
        });
        assert!((found.unwrap()[0] - 0.5).abs() < 1e-9);
        assert_eq!(asked.len(), Spellings::new(&texts(&["Yes", "No"]), false).beginnings().len());
    }

    #[test]
    fn five_candidates_are_enough_where_both_verdicts_are_among_them() {
        for named in [
            &[("1", 0.45), ("2", 0.30), ("The", 0.10), ("Response", 0.07), ("**", 0.05)][..],
            &[("1", 0.6), ("2", 0.39)],
        ] {
            let (asked, found) = descend(&["1", "2"], |_| named);
            assert_eq!(asked, [""]);
            let found = found.unwrap();
            assert!((found[0] - named[0].1).abs() < 1e-9 && (found[1] - named[1].1).abs() < 1e-9);
        }
    }

    #[test]
    fn probabilities_of_the_named_alone_do_not_hide_what_is_not_named() {
        let (_, found) = descend(&["1", "2"], |_| {
            &[("1", 0.5), ("The", 0.2), ("A", 0.1), ("I", 0.1), ("**", 0.1)]
        });
        assert!(found.unwrap_err().contains("\"2\" is not among"));
    }

    #[test]
    fn a_lone_blank_does_not_excuse_a_verdict_that_is_nowhere_named() {
        let (_, found) = descend(&["1", "2"], |text| match text {
            "" => &[("1", 0.45), ("The", 0.20), ("A", 0.15), ("I", 0.14), (" ", 0.01)],
            _ => &[("1", 0.3), ("3", 0.2), ("x", 0.18), ("y", 0.16), ("z", 0.15)],
        });
        assert!(found.unwrap_err().contains("\"2\" is not among"));
    }

    #[test]
    fn a_verdict_named_behind_a_blank_alone_could_have_more_without_it() {
        let (_, found) = descend(&["1", "2"], |text| match text {
            "" => &[("1", 0.45), ("The", 0.20), ("A", 0.15), ("I", 0.11), (" ", 0.04)],
            _ => &[("1", 0.6), ("2", 0.4)],
        });
        assert!(found.unwrap_err().contains("\"2\" is not among"));
    }

    #[test]
    fn a_verdict_of_two_tokens_is_not_missed_as_one() {
        // A model whose blank is a token of its own has no token for a blank and a digit.
        let (_, found) = descend(&["1", "2"], |text| match text {
            "" => &[(" ", 0.6), ("1", 0.2), ("2", 0.1), ("The", 0.05)],
            _ => &[("1", 0.5), ("2", 0.5)],
        });
        let found = found.unwrap();
        assert!((found[0] - 0.5).abs() < 1e-9 && (found[1] - 0.4).abs() < 1e-9, "{found:?}");
        // The digits are not behind the blank, so they may be tokens with it.
        let (_, found) = descend(&["1", "2"], |text| match text {
            "" => &[(" ", 0.4), ("1", 0.3), ("2", 0.2), ("The", 0.05)],
            _ => &[("x", 0.99), ("y", 0.01)],
        });
        assert!(found.is_err(), "{found:?}");
    }
}
