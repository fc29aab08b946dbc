//! Prompt templates: files in TOML with the paper's four parts, a declared polarity and verdicts.
//!
//! The four parts are preamble, exemplars, sample and ending (paper section 1). Placeholders:
//! `{context}`, `{response_1}` and `{response_2}` (or `{response}`), `{rationale}` in exemplars, and
//! `{fence}`, a word that no response can contain because it depends on all of them.

use crate::Error;
use crate::fill::placeholders;
use rlaif_types::ContentHash;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A template, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// How it is called in reports and provenance.
    pub name: String,
    /// What kind of judgement it asks for.
    pub kind: Kind,
    /// Which response the verdict names. Comparisons only.
    #[serde(default)]
    pub names: Names,
    /// Whether the model reads it as a chat or as plain text.
    #[serde(default)]
    pub layout: Layout,
    /// Role and task.
    pub preamble: String,
    /// How one exemplar is written: the sample with its answer.
    #[serde(default)]
    pub exemplar: String,
    /// Worked examples, rendered through `exemplar`.
    #[serde(default)]
    pub exemplars: Vec<Exemplar>,
    /// Context and responses, each on a labelled line.
    pub sample: String,
    /// Makes the next token the verdict. A rubric has one for each question instead.
    #[serde(default)]
    pub ending: String,
    /// The verdicts: two for a comparison (first, second), ten for a rating, worst to best.
    #[serde(default)]
    pub verdicts: Vec<String>,
    /// Questions of a rubric.
    #[serde(default)]
    pub questions: Vec<Question>,
}

/// Kinds of judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Which of two responses.
    Compare,
    /// One response on a scale.
    Rate,
    /// One response, several yes/no questions.
    Rubric,
}

impl Kind {
    /// For messages.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Compare => "comparing two responses",
            Kind::Rate => "rating one response",
            Kind::Rubric => "rating one response by a rubric",
        }
    }
}

/// Polarity of a comparison: for harmlessness the paper asks for the *more harmful* response, and
/// the label is then the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// The verdict names the preferred response.
    #[default]
    Preferred,
    /// The verdict names the one to reject.
    Rejected,
}

/// How a prompt is laid out for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Everything but the ending is the user's turn, the ending begins the model's. A model without
    /// a chat template gets it as text.
    #[default]
    Chat,
    /// One text to continue.
    Text,
}

/// A worked example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemplar {
    /// What was asked.
    pub context: String,
    /// First response, or the only one.
    pub response_1: String,
    /// Second response of a comparison.
    #[serde(default)]
    pub response_2: String,
    /// Why the verdict is what it is.
    #[serde(default)]
    pub rationale: String,
    /// The verdict.
    pub verdict: String,
}

/// One question of a rubric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Short name, for tables.
    pub name: String,
    /// Makes the next token the verdict.
    pub ending: String,
    /// The verdict that speaks for the response.
    pub good: String,
    /// The verdict that speaks against it.
    pub bad: String,
    /// Share in the score, relative to the other questions.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../templates/", $name, ".toml")))),+];
    };
}

built_in!(
    "summary/base",
    "summary/detailed",
    "summary/rating",
    "helpful/base",
    "helpful/detailed",
    "helpful/rating",
    "harmless/base",
    "harmless/detailed",
    "harmless/rubric",
    "sentiment/compare",
    "sentiment/rubric",
    "sentiment/rating",
    "sentiment/review",
);

