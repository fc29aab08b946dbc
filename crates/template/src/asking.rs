//! How a template is asked: exemplars before the sample, a rationale before the verdict, and how sure a
//! verdict must be to count (paper section 1).

use crate::{Exemplar, Kind, Template};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rlaif_types::{ContentHash, Problems, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a template is asked. The default asks for the verdict straight away, without exemplars.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asking {
    /// Exemplars shown before the sample; the paper has 0, 1, 2 and 8.
    pub shots: usize,
    /// Which of the template's exemplars are shown.
    pub exemplars: Choice,
    /// Show the exemplars' rationales, too.
    pub exemplar_rationales: bool,
    /// Ask for a rationale first (chain of thought); for the verdict straight away without this table.
    pub reasoning: Option<Reasoning>,
    /// A judgement whose verdicts have less probability than this together is unscorable: the model
    /// wants to say something else. 0 takes every one.
    pub min_verdict_mass: f64,
    /// Seed of exemplars drawn and of rationales sampled.
    pub seed: u64,
}

/// Which exemplars are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The template's first ones.
    #[default]
    First,
    /// Drawn anew for every question, by the seed and what is asked about.
    Random,
}

/// A rationale before the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reasoning {
    /// Longest rationale, in tokens.
    pub max_tokens: usize,
    /// Rationales for each order of the candidates, over which the verdict's distribution is averaged
    /// (self-consistency).
    pub samples: usize,
    /// Softmax temperature at which rationales are drawn; 0 takes the most likely token.
    pub temperature: f32,
    /// Draw from the k most likely tokens only; 0 from all.
    pub top_k: usize,
    /// Moves each order's probability into `[clamp, 1 - clamp]`: a rationale makes verdicts overconfident
    /// (Constitutional AI took 0.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp: Option<f64>,
}

impl Default for Reasoning {
    fn default() -> Self {
        Self { max_tokens: 512, samples: 1, temperature: 0.0, top_k: 40, clamp: None }
    }
}

impl Asking {
    /// Whether it asks for the verdict straight away, without anything besides.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Identity for provenance; none for the default, so that a plain question is the same question
    /// whatever else could have been asked. Settings that change nothing are no part of it.
    pub fn hash(&self) -> Option<ContentHash> {
        let telling = self.telling();
        (!telling.is_plain()).then(|| ContentHash::of(canonical_json(&telling.whole())))
    }

    /// The settings as plain data, for provenance; those that change nothing are as usual. Empty where all are.
    pub fn options(&self) -> Value {
        let telling = self.telling();
        match telling.is_plain() {
            true => Value::Object(Map::new()),
            false => telling.whole(),
        }
    }

    fn whole(&self) -> Value {
        serde_json::to_value(self).expect("numbers and words serialise")
    }

    /// The same with every setting as usual that changes neither what is asked nor the label: how exemplars are
    /// shown where there are none, and a seed of which nothing is drawn.
    fn telling(&self) -> Self {
        let usual = Self::default();
        let mut telling = self.clone();
        if telling.shots == 0 {
            telling.exemplars = usual.exemplars;
            telling.exemplar_rationales = usual.exemplar_rationales;
        }
        if let Some(reasoning) = &mut telling.reasoning
            && !reasoning.draws()
        {
            reasoning.top_k = Reasoning::default().top_k;
        }
        let draws_exemplars = telling.exemplars == Choice::Random;
        if !draws_exemplars && !telling.reasoning.as_ref().is_some_and(Reasoning::draws) {
            telling.seed = usual.seed;
        }
        telling
    }

