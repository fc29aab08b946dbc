//! A given amount of memory.

use std::str::FromStr;

/// Memory that may be taken, where somebody says how much instead of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// As much as there happens to be: nothing is refused.
    Any,
    /// So many bytes, on each device.
    Bytes(u64),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("MB", 1_000_000)];
        let parsed = units.into_iter().find_map(|(unit, bytes)| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            (number > 0.0 && number.is_finite()).then_some((number * bytes as f64) as u64)
        });
        let what = || format!("{text:?} is no amount of memory; write 12GB, 800MB, 16GiB, or any");
        parsed.map(Self::Bytes).ok_or_else(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read_as_people_write_them() {
        assert_eq!("12GB".parse(), Ok(Limit::Bytes(12_000_000_000)));
        assert_eq!("1.5 GiB".parse(), Ok(Limit::Bytes(3 << 29)));
        assert_eq!("any".parse(), Ok(Limit::Any));
        for wrong in ["12", "-1GB", "GB", "lots"] {
            assert!(wrong.parse::<Limit>().unwrap_err().contains("12GB"), "{wrong}");
        }
    }
}
