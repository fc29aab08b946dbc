//! Workers as a coordinator uses them: pieces of work in, results out, on tiny models.

mod bench;
mod judging;
mod long_training;
mod policy_steps;
mod refusals;
