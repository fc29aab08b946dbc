//! Whether a labeler is there at all. It is asked something short, in its template's own form, of which no label is
//! made.

use crate::engine::{Accounted, Effort, Question};
use crate::judge::Judge;
use rlaif_template::Kind;
use rlaif_types::UnscorableReason;

impl Judge {
    /// Asks the labeler something short. It is there where it says anything, be it that it has no answer, or that
    /// what it was asked is too long; else it says why it cannot be reached.
    pub fn check_presence(&self) -> Accounted<()> {
        let Accounted { outcome, effort } = self.engine().read(&[self.small_talk()]).remove(0);
        let outcome = match outcome {
            Err(why) if why.reason == UnscorableReason::EngineUnavailable => Err(why),
            _ => Ok(()),
        };
        Accounted { outcome, effort }
    }

    /// The most that this can take; what a budget has to set aside.
    pub fn presence_at_most(&self) -> Effort {
        self.engine().at_most(&self.small_talk())
    }

    /// It can always be asked, so that no answer is never the question's fault.
    fn small_talk(&self) -> Question {
        let responses: &[&str] = match self.template().kind {
            Kind::Compare => &["Yes.", "No."],
            Kind::Rate | Kind::Rubric => &["Yes."],
        };
        // One of the prompts is enough.
        self.questions_about("Are you there?", responses, &self.endings[0]).remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Identity, Reading};
    use rlaif_template::{Asking, Template};
    use rlaif_types::{ContentHash, Unscorable};
    use std::sync::Arc;

    /// Has no answer to anything, for one reason.
    struct Silent {
        why: Unscorable,
        identity: Identity,
    }

    impl Engine for Silent {
        fn check(&self, _ending: &str, _verdicts: &[String]) -> Result<(), String> {
            Ok(())
        }

        fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>> {
            questions.iter().map(|_| Accounted::unasked(self.why.clone())).collect()
        }

        fn prompt_tokens(&self, _question: &Question) -> usize {
            1
        }

        fn identity(&self) -> &Identity {
            &self.identity
        }
    }

    #[test]
    fn only_who_cannot_be_reached_is_away_whatever_the_template_asks() {
        use UnscorableReason::{
            BadItem, EngineFailed, EngineRefused, EngineUnavailable, NoVerdict, PromptTooLong,
        };
        for template in ["helpful/base", "helpful/rating", "harmless/rubric"] {
            let presence = |reason| {
                let identity = Identity {
                    name: "m".into(),
                    hash: ContentHash::of("m"),
                    parameters: None,
                    place: "http://judge/v1".into(),
                };
                let engine = Silent { why: Unscorable::new(reason, "no answer"), identity };
                let template = Template::load(template).unwrap();
                let judge = Judge::new(Arc::new(engine), template, Asking::default()).unwrap();
                judge.check_presence().outcome
            };
            assert!(presence(EngineUnavailable).is_err(), "{template}");
            for reason in [PromptTooLong, NoVerdict, BadItem, EngineFailed, EngineRefused] {
                assert_eq!(presence(reason), Ok(()), "{template}: {reason}");
            }
        }
    }
}
