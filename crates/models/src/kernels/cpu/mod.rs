//! Arithmetic of one transformer pass on plain `f32` slices, for CPUs.
//!
//! Burn's CPU backend multiplies matrices at full speed but runs `exp`, RoPE and attention element
//! by element through strided iterators, on one thread. These kernels do each of those as one or
//! two passes over contiguous rows. Loops are written so that the compiler vectorises them;
//! [`pulp::Arch`] compiles each for every instruction set and picks one at run time.

pub mod attention;
mod few_rows;
pub mod linear;
pub mod logprobs;
pub mod math;
pub mod optimizer;
pub mod rms_norm;
pub mod rope;
pub mod simd;
pub mod swiglu;