    /// All that is senseless, by itself or for `template`.
    pub fn problems(&self, template: &Template) -> Problems {
        let mut problems = Problems::default();
        let (shots, pool) = (self.shots, template.exemplars.len());
        let what = format!("= {shots}, but template {} has {pool} exemplars", template.name);
        problems.check(shots <= pool, "shots", what);
        let text = match self.exemplar_rationales {
            true => &template.exemplar_with_rationale,
            false => &template.exemplar,
        };
        let field = if self.exemplar_rationales { "exemplar_with_rationale" } else { "exemplar" };
        let what = format!("needs the text `{field}`, which template {} lacks", template.name);
        problems.check(shots == 0 || !text.is_empty(), "shots", what);
        let unseen = "is about exemplars, of which shots = 0 shows none";
        problems.check(shots > 0 || self.exemplars == Choice::First, "exemplars", unseen);
        problems.check(shots > 0 || !self.exemplar_rationales, "exemplar_rationales", unseen);
        if self.exemplar_rationales {
            let mut exemplars = self.pool(template).iter().zip(1..);
            let silent = exemplars.find(|(exemplar, _)| exemplar.rationale.trim().is_empty());
            if let Some((_, number)) = silent {
                let what = format!("needs a rationale in exemplar {number} of {}", template.name);
                problems.check(false, "exemplar_rationales", what);
            }
        }
        let mass = (0.0..=1.0).contains(&self.min_verdict_mass);
        problems.check(mass, "min_verdict_mass", "must be a probability");
        if let Some(reasoning) = &self.reasoning {
            let what = format!("needs a [rationale] part, which template {} lacks", template.name);
            problems.check(template.rationale.is_some(), "reasoning", what);
            problems.section("reasoning", reasoning.problems());
            let clamps = reasoning.clamp.is_some() && template.kind != Kind::Compare;
            problems.check(!clamps, "reasoning.clamp", "is for comparisons only");
        }
        problems
    }

    /// The exemplars that may be shown.
    fn pool<'a>(&self, template: &'a Template) -> &'a [Exemplar] {
        match self.exemplars {
            Choice::First => &template.exemplars[..self.shots.min(template.exemplars.len())],
            Choice::Random => &template.exemplars,
        }
    }

    /// The exemplars to show for a question, whose `identity` is the same whichever candidate is called A.
    pub fn choose<'a>(&self, template: &'a Template, identity: &ContentHash) -> Vec<&'a Exemplar> {
        let pool = self.pool(template);
        match self.exemplars {
            Choice::First => pool.iter().collect(),
            Choice::Random => {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed_for(identity, 0));
                let drawn = sample(&mut rng, pool.len(), self.shots.min(pool.len()));
                drawn.into_iter().map(|i| &pool[i]).collect()
            }
        }
    }

    /// Seed of draw `index` for what has this identity.
    pub fn seed_for(&self, identity: &ContentHash, index: usize) -> u64 {
        let text = format!("{} {index} {identity}", self.seed);
        let hash = ContentHash::of(text);
        u64::from_str_radix(&hash.as_str()[..16], 16).expect("a hash is hexadecimal")
    }
}

impl Reasoning {
    /// Whether rationales come of chance, and so of a seed.
    pub fn draws(&self) -> bool {
        self.temperature > 0.0
    }

    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.check_positive("max_tokens", self.max_tokens);
        problems.check_positive("samples", self.samples);
        let cool = self.temperature >= 0.0 && self.temperature.is_finite();
        problems.check(cool, "temperature", "must be 0 or a positive number");
        let several = self.samples > 1 && self.temperature == 0.0;
        problems.check(
            !several,
            "samples",
            "above 1 needs a temperature: greedy ones are all the same",
        );
        let clamp = self.clamp.is_none_or(|clamp| (0.0..=0.5).contains(&clamp));
        problems.check(clamp, "clamp", "must be in [0, 0.5]");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few_shot() -> Template {
        Template::load("summary/detailed").unwrap()
    }

    #[test]
    fn plain_questions_have_no_identity_of_their_own() {
        assert_eq!(Asking::default().hash(), None);
        let one = Asking { shots: 1, ..Asking::default() };
        let two = Asking { shots: 2, ..Asking::default() };
        assert!(one.hash().is_some() && one.hash() != two.hash());
    }

