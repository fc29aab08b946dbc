//! What a process has used, as Linux counts it.

/// Ticks a second of `/proc`: 100 on every Linux of today.
const TICKS_PER_S: f64 = 100.0;

/// Processor time of this process so far.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    // Fields count from behind the name, which may hold anything but a last parenthesis.
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|t| t.parse::<f64>().expect("a number")).sum();
    ticks / TICKS_PER_S
}

/// Memory of this process now, in MiB.
pub fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}
