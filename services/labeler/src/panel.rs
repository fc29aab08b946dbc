//! Questions of many direct callers, put to the labeler in batches.

use crate::with_judge;
use rlaif_job::{Labeler, ModelRef};
use rlaif_judge::Judge;
use rlaif_service::batcher::{self, Batcher, EngineThread, Waiting};
use rlaif_service::metrics::BatcherMetrics;
use rlaif_template::{Asking, Template};
use rlaif_worker::direct::{Batching, unserved};
use rlaif_worker::{Failure, JobResources};
use std::collections::BTreeMap;
use std::time::Instant;
use tonic::Status;

/// What judges a batch of questions by one template, asked in one way.
type Ask<Q, A> = fn(&JobResources, &Judge, &[Q]) -> Result<Vec<A>, Failure>;

/// One kind of question to one model. Clones share the batcher.
pub(crate) struct Panel<Q, A> {
    batcher: Batcher<Question<Q>, Result<A, Failure>>,
}

impl<Q, A> Clone for Panel<Q, A> {
    fn clone(&self) -> Self {
        Self { batcher: self.batcher.clone() }
    }
}

struct Question<Q> {
    template: Template,
    asking: Asking,
    asked: Q,
}

impl<Q: Send + 'static, A: Send + 'static> Panel<Q, A> {
    /// Starts a batcher named `name` before the engine of `model`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(
        name: &'static str,
        batching: &Batching,
        job: JobResources,
        model: ModelRef,
        ask: Ask<Q, A>,
    ) -> Result<(Self, EngineThread), String> {
        let engine =
            move |questions, waiting: &Waiting<'_>| judge(&job, &model, ask, questions, waiting);
        let metrics = BatcherMetrics::new(name);
        let started = batcher::start(name, batching.batcher.clone(), metrics, engine);
        let (batcher, thread) = started.map_err(|e| format!("the thread {name}: {e}"))?;
        Ok((Self { batcher }, thread))
    }

    /// The answer to one question, batched with those of others.
    pub(crate) async fn ask(
        &self,
        (template, asking): (Template, Asking),
        asked: Q,
        cost: usize,
        deadline: Option<Instant>,
    ) -> Result<A, Status> {
        let question = Question { template, asking, asked };
        self.batcher.submit(question, cost, deadline).await?.map_err(unserved)
    }
}

/// Judges a batch, the questions asked alike together, as long as anybody waits; the answers are in the
/// questions' order.
fn judge<Q, A>(
    job: &JobResources,
    model: &ModelRef,
    ask: Ask<Q, A>,
    questions: Vec<Question<Q>>,
    waiting: &Waiting<'_>,
) -> Vec<Result<A, Failure>> {
    let mut alike = BTreeMap::new();
    for (place, Question { template, asking, asked }) in questions.into_iter().enumerate() {
        let group = alike.entry((template.name.clone(), asking.hash()));
        let labeler = || Labeler { model: model.clone(), template, asking };
        let (_, places, group) = group.or_insert_with(|| (labeler(), Vec::new(), Vec::new()));
        places.push(place);
        group.push(asked);
    }
    let mut answers = BTreeMap::new();
    for (labeler, places, asked) in alike.into_values() {
        let judged = match waiting.is_anybody() {
            true => with_judge(job, &labeler, |judge| ask(job, judge, &asked)),
            false => Err(Failure::Stopped),
        };
        match judged {
            Ok(judged) => answers.extend(places.into_iter().zip(judged.into_iter().map(Ok))),
            Err(why) => answers.extend(places.into_iter().map(|place| (place, Err(why.clone())))),
        }
    }
    answers.into_values().collect()
}
