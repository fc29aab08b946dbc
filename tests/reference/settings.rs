//! `docs/reference/config.md`: every setting of every service, its default, its variable and what it is. Keys
//! and defaults are those of the services' own configuration; descriptions are their fields' comments.

use crate::source::{Definition, Field, Kind, definitions, find};
use crate::{cell, check, root};
use rlaif_service::config;
use rlaif_worker::Service;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use toml::{Table, Value};

const INTRODUCTION: &str = "\
# Settings

A service reads its built-in defaults, then the file given with `--config`, then the environment; each overrides the
one before. A variable is the path of a setting: `RLAIF__SERVER__ADDRESS=127.0.0.1:7000` sets `server.address`. Its
value is read as a number, a boolean, an array `[..]` or a table `{k = v}` where it looks like one. A setting that no
service knows is an error.

`rlaif SERVICE --dump-config` prints what a service makes of all three, with comments; `rlaif doctor` checks it and what
it names. Durations are written as people do: `90s`, `1m 30s`. A secret is a text, `{ file = \"/run/secrets/token\" }` or
`{ env = \"VARIABLE\" }`, and is shown nowhere.

Where the default is empty, a setting is not set unless it is given. The defaults of a section that is itself not set,
such as `telemetry.otlp`, hold once it is.

This page is written from the services' settings by `tests/reference/settings.rs`.
";

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

/// Sections that are left out unless they are given, with what must then be said.
const WHEN_GIVEN: &str = "\
[server.probes]
address = \"127.0.0.1:1\"
allow_remote = false
max_connections = 1
[telemetry.otlp]
endpoint = \"http://collector:4317\"
";

/// A service with its defaults: without what may be left out, and with it.
struct Configured {
    name: &'static str,
    folder: &'static str,
    plain: Table,
    given: Table,
}

impl Configured {
    fn coordinator() -> Self {
        let config =
            |file: Option<&Path>| rlaif_coordinator::service::Config::load(file).unwrap().dump();
        Self::of("coordinator", "services/coordinator", config)
    }

    fn worker<S: Service>(name: &'static str, folder: &'static str) -> Self {
        let defaults = rlaif_worker::config::defaults::<S>();
        Self::of(name, folder, |file: Option<&Path>| {
            let config: rlaif_worker::Config<S::Direct> = config::load(&defaults, file).unwrap();
            config::dump(&defaults, &config).unwrap()
        })
    }

    fn of(
        name: &'static str,
        folder: &'static str,
        dump: impl Fn(Option<&Path>) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("given.toml");
        std::fs::write(&file, WHEN_GIVEN).unwrap();
        let read = |text: String| text.parse::<Table>().unwrap();
        Self { name, folder, plain: read(dump(None)), given: read(dump(Some(&file))) }
    }

    /// The default of a setting as TOML.
    fn default(&self, path: &[&str]) -> Option<String> {
        let said = at(&WHEN_GIVEN.parse().unwrap(), path).is_some();
        let value = at(&self.plain, path).or_else(|| at(&self.given, path).filter(|_| !said))?;
        Some(value.to_string())
    }
}

fn at(table: &Table, path: &[&str]) -> Option<Value> {
    let (last, sections) = path.split_last()?;
    let section = sections.iter().try_fold(table, |table, name| table.get(*name)?.as_table())?;
    section.get(*last).filter(|value| !value.is_table()).cloned()
}

/// A section of the page: settings of one struct at one path, and which services have it.
struct Section {
    path: Vec<String>,
    definition: usize,
    services: Vec<usize>,
}

struct Reference {
    services: Vec<Configured>,
    definitions: Vec<Definition>,
    sections: Vec<Section>,
}

impl Reference {
    fn read() -> Self {
        let services = vec![
            Configured::coordinator(),
            Configured::worker::<rlaif_rollout::Rollout>("rollout", "services/rollout"),
            Configured::worker::<rlaif_labeler::Labeler>("labeler", "services/labeler"),
            Configured::worker::<rlaif_reward::Reward>("reward", "services/reward"),
            Configured::worker::<rlaif_learner::Learner>("learner", "services/learner"),
        ];
        let mut reference =
            Self { services, definitions: definitions(&CRATES), sections: Vec::new() };
        for service in 0..reference.services.len() {
            let folder = if service == 0 { "services/coordinator" } else { "crates/worker" };
            let top = reference
                .find(&["config".into(), "Config".into()], &root(folder).join("src/lib.rs"));
            reference.visit(service, &[], top.expect("a service has a configuration"));
        }
        reference
    }

    fn find(&self, names: &[String], from: &Path) -> Option<usize> {
        find(&self.definitions, names, from)
    }

    /// Adds a struct's settings at a path, and the sections below it.
    fn visit(&mut self, service: usize, path: &[String], definition: usize) {
        let is_it =
            |section: &&mut Section| section.path == path && section.definition == definition;
        match self.sections.iter_mut().find(is_it) {
            Some(section) => section.services.push(service),
            None => {
                let services = vec![service];
                self.sections.push(Section { path: path.to_vec(), definition, services });
            }
        }
        let below: Vec<(Vec<String>, usize)> = self.definitions[definition]
            .fields
            .iter()
            .filter_map(|field| self.section_below(service, path, definition, field))
            .collect();
        for (path, definition) in below {
            self.visit(service, &path, definition);
        }
    }

