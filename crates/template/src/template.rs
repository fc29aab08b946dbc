//! Prompt templates: files in TOML with the paper's four parts, a declared polarity and verdicts.
//!
//! The four parts are preamble, exemplars, sample and ending (paper section 1). Placeholders:
//! `{context}`, `{response_1}` and `{response_2}` (or `{response}`); in exemplars `{verdict}` and
//! `{rationale}`; in the sample `{fence}`, a word that depends on all that is shown and that is in none of it.

use crate::Error;
use crate::fill::{fill, placeholders, unclosed};
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
    /// The same with `{rationale}` before the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exemplar_with_rationale: String,
    /// Worked examples to choose from; how many are shown is for [`Asking`](crate::Asking) to say.
    #[serde(default)]
    pub exemplars: Vec<Exemplar>,
    /// Context and responses, each on a labelled line.
    pub sample: String,
    /// What asks for a rationale, where one is wanted before the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rationale: Option<RationaleRequest>,
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

/// Asks for a rationale: it stands where the ending would, and the ending follows the rationale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RationaleRequest {
    /// Follows the sample, in the same turn.
    pub request: String,
    /// The first words of the rationale.
    pub begin: String,
    /// Texts that end the rationale, beside the ending, which always does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
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

impl Exemplar {
    /// The exemplar in the form of a template's `exemplar` text.
    pub fn fill(&self, form: &str) -> String {
        fill(
            form,
            &[
                ("context", &self.context),
                ("response", &self.response_1),
                ("response_1", &self.response_1),
                ("response_2", &self.response_2),
                ("rationale", &self.rationale),
                ("verdict", &self.verdict),
            ],
        )
    }
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

/// Templates in the program: one file each, and the exemplars that several of them share.
macro_rules! built_in {
    ($($name:literal $(with $exemplars:literal)?),+ $(,)?) => {
        const BUILT_IN: &[(&str, &str)] = &[$((
            $name,
            concat!(
                include_str!(concat!("../templates/", $name, ".toml")),
                $(include_str!(concat!("../templates/", $exemplars, ".toml")))?
            ),
        )),+];
    };
}

built_in!(
    "summary/base" with "summary/exemplars",
    "summary/detailed" with "summary/exemplars",
    "summary/rating",
    "helpful/base" with "helpful/exemplars",
    "helpful/detailed" with "helpful/exemplars",
    "helpful/rating",
    "harmless/base" with "harmless/exemplars",
    "harmless/detailed" with "harmless/exemplars",
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

    /// The template as [`Template::parse`] reads it.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("strings and numbers serialise")
    }

    /// Checks what the types cannot; [`Template::parse`] has done it.
    ///
    /// # Errors
    /// At the first thing that is senseless.
    pub fn check(&self) -> Result<(), String> {
        let responses = self.responses();
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
        self.check_lines()?;
        match (self.kind, self.verdicts.len()) {
            (Kind::Compare, 2) | (Kind::Rate, 10) => self.check_verdicts(&self.verdicts),
            (Kind::Compare, n) => Err(format!("a comparison has two verdicts, not {n}")),
            (Kind::Rate, n) => Err(format!("a rating has ten verdicts, worst to best, not {n}")),
            (Kind::Rubric, 0) => self.check_questions(),
            (Kind::Rubric, _) => Err("a rubric's verdicts stand with its questions".into()),
        }?;
        self.check_exemplars()
    }

