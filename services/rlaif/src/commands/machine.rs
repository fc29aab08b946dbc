//! Options that say what a run may use of this machine.

use crate::memory::MemoryArgs;
use rlaif_models::DeviceName;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct MachineArgs {
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// Further devices that share the micro-batches of training, such as cuda:1,cuda:2; each takes a copy of
    /// what is trained. The same bits in less time.
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub training_replicas: Vec<DeviceName>,
}
