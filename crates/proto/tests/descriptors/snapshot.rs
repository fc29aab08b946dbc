//! The snapshot: one line for everything a client can depend on, each whole in itself.

use super::our_files;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    ServiceDescriptorProto,
};
use std::path::Path;

const RENEW: &str = "RLAIF_RENEW_SNAPSHOT";

#[test]
fn the_wire_is_what_the_snapshot_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/descriptors/snapshot.txt");
    let found: Vec<String> = our_files().iter().flat_map(describe_file).collect();
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&path, found.join("\n") + "\n").expect("the snapshot is written");
        return;
    }
    let text = std::fs::read_to_string(&path).expect("the snapshot is committed");
    let committed: Vec<&str> = text.lines().collect();
    let gone = committed.iter().filter(|line| !found.iter().any(|f| f == *line));
    let new = found.iter().filter(|line| !committed.contains(&line.as_str()));
    let gone: String = gone.map(|line| format!("- {line}\n")).collect();
    let new: String = new.map(|line| format!("+ {line}\n")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the protos differ from {}:\n\n{gone}{new}\n\
         v1 only grows: a line with - breaks clients that exist. If nothing but lines with + is \
         meant, renew it with\n    {RENEW}=1 cargo test -p rlaif-proto --test descriptors\n",
        path.display()
    );
}

fn describe_file(file: &FileDescriptorProto) -> Vec<String> {
    let package = file.package();
    let mut lines = vec![format!("package {package} in {}", file.name())];
    lines.extend(file.service.iter().flat_map(|service| describe_service(package, service)));
    lines.extend(file.message_type.iter().flat_map(|message| describe_message(package, message)));
    lines.extend(file.enum_type.iter().flat_map(|kind| describe_enum(package, kind)));
    lines
}

fn describe_service(package: &str, service: &ServiceDescriptorProto) -> Vec<String> {
    let method = |method: &prost_types::MethodDescriptorProto| {
        let stream = |yes| if yes { "stream " } else { "" };
        format!(
            "rpc {package}.{}.{}({}{}) returns ({}{})",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.'),
        )
    };
    service.method.iter().map(method).collect()
}

fn describe_message(scope: &str, message: &DescriptorProto) -> Vec<String> {
    let name = format!("{scope}.{}", message.name());
    let mut lines = vec![format!("message {name}")];
    lines.extend(message.field.iter().map(|field| {
        format!(
            "field {name}.{} = {}: {}",
            field.name(),
            field.number(),
            describe_type(message, field)
        )
    }));
    let reserved = message.reserved_range.iter();
    lines.extend(reserved.map(|r| format!("reserved {name} {}..{}", r.start(), r.end())));
    lines.extend(message.reserved_name.iter().map(|r| format!("reserved {name} {r}")));
    lines.extend(message.nested_type.iter().flat_map(|nested| describe_message(&name, nested)));
    lines.extend(message.enum_type.iter().flat_map(|nested| describe_enum(&name, nested)));
    lines
}

fn describe_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.type_name() {
        "" => format!("{:?}", field.r#type()).to_lowercase(),
        named => named.trim_start_matches('.').to_owned(),
    };
    match field.oneof_index {
        _ if field.label() == Label::Repeated => format!("repeated {kind}"),
        _ if field.proto3_optional() => format!("optional {kind}"),
        Some(i) => format!("{kind} of oneof {}", message.oneof_decl[i as usize].name()),
        None => kind,
    }
}

fn describe_enum(scope: &str, kind: &EnumDescriptorProto) -> Vec<String> {
    let name = format!("{scope}.{}", kind.name());
    let value = |v: &prost_types::EnumValueDescriptorProto| {
        format!("value {name}.{} = {}", v.name(), v.number())
    };
    std::iter::once(format!("enum {name}")).chain(kind.value.iter().map(value)).collect()
}