    /// Placeholders of what is judged.
    fn responses(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Compare => &["response_1", "response_2"],
            Kind::Rate | Kind::Rubric => &["response"],
        }
    }

    fn check_exemplars(&self) -> Result<(), String> {
        let texts = [
            ("exemplar", &self.exemplar, "verdict"),
            ("exemplar_with_rationale", &self.exemplar_with_rationale, "verdict"),
            ("exemplar_with_rationale", &self.exemplar_with_rationale, "rationale"),
        ];
        let mut known = vec!["context", "rationale", "verdict", "response_1"];
        known.extend(self.responses());
        for (field, text, needed) in texts {
            let used = placeholders(text);
            if !text.is_empty() && !used.contains(&needed) {
                return Err(format!("{field} does not contain {{{needed}}}"));
            }
            if let Some(odd) = used.iter().find(|name| !known.contains(name)) {
                return Err(format!("{field} has an unknown placeholder {{{odd}}}"));
            }
        }
        if !self.exemplars.is_empty()
            && self.exemplar.is_empty()
            && self.exemplar_with_rationale.is_empty()
        {
            return Err("exemplars need an `exemplar` text that shows how one is written".into());
        }
        if let Some(odd) = self.exemplars.iter().find(|e| !self.is_verdict(&e.verdict)) {
            return Err(format!(
                "an exemplar's verdict {:?} is none of the template's",
                odd.verdict
            ));
        }
        self.check_exemplars_are_whole()
    }

    fn check_exemplars_are_whole(&self) -> Result<(), String> {
        for (exemplar, number) in self.exemplars.iter().zip(1..) {
            let mut responses = vec![("response_1", &exemplar.response_1)];
            if self.kind == Kind::Compare {
                responses.push(("response_2", &exemplar.response_2));
            }
            if let Some((missing, _)) = responses.iter().find(|(_, text)| text.trim().is_empty()) {
                return Err(format!("exemplar {number} has no {missing}"));
            }
        }
        Ok(())
    }

    /// Blanks, braces and line breaks that are easily written where they change what is asked.
    fn check_lines(&self) -> Result<(), String> {
        if self.name.trim().is_empty() || self.name.contains(char::is_control) {
            return Err(format!("name is {:?}, and must be a text on one line", self.name));
        }
        let endings = self.questions.iter().map(|question| &question.ending);
        for ending in std::iter::once(&self.ending).chain(endings) {
            // A tokenizer joins a blank with the verdict; a line break stands for itself.
            if ending.ends_with([' ', '\t']) {
                return Err(format!(
                    "ending {ending:?} must not end in a blank: verdicts are read with and without one"
                ));
            }
        }
        let known =
            ["context", "fence", "response", "response_1", "response_2", "rationale", "verdict"];
        for (field, text) in [
            ("sample", &self.sample),
            ("exemplar", &self.exemplar),
            ("exemplar_with_rationale", &self.exemplar_with_rationale),
        ] {
            if let Some(name) = unclosed(text).into_iter().find(|name| known.contains(name)) {
                return Err(format!("{field} has {{{name} without its closing brace"));
            }
        }
        let mut stops = self.rationale.iter().flat_map(|rationale| &rationale.stop);
        if stops.any(String::is_empty) {
            return Err("a text of rationale.stop is empty, and would end every rationale".into());
        }
        Ok(())
    }

    fn is_verdict(&self, verdict: &str) -> bool {
        let of_questions = self.questions.iter().flat_map(|q| [&q.good, &q.bad]);
        self.verdicts.iter().chain(of_questions).any(|known| known == verdict)
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
            let shown = Template::parse(name, &template.to_toml()).unwrap();
            assert_eq!((&shown, shown.hash()), (&template, template.hash()));
        }
    }

    #[test]
    fn templates_for_comparisons_have_eight_exemplars_and_ask_for_rationales() {
        for task in ["summary", "helpful", "harmless"] {
            for style in ["base", "detailed"] {
                let template = Template::load(&format!("{task}/{style}")).unwrap();
                assert_eq!(template.exemplars.len(), 8, "{}", template.name);
                assert!(template.exemplars.iter().all(|e| !e.rationale.is_empty()));
                // A labeler must not learn a position from them.
                let firsts = template.exemplars.iter().filter(|e| e.verdict == "1").count();
                assert_eq!(firsts, 4, "{}", template.name);
                assert!(template.rationale.is_some());
            }
        }
    }

    #[test]
    fn the_harmless_templates_ask_the_inverted_question() {
        for name in ["harmless/base", "harmless/detailed"] {
            assert_eq!(Template::load(name).unwrap().names, Names::Rejected);
        }
    }

    #[test]
    fn what_is_easily_mistyped_is_refused() {
        let valid = "name='t'\nkind='compare'\npreamble='p'\nsample='{context}{response_1}{response_2}'\n\
                     ending='e'\nverdicts=['1','2']\nexemplar='{response_1}{verdict}'\n\
                     [[exemplars]]\ncontext='c'\nresponse_1='x'\nresponse_2='y'\nverdict='1'\n\
                     [rationale]\nrequest='r'\nbegin='b'\nstop=['s']\n";
        assert!(Template::parse("t", valid).is_ok());
        let with_break = valid.replace("ending='e'", "ending=\"Better:\\n\"");
        assert!(Template::parse("t", &with_break).is_ok(), "a line break may end it");
        for (from, to, complaint) in [
            ("name='t'", "name=''", "name is \"\""),
            ("name='t'", "name=\"t\\nu\"", "on one line"),
            ("ending='e'", "ending='Better: '", "must not end in a blank"),
            ("ending='e'", "ending=\"Better:\\t\"", "must not end in a blank"),
            ("{context}", "{context", "{context without its closing brace"),
            ("'{response_1}{verdict}'", "'{response_1{verdict}'", "{response_1 without"),
            ("response_2='y'\n", "", "exemplar 1 has no response_2"),
            ("response_1='x'", "response_1=' '", "exemplar 1 has no response_1"),
            ("stop=['s']", "stop=['s','']", "rationale.stop is empty"),
        ] {
            assert!(valid.contains(from), "{from}");
            let error = Template::parse("t", &valid.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{to}: {error}");
        }
    }

    #[test]
    fn an_exemplar_has_only_placeholders_that_are_filled() {
        let parse = |exemplar: &str, with_rationale: &str| {
            let text = format!(
                "name='t'\nkind='compare'\npreamble='p'\nexemplar='{exemplar}'\n\
                 exemplar_with_rationale='{with_rationale}'\nsample='{{response_1}}{{response_2}}'\n\
                 ending='e'\nverdicts=['1','2']\n"
            );
            Template::parse("t", &text)
        };
        let all = "{context} {response_1} {response_2} {verdict} {rationale}";
        let exemplar = Exemplar {
            context: "c".into(),
            response_1: "x".into(),
            response_2: "y".into(),
            rationale: "r".into(),
            verdict: "1".into(),
        };
        assert_eq!(exemplar.fill(&parse(all, all).unwrap().exemplar), "c x y 1 r");
        for odd in ["{fence}", "{respones_1}", "{response}"] {
            let texts = [
                (format!("{all} {odd}"), all.to_owned()),
                (all.to_owned(), format!("{all} {odd}")),
            ];
            for (exemplar, with_rationale) in texts {
                let error = parse(&exemplar, &with_rationale).unwrap_err().to_string();
                assert!(error.contains(&format!("unknown placeholder {odd}")), "{error}");
            }
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
            ("kind=", "exemplar='{context}'\nkind=", "exemplar does not contain {verdict}"),
            (
                "verdicts=['1','2']",
                "verdicts=['1','2']\n[[exemplars]]\ncontext='c'\nresponse_1='x'\nverdict='1'",
                "`exemplar` text",
            ),
            (
                "verdicts=['1','2']",
                "verdicts=['1','2']\nexemplar='{verdict}'\n[[exemplars]]\ncontext='c'\n\
                 response_1='x'\nverdict='3'",
                "\"3\" is none",
            ),
        ] {
            let error = Template::parse("t", &valid.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
