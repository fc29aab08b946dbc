//! The labeler: judges pairs, single responses and contests with a language model.

mod account;
mod asking;
mod check;
mod contests;
mod handler;
mod label;
mod match_ups;
mod panel;
mod rate;
mod service;

pub use service::{Direct, Labeler, RULES};

use rlaif_job::{ModelRef, Work, WorkItem, WorkResult};
use rlaif_judge::{Identity, Judge};
use rlaif_template::{Asking, Template};
use rlaif_worker::{Executor, Failure, JobResources, Progress, Resources, Retry, settle};

/// Does what needs a labeler's judgement.
pub struct LabelerExecutor {
    resources: Resources,
}

impl LabelerExecutor {
    /// An executor over a process's resources.
    pub fn new(resources: Resources) -> Self {
        Self { resources }
    }
}

impl Executor for LabelerExecutor {
    fn execute(&self, item: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
        settle(|| {
            let job = self.resources.job(&item.job)?;
            match &item.work {
                Work::CheckLabeler(check) => check::check_labeler(&job, check),
                Work::Label(label) => label::label(&job, label, progress),
                Work::Rate(rate) => rate::rate(&job, rate, progress),
                Work::MatchUps(work) => match_ups::match_ups(&job, work, progress),
                Work::Judge(judge) => contests::judge(&job, judge, progress),
                _ => Err(Failure::impossible(format!("{} is no labeler's task", item.task))),
            }
        })
    }
}

/// Does `work` with one judge for each template, all on the engine of one model, asking for verdicts
/// straight away.
fn with_judges<T>(
    job: &JobResources,
    model: &ModelRef,
    templates: &[Template],
    work: impl FnOnce(&[Judge], &Identity) -> Result<T, Failure>,
) -> Result<T, Failure> {
    job.with_labeler(model, |engine| {
        let judge = |t: &Template| Judge::new(engine.clone(), t.clone(), Asking::default());
        let judges = templates.iter().map(judge).collect::<Result<Vec<_>, _>>()?;
        work(&judges, engine.identity())
    })
}

/// Does `work` with a judge that asks what `labeler` is asked, in its way.
fn with_judge<T>(
    job: &JobResources,
    labeler: &rlaif_job::Labeler,
    work: impl FnOnce(&Judge) -> Result<T, Failure>,
) -> Result<T, Failure> {
    job.with_labeler(&labeler.model, |engine| {
        let (template, asking) = (labeler.template.clone(), labeler.asking.clone());
        work(&Judge::new(engine, template, asking)?)
    })
}
