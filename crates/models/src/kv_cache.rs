//! Keys and values of tokens already computed, one slab per layer.
//!
//! A slab row belongs to one token. Which rows a sequence sees is said by ranges
//! ([`Span::keys`](crate::kernels::Span)), so sequences that share a prefix share its rows.

use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor};
use std::ops::Range;

use crate::kernels;

/// Where the rows of a batch go: consecutive batch rows and the slab row of the first.
#[derive(Debug, Clone)]
pub(crate) struct SlotRun {
    pub(crate) rows: Range<usize>,
    pub(crate) slot: usize,
}

/// Slabs of all layers.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<(Tensor<2>, Tensor<2>)>,
}

impl KvCache {
    /// Slabs of `capacity` rows of `width` values.
    pub(crate) fn new(
        layers: usize,
        capacity: usize,
        width: usize,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let slab = || Tensor::<2>::zeros([capacity, width], (device, dtype));
        Self { layers: (0..layers).map(|_| (slab(), slab())).collect() }
    }

    /// Adds `rows` free rows to every slab.
    pub(crate) fn grow(&mut self, rows: usize) {
        for (k, v) in &mut self.layers {
            for slab in [k, v] {
                let [_, width] = slab.dims();
                let added = Tensor::zeros([rows, width], (&slab.device(), slab.dtype()));
                *slab = Tensor::cat(vec![slab.clone(), added], 0);
            }
        }
    }

    /// Writes a batch's keys and values into the slabs of `layer` and returns the slabs.
    pub(crate) fn update(
        &mut self,
        layer: usize,
        k: Tensor<2>,
        v: Tensor<2>,
        runs: &[SlotRun],
    ) -> (Tensor<2>, Tensor<2>) {
        let empty = || Tensor::<2>::empty([0, 1], &k.device());
        let (k_slab, v_slab) = std::mem::replace(&mut self.layers[layer], (empty(), empty()));
        let slabs = (write(k_slab, k, runs), write(v_slab, v, runs));
        self.layers[layer] = slabs.clone();
        slabs
    }
}

/// `slab` with the runs of `rows` written into it; in place, since the caller gave up the slab.
fn write(slab: Tensor<2>, rows: Tensor<2>, runs: &[SlotRun]) -> Tensor<2> {
    let [_, width] = slab.dims();
    if !kernels::is_fused(&slab) {
        return runs.iter().fold(slab, |slab, run| {
            let slots = run.slot..run.slot + run.rows.len();
            let values = rows.clone().slice([run.rows.clone(), 0..width]);
            slab.slice_assign([slots, 0..width], values)
        });
    }
    let expect = "what the fused kernels take is a tensor of the CPU backend";
    let mut slab = slab.try_into_primitive::<Flex>().expect(expect);
    let rows = rows.try_into_primitive::<Flex>().expect(expect);
    let rows = if rows.is_contiguous() { rows } else { rows.to_contiguous() };
    let values = rows.as_slice::<f32>().expect("keys and values on the CPU are contiguous f32");
    let slots = slab.storage_mut::<f32>();
    for run in runs {
        slots[run.slot * width..(run.slot + run.rows.len()) * width]
            .copy_from_slice(&values[run.rows.start * width..run.rows.end * width]);
    }
    Tensor::from_primitive::<Flex>(slab)
}
