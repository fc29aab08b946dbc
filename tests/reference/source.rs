//! Structs of settings, read from the source for what only the source has: their fields' descriptions.

use crate::root;
use std::path::{Path, PathBuf};
use syn::{Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

/// Where structs of settings are.
const CRATES: [&str; 9] = [
    "crates/service",
    "crates/cluster",
    "crates/queue",
    "crates/worker",
    "services/coordinator",
    "services/rollout",
    "services/labeler",
    "services/reward",
    "services/learner",
];

/// A struct with named fields, or an enum of names.
pub struct Definition {
    pub name: String,
    pub file: PathBuf,
    pub fields: Vec<Field>,
    /// Of an enum, as they are written in a configuration.
    pub variants: Vec<String>,
}

/// A setting, or a section.
pub struct Field {
    pub name: String,
    pub doc: String,
    pub kind: Kind,
}

/// What a field holds.
pub enum Kind {
    /// One value, of this type.
    Value(String),
    /// A type that may be a section of its own: its name, and the modules before it.
    Named(Vec<String>),
    /// Sections by name.
    Map(Vec<String>),
    /// What no setting is.
    Other,
}

/// All structs and enums of settings.
pub fn definitions() -> Vec<Definition> {
    let mut definitions = Vec::new();
    for name in CRATES {
        let mut folders = vec![root(name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    definitions.extend(of_file(&path));
                }
            }
        }
    }
    definitions
}

fn of_file(path: &Path) -> Vec<Definition> {
    let text = std::fs::read_to_string(path).unwrap();
    let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.items.iter().filter_map(|item| definition(path, item)).collect()
}

/// None of what is not read from a configuration or a message.
fn definition(path: &Path, item: &Item) -> Option<Definition> {
    let attributes = match item {
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        _ => return None,
    };
    let is_read = |attribute: &syn::Attribute| match &attribute.meta {
        Meta::List(list) => list.tokens.to_string().contains("Deserialize"),
        _ => false,
    };
    if !attributes.iter().any(is_read) {
        return None;
    }
    let (name, fields, variants) = match item {
        Item::Struct(item) => {
            let Fields::Named(fields) = &item.fields else { return None };
            let fields = fields.named.iter().map(|field| Field {
                name: field.ident.as_ref().unwrap().to_string(),
                doc: doc(&field.attrs),
                kind: kind(&field.ty),
            });
            (&item.ident, fields.collect(), Vec::new())
        }
        Item::Enum(item) if item.variants.iter().all(|v| v.fields.is_empty()) => {
            let variants = item.variants.iter().map(|v| v.ident.to_string().to_lowercase());
            (&item.ident, Vec::new(), variants.collect())
        }
        _ => return None,
    };
    Some(Definition { name: name.to_string(), file: path.to_owned(), fields, variants })
}

fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn kind(of: &Type) -> Kind {
    let Type::Path(path) = of else { return Kind::Other };
    let segments = &path.path.segments;
    let names: Vec<String> = segments.iter().map(|segment| segment.ident.to_string()).collect();
    let last = segments.last().unwrap();
    let arguments: Vec<&Type> = match &last.arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(argument) => Some(argument),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let value = |text: &str| Kind::Value(text.to_owned());
    match (names.last().unwrap().as_str(), arguments.as_slice()) {
        ("Option", [inner]) => kind(inner),
        ("BTreeMap", [_, inner]) => match kind(inner) {
            Kind::Named(names) => Kind::Map(names),
            _ => Kind::Other,
        },
        ("Vec", [inner]) => match kind(inner) {
            Kind::Value(text) => Kind::Value(format!("list of {text}")),
            _ => Kind::Other,
        },
        ("bool", _) => value("true or false"),
        ("u32" | "u64" | "usize" | "f64", _) => value("number"),
        ("Duration", _) => value("duration"),
        ("SocketAddr", _) => value("address:port"),
        ("PathBuf", _) => value("path"),
        ("String", _) => value("text"),
        ("Secret", _) => value("secret"),
        ("Money", _) => value("amount of money"),
        ("Precision", _) => value("f32 or bf16"),
        _ => Kind::Named(names),
    }
}
