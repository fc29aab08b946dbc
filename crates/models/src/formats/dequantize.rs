//! GGML's block formats to f32.
//!
//! A block holds 32 values (or 256 for the K formats) and its scales. Layouts follow the format's
//! definition in ggml; bits are named here as they are used.

use half::{bf16, f16};
use rayon::prelude::*;

/// How a tensor's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the formats' own
pub enum QuantType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

use QuantType::*;

/// Values of a K-format block.
const K: usize = 256;

impl QuantType {
    /// The type of a number in a tensor directory.
    pub fn from_ggml(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => F32,
            1 => F16,
            2 => Q4_0,
            3 => Q4_1,
            6 => Q5_0,
            7 => Q5_1,
            8 => Q8_0,
            12 => Q4K,
            13 => Q5K,
            14 => Q6K,
            30 => Bf16,
            _ => return None,
        })
    }

    /// Values in a block.
    pub fn block_values(self) -> usize {
        match self {
            F32 | F16 | Bf16 => 1,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => 32,
            Q4K | Q5K | Q6K => K,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            F32 => 4,
            F16 | Bf16 => 2,
            Q4_0 => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q8_0 => 34,
            Q4K => 144,
            Q5K => 176,
            Q6K => 210,
        }
    }
}

/// All values of `data`, a whole number of blocks.
pub fn dequantize(quant: QuantType, data: &[u8]) -> Vec<f32> {
    let (values, bytes) = (quant.block_values(), quant.block_bytes());
    let mut out = vec![0f32; data.len() / bytes * values];
    // Blocks are small; a task takes thousands.
    let blocks = 4096;
    out.par_chunks_mut(blocks * values).zip(data.par_chunks(blocks * bytes)).for_each(
        |(out, data)| {
            for (out, block) in out.chunks_exact_mut(values).zip(data.chunks_exact(bytes)) {
                dequantize_block(quant, block, out);
            }
        },
    );
    out
}

