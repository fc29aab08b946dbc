//! The conventions: what `proto/README.md` asks of every proto.

use super::our_files;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use std::collections::HashMap;

// Field numbers in descriptor.proto, of which the paths of source locations are made.
const FILE_MESSAGES: i32 = 4;
const FILE_ENUMS: i32 = 5;
const FILE_SERVICES: i32 = 6;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_MESSAGES: i32 = 3;
const MESSAGE_ENUMS: i32 = 4;
const MESSAGE_ONEOFS: i32 = 8;
const ENUM_VALUES: i32 = 2;
const SERVICE_METHODS: i32 = 2;

/// Something that has a name, where it stands in its file, and of which kind it is.
struct Named {
    name: String,
    path: Vec<i32>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Type,
    Field,
    Value,
    Method,
}

/// Everything in `file` that somebody wrote a name for.
fn names(file: &FileDescriptorProto) -> Vec<Named> {
    let mut names = Vec::new();
    for (i, message) in (0..).zip(&file.message_type) {
        message_names(message, vec![FILE_MESSAGES, i], &mut names);
    }
    for (i, kind) in (0..).zip(&file.enum_type) {
        enum_names(kind, vec![FILE_ENUMS, i], &mut names);
    }
    for (i, service) in (0..).zip(&file.service) {
        let path = vec![FILE_SERVICES, i];
        for (j, method) in (0..).zip(&service.method) {
            let path = below(&path, SERVICE_METHODS, j);
            names.push(Named { name: method.name().into(), path, kind: Kind::Method });
        }
        names.push(Named { name: service.name().into(), path, kind: Kind::Type });
    }
    names
}

fn message_names(message: &DescriptorProto, path: Vec<i32>, names: &mut Vec<Named>) {
    for (i, field) in (0..).zip(&message.field) {
        let path = below(&path, MESSAGE_FIELDS, i);
        names.push(Named { name: field.name().into(), path, kind: Kind::Field });
    }
    // `optional` makes a oneof, and `map` a message, that nobody wrote.
    for (i, oneof) in (0..).zip(&message.oneof_decl).filter(|(_, o)| !o.name().starts_with('_')) {
        let path = below(&path, MESSAGE_ONEOFS, i);
        names.push(Named { name: oneof.name().into(), path, kind: Kind::Field });
    }
    let is_map = |m: &DescriptorProto| m.options.as_ref().is_some_and(|o| o.map_entry());
    for (i, nested) in (0..).zip(&message.nested_type).filter(|(_, nested)| !is_map(nested)) {
        message_names(nested, below(&path, MESSAGE_MESSAGES, i), names);
    }
    for (i, nested) in (0..).zip(&message.enum_type) {
        enum_names(nested, below(&path, MESSAGE_ENUMS, i), names);
    }
    names.push(Named { name: message.name().into(), path, kind: Kind::Type });
}

fn enum_names(kind: &EnumDescriptorProto, path: Vec<i32>, names: &mut Vec<Named>) {
    for (i, value) in (0..).zip(&kind.value) {
        let path = below(&path, ENUM_VALUES, i);
        names.push(Named { name: value.name().into(), path, kind: Kind::Value });
    }
    names.push(Named { name: kind.name().into(), path, kind: Kind::Type });
}

fn below(path: &[i32], field: i32, index: i32) -> Vec<i32> {
    [path, &[field, index]].concat()
}

/// The comments of a file, by the path of what they stand before.
fn comments(file: &FileDescriptorProto) -> HashMap<&[i32], &str> {
    let locations = &file.source_code_info.as_ref().expect("built with source info").location;
    locations.iter().map(|l| (l.path.as_slice(), l.leading_comments().trim())).collect()
}

/// `UnscorableReason` as `UNSCORABLE_REASON`.
fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (i, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && i > 0 {
            upper.push('_');
        }
        upper.extend(letter.to_uppercase());
    }
    upper
}

