//! Devices by name: `cpu`, `cuda:0`.

use crate::error::Error;
use burn::tensor::{DType, Device};
use rlaif_types::Precision;
use std::fmt;
use std::str::FromStr;

/// Where a model runs, as a user writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by index.
    Cuda(usize),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) if index.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(index.parse().expect("just parsed")))
            }
            _ => Err(format!("{name:?} is no device; use cpu, or cuda:N with N from 0")),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceName {
    /// The device, once it is known to work: a first small computation is done on it.
    ///
    /// # Errors
    /// When this build has no CUDA, or the GPU or its driver is not there.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(index) => {
                open_cuda(index).map_err(|what| Error::Device { device: self.to_string(), what })
            }
        }
    }

    /// What a model computes in on it.
    ///
    /// # Errors
    /// When it has no kernels for that: bf16 on the CPU.
    pub fn computing_in(self, precision: Precision) -> Result<DType, Error> {
        match (self, precision) {
            (_, Precision::F32) => Ok(DType::F32),
            (Self::Cuda(_), Precision::Bf16) => Ok(DType::BF16),
            (Self::Cpu, Precision::Bf16) => Err(Error::Device {
                device: self.to_string(),
                what: "precision = \"bf16\" needs a GPU: on the CPU it would be slower than f32 and less exact; \
                       leave it out, or set device = \"cuda:0\""
                    .into(),
            }),
        }
    }

    /// What weights are held in: f32 on the CPU, bf16 on a GPU unless asked otherwise.
    pub fn default_dtype(self) -> DType {
        match self {
            Self::Cpu => DType::F32,
            Self::Cuda(_) => DType::BF16,
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_index: usize) -> Result<Device, String> {
    Err("this binary was built without CUDA; build it with --features cuda, or use cpu".into())
}

/// Burn's CUDA backend panics on a thread of its own where there is no driver, so the probe runs
/// on a thread that may die, with its message kept off the terminal.
#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device, String> {
    use burn::tensor::Tensor;
    let probe = std::thread::Builder::new().name("cuda probe".into()).spawn(move || {
        let device = Device::cuda(index);
        let one = Tensor::<1>::ones([1], &device).sum().into_scalar::<f32>();
        (one == 1.0).then_some(device)
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = probe.map_err(|e| e.to_string()).map(std::thread::JoinHandle::join);
    std::panic::set_hook(hook);
    match outcome? {
        Ok(Some(device)) => Ok(device),
        Ok(None) => Err("the GPU answers, but computes wrongly".into()),
        Err(_) => Err(format!(
            "no usable NVIDIA GPU number {index}: check nvidia-smi, the driver, and that NVRTC \
             (libnvrtc) can be loaded"
        )),
    }
}
