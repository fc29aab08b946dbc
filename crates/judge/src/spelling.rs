//! Verdicts by their texts, for servers whose tokens are only known by what they spell.
//!
//! As in a [`VerdictTrie`](crate::verdict::VerdictTrie) a verdict may be spelled with or without a
//! leading space, and one may begin another: "1" begins "10" (paper section 4).

use std::collections::BTreeSet;

/// The texts that stand for verdicts.
pub(crate) struct Spellings {
    /// Text and verdict.
    texts: Vec<(String, usize)>,
}

/// Where the next token may lead.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Branch {
    /// Verdicts that are complete, with their probability.
    pub(crate) ends: Vec<(usize, f64)>,
    /// Texts that a verdict begins with, and that go on.
    pub(crate) longer: Vec<(String, f64)>,
}

impl Spellings {
    /// `after_space` tells that what is before ends in white space, where a leading space would be a
    /// second one.
    pub(crate) fn new(verdicts: &[String], after_space: bool) -> Self {
        let mut texts = Vec::new();
        for (index, verdict) in verdicts.iter().enumerate() {
            texts.push((verdict.clone(), index));
            if !after_space {
                texts.push((format!(" {verdict}"), index));
            }
        }
        Self { texts }
    }

    /// What `candidates`, tokens with their log-probabilities, come to after `prefix`.
    pub(crate) fn branch(&self, prefix: &str, candidates: &[(String, f64)]) -> Branch {
        let mut branch = Branch::default();
        // The end of a turn is a candidate without a text.
        for (token, logprob) in candidates.iter().filter(|(token, _)| !token.is_empty()) {
            let text = format!("{prefix}{token}");
            let probability = logprob.exp();
            let end = self.texts.iter().find(|(spelling, _)| *spelling == text);
            match end {
                // Another token spells the longer one whole, so this one does not begin it.
                Some((_, verdict))
                    if !self.goes_on(&text) || self.whole(&text, prefix, candidates) =>
                {
                    branch.ends.push((*verdict, probability));
                }
                _ if self.goes_on(&text) => branch.longer.push((text, probability)),
                _ => {}
            }
        }
        // After a verdict that goes on, whatever is no continuation ends it.
        if let Some((_, verdict)) = self.texts.iter().find(|(spelling, _)| spelling == prefix) {
            let going_on: f64 = branch
                .ends
                .iter()
                .map(|(_, p)| p)
                .chain(branch.longer.iter().map(|(_, p)| p))
                .sum();
            branch.ends.push((*verdict, (1.0 - going_on).max(0.0)));
        }
        branch
    }

    /// Whether a verdict's text begins with `prefix`.
    pub(crate) fn leads(&self, prefix: &str, verdict: usize) -> bool {
        self.texts.iter().any(|(text, v)| *v == verdict && text.starts_with(prefix))
    }

    /// The verdicts that could come after `prefix` by a token that is none of `candidates`: one for each spelling that
    /// goes on there and that none of them begins to go on with.
    pub(crate) fn unnamed<'a>(
        &'a self,
        prefix: &'a str,
        candidates: &'a [(String, f64)],
    ) -> impl Iterator<Item = usize> + 'a {
        let is_named = move |rest: &str| {
            candidates
                .iter()
                .any(|(token, _)| !token.is_empty() && rest.starts_with(token.as_str()))
        };
        self.texts.iter().filter_map(move |(text, verdict)| {
            let rest = text.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            (!is_named(rest)).then_some(*verdict)
        })
    }

    /// All that a verdict begins with, the empty text first: what may have to be asked about to read the verdicts.
    pub(crate) fn beginnings(&self) -> BTreeSet<&str> {
        let texts = self.texts.iter().map(|(text, _)| text.as_str());
        texts.flat_map(|text| text.char_indices().map(move |(end, _)| &text[..end])).collect()
    }

    fn goes_on(&self, text: &str) -> bool {
        self.longer_than(text).next().is_some()
    }

    fn longer_than<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let texts = self.texts.iter().map(|(spelling, _)| spelling.as_str());
        texts.filter(move |spelling| spelling.len() > text.len() && spelling.starts_with(text))
    }

    /// Whether every longer verdict that begins with `text` is a candidate by itself.
    fn whole(&self, text: &str, prefix: &str, candidates: &[(String, f64)]) -> bool {
        let named = |longer: &str| {
            candidates.iter().any(|(token, _)| *longer == format!("{prefix}{token}"))
        };
        self.longer_than(text).all(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(verdicts: &[&str]) -> Spellings {
        Spellings::new(&verdicts.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>(), false)
    }

    fn tokens(tokens: &[(&str, f64)]) -> Vec<(String, f64)> {
        tokens.iter().map(|(token, p)| ((*token).to_owned(), p.ln())).collect()
    }

    type Percents = (Vec<(usize, u32)>, Vec<(String, u32)>);

    fn rounded(branch: Branch) -> Percents {
        let percent = |p: f64| (100.0 * p).round() as u32;
        (
            branch.ends.into_iter().map(|(v, p)| (v, percent(p))).collect(),
            branch.longer.into_iter().map(|(t, p)| (t, percent(p))).collect(),
        )
    }

    #[test]
    fn a_verdict_is_spelled_with_or_without_a_space_in_one_token_or_two() {
        let next =
            tokens(&[("1", 0.3), (" 1", 0.1), (" ", 0.2), ("2", 0.2), ("", 0.1), ("The", 0.1)]);
        let (ends, longer) = rounded(spellings(&["1", "2"]).branch("", &next));
        assert_eq!(ends, [(0, 30), (0, 10), (1, 20)]);
        assert_eq!(longer, [(" ".to_owned(), 20)]);
        let (ends, _) =
            rounded(spellings(&["1", "2"]).branch(" ", &tokens(&[("1", 0.9), ("x", 0.1)])));
        assert_eq!(ends, [(0, 90)]);
    }

    #[test]
    fn beginnings_are_those_of_all_spellings_each_once() {
        let verdicts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        let beginnings = |texts: &[&str], after_space| -> Vec<String> {
            let spellings = Spellings::new(&verdicts(texts), after_space);
            spellings.beginnings().into_iter().map(str::to_owned).collect()
        };
        assert_eq!(beginnings(&["1", "2"], false), ["", " "]);
        assert_eq!(beginnings(&["1", "2"], true), [""]);
        assert_eq!(beginnings(&["1", "2", "10"], false), ["", " ", " 1", "1"]);
        let words = ["", " ", " N", " Y", " Ye", "N", "Y", "Ye"];
        assert_eq!(beginnings(&["Yes", "No"], false), words);
    }

    #[test]
    fn one_begins_ten_unless_ten_is_a_token_of_its_own() {
        let scale = spellings(&["1", "2", "10"]);
        let (ends, longer) = rounded(scale.branch("", &tokens(&[("1", 0.6), ("2", 0.4)])));
        assert_eq!((ends, longer), (vec![(1, 40)], vec![("1".to_owned(), 60)]));
        // What follows the 1 is a 0, or the end of a 1.
        let (ends, _) = rounded(scale.branch("1", &tokens(&[("0", 0.25), ("\n", 0.75)])));
        assert_eq!(ends, [(2, 25), (0, 75)]);
        let whole = tokens(&[("1", 0.5), ("10", 0.3), ("2", 0.2)]);
        let (ends, longer) = rounded(scale.branch("", &whole));
        assert_eq!((ends, longer), (vec![(0, 50), (2, 30), (1, 20)], Vec::new()));
    }
}
