//! Run-time choice of the CPU's vector instructions.

use pulp::{Arch, Simd, WithSimd};

/// Runs `body` compiled for the best instruction set this CPU has.
///
/// The body must be an `#[inline(always)]` closure. It is taken as `FnMut` on purpose: a closure
/// called as `FnOnce` goes through a shim that the compiler may keep out of line, and what is out
/// of line is compiled for the baseline instruction set, where a fused multiply-add is a call of
/// the C library.
#[inline(always)]
pub fn vectorised<R>(body: impl FnMut() -> R) -> R {
    struct Op<F>(F);
    impl<R, F: FnMut() -> R> WithSimd for Op<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Op(body))
}
