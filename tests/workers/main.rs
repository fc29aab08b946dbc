//! Workers as a coordinator uses them: pieces of work in, results out, on tiny models.

mod bench;
mod judging;
mod left_out;
mod long_training;
mod memory;
mod policy_steps;
mod refusals;
mod sampling;
