//! `docs/reference/protos.md`: every call, message and field on the wire, with the comments of `proto/`.

use crate::{cell, check};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::source_code_info::Location;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Protos

Every call, message and field of the services, one package after the other. How they are used, and how they may
change: [proto](../../proto/README.md). A server with reflection shows the same to `grpcurl`.

This page is written from `proto/` by `tests/reference/protos.rs`.
";

// Numbers of fields in descriptors, which make the paths of comments.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const PARTS: i32 = 2;

struct File<'a> {
    descriptor: &'a FileDescriptorProto,
    locations: &'a [Location],
}

impl File<'_> {
    /// The comment before what is at a path.
    fn comment(&self, path: &[i32]) -> String {
        let location = self.locations.iter().find(|location| location.path == path);
        let comment = location.and_then(|location| location.leading_comments.as_deref());
        cell(comment.unwrap_or_default())
    }

    /// A type without the package where it is of this one.
    fn short<'a>(&self, name: &'a str) -> &'a str {
        let name = name.trim_start_matches('.');
        let own =
            name.strip_prefix(self.descriptor.package()).and_then(|rest| rest.strip_prefix('.'));
        own.unwrap_or(name)
    }

    fn describe(&self, page: &mut String) {
        write!(page, "\n## {}\n", self.descriptor.package()).unwrap();
        for (at, service) in (0..).zip(&self.descriptor.service) {
            let comment = self.comment(&[SERVICES, at]);
            write!(page, "\n### {}\n\n{comment}\n\n", service.name()).unwrap();
            page.push_str("| call | request | answer | |\n|---|---|---|---|\n");
            for (part, method) in (0..).zip(&service.method) {
                let stream = |is: bool| if is { "stream of " } else { "" };
                writeln!(
                    page,
                    "| `{}` | {}`{}` | {}`{}` | {} |",
                    method.name(),
                    stream(method.client_streaming()),
                    self.short(method.input_type()),
                    stream(method.server_streaming()),
                    self.short(method.output_type()),
                    self.comment(&[SERVICES, at, PARTS, part]),
                )
                .unwrap();
            }
        }
        for (at, message) in (0..).zip(&self.descriptor.message_type) {
            self.message(page, message, &[MESSAGES, at]);
        }
        for (at, of) in (0..).zip(&self.descriptor.enum_type) {
            self.enumeration(page, of, &[ENUMS, at]);
        }
    }

    fn message(&self, page: &mut String, message: &DescriptorProto, path: &[i32]) {
        write!(page, "\n### {}\n\n{}\n", message.name(), self.comment(path)).unwrap();
        if message.field.is_empty() {
            return;
        }
        page.push_str("\n| field | type | |\n|---|---|---|\n");
        for (at, field) in (0..).zip(&message.field) {
            // The synthetic choices of optional fields come last.
            let choice = field.oneof_index.filter(|_| !field.proto3_optional());
            let choice = choice.map(|index| message.oneof_decl[index as usize].name());
            let choice = choice.map(|name| format!(" (one of `{name}`)")).unwrap_or_default();
            let kind = self.field_type(message, field);
            let comment = self.comment(&[path, &[PARTS, at]].concat());
            writeln!(page, "| `{}` | {kind}{choice} | {comment} |", field.name()).unwrap();
        }
    }

    fn field_type(&self, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
        let plain = || format!("{:?}", field.r#type()).to_lowercase();
        let name = match field.r#type() {
            Type::Message | Type::Enum => self.short(field.type_name()).to_owned(),
            _ => plain(),
        };
        let entry = message.nested_type.iter().find(|nested| {
            nested.options.as_ref().is_some_and(|options| options.map_entry())
                && field.type_name().ends_with(&format!(".{}", nested.name()))
        });
        if let Some(entry) = entry {
            let [key, value] = [0, 1].map(|at| self.field_type(entry, &entry.field[at]));
            return format!("map of {key} to {value}");
        }
        match field.label() {
            Label::Repeated => format!("repeated `{name}`"),
            _ if field.proto3_optional() => format!("optional `{name}`"),
            _ => format!("`{name}`"),
        }
    }

    fn enumeration(&self, page: &mut String, of: &EnumDescriptorProto, path: &[i32]) {
        write!(page, "\n### {}\n\n{}\n\n", of.name(), self.comment(path)).unwrap();
        page.push_str("| value | |\n|---|---|\n");
        for (at, value) in (0..).zip(&of.value) {
            let comment = self.comment(&[path, &[PARTS, at]].concat());
            writeln!(page, "| `{}` | {comment} |", value.name()).unwrap();
        }
    }
}

#[test]
fn the_reference_of_protos_is_what_the_code_says() {
    let set = FileDescriptorSet::decode(rlaif_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut page = INTRODUCTION.to_owned();
    let mut files: Vec<&FileDescriptorProto> =
        set.file.iter().filter(|file| file.package().starts_with("rlaif.")).collect();
    files.sort_by_key(|file| file.package());
    for descriptor in files {
        let locations = &descriptor.source_code_info.as_ref().expect("comments are kept").location;
        File { descriptor, locations }.describe(&mut page);
    }
    check("protos.md", &page);
}
