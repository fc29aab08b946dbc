//! Structs of settings, read from the source for what only the source has: descriptions, and what may be left out.

use crate::{files_below, root};
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Token, Type};

/// A struct with named fields, an enum of names, or a type that is read as another one.
pub struct Definition {
    pub name: String,
    pub doc: String,
    pub file: PathBuf,
    pub fields: Vec<Field>,
    /// Of an enum.
    pub variants: Vec<Variant>,
    /// What is read in its place: `#[serde(from = "String")]`.
    pub read_as: Option<Kind>,
}

/// A word that a setting may be, as it is written in a configuration.
pub struct Variant {
    pub name: String,
    pub doc: String,
}

/// A setting, or a section.
pub struct Field {
    pub name: String,
    pub doc: String,
    pub kind: Kind,
    pub presence: Presence,
}

/// Whether a setting must be given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    /// It is not set unless it is given.
    Optional,
    /// It has a default.
    Defaulted,
}

/// What a field holds.
pub enum Kind {
    /// One value, of this type.
    Value(String),
    /// A type that may be a section of its own: its name, and the modules before it.
    Named(Vec<String>),
    /// Sections by name.
    Map(Vec<String>),
    /// A list of sections.
    List(Vec<String>),
    /// What no setting is.
    Other,
}

/// All structs and enums of these crates that are read from a configuration or a message.
pub fn definitions(crates: &[&str]) -> Vec<Definition> {
    let files = crates.iter().flat_map(|name| files_below(&format!("{name}/src"), "rs"));
    files.flat_map(|file| of_file(&file)).collect()
}

/// The crate's folder of a source file, and its path in `src`.
fn parts(file: &Path) -> (String, String) {
    let file = file.to_string_lossy().into_owned();
    let (folder, inside) = file.rsplit_once("/src/").unwrap_or((file.as_str(), ""));
    (folder.to_owned(), inside.to_owned())
}

/// The folder of the crate of ours that a file imports a name from: `crates/queue`.
fn imported(name: &str, file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        line.starts_with("use rlaif_") && words.any(|word| word == name)
    })?;
    let rest = line.trim_start_matches("use rlaif_");
    Some(format!("crates/{}", rest.split("::").next()?))
}

/// The definition that a type's name means in a file: of the module that is named before it, else of the
/// same file, the same crate, the crate that it is imported from, or the only one.
pub fn find(definitions: &[Definition], names: &[String], from: &Path) -> Option<usize> {
    let (name, modules) = names.split_last()?;
    let all: Vec<usize> =
        (0..definitions.len()).filter(|i| definitions[*i].name == *name).collect();
    let narrowed = |keep: &dyn Fn(&Path) -> bool| {
        let kept: Vec<usize> =
            all.iter().copied().filter(|i| keep(&definitions[*i].file)).collect();
        (kept.len() == 1).then(|| kept[0])
    };
    if let Some(module) = name.strip_suffix("Config").filter(|_| all.is_empty()) {
        // Exported under another name, as `probes::Config` is as `ProbesConfig`.
        return find(definitions, &[module.to_lowercase(), "Config".to_owned()], from);
    }
    let module = |file: &Path| {
        let inside = parts(file).1;
        let inside: Vec<&str> =
            inside.split('/').map(|part| part.trim_end_matches(".rs")).collect();
        modules.iter().all(|module| inside.contains(&module.as_str()))
    };
    let ours = |file: &Path| parts(file).0 == parts(from).0;
    if modules.is_empty() {
        let imported = imported(name, from);
        return narrowed(&|file| file == from)
            .or_else(|| narrowed(&ours))
            .or_else(|| {
                narrowed(&|file| imported.as_ref().is_some_and(|i| parts(file).0.ends_with(i)))
            })
            .or_else(|| narrowed(&|_| true));
    }
    narrowed(&|file| ours(file) && module(file))
        // `server::Config` is in `server/mod.rs`, beside files with one of their own.
        .or_else(|| narrowed(&|file| module(file) && file.ends_with("mod.rs")))
        .or_else(|| narrowed(&|file| module(file) && parts(file).0.ends_with("crates/service")))
        .or_else(|| {
            // Exported from another module, as `http::Config` is as `metrics::Config`.
            let path = root("crates/service/src").join(modules.first()?).join("mod.rs");
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("pub use crate::"))?;
            let names: Vec<String> =
                line.trim_end_matches(';').split("::").map(str::to_owned).collect();
            if names.last() == Some(name) { find(definitions, &names, from) } else { None }
        })
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
    let is_read = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) => list.tokens.to_string().contains("Deserialize"),
        _ => false,
    };
    if !attributes.iter().any(is_read) {
        return None;
    }
    let said = serde(attributes);
    let word = |names: &[&str]| {
        let of_one = |(name, value): &(String, String)| {
            names.contains(&name.as_str()).then(|| value.clone())
        };
        said.iter().find_map(of_one)
    };
    let read_as = word(&["from", "try_from"]).map(|name| kind(&syn::parse_str(&name).unwrap()));
    let (name, fields, variants) = match item {
        Item::Struct(item) => {
            let defaulted = word(&["default"]).is_some();
            let fields = match &item.fields {
                Fields::Named(fields) => {
                    fields.named.iter().filter_map(|f| field(f, defaulted)).collect()
                }
                _ if read_as.is_some() => Vec::new(),
                _ => return None,
            };
            (&item.ident, fields, Vec::new())
        }
        Item::Enum(item) if item.variants.iter().all(|v| v.fields.is_empty()) => {
            let rule = word(&["rename_all"]).unwrap_or_default();
            let variants = item.variants.iter().map(|variant| Variant {
                name: renamed(&variant.ident.to_string(), &rule),
                doc: doc(&variant.attrs),
            });
            (&item.ident, Vec::new(), variants.collect())
        }
        Item::Enum(item) if read_as.is_some() => (&item.ident, Vec::new(), Vec::new()),
        _ => return None,
    };
    let (name, doc, file) = (name.to_string(), doc(attributes), path.to_owned());
    Some(Definition { name, doc, file, fields, variants, read_as })
}

