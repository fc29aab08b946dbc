//! What a job's labeler and its judge charge, as the job says it: a table for who asks both on one account.

use super::Labelers;
use anyhow::{Context, Result, bail};
use rlaif_hub::{Store, is_endpoint};
use rlaif_job::Job;
use rlaif_judge::Identity;
use rlaif_models::DeviceName;
use rlaif_types::Prices;
use rlaif_worker::open_checkpoint;

/// The prices that `job` names; none where it names none. Where the two differ both models are looked up, which are
/// pulled already.
///
/// # Errors
/// When a model is not there, or the table cannot tell the two apart.
pub fn job_prices(job: &Job) -> Result<Option<Prices>> {
    let Some(price) = job.labeler.price else { return Ok(None) };
    let prices = Prices::flat(price);
    let judge = job.evaluate.judge.as_ref();
    let judge = judge.and_then(|judge| Some((judge.model.as_str(), judge.price?)));
    let Some((judge, another)) = judge.filter(|(_, another)| *another != price) else {
        return Ok(Some(prices));
    };
    let judge = Listed::find(judge)?;
    let Listed { place, name } = &judge;
    if judge == Listed::find(&job.labeler.model)? {
        bail!(
            "labeler.model and evaluate.judge.model are both called {name} at {place}, where one price counts: rename \
             the folder or file of one, or give both one price"
        );
    }
    Ok(Some(prices.with(place, name, another)))
}

/// A model as a table of prices knows it.
#[derive(PartialEq, Eq)]
struct Listed {
    /// Where it is.
    place: String,
    /// What it is called.
    name: String,
}

impl Listed {
    fn find(model: &str) -> Result<Self> {
        if is_endpoint(model) {
            let endpoint = Labelers::on(DeviceName::Cpu).start(model)?;
            let Identity { place, name, .. } = endpoint.identity().clone();
            return Ok(Self { place, name });
        }
        let at = Store::from_env().find(model)?;
        let checkpoint = open_checkpoint(&at).with_context(|| format!("opening {model}"))?;
        Ok(Self { place: Identity::LOCAL.to_owned(), name: checkpoint.name })
    }
}
