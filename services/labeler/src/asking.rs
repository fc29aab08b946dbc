//! What direct callers want asked, and how, from the wire.

use rlaif_proto::DecodeError;
use rlaif_proto::labeler::v1 as wire;
use rlaif_template::{Asking, Choice, Kind, Reasoning, Template};

/// Rationales cost the callers behind as much as the one who asks for them, and an endpoint's operator money.
const MAX_SAMPLES: u32 = 64;

/// A built-in template for one of these kinds, and how it is asked. A caller's name is never a path. All rationales of
/// an order together have at most `max_written` tokens.
///
/// # Errors
/// When there is no such template, it is for something else, or cannot be asked so.
pub(crate) fn asked(
    name: &str,
    kinds: &[Kind],
    asking: Option<wire::Asking>,
    max_written: usize,
) -> Result<(Template, Asking), DecodeError> {
    let wrong = |what: String| DecodeError::new("question.template", what);
    if !Template::built_in_names().any(|known| known == name) {
        let known = Template::built_in_names().collect::<Vec<_>>().join(", ");
        return Err(wrong(format!("{name:?} is no built-in template; there are {known}")));
    }
    let template = Template::load(name).map_err(|e| wrong(e.to_string()))?;
    if !kinds.contains(&template.kind) {
        return Err(wrong(format!("{name} is for {}", template.kind.describe())));
    }
    let asking = asking.map_or_else(Asking::default, of_wire);
    let (samples, written) = asking.reasoning.as_ref().map_or((0, 0), |reasoning| {
        (reasoning.samples, reasoning.samples.saturating_mul(reasoning.max_tokens))
    });
    let mut problems = asking.problems(&template);
    let what = format!("must be at most {MAX_SAMPLES}");
    problems.check(samples <= MAX_SAMPLES as usize, "reasoning.samples", what);
    let what =
        format!("times reasoning.samples is {written}; this labeler writes {max_written} at most");
    problems.check(written <= max_written, "reasoning.max_tokens", what);
    match problems.is_empty() {
        true => Ok((template, asking)),
        false => Err(DecodeError::new("question.asking", problems.to_string())),
    }
}

fn of_wire(asking: wire::Asking) -> Asking {
    Asking {
        shots: asking.shots as usize,
        exemplars: if asking.random_exemplars { Choice::Random } else { Choice::First },
        exemplar_rationales: asking.exemplar_rationales,
        reasoning: asking.reasoning.map(reasoning),
        min_verdict_mass: asking.min_verdict_mass,
        seed: asking.seed,
    }
}

fn reasoning(reasoning: wire::Reasoning) -> Reasoning {
    let usual = Reasoning::default();
    let or = |given: u32, usual: usize| if given == 0 { usual } else { given as usize };
    Reasoning {
        max_tokens: or(reasoning.max_tokens, usual.max_tokens),
        samples: or(reasoning.samples, usual.samples),
        temperature: reasoning.temperature,
        top_k: or(reasoning.top_k, usual.top_k),
        clamp: reasoning.clamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_WRITTEN: usize = 16_384;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let thinks =
            wire::Asking { reasoning: Some(wire::Reasoning::default()), ..Default::default() };
        let (_, asking) =
            asked("helpful/base", &[Kind::Compare], Some(thinks), MAX_WRITTEN).unwrap();
        assert_eq!(asking.reasoning, Some(Reasoning::default()));
        let (_, plain) = asked("helpful/base", &[Kind::Compare], None, MAX_WRITTEN).unwrap();
        assert_eq!(plain, Asking::default());
    }

    #[test]
    fn a_callers_mistake_names_its_field() {
        let refused = |name: &str, asking: wire::Asking| {
            asked(name, &[Kind::Compare], Some(asking), MAX_WRITTEN).unwrap_err().to_string()
        };
        let error = refused("/etc/passwd", wire::Asking::default());
        assert!(error.starts_with("question.template: "), "{error}");
        let error = refused("sentiment/compare", wire::Asking { shots: 3, ..Default::default() });
        assert!(error.starts_with("question.asking: shots = 3"), "{error}");
        let many = wire::Reasoning { samples: 1000, temperature: 1.0, ..Default::default() };
        let asking = wire::Asking { reasoning: Some(many), ..Default::default() };
        assert!(refused("helpful/base", asking).contains("reasoning.samples must be at most 64"));
    }

    #[test]
    fn a_caller_has_no_more_written_than_the_labeler_allows() {
        let thinking = |samples: u32, max_tokens: u32| {
            let temperature = if samples > 1 { 1.0 } else { 0.0 };
            let reasoning =
                wire::Reasoning { samples, max_tokens, temperature, ..Default::default() };
            let asking = wire::Asking { reasoning: Some(reasoning), ..Default::default() };
            asked("helpful/base", &[Kind::Compare], Some(asking), MAX_WRITTEN)
        };
        assert!(thinking(1, 16_384).is_ok() && thinking(64, 256).is_ok());
        for (samples, max_tokens) in [(1, 16_385), (64, 257), (64, u32::MAX)] {
            let refused = thinking(samples, max_tokens).unwrap_err().to_string();
            assert!(refused.contains("reasoning.max_tokens times reasoning.samples"), "{refused}");
        }
    }
}