    /// Where a field is a section, its path and its definition.
    fn section_below(
        &self,
        service: usize,
        path: &[String],
        definition: usize,
        field: &Field,
    ) -> Option<(Vec<String>, usize)> {
        let from = self.definitions[definition].file.clone();
        let mut path = [path, std::slice::from_ref(&field.name)].concat();
        let names = match &field.kind {
            Kind::Value(_) | Kind::List(_) | Kind::Other => return None,
            // A worker's configuration is generic over its section for direct callers.
            Kind::Named(names) if names.as_slice() == ["D"] => {
                let lib = root(self.services[service].folder).join("src/lib.rs");
                let found = self.find(&["service".into(), "Direct".into()], &lib)?;
                return Some((path, found));
            }
            Kind::Named(names) => names,
            Kind::Map(names) => {
                path.push("NAME".to_owned());
                names
            }
        };
        let found =
            self.find(names, &from).unwrap_or_else(|| panic!("what is {}?", names.join("::")));
        self.definitions[found].variants.is_empty().then_some((path, found))
    }

    fn page(&self) -> String {
        let mut page = INTRODUCTION.to_owned();
        let mut order: Vec<&Section> = self.sections.iter().collect();
        // A section before those below it, whichever service has them.
        let tops: Vec<&String> =
            self.sections.iter().filter_map(|section| section.path.first()).collect();
        order.sort_by_key(|section| {
            let top = section.path.first();
            (tops.iter().position(|name| Some(*name) == top), section.path.clone())
        });
        for section in order {
            self.describe(&mut page, section);
        }
        page
    }

    fn describe(&self, page: &mut String, section: &Section) {
        let rows: Vec<String> = self.definitions[section.definition]
            .fields
            .iter()
            .filter_map(|field| self.row(section, field))
            .collect();
        if rows.is_empty() {
            return;
        }
        let names: Vec<&str> = section.services.iter().map(|i| self.services[*i].name).collect();
        let of = match names.len() == self.services.len() {
            true => "every service".to_owned(),
            false => names.join(", "),
        };
        write!(page, "\n## {}\n\nOf {of}.\n\n", section.path.join(".")).unwrap();
        page.push_str("| setting | default | variable | |\n|---|---|---|---|\n");
        page.push_str(&rows.concat());
    }

    /// The line of a setting; none for a section.
    fn row(&self, section: &Section, field: &Field) -> Option<String> {
        let from = &self.definitions[section.definition].file;
        let kind = match &field.kind {
            Kind::Value(kind) => kind.clone(),
            Kind::Named(names) => {
                let variants = &self.definitions[self.find(names, from)?].variants;
                if variants.is_empty() {
                    return None;
                }
                variants.iter().map(|v| format!("`{}`", v.name)).collect::<Vec<_>>().join(", ")
            }
            Kind::Map(_) => return None,
            Kind::List(_) | Kind::Other => {
                panic!("{}.{} has a type without a name", section.path.join("."), field.name)
            }
        };
        assert!(
            !field.doc.is_empty(),
            "{}.{} is not described",
            section.path.join("."),
            field.name
        );
        let mut path: Vec<&str> = section.path.iter().map(String::as_str).collect();
        path.push(&field.name);
        let variable = path.iter().map(|part| part.to_uppercase()).collect::<Vec<_>>().join("__");
        let (default, doc) = (self.default(section, &path), cell(&field.doc));
        let name = &field.name;
        Some(format!("| `{name}` | {default} | `RLAIF__{variable}` | {doc} ({kind}) |\n"))
    }

    /// The default, and where services differ, whose it is.
    fn default(&self, section: &Section, path: &[&str]) -> String {
        let mut values: Vec<(Option<String>, Vec<&str>)> = Vec::new();
        for service in section.services.iter().map(|i| &self.services[*i]) {
            let value = service.default(path);
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, names)) => names.push(service.name),
                None => values.push((value, vec![service.name])),
            }
        }
        let shown = |value: &Option<String>| {
            value.as_ref().map(|value| format!("`{}`", cell(value))).unwrap_or_default()
        };
        match values.as_slice() {
            [(value, _)] => shown(value),
            values => {
                let each =
                    values.iter().map(|(v, names)| format!("{} {}", names.join(", "), shown(v)));
                each.collect::<Vec<_>>().join("; ")
            }
        }
    }
}

#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    check("config.md", &Reference::read().page());
}

/// What the services' defaults name, and what they have commented out, is on the page: no struct was missed.
#[test]
fn every_setting_of_the_reference_is_known_to_its_service_and_none_is_missing() {
    let reference = Reference::read();
    for (index, service) in reference.services.iter().enumerate() {
        let mut described = BTreeSet::new();
        for section in reference.sections.iter().filter(|s| s.services.contains(&index)) {
            for field in &reference.definitions[section.definition].fields {
                described.insert(
                    [&section.path[..], std::slice::from_ref(&field.name)].concat().join("."),
                );
            }
        }
        let mut tables = vec![(String::new(), service.given.clone())];
        while let Some((path, table)) = tables.pop() {
            for (name, value) in table {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                assert!(
                    described.contains(&path),
                    "{} has {path}, which is not described",
                    service.name
                );
                if let Value::Table(table) = value {
                    tables.push((path, table));
                }
            }
        }
    }
}
