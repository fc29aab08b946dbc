//! The arrows between crates point one way.
#[test]
fn placeholder() {}
