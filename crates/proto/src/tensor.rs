//! Tensors on the wire: bytes with an element type and a shape, checked before they are read.

use crate::DecodeError;
use crate::common::v1::{DataType, Tensor};
use crate::decode::known;

impl Tensor {
    /// A vector of f32, bit for bit.
    pub fn vector(values: &[f32]) -> Self {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self {
            data: data.into(),
            data_type: DataType::F32.into(),
            shape: vec![values.len() as u64],
        }
    }

    /// The elements in row-major order, widened to f32 (which is exact for bf16).
    ///
    /// # Errors
    /// When the element type is unknown, or the data is not as long as the shape says.
    pub fn to_f32s(&self) -> Result<Vec<f32>, DecodeError> {
        let (data_type, element_bytes) = known(self.data_type, "data_type", |kind| match kind {
            DataType::Unspecified => None,
            DataType::F32 => Some(("f32", 4)),
            DataType::Bf16 => Some(("bf16", 2)),
        })?;
        let expected =
            self.shape.iter().try_fold(element_bytes, |n: u64, size| n.checked_mul(*size));
        if expected != Some(self.data.len() as u64) {
            let (found, shape) = (self.data.len(), &self.shape);
            let what = format!("has {found} bytes, which is not {shape:?} of {data_type}");
            return Err(DecodeError::new("data", what));
        }
        let elements = self.data.chunks_exact(element_bytes as usize);
        Ok(elements.map(widen).collect())
    }
}

/// A little-endian f32, of which a bf16 is the upper half.
fn widen(element: &[u8]) -> f32 {
    let mut bytes = [0; 4];
    bytes[4 - element.len()..].copy_from_slice(element);
    f32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_comes_back_bit_for_bit() {
        let values = [0.1, -0.0, f32::MIN_POSITIVE / 2.0, f32::NEG_INFINITY];
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&Tensor::vector(&values).to_f32s().unwrap()), bits(&values));
    }

    #[test]
    fn bf16_widens_exactly() {
        let data_type = DataType::Bf16.into();
        let tensor =
            Tensor { data: vec![0x80, 0x3f, 0x20, 0xc0].into(), data_type, shape: vec![2] };
        assert_eq!(tensor.to_f32s().unwrap(), [1.0, -2.5]);
    }

    #[test]
    fn a_shape_that_lies_is_refused() {
        // The last product overflows to the true length where it is not checked.
        for shape in [vec![], vec![3], vec![2, 2], vec![1 << 63, 2, 2]] {
            let tensor = Tensor { shape, ..Tensor::vector(&[1.0, 2.0]) };
            assert_eq!(tensor.to_f32s().unwrap_err().path, "data");
        }
        let empty = Tensor { shape: vec![1 << 62], ..Tensor::vector(&[]) };
        assert_eq!(empty.to_f32s().unwrap_err().path, "data");
        let untyped = Tensor { data_type: 0, ..Tensor::vector(&[]) };
        assert_eq!(untyped.to_f32s().unwrap_err().path, "data_type");
    }
}