#[test]
fn a_folder_is_a_package_and_its_last_part_is_the_version() {
    for file in our_files() {
        let folder = file.package().replace('.', "/");
        assert!(file.name().starts_with(&format!("{folder}/")), "{} is elsewhere", file.name());
        assert!(folder.ends_with("/v1"), "{} has no version", file.name());
    }
}

#[test]
fn everything_has_a_comment() {
    for file in our_files() {
        let comments = comments(&file);
        for Named { name, path, .. } in names(&file) {
            let comment = comments.get(path.as_slice()).copied().unwrap_or_default();
            assert!(!comment.is_empty(), "{}: {name} has no comment before it", file.name());
        }
    }
}

#[test]
fn an_rpc_says_in_one_sentence_who_calls_it() {
    for file in our_files() {
        let comments = comments(&file);
        for method in names(&file).iter().filter(|n| n.kind == Kind::Method) {
            let comment = comments[method.path.as_slice()].replace('\n', " ");
            let is_sentence = comment.matches(". ").count() == 0 && comment.ends_with('.');
            assert!(
                comment.starts_with("Called by ") && is_sentence,
                "{}: {} must say \"Called by ... .\", but says {comment:?}",
                file.name(),
                method.name
            );
        }
    }
}

#[test]
fn an_rpc_has_a_request_and_a_response_of_its_own() {
    for file in our_files() {
        for service in &file.service {
            assert!(service.name().ends_with("Service"), "{} is no XxxService", service.name());
            for method in &service.method {
                let own = |end| format!(".{}.{}{end}", file.package(), method.name());
                assert_eq!(method.input_type(), own("Request"));
                assert_eq!(method.output_type(), own("Response"));
            }
        }
        // Two services of a package could share a method's name, and with it the messages.
        let methods = file.service.iter().flat_map(|service| &service.method);
        let mut inputs: Vec<_> = methods.map(|method| method.input_type()).collect();
        let count = inputs.len();
        inputs.sort_unstable();
        inputs.dedup();
        assert_eq!(inputs.len(), count, "{}: a request is shared", file.name());
    }
}

#[test]
fn the_zero_of_an_enum_is_unspecified_and_values_carry_its_name() {
    for file in our_files() {
        let nested = file.message_type.iter().flat_map(|message| &message.enum_type);
        for kind in file.enum_type.iter().chain(nested) {
            let prefix = upper_snake(kind.name());
            let zero = &kind.value[0];
            assert_eq!(zero.name(), format!("{prefix}_UNSPECIFIED"));
            assert_eq!(zero.number(), 0, "{}", zero.name());
            for value in &kind.value {
                assert!(value.name().starts_with(&format!("{prefix}_")), "{}", value.name());
            }
        }
    }
}

#[test]
fn names_are_spelled_as_their_kind_is_and_units_come_last() {
    const UNITS: &[&str] = &["seconds", "ms", "bytes", "tokens"];
    let is_one_of = |name: &str, odd: fn(char) -> bool| !name.contains(odd);
    for file in our_files() {
        for Named { name, kind, .. } in names(&file) {
            let first = name.chars().next().expect("names are not empty");
            let sound = match kind {
                Kind::Type | Kind::Method => first.is_ascii_uppercase() && !name.contains('_'),
                Kind::Field => {
                    is_one_of(&name, |c| c != '_' && !matches!(c, 'a'..='z' | '0'..='9'))
                }
                Kind::Value => {
                    is_one_of(&name, |c| c != '_' && !matches!(c, 'A'..='Z' | '0'..='9'))
                }
            };
            assert!(sound, "{}: {name} is not spelled as its kind is", file.name());
            let mut words: Vec<&str> = name.split('_').collect();
            words.pop();
            let unit = words.iter().find(|word| UNITS.contains(word));
            assert!(unit.is_none(), "{}: {name} must end in its unit", file.name());
        }
    }
}
