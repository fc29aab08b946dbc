//! What a job takes of memory, estimated before it begins, and what a machine has of it.

mod estimate;
mod limit;
mod longest;
mod machine;
mod room;

pub use estimate::{Models, Place, Stage, Trainer, of_job, of_replicas, optimizers};
pub use limit::Limit;
pub use longest::Longest;
pub use machine::{free, total};
pub(crate) use room::Room;

/// An amount as people read it: "5.1 GB", "300 MB".
pub fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_not_rounded_to_nothing() {
        assert_eq!(readable(50_000_000), "50 MB");
        assert_eq!(readable(5_060_000_000), "5.1 GB");
    }
}
