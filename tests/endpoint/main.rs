//! Labels that cost money: a labeler behind an endpoint that fails now and then, asked by processes that
//! are killed. No label is lost, none is made up, and no answer is paid twice but those on their way at a kill.

mod job;
mod label;

use rlaif_testkit::{Faults, Oracle};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::runtime::Runtime;

/// A folder with `oracle.toml`, and the labeler that it describes.
struct Scene {
    folder: tempfile::TempDir,
    oracle: Oracle,
    _runtime: Runtime,
}

impl Scene {
    fn new(faults: Faults) -> Self {
        let runtime = Runtime::new().unwrap();
        let oracle = runtime.block_on(Oracle::start(faults));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("oracle.toml"), oracle.describe()).unwrap();
        Self { folder, oracle, _runtime: runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// `rlaif`, in the folder, with these arguments.
    fn rlaif(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.current_dir(self.folder.path()).args(args.split(' '));
        command
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
