//! Where models run: whether the device that a worker is told of is there.

use super::settings::Told;
use super::{Finding, alike, names};
use rlaif_models::DeviceName;

/// Opens each device that workers are told of, as they do.
pub fn check(told: &[Told]) -> Vec<Finding> {
    let devices = alike(told, |service| Some(service.worker.as_ref()?.device.as_str()));
    let finding = |(device, services): (&str, Vec<&Told>)| {
        let place = format!("worker.device of {} ({device})", names(&services));
        // That it is a device's name was checked with the settings.
        match device.parse::<DeviceName>().map_err(|what| what.to_string()).and_then(opened) {
            Ok(what) => Finding::well("device", place, what),
            Err(what) => Finding::wrong("device", place, what, MEND),
        }
    };
    devices.into_iter().map(finding).collect()
}

const MEND: &str = "run a build with --features cuda on a machine with a GPU and its driver (nvidia-smi lists \
                    them; in a container, the NVIDIA runtime), or set worker.device = \"cpu\"";

fn opened(device: DeviceName) -> Result<String, String> {
    device.open().map_err(|error| error.to_string())?;
    Ok(match device {
        DeviceName::Cpu => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            format!("the processor, {threads} threads")
        }
        DeviceName::Cuda(_) => "the GPU computes".to_owned(),
    })
}
