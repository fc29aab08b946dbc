//! Data parallelism: the micro-batches of a step are dealt in turn to a model and its replicas on further devices,
//! each at work on a thread of its own.
//!
//! Gradients are summed in the order of the micro-batches, wherever they come from: a step on several devices of one
//! kind makes the bits of a step on one. One optimiser, where the model is, updates; replicas then take the new weights.

use crate::gradients::GradientSum;
use crate::pairing::{Pairing, update_from};
use burn::tensor::Tensor;
use rlaif_models::Parameters;

/// Copies of a model on further devices; none is the usual case.
pub(crate) struct Replicas<M>(Vec<M>);

/// What came of a micro-batch.
struct Done<T> {
    grads: Vec<(String, Tensor<2>)>,
    loss: f64,
    seen: T,
}

impl<M: Parameters + Send + Sync> Replicas<M> {
    pub(crate) fn new(models: impl IntoIterator<Item = M>) -> Self {
        Self(models.into_iter().collect())
    }

    /// Sums the gradients of the losses that `work` makes of each piece with `first` or one of its replicas. `took`
    /// is told, in the order of the pieces, each one's loss and what else `work` saw.
    pub(crate) fn gradients<P: Sync, T: Send>(
        &self,
        first: &M,
        pieces: &[P],
        work: impl Fn(&M, &P) -> (Tensor<1>, T) + Sync,
        mut took: impl FnMut(&P, f64, T),
    ) -> GradientSum {
        let mut sum = GradientSum::default();
        // Replicas change no number: here alone it shows that they take part.
        let devices = pieces.len().min(1 + self.0.len());
        tracing::debug!(micro_batches = pieces.len(), devices, "gradients of a batch");
        for round in pieces.chunks(1 + self.0.len()) {
            for (piece, done) in round.iter().zip(self.round(first, round, &work)) {
                sum.add(done.grads);
                took(piece, done.loss, done.seen);
            }
        }
        sum
    }

    /// A piece for the model and for each replica, at the same time.
    fn round<P: Sync, T: Send>(
        &self,
        first: &M,
        pieces: &[P],
        work: &(impl Fn(&M, &P) -> (Tensor<1>, T) + Sync),
    ) -> Vec<Done<T>> {
        let (own, others) = pieces.split_first().expect("a round has a piece");
        std::thread::scope(|scope| {
            let others = self.0.iter().zip(others);
            let threads: Vec<_> =
                others.map(|(model, piece)| scope.spawn(move || one(model, piece, work))).collect();
            let mut done = vec![one(first, own, work)];
            let home = done[0].grads.first().map(|(_, grad)| grad.device());
            for thread in threads {
                let mut theirs =
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                if let Some(home) = &home {
                    let moved = theirs.grads.into_iter();
                    theirs.grads = moved.map(|(name, g)| (name, g.to_device(home))).collect();
                }
                done.push(theirs);
            }
            done
        })
    }

    /// Does `work` on each piece with `first` or one of its replicas; results in the order of the pieces.
    pub(crate) fn map<P: Sync, T: Send>(
        &self,
        first: &M,
        pieces: &[P],
        work: impl Fn(&M, &P) -> T + Sync,
    ) -> Vec<T> {
        let (work, mut results) = (&work, Vec::with_capacity(pieces.len()));
        for round in pieces.chunks(1 + self.0.len()) {
            std::thread::scope(|scope| {
                let others = self.0.iter().zip(&round[1..]);
                let threads: Vec<_> =
                    others.map(|(model, piece)| scope.spawn(move || work(model, piece))).collect();
                results.push(work(first, &round[0]));
                let others = threads.into_iter().map(|thread| thread.join());
                results.extend(others.map(|r| r.unwrap_or_else(|p| std::panic::resume_unwind(p))));
            });
        }
        results
    }

    /// Gives the trainable parameters of `first` to the replicas.
    pub(crate) fn follow(&mut self, first: &M) {
        for replica in &mut self.0 {
            update_from(replica, first, &Taken);
        }
    }
}

/// The other's value, where the own one is.
struct Taken;

impl Pairing for Taken {
    fn pair<const D: usize>(&self, own: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
        other.to_device(&own.device())
    }
}

fn one<M: Parameters, P, T>(
    model: &M,
    piece: &P,
    work: &impl Fn(&M, &P) -> (Tensor<1>, T),
) -> Done<T> {
    let (loss, seen) = work(model, piece);
    let value = f64::from(loss.clone().into_scalar::<f32>());
    let mut grads = Vec::new();
    model.visit_gradients(&loss.backward(), &mut |name, grad| grads.push((name.to_owned(), grad)));
    Done { grads, loss: value, seen }
}