/// A field of a struct, whose missing fields are `defaulted` or not; none of what is never read.
fn field(of: &syn::Field, defaulted: bool) -> Option<Field> {
    let said = serde(&of.attrs);
    let has = |word: &str| said.iter().any(|(name, _)| name == word);
    if has("skip") || has("skip_deserializing") {
        return None;
    }
    let renamed = said.iter().find(|(name, _)| name == "rename").map(|(_, name)| name.clone());
    let name = renamed.unwrap_or_else(|| of.ident.as_ref().unwrap().to_string());
    let is_option = |of: &Type| match of {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Option"),
        _ => false,
    };
    let presence = match (is_option(&of.ty), defaulted || has("default")) {
        (true, _) => Presence::Optional,
        (false, true) => Presence::Defaulted,
        (false, false) => Presence::Required,
    };
    Some(Field { name, doc: doc(&of.attrs), kind: kind(&of.ty), presence })
}

/// A variant's name by a rule of serde's `rename_all`.
fn renamed(name: &str, rule: &str) -> String {
    match rule {
        "" => name.to_owned(),
        "lowercase" => name.to_lowercase(),
        "snake_case" => {
            let mut snake = String::new();
            for letter in name.chars() {
                if letter.is_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.extend(letter.to_lowercase());
            }
            snake
        }
        rule => panic!("{name} is renamed by the rule {rule}, which is not known here"),
    }
}

/// What serde is told, word by word, with the texts that some words are set to.
fn serde(attributes: &[Attribute]) -> Vec<(String, String)> {
    let ours = attributes.iter().filter(|attribute| attribute.path().is_ident("serde"));
    let words = ours.flat_map(|attribute| {
        attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap()
    });
    let word = |meta: Meta| {
        let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
        let value = match &meta {
            Meta::NameValue(pair) => text(&pair.value),
            _ => None,
        };
        (name, value.unwrap_or_default())
    };
    words.map(word).collect()
}

/// The text of a literal.
fn text(of: &Expr) -> Option<String> {
    match of {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => text(&pair.value),
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
            Kind::Named(names) => Kind::List(names),
            _ => Kind::Other,
        },
        ("bool", _) => value("true or false"),
        ("u32" | "u64" | "usize", _) => value("whole number"),
        ("f32" | "f64", _) => value("number"),
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
