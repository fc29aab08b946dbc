//! `docs/reference/job.md`: every setting of a job file, its type, its default and what it is. Settings and their
//! descriptions are the fields of [`Job`] and their comments; defaults are those that a job is filled in with.

use crate::source::{Definition, Field, Kind, Presence, definitions, find};
use crate::{cell, check, files_below, root};
use rlaif_job::Job;
use rlaif_template::Template;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use toml::{Table, Value};

const INTRODUCTION: &str = "\
# Job files

What a run depends on: `rlaif run job.toml` and `rlaif submit job.toml` read it. A setting that is not below is an
error, and so is a senseless value. [Tuning](../how-to/tuning.md) says which to move by what you see,
[training](../training.md) has the algorithms' formulas.

A required setting must be given where its table is. What is not set is off, or as its description says; the defaults
of a table that is itself not set hold once it is. Where the default of a table is empty, it may be left out, and its
settings have theirs. Relative paths start at the job file.

This page is written from the job's settings by `tests/reference/jobs.rs`.
";

/// Where structs of a job's settings are.
const CRATES: [&str; 3] = ["crates/job", "crates/types", "crates/template"];

/// A job with every table and without any setting that may be left out. It is read, and never checked: the
/// algorithms' tables exclude each other.
const EVERYTHING: &str = "
name = ''
[policy]
model = ''
[labeler]
model = ''
template = ''
asking.reasoning = {}
[data]
prompts = ''
heldout_prompts = ''
[lora]
[sft]
[reward_model]
plateau = {}
staleness = {}
[rl]
reward = 'mixture'
mixture = [{ source = 'model', weight = 1.0, asking.reasoning = {} }]
steps = 0
batch_size = 0
selection = {}
adaptive_kl.target = 1.0
reinforce = {}
rloo = {}
grpo = {}
ppo = {}
online_dpo = {}
dpo = {}
[evaluate.judge]
model = ''
";

/// The defaults of all settings: a job with every table as it is written.
fn defaults() -> Table {
    let job: Job = toml::from_str(EVERYTHING).unwrap();
    let mut written: Table = job.to_toml().parse().unwrap();
    for (path, value) in left_out(&job) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let (name, above) = path.split_last().unwrap();
        table_at(&mut written, above).insert(name.clone(), value);
    }
    written
}

/// What a job is written without where it is the default.
fn left_out(job: &Job) -> Vec<(&'static str, Value)> {
    fn value(setting: &impl Serialize) -> Value {
        Value::try_from(setting).unwrap()
    }
    let (rl, sft) = (&job.rl, job.sft.as_ref().unwrap());
    let reward_model = job.reward_model.as_ref().unwrap();
    vec![
        ("precision", value(&job.precision)),
        ("sft.by", value(&sft.by)),
        ("reward_model.labels", value(&reward_model.labels)),
        ("reward_model.harden", value(&reward_model.harden)),
        ("reward_model.order", value(&reward_model.order)),
        ("reward_model.weighting", value(&reward_model.weighting)),
        ("reward_model.share_prompts", value(&reward_model.share_prompts)),
        ("reward_model.from", value(&reward_model.from)),
        ("reward_model.objective", value(&reward_model.objective)),
        ("rl.algorithm", value(&rl.algorithm)),
        ("rl.group_size", value(&rl.group_size)),
        ("rl.gradient_checkpointing", value(&rl.gradient_checkpointing)),
        ("rl.max_kl_per_token", value(&rl.max_kl_per_token)),
        ("rl.shaping", value(&rl.shaping)),
    ]
}

/// What is at a path; in a list of tables, of the first.
fn at<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (name, below) = path.split_first()?;
    let value = table.get(name)?;
    match value {
        _ if below.is_empty() => Some(value),
        Value::Array(tables) => at(tables.first()?.as_table()?, below),
        value => at(value.as_table()?, below),
    }
}

