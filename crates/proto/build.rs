//! Compiles `proto/` in pure Rust: protox parses, tonic-prost-build generates, no protoc is needed.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    // Asked for at run time: two checkouts that share a target directory may share this program.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Comments stay in the set: reflection shows them, and the tests ask that they are there.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // A service reflects, and has access rules for, its own package alone.
    for file in &files {
        write_own_descriptors(&root, file, &out)?;
    }

    tonic_prost_build::configure()
        // Sockets are opened by whoever uses a client or server, not here.
        .build_transport(false)
        // Attachments, report chunks and tensors are slices of the message they came in.
        .bytes(".")
        // Metrics keep one order.
        .btree_map(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// One package and what it imports, as `<name>.bin`: what a server of it alone serves.
fn write_own_descriptors(root: &Path, file: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true).open_file(file)?;
    let name = file.with_extension("bin");
    let name = name.file_name().ok_or("a proto file has a name")?;
    Ok(std::fs::write(out.join(name), compiler.encode_file_descriptor_set())?)
}

/// All `.proto` files under `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
