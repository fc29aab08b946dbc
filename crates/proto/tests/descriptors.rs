//! The protos as others see them: a committed snapshot, so that a break does not slip in, and the
//! conventions that every proto follows.

#[path = "descriptors/conventions.rs"]
mod conventions;
#[path = "descriptors/snapshot.rs"]
mod snapshot;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use rlaif_types::ContentHash;
use std::path::Path;

/// Our own files, imports left out.
fn our_files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(rlaif_proto::FILE_DESCRIPTOR_SET)
        .expect("the set was encoded by our build");
    let ours = |file: &FileDescriptorProto| file.package().starts_with("rlaif.");
    let files: Vec<_> = set.file.into_iter().filter(ours).collect();
    assert_eq!(files.len(), 6, "packages came or went");
    files
}

#[test]
fn the_set_holds_what_its_files_import_so_that_reflection_can_serve_it() {
    let set = FileDescriptorSet::decode(rlaif_proto::FILE_DESCRIPTOR_SET).unwrap();
    for file in &set.file {
        for import in &file.dependency {
            let there = set.file.iter().any(|other| other.name() == import);
            assert!(there, "{} imports {import}, which is not in the set", file.name());
        }
    }
}

#[test]
fn the_python_client_is_generated_from_what_the_snapshot_says() {
    let file = |path: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    };
    let snapshot = ContentHash::of(file("tests/descriptors/snapshot.txt"));
    let generated = file("../../clients/python/src/rlaif_client/wire/v1/snapshot.sha256");
    assert_eq!(generated.trim(), snapshot.as_str(), "run clients/python/generate");
}
