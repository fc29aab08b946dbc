//! Algorithms on a tiny random transformer and a toy task whose optimum is known.

mod algorithms;
mod average;
mod checkpointing;
mod degenerate;
mod precision;
mod reinforce;
mod replicas;
mod toy;
