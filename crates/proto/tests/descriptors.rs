//! The protos as others see them: a committed snapshot, so that a break does not slip in, and the
//! conventions that every proto follows.

#[path = "descriptors/conventions.rs"]
mod conventions;
#[path = "descriptors/snapshot.rs"]
mod snapshot;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

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
