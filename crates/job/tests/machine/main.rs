//! What a machine does with the results of a job: which work follows from them, and what the job leaves, in
//! whatever order they come. A worker without a model answers.

mod answers;
mod any_order;
mod bench;
mod demonstrations;
mod given_preferences;
mod mixture;
mod rollouts;
mod sampled_pairs;
mod selection;
mod staleness;
mod training;
