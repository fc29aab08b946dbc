//! Whether a labeler is there at all. It is asked something short, in its template's own form, of which no label is
//! made.

use crate::engine::{Accounted, Effort, Question};
use crate::judge::Judge;
use rlaif_template::Kind;
use rlaif_types::{Judgement, UnscorableReason};

impl Judge {
    /// Asks the labeler something short. It is there where it says anything, be it that it has no answer; else it says
    /// why it cannot be reached.
    pub fn check_presence(&self) -> Accounted<()> {
        let question = match self.small_talk() {
            Ok(question) => question,
            Err(why) => return Accounted::unasked(why),
        };
        let Accounted { outcome, effort } = self.engine().read(&[question]).remove(0);
        let outcome = match outcome {
            Err(why) if why.reason == UnscorableReason::EngineUnavailable => Err(why),
            _ => Ok(()),
        };
        Accounted { outcome, effort }
    }

    /// The most that this can take; what a budget has to set aside.
    pub fn presence_at_most(&self) -> Effort {
        self.small_talk().map_or(Effort::default(), |question| self.engine().at_most(&question))
    }

    fn small_talk(&self) -> Judgement<Question> {
        let responses: &[&str] = match self.template().kind {
            Kind::Compare => &["Yes.", "No."],
            Kind::Rate | Kind::Rubric => &["Yes."],
        };
        // One of the prompts is enough.
        Ok(self.questions("Are you there?", responses, &self.endings[0])?.remove(0))
    }
}
