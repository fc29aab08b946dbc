//! How much memory this process may take, in all and still: what the machine has, within the limits of its control groups;
//! on a GPU, what its driver says.

use rlaif_models::DeviceName;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files with a group's limit and its use, in versions 2 and 1 of control groups.
const FILES: [[&str; 2]; 2] =
    [["memory.max", "memory.current"], ["memory.limit_in_bytes", "memory.usage_in_bytes"]];

/// Bytes that `device` has free; none where nobody says.
pub fn free(device: DeviceName) -> Option<u64> {
    match device {
        DeviceName::Cpu => here("MemAvailable:", left),
        DeviceName::Cuda(index) => of_gpu(index, "memory.free"),
    }
}

/// Bytes that `device` has, whoever holds them at the moment; none where nobody says.
pub fn total(device: DeviceName) -> Option<u64> {
    match device {
        DeviceName::Cpu => here("MemTotal:", limit),
        DeviceName::Cuda(index) => of_gpu(index, "memory.total"),
    }
}

/// As the driver's own tool says: Burn cannot be asked.
fn of_gpu(index: usize, what: &str) -> Option<u64> {
    let gpu = gpu_of(index, env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())?;
    let (query, id) = (format!("--query-gpu={what}"), format!("--id={gpu}"));
    let query = [query.as_str(), "--format=csv,noheader,nounits", id.as_str()];
    let answer = Command::new("nvidia-smi").args(query).output().ok()?;
    let mebibytes: u64 = String::from_utf8(answer.stdout).ok()?.trim().parse().ok()?;
    Some(mebibytes << 20)
}

/// Number or name, for the driver, of the GPU that CUDA calls `index` where only `visible` ones are to be seen.
fn gpu_of(index: usize, visible: Option<&str>) -> Option<String> {
    match visible {
        None => Some(index.to_string()),
        Some(list) => list.split(',').nth(index).map(|gpu| gpu.trim().to_owned()),
    }
}

/// What the machine has by the name `of_machine`, and its groups by their folders, whichever is least.
fn here(of_machine: &str, of_folder: fn(&Path) -> Option<u64>) -> Option<u64> {
    let of_machine = field(&fs::read_to_string("/proc/meminfo").ok()?, of_machine)? * 1024;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let (root, group) = memory_group(line)?;
        of_group(Path::new(root), group, of_folder)
    });
    Some(limits.fold(of_machine, u64::min))
}

/// Where a line of `/proc/self/cgroup` says that memory is limited: the hierarchy's root, and the group below it.
fn memory_group(line: &str) -> Option<(&'static str, &str)> {
    let mut parts = line.splitn(3, ':');
    let (hierarchy, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let group = group.trim_start_matches('/');
    match hierarchy {
        "0" => Some(("/sys/fs/cgroup", group)),
        _ if controllers.split(',').any(|c| c == "memory") => {
            Some(("/sys/fs/cgroup/memory", group))
        }
        _ => None,
    }
}

/// The least that a group and those above it have; none without a limit. In a container the group that the process names
/// may lie above what it sees: then the root is its own.
fn of_group(root: &Path, group: &str, of_folder: fn(&Path) -> Option<u64>) -> Option<u64> {
    let mut folder: PathBuf = root.join(group);
    let mut least = None;
    loop {
        if let Some(its) = of_folder(&folder) {
            least = Some(least.map_or(its, |least: u64| least.min(its)));
        }
        if folder == root || !folder.pop() {
            return least;
        }
    }
}

/// Limit less use; file pages are given back when memory is short.
fn left(folder: &Path) -> Option<u64> {
    let (limit, used) = FILES
        .iter()
        .find_map(|[limit, used]| Some((number(folder, limit)?, number(folder, used)?)))?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let files = ["inactive_file", "active_file"].map(|name| field(&stat, name).unwrap_or(0));
    Some(limit.saturating_add(files.iter().sum()).saturating_sub(used).min(limit))
}

/// Limit, whatever of it is used.
fn limit(folder: &Path) -> Option<u64> {
    FILES.iter().find_map(|[limit, _]| number(folder, limit))
}

/// What a file of a group has; none where it has no number, such as "max".
fn number(folder: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let words = text.lines().map(str::split_whitespace);
    words.into_iter().find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(folder: &Path, max: &str, current: &str, stat: &str) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in
            [("memory.max", max), ("memory.current", current), ("memory.stat", stat)]
        {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_counts_and_its_file_pages_do_not() {
        let root = tempfile::tempdir().unwrap();
        group(
            &root.path().join("a"),
            "10000\n",
            "4000\n",
            "anon 1000\ninactive_file 2000\nactive_file 500\n",
        );
        group(&root.path().join("a/b"), "max\n", "900\n", "");
        assert_eq!(of_group(root.path(), "a/b", left), Some(8500));
        assert_eq!(of_group(root.path(), "a/b", limit), Some(10_000));
        group(&root.path().join("a/b"), "3000\n", "900\n", "");
        assert_eq!(of_group(root.path(), "a/b", left), Some(2100));
        assert_eq!(of_group(root.path(), "a/b", limit), Some(3000));
        assert_eq!(of_group(root.path(), "elsewhere", left), None, "no limit is no number");
    }

    #[test]
    fn a_gpu_is_asked_for_by_what_the_driver_calls_it() {
        assert_eq!(gpu_of(1, None).as_deref(), Some("1"));
        assert_eq!(gpu_of(0, Some("3, GPU-5f")).as_deref(), Some("3"));
        assert_eq!(gpu_of(1, Some("3, GPU-5f")).as_deref(), Some("GPU-5f"));
        assert_eq!(gpu_of(2, Some("3, GPU-5f")), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_known() {
        assert_eq!(memory_group("0::/user/one"), Some(("/sys/fs/cgroup", "user/one")));
        let first = memory_group("4:cpu,memory:/a");
        assert_eq!(first, Some(("/sys/fs/cgroup/memory", "a")));
        assert_eq!(memory_group("7:blkio:/"), None);
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("memory.limit_in_bytes"), "5000").unwrap();
        fs::write(root.path().join("memory.usage_in_bytes"), "1000").unwrap();
        assert_eq!(of_group(root.path(), "", left), Some(4000));
    }
}