fn dequantize_block(quant: QuantType, block: &[u8], out: &mut [f32]) {
    match quant {
        F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
        F16 => out[0] = half_at(block, 0),
        Bf16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
        Q4_0 => legacy(out, half_at(block, 0), -8.0 * half_at(block, 0), &block[2..], None),
        Q4_1 => legacy(out, half_at(block, 0), half_at(block, 2), &block[4..], None),
        Q5_0 => {
            let d = half_at(block, 0);
            legacy(out, d, -16.0 * d, &block[6..], Some(u32_at(block, 2)));
        }
        Q5_1 => {
            let (d, m) = (half_at(block, 0), half_at(block, 2));
            legacy(out, d, m, &block[8..], Some(u32_at(block, 4)));
        }
        Q8_0 => {
            let d = half_at(block, 0);
            for (out, q) in out.iter_mut().zip(&block[2..]) {
                *out = d * f32::from(*q as i8);
            }
        }
        Q4K => q4_k(block, out),
        Q5K => q5_k(block, out),
        Q6K => q6_k(block, out),
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// The 4- and 5-bit formats of 32 values: `d · q + m`. Low nibbles are the first sixteen values,
/// high nibbles the last; fifth bits come from a mask in value order.
fn legacy(out: &mut [f32], d: f32, m: f32, nibbles: &[u8], fifth_bits: Option<u32>) {
    let fifth = |i: usize| fifth_bits.map_or(0, |bits| ((bits >> i) & 1) as u8) << 4;
    for (i, byte) in nibbles[..16].iter().enumerate() {
        out[i] = d * f32::from((byte & 15) | fifth(i)) + m;
        out[i + 16] = d * f32::from((byte >> 4) | fifth(i + 16)) + m;
    }
}

/// Scale and minimum of sub-block `i` of eight, six bits each, packed into twelve bytes.
fn scale_and_min(i: usize, packed: &[u8]) -> (f32, f32) {
    let (scale, min) = if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        let high = packed[i + 4];
        ((high & 15) | (packed[i - 4] >> 6) << 4, (high >> 4) | (packed[i] >> 6) << 4)
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, nibbles) = (&block[4..16], &block[16..144]);
    for (pair, (out, nibbles)) in out.chunks_exact_mut(64).zip(nibbles.chunks_exact(32)).enumerate()
    {
        let (low, high) = out.split_at_mut(32);
        for (part, out) in [low, high].into_iter().enumerate() {
            let (scale, min) = scale_and_min(2 * pair + part, scales);
            for (out, byte) in out.iter_mut().zip(nibbles) {
                *out = d * scale * f32::from((byte >> (4 * part)) & 15) - dmin * min;
            }
        }
    }
}

fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, fifth, nibbles) = (&block[4..16], &block[16..48], &block[48..176]);
    for (pair, (out, nibbles)) in out.chunks_exact_mut(64).zip(nibbles.chunks_exact(32)).enumerate()
    {
        let (low, high) = out.split_at_mut(32);
        for (part, out) in [low, high].into_iter().enumerate() {
            let sub_block = 2 * pair + part;
            let (scale, min) = scale_and_min(sub_block, scales);
            for ((out, byte), fifth) in out.iter_mut().zip(nibbles).zip(fifth) {
                let q = ((byte >> (4 * part)) & 15) | ((fifth >> sub_block) & 1) << 4;
                *out = d * scale * f32::from(q) - dmin * min;
            }
        }
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low_bits, high_bits, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &low_bits[half * 64..];
        let high = &high_bits[half * 32..];
        let scales = &scales[half * 8..];
        for i in 0..32 {
            // Four values share a byte of high bits: two from low nibbles, two from high ones.
            for part in 0..4 {
                let low = low[i + 32 * (part % 2)] >> (4 * (part / 2)) & 15;
                let q = (low | (high[i] >> (2 * part) & 3) << 4) as i8 - 32;
                let scale = scales[2 * part + i / 16] as i8;
                out[32 * part + i] = d * f32::from(scale) * f32::from(q);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(x: f32) -> [u8; 2] {
        f16::from_f32(x).to_le_bytes()
    }

    #[test]
    fn legacy_formats_by_hand() {
        let nibbles: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let q4_0 = [&half(0.5)[..], &nibbles].concat();
        let values = dequantize(Q4_0, &q4_0);
        assert_eq!((values[0], values[3], values[16]), (-4.0, -2.5, 3.5));
        let q4_1 = [&half(0.5)[..], &half(1.0), &nibbles].concat();
        assert_eq!(dequantize(Q4_1, &q4_1)[3], 2.5);
        // Fifth bit of value 0 and of value 17.
        let bits = (1u32 | 1 << 17).to_le_bytes();
        let q5_0 = [&half(2.0)[..], &bits, &nibbles].concat();
        let values = dequantize(Q5_0, &q5_0);
        assert_eq!((values[0], values[1], values[17]), (0.0, -30.0, 2.0 * (30.0 - 16.0)));
        let q5_1 = [&half(2.0)[..], &half(-1.0), &bits, &nibbles].concat();
        assert_eq!(dequantize(Q5_1, &q5_1)[0], 31.0);
        let q8: Vec<u8> =
            half(0.25).into_iter().chain((0..32).map(|i| (i - 16) as i8 as u8)).collect();
        assert_eq!(dequantize(Q8_0, &q8)[0], -4.0);
    }

    #[test]
    fn plain_floats() {
        assert_eq!(dequantize(F32, &1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(dequantize(F16, &half(-2.0)), [-2.0]);
        assert_eq!(dequantize(Bf16, &bf16::from_f32(3.0).to_le_bytes()), [3.0]);
    }

    #[test]
    fn six_bit_scales_cross_byte_borders() {
        let mut packed = [0u8; 12];
        packed[0] = 0b11_000001; // scale 0 = 1; upper bits of scale 4
        packed[4] = 0b10_000010; // min 0 = 2; upper bits of min 4
        packed[8] = 0b0011_0101; // low bits of scale 4 (5) and min 4 (3)
        assert_eq!(scale_and_min(0, &packed), (1.0, 2.0));
        assert_eq!(scale_and_min(4, &packed), (f32::from(5u8 | 3 << 4), f32::from(3u8 | 2 << 4)));
    }

    #[test]
    fn q6_k_is_signed_around_32() {
        let mut block = vec![0u8; 210];
        block[192..208].fill(1);
        block[208..].copy_from_slice(&half(1.0));
        assert!(dequantize(Q6K, &block).iter().all(|v| *v == -32.0));
        block[0] = 0x0f;
        block[128] = 0b11;
        assert_eq!(dequantize(Q6K, &block)[0], 31.0);
    }
}