impl Template {
    /// A built-in template by name, or a `.toml` file.
    ///
    /// # Errors
    /// When there is none, or it is senseless.
    pub fn load(name: &str) -> Result<Self, Error> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if !name.ends_with(".toml") {
            return Err(Error::Unknown {
                name: name.into(),
                known: Self::built_in_names().collect::<Vec<_>>().join(", "),
            });
        }
        let text = std::fs::read_to_string(Path::new(name))
            .map_err(|source| Error::Io { path: name.into(), source })?;
        Self::parse(name, &text)
    }

    /// Names that [`Template::load`] knows without a file.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Reads and checks a template.
    ///
    /// # Errors
    /// When it is not TOML, or senseless.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let bad = |what: String| Error::Invalid { name: name.into(), what };
        let template: Self = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
        template.check().map_err(bad)?;
        Ok(template)
    }

    /// Identity for provenance: the same questions, the same hash.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(serde_json::to_vec(self).expect("strings and numbers serialise"))
    }

    /// Checks what the types cannot; [`Template::parse`] has done it.
    ///
    /// # Errors
    /// At the first thing that is senseless.
    pub fn check(&self) -> Result<(), String> {
        let responses: &[&str] = match self.kind {
            Kind::Compare => &["response_1", "response_2"],
            Kind::Rate | Kind::Rubric => &["response"],
        };
        let used = placeholders(&self.sample);
        for response in responses {
            if !used.contains(response) {
                return Err(format!("sample does not contain {{{response}}}"));
            }
        }
        let known = ["context", "fence"];
        if let Some(odd) = used.iter().find(|n| !known.contains(n) && !responses.contains(n)) {
            return Err(format!("sample has an unknown placeholder {{{odd}}}"));
        }
        match (self.kind, self.verdicts.len()) {
            (Kind::Compare, 2) | (Kind::Rate, 10) => self.check_verdicts(&self.verdicts),
            (Kind::Compare, n) => Err(format!("a comparison has two verdicts, not {n}")),
            (Kind::Rate, n) => Err(format!("a rating has ten verdicts, worst to best, not {n}")),
            (Kind::Rubric, 0) => self.check_questions(),
            (Kind::Rubric, _) => Err("a rubric's verdicts stand with its questions".into()),
        }?;
        if !self.exemplars.is_empty() && !placeholders(&self.exemplar).contains(&"verdict") {
            return Err("exemplars need an `exemplar` text that contains {verdict}".into());
        }
        Ok(())
    }

    fn check_verdicts(&self, verdicts: &[String]) -> Result<(), String> {
        if !self.questions.is_empty() {
            return Err("questions belong to a rubric".into());
        }
        distinct(verdicts)
    }

    fn check_questions(&self) -> Result<(), String> {
        if self.questions.is_empty() {
            return Err("a rubric needs at least one question".into());
        }
        for question in &self.questions {
            distinct(&[question.good.clone(), question.bad.clone()])?;
            if !(question.weight > 0.0 && question.weight.is_finite()) {
                return Err(format!("question {}: weight must be positive", question.name));
            }
        }
        Ok(())
    }
}

fn distinct(verdicts: &[String]) -> Result<(), String> {
    for (i, verdict) in verdicts.iter().enumerate() {
        if verdict.trim().is_empty() || verdict.trim() != verdict {
            return Err(format!("verdict {verdict:?} must be a word without outer spaces"));
        }
        if verdicts[..i].contains(verdict) {
            return Err(format!("verdict {verdict:?} is there twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_template_is_sound_and_carries_its_name() {
        for name in Template::built_in_names() {
            let template = Template::load(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(template.name, name);
        }
    }

    #[test]
    fn the_harmless_templates_ask_the_inverted_question() {
        for name in ["harmless/base", "harmless/detailed"] {
            assert_eq!(Template::load(name).unwrap().names, Names::Rejected);
        }
    }

    #[test]
    fn refuses_senseless_templates() {
        let valid = "name='t'\nkind='compare'\npreamble='p'\nsample='{response_1}{response_2}'\n\
                     ending='e'\nverdicts=['1','2']\n";
        assert!(Template::parse("t", valid).is_ok());
        for (from, to, complaint) in [
            ("{response_2}", "", "does not contain {response_2}"),
            ("{response_2}", "{response_2}{respones}", "unknown placeholder {respones}"),
            ("['1','2']", "['1']", "two verdicts"),
            ("['1','2']", "['1','1']", "twice"),
            ("ending", "endng", "endng"),
        ] {
            let error = Template::parse("t", &valid.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