    #[test]
    fn a_setting_that_changes_nothing_is_no_part_of_the_identity() {
        let asking = |shots, exemplars, temperature: Option<f32>, seed| Asking {
            shots,
            exemplars,
            reasoning: temperature
                .map(|temperature| Reasoning { temperature, ..Reasoning::default() }),
            seed,
            ..Asking::default()
        };
        // Nothing is drawn.
        for (shots, temperature) in [(0, None), (2, None), (2, Some(0.0))] {
            let of = |seed| asking(shots, Choice::First, temperature, seed);
            assert_eq!(of(1).hash(), of(0).hash(), "{shots} {temperature:?}");
            assert_eq!(of(1).options(), of(0).options());
        }
        let unseen =
            Asking { exemplar_rationales: true, seed: 5, ..asking(0, Choice::Random, None, 5) };
        assert_eq!((unseen.hash(), unseen.options()), (None, Asking::default().options()));
        let greedy = asking(0, Choice::First, Some(0.0), 0);
        let among = |top_k, temperature| Asking {
            reasoning: Some(Reasoning { top_k, temperature, ..Reasoning::default() }),
            ..Asking::default()
        };
        assert_eq!(among(3, 0.0).hash(), greedy.hash());
        // Something is drawn.
        assert_ne!(among(3, 0.7).hash(), among(4, 0.7).hash());
        for (exemplars, temperature) in [(Choice::Random, None), (Choice::First, Some(0.7))] {
            let of = |seed| asking(2, exemplars, temperature, seed);
            assert_ne!(of(1).hash(), of(0).hash(), "{exemplars:?} {temperature:?}");
        }
        // Nothing is drawn, but the label is another.
        let sure = Asking { min_verdict_mass: 0.5, ..greedy.clone() };
        assert_ne!(sure.hash(), greedy.hash());
    }

    #[test]
    fn exemplars_are_the_first_or_drawn_by_the_question() {
        let template = few_shot();
        let first = Asking { shots: 2, ..Asking::default() };
        let of = |asking: &Asking, question: &str| {
            let chosen = asking.choose(&template, &ContentHash::of(question));
            chosen.into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(of(&first, "a"), template.exemplars[..2]);
        let drawn = Asking { exemplars: Choice::Random, ..first };
        assert_eq!(of(&drawn, "a"), of(&drawn, "a"));
        let questions = ["a", "b", "c", "d", "e", "f"];
        assert!(questions.iter().any(|q| of(&drawn, q) != of(&drawn, "a")));
        let all = Asking { shots: template.exemplars.len(), ..drawn };
        let mut everyone = of(&all, "a");
        assert_ne!(everyone, template.exemplars, "an order of its own");
        everyone.sort_by_key(|e| template.exemplars.iter().position(|other| other == e));
        assert_eq!(everyone, template.exemplars);
    }

    #[test]
    fn what_is_said_of_exemplars_needs_some() {
        let asking =
            Asking { exemplars: Choice::Random, exemplar_rationales: true, ..Asking::default() };
        let complaints = asking.problems(&few_shot()).to_string();
        assert!(complaints.contains("exemplars is about exemplars"), "{complaints}");
        assert!(complaints.contains("exemplar_rationales is about exemplars"), "{complaints}");
        assert!(Asking { shots: 2, ..asking }.problems(&few_shot()).is_empty());
    }

    #[test]
    fn exemplars_show_rationales_only_where_each_has_one() {
        let mut template = few_shot();
        template.exemplars[1].rationale.clear();
        let one = Asking { shots: 1, exemplar_rationales: true, ..Asking::default() };
        assert!(one.problems(&template).is_empty());
        let two = Asking { shots: 2, ..one.clone() };
        let drawn = Asking { exemplars: Choice::Random, ..one };
        for asking in [two, drawn] {
            let complaints = asking.problems(&template).to_string();
            assert!(complaints.contains("needs a rationale in exemplar 2"), "{complaints}");
        }
    }

    #[test]
    fn what_a_template_cannot_do_is_said() {
        let plain = Template::load("sentiment/compare").unwrap();
        let complaints =
            |asking: Asking, template: &Template| asking.problems(template).to_string();
        let shots = Asking { shots: 3, ..Asking::default() };
        assert!(complaints(shots.clone(), &plain).contains("has 0 exemplars"));
        assert_eq!(complaints(shots, &few_shot()), "");
        let reasoning = |reasoning| Asking { reasoning: Some(reasoning), ..Asking::default() };
        let thinks = reasoning(Reasoning::default());
        assert!(complaints(thinks.clone(), &plain).contains("[rationale]"));
        assert_eq!(complaints(thinks, &few_shot()), "");
        for (senseless, what) in [
            (Reasoning { samples: 4, ..Reasoning::default() }, "temperature"),
            (Reasoning { clamp: Some(0.6), ..Reasoning::default() }, "reasoning.clamp"),
            (Reasoning { temperature: f32::NAN, ..Reasoning::default() }, "reasoning.temperature"),
        ] {
            assert!(complaints(reasoning(senseless), &few_shot()).contains(what));
        }
    }
}
