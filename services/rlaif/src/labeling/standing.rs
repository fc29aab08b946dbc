//! Whether a run is worth going on with: a labeler that can judge nothing is not asked about everything, and a run
//! without a judgement has failed.

use anyhow::{Result, bail};
use rlaif_types::{Judgement, Unscorable, UnscorableReason};

/// What has come of a run so far.
#[derive(Debug)]
pub struct Standing {
    /// What people call its questions.
    many: &'static str,
    judged: usize,
    unscorable: usize,
    /// Why the first that cannot be asked about cannot.
    unasked: Option<Unscorable>,
    /// Why the first of those that were asked about had no judgement.
    in_vain: Option<Unscorable>,
    /// Why the labeler answers nobody.
    refusal: Option<Unscorable>,
}

impl Standing {
    /// Of a run that has not begun; `many` is what its questions are called.
    pub fn new(many: &'static str) -> Self {
        Self { many, judged: 0, unscorable: 0, unasked: None, in_vain: None, refusal: None }
    }

    /// One was judged or not, as `said`.
    pub fn said<T>(&mut self, said: &Judgement<T>) {
        match said {
            Ok(_) => self.judged(),
            Err(why) => self.failed(why),
        }
    }

    /// One was judged.
    pub fn judged(&mut self) {
        self.judged += 1;
    }

    /// One could not be judged.
    pub fn failed(&mut self, why: &Unscorable) {
        self.unscorable += 1;
        let first = match why.reason {
            // These are the question's own, and cost nothing.
            UnscorableReason::BadItem | UnscorableReason::PromptTooLong => &mut self.unasked,
            UnscorableReason::EngineRefused => &mut self.refusal,
            UnscorableReason::NoVerdict
            | UnscorableReason::EngineFailed
            | UnscorableReason::EngineUnavailable => &mut self.in_vain,
        };
        first.get_or_insert_with(|| why.clone());
    }

    /// Whether the next ones would fail like those so far.
    pub fn is_hopeless(&self) -> bool {
        self.refusal.is_some() || (self.judged == 0 && self.in_vain.is_some())
    }

    /// Warns of what could not be judged.
    pub fn warn(&self) {
        if self.unscorable > 0 {
            let Self { many, unscorable, .. } = self;
            tracing::warn!("{many} that could not be judged: {unscorable}; see \"unscorable\"");
        }
    }

    /// # Errors
    /// When the next ones would fail like those so far.
    pub fn check(&self) -> Result<()> {
        let Self { many, unscorable, .. } = self;
        if let Some(why) = &self.refusal {
            bail!(
                "the labeler refuses to answer: {why}; mend that, and run the command again: what is in a ledger is \
                 not asked for again"
            );
        }
        match &self.in_vain {
            Some(why) if self.is_hopeless() => bail!(
                "none of the first {unscorable} {many} could be judged: {why}; where that is about these {many} and \
                 not the labeler, put others before them"
            ),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// As [`Standing::check`], and when nothing was judged.
    pub fn conclude(self) -> Result<()> {
        self.check()?;
        let Self { many, judged, unscorable, unasked, .. } = self;
        match unasked {
            Some(why) if judged == 0 => {
                bail!("none of the {unscorable} {many} could be judged: {why}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use UnscorableReason::{
        BadItem, EngineFailed, EngineRefused, EngineUnavailable, PromptTooLong,
    };

    fn after(judged: usize, failures: &[UnscorableReason]) -> Standing {
        let mut standing = Standing::new("pairs");
        (0..judged).for_each(|_| standing.judged());
        failures.iter().for_each(|reason| standing.failed(&Unscorable::new(*reason, "why")));
        standing
    }

    #[test]
    fn a_refusal_ends_a_run_and_failures_only_one_without_a_judgement() {
        assert!(after(9, &[EngineRefused]).is_hopeless());
        assert!(after(9, &[EngineRefused]).conclude().is_err());
        for reason in [EngineFailed, EngineUnavailable] {
            assert!(after(0, &[reason]).is_hopeless());
            assert!(after(0, &[reason]).conclude().is_err());
            assert!(!after(1, &[reason]).is_hopeless());
            assert!(after(1, &[reason]).conclude().is_ok());
        }
    }

    #[test]
    fn what_a_report_is_made_of_is_checked_without_the_questions_own_failures() {
        let said = after(9, &[EngineRefused]).check().unwrap_err().to_string();
        assert!(said.contains("refuses to answer"), "{said}");
        let said = after(0, &[EngineFailed]).check().unwrap_err().to_string();
        assert!(said.contains("put others before them"), "{said}");
        assert!(after(1, &[EngineFailed]).check().is_ok());
        assert!(after(0, &[BadItem]).check().is_ok());
    }

    #[test]
    fn questions_that_nobody_could_answer_do_not_end_a_run_but_are_no_success() {
        assert!(!after(0, &[BadItem]).is_hopeless());
        let said = after(0, &[PromptTooLong, BadItem]).conclude().unwrap_err().to_string();
        assert!(
            said.contains("none of the 2 pairs could be judged: prompt_too_long: why"),
            "{said}"
        );
        assert!(after(1, &[BadItem]).conclude().is_ok());
        assert!(after(0, &[]).conclude().is_ok());
    }
}