/// The table at a path, which is there; in a list of tables the first.
fn table_at<'a>(mut table: &'a mut Table, path: &[String]) -> &'a mut Table {
    for name in path {
        let value = table.get_mut(name).unwrap_or_else(|| panic!("a job has no {name}"));
        table = match value {
            Value::Array(tables) => tables[0].as_table_mut().unwrap(),
            value => value.as_table_mut().unwrap(),
        };
    }
    table
}

/// What a setting is, to who writes it.
enum Shape<'a> {
    /// A value of this type.
    Value(&'a str),
    /// One of an enum's words.
    Word(&'a Definition),
    /// A table.
    Table(usize),
    /// A list of tables.
    List(usize),
}

/// A place where a table is.
struct Place {
    path: Vec<String>,
    /// Whether it is a list of tables.
    list: bool,
}

impl Place {
    /// As a file's lines have it.
    fn written(&self) -> String {
        let path = self.path.join(".");
        if self.list { format!("[[{path}]]") } else { format!("[{path}]") }
    }

    /// The path of a setting in it.
    fn with(&self, field: &Field) -> Vec<String> {
        [&self.path[..], std::slice::from_ref(&field.name)].concat()
    }
}

/// A section of the page: settings of one struct, wherever it is.
struct Section {
    definition: usize,
    /// The first is its heading.
    places: Vec<Place>,
}

struct Reference {
    definitions: Vec<Definition>,
    defaults: Table,
    sections: Vec<Section>,
}

impl Reference {
    fn read() -> Self {
        let definitions = definitions(&CRATES);
        let file = root("crates/job/src/config/mod.rs");
        let job = find(&definitions, &["Job".to_owned()], &file).expect("there are jobs");
        let mut reference = Self { definitions, defaults: defaults(), sections: Vec::new() };
        reference.visit(job, Place { path: Vec::new(), list: false });
        reference
    }

    /// Adds the table of a struct, and those in it.
    fn visit(&mut self, definition: usize, place: Place) {
        let below: Vec<(usize, Place)> = self.definitions[definition]
            .fields
            .iter()
            .filter_map(|field| {
                let path = place.with(field);
                match self.shape(definition, field) {
                    Shape::Value(_) | Shape::Word(_) => None,
                    Shape::Table(found) => Some((found, Place { path, list: false })),
                    Shape::List(found) => Some((found, Place { path, list: true })),
                }
            })
            .collect();
        match self.sections.iter_mut().find(|section| section.definition == definition) {
            Some(section) => section.places.push(place),
            None => self.sections.push(Section { definition, places: vec![place] }),
        }
        for (definition, place) in below {
            self.visit(definition, place);
        }
    }

    fn shape<'a>(&'a self, definition: usize, field: &'a Field) -> Shape<'a> {
        let of = &self.definitions[definition];
        self.shape_of(&field.kind, &of.file)
            .unwrap_or_else(|| panic!("what is {} of {}?", field.name, of.name))
    }

    fn shape_of<'a>(&'a self, kind: &'a Kind, from: &Path) -> Option<Shape<'a>> {
        match kind {
            Kind::Value(text) => Some(Shape::Value(text)),
            Kind::List(names) => find(&self.definitions, names, from).map(Shape::List),
            Kind::Map(_) | Kind::Other => None,
            Kind::Named(names) => {
                let index = find(&self.definitions, names, from)?;
                let found = &self.definitions[index];
                match &found.read_as {
                    Some(kind) => self.shape_of(kind, &found.file),
                    None if found.variants.is_empty() => Some(Shape::Table(index)),
                    None => Some(Shape::Word(found)),
                }
            }
        }
    }

    fn page(&self) -> String {
        let mut page = INTRODUCTION.to_owned();
        for section in &self.sections {
            self.describe(&mut page, section);
        }
        templates(&mut page);
        page
    }

    fn describe(&self, page: &mut String, section: &Section) {
        let definition = &self.definitions[section.definition];
        let (first, others) = section.places.split_first().unwrap();
        write!(page, "\n## {}\n\n{}\n", heading(&first.path), prose(&definition.doc)).unwrap();
        if first.list {
            writeln!(page, "`{}`, as often as wanted.", first.written()).unwrap();
        }
        if !others.is_empty() {
            let others: Vec<String> =
                others.iter().map(|place| format!("`{}`", place.written())).collect();
            writeln!(page, "The same in {}.", others.join(", ")).unwrap();
        }
        page.push_str("\n| setting | type | default | |\n|---|---|---|---|\n");
        for field in &definition.fields {
            page.push_str(&self.row(section, field));
        }
        for field in &definition.fields {
            if let Shape::Word(of) = self.shape(section.definition, field) {
                write!(page, "\n`{}`: {}\n\n", field.name, prose(&of.doc)).unwrap();
                for variant in &of.variants {
                    writeln!(page, "- `{}`: {}", variant.name, prose(&variant.doc)).unwrap();
                }
            }
        }
    }

    fn row(&self, section: &Section, field: &Field) -> String {
        let place = &section.places[0];
        let shape = self.shape(section.definition, field);
        let kind = match &shape {
            Shape::Value(kind) => (*kind).to_owned(),
            Shape::Word(of) => {
                let words: Vec<String> =
                    of.variants.iter().map(|variant| format!("`\"{}\"`", variant.name)).collect();
                words.join(", ")
            }
            Shape::Table(index) => format!("[table](#{})", self.anchor(*index)),
            Shape::List(index) => format!("[list of tables](#{})", self.anchor(*index)),
        };
        let default = match (field.presence, &shape) {
            (Presence::Required, _) => "required".to_owned(),
            (Presence::Optional, Shape::Table(_)) => "not set".to_owned(),
            (Presence::Defaulted, Shape::Table(_)) => String::new(),
            (Presence::Defaulted, Shape::List(_)) => "none".to_owned(),
            _ => self.default(section, field),
        };
        let path = place.with(field).join(".");
        assert!(!field.doc.is_empty(), "{path} is not described");
        format!("| `{}` | {kind} | {default} | {} |\n", field.name, cell(&prose(&field.doc)))
    }

    /// The default of a value, which is the same wherever its table is.
    fn default(&self, section: &Section, field: &Field) -> String {
        let of = |place: &Place| at(&self.defaults, &place.with(field));
        let default = of(&section.places[0]);
        for place in &section.places {
            let path = place.with(field).join(".");
            assert!(of(place) == default, "{path} has another default than elsewhere");
            let known = default.is_some() || field.presence == Presence::Optional;
            assert!(known, "{path} is in no job that is written; `left_out` has to name it");
        }
        default.map_or("not set".to_owned(), |value| format!("`{}`", cell(&value.to_string())))
    }

    /// Where the page describes a struct, as GitHub names its heading.
    fn anchor(&self, definition: usize) -> String {
        let section = self.sections.iter().find(|section| section.definition == definition);
        heading(&section.expect("it was visited").places[0].path).replace('.', "")
    }

    /// Every setting, with the table that it is in.
    fn settings(&self) -> impl Iterator<Item = (&Section, &Place, &Field)> {
        self.sections.iter().flat_map(move |section| {
            let fields = &self.definitions[section.definition].fields;
            let places = section.places.iter();
            places.flat_map(move |place| fields.iter().map(move |field| (section, place, field)))
        })
    }

    /// A job file that says nothing but this.
    fn saying(&self, path: &[String], mut value: Value) -> Value {
        for (above, name) in path.iter().enumerate().rev() {
            let is_list = |place: &Place| place.list && place.path == path[..=above];
            if self.sections.iter().flat_map(|section| &section.places).any(is_list) {
                value = Value::Array(vec![value]);
            }
            value = Value::Table(Table::from_iter([(name.clone(), value)]));
        }
        value
    }
}

fn heading(path: &[String]) -> String {
    if path.is_empty() { "top".to_owned() } else { path.join(".") }
}

/// A comment as a sentence of the page, which links of rustdoc do not belong in.
#[track_caller]
fn prose(doc: &str) -> String {
    assert!(!doc.contains("[`"), "a comment that is on the page has a link of rustdoc: {doc}");
    assert!(!doc.trim().is_empty(), "something on the page is not described");
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn templates(page: &mut String) {
    page.push_str(
        "\n## Built-in templates\n\nWhat `template` and `templates` may name beside files; \
         `rlaif templates show NAME` prints one.\n\n| template | asks for | exemplars | rationale |\n\
         |---|---|---|---|\n",
    );
    for name in Template::built_in_names() {
        let template = Template::load(name).unwrap();
        let exemplars = template.exemplars.len();
        let rationale = if template.rationale.is_some() { "yes" } else { "" };
        let kind = template.kind.describe();
        writeln!(page, "| `{name}` | {kind} | {exemplars} | {rationale} |").unwrap();
    }
}

#[test]
fn the_reference_of_jobs_is_what_the_code_says() {
    check("job.md", &Reference::read().page());
}

/// What serde says of a job, for it reads no job in these tests to its end.
fn complaint(job: Value) -> String {
    job.try_into::<Job>().unwrap_err().to_string()
}

/// The page has no setting and no word that jobs do not know.
#[test]
fn every_setting_of_the_reference_is_known_to_jobs() {
    let reference = Reference::read();
    for (section, place, field) in reference.settings() {
        let path = place.with(field);
        let words: Vec<Value> = match reference.shape(section.definition, field) {
            // Of the wrong type, or right and alone.
            Shape::Value(_) => vec![Value::Array(Vec::new())],
            Shape::Word(of) => {
                of.variants.iter().map(|variant| Value::String(variant.name.clone())).collect()
            }
            Shape::Table(_) | Shape::List(_) => continue,
        };
        for word in words {
            let complaint = complaint(reference.saying(&path, word));
            assert!(!complaint.contains("unknown"), "{}: {complaint}", path.join("."));
        }
    }
}

/// Without any one of the required settings a job with all of them is none.
#[test]
fn what_the_reference_calls_required_is() {
    let reference = Reference::read();
    let required = reference.settings().filter(|(.., field)| field.presence == Presence::Required);
    for (_, place, field) in required {
        let mut job: Table = EVERYTHING.parse().unwrap();
        let removed = table_at(&mut job, &place.path).remove(&field.name);
        let path = place.with(field).join(".");
        assert!(removed.is_some(), "{path} must be in EVERYTHING");
        let complaint = complaint(Value::Table(job));
        let expected = format!("missing field `{}`", field.name);
        assert!(complaint.contains(&expected), "{path}: {complaint}");
    }
}

/// The paths of all settings and tables in a table.
fn paths(table: &Table, above: &str) -> Vec<String> {
    let of_one = |(name, value): (&String, &Value)| {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let below: Vec<String> = match value {
            Value::Table(table) => paths(table, &path),
            Value::Array(values) => {
                let tables = values.iter().filter_map(Value::as_table);
                tables.flat_map(|table| paths(table, &path)).collect()
            }
            _ => Vec::new(),
        };
        [vec![path], below].concat()
    };
    table.iter().flat_map(of_one).collect()
}

/// No struct was missed: the page has what the jobs of this repository say, and what a job is filled in with.
#[test]
fn every_setting_of_a_job_is_in_the_reference() {
    let reference = Reference::read();
    let described: BTreeSet<String> =
        reference.settings().map(|(_, place, field)| place.with(field).join(".")).collect();
    let mut jobs = vec![("a job that is filled in".to_owned(), defaults())];
    let folders = ["services/rlaif/quickstart", "examples", "experiments"];
    for file in folders.map(|folder| files_below(folder, "toml")).concat() {
        let table: Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        // Templates and experiments are TOML, too.
        if table.contains_key("rl") {
            jobs.push((file.display().to_string(), table));
        }
    }
    assert!(jobs.len() > 10, "the repository has more than {} jobs", jobs.len());
    for (name, job) in jobs {
        for path in paths(&job, "") {
            assert!(described.contains(&path), "{name} has {path}, which is not described");
        }
    }
}
