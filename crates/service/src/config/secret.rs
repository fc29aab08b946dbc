//! A value that no log, dump or error message shows.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// What a secret prints as; refused as a secret's value.
const STARS: &str = "***";

/// A secret, written in the configuration as a string, as `{ file = "/run/secrets/token" }` or as
/// `{ env = "VARIABLE" }`; white space around it is cut off.
///
/// `Debug`, `Display` and `Serialize` show stars or, where it came from a file or a variable, that
/// place: a dumped configuration can be loaded again wherever the secret is kept outside of it.
#[derive(Clone)]
pub struct Secret<T = String> {
    value: T,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Inline,
    File(String),
    Env(String),
}

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self { value, place: Place::Inline }
    }

    /// Whether it stands in the configuration itself.
    pub fn is_inline(&self) -> bool {
        matches!(self.place, Place::Inline)
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.place {
            Place::Inline => serializer.serialize_str(STARS),
            Place::File(path) => serializer.collect_map([("file", path)]),
            Place::Env(name) => serializer.collect_map([("env", name)]),
        }
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor(PhantomData))
    }
}

struct SecretVisitor<T>(PhantomData<T>);

impl<T: FromStr> SecretVisitor<T> {
    fn parse<E: serde::de::Error>(text: &str, place: Place) -> Result<Secret<T>, E> {
        let text = text.trim();
        if text.is_empty() {
            return Err(E::custom("the secret is empty; fill it in"));
        }
        if text == STARS {
            return Err(E::custom("three stars stand for a secret that was hidden; fill it in"));
        }
        // What `T` says about the text is not passed on: it might quote it.
        let value = text.parse().map_err(|_| E::custom("the secret is malformed"))?;
        Ok(Secret { value, place })
    }
}

impl<'de, T: FromStr> Visitor<'de> for SecretVisitor<T> {
    type Value = Secret<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, { file = \"...\" } or { env = \"...\" }")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::parse(text, Place::Inline)
    }

    // Numbers and booleans get messages of their own because serde's would show the value.

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(E::custom("a secret is a string: put it in quotes"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom("a secret is a string: put it in quotes"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(E::custom("a secret is a string: put it in quotes"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom("a secret is a string: put it in quotes"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let entry = map.next_entry::<String, String>()?;
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("a secret has one place: either file or env"));
        }
        match entry {
            Some((key, path)) if key == "file" => {
                let text = std::fs::read_to_string(&path).map_err(|e| {
                    A::Error::custom(format!(
                        "cannot read the secret's file {path}: {e}; name one that the service's user may read"
                    ))
                })?;
                Self::parse(&text, Place::File(path))
            }
            Some((key, name)) if key == "env" => {
                let text = std::env::var(&name).map_err(|_| {
                    A::Error::custom(format!(
                        "the secret's variable {name} is not set; set it where the service is started"
                    ))
                })?;
                Self::parse(&text, Place::Env(name))
            }
            _ => {
                Err(A::Error::custom("a secret's place is { file = \"...\" } or { env = \"...\" }"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Config {
        token: Secret,
    }

    fn read(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|e: toml::de::Error| e.message().to_owned())
    }

    #[test]
    fn a_secret_comes_from_a_value_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "from-file\n").unwrap();
        assert_eq!(read("token = 'inline'").unwrap().token.expose(), "inline");
        let from_file = read(&format!("token = {{ file = '{}' }}", path.display())).unwrap();
        assert_eq!(from_file.token.expose(), "from-file");
        // Cargo sets this variable for every test it runs.
        let from_env = read("token = { env = 'CARGO_PKG_NAME' }").unwrap();
        assert_eq!(from_env.token.expose(), "rlaif-service");
        assert!(toml::to_string(&from_env).unwrap().contains("env = \"CARGO_PKG_NAME\""));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let config = read("token = 'hunter2'").unwrap();
        let shown =
            [format!("{config:?}"), config.token.to_string(), toml::to_string(&config).unwrap()];
        assert!(shown.iter().all(|s| s.contains("***") && !s.contains("hunter2")), "{shown:?}");
        for unquoted in ["token = 424242", "token = 4.24242", "token = true"] {
            let error = read(unquoted).unwrap_err();
            assert!(error.contains("quotes") && !error.contains("424242"), "{error}");
        }
    }

    #[test]
    fn an_absent_place_or_an_empty_secret_is_an_error() {
        for (text, part) in [
            ("token = ' '", "fill it in"),
            ("token = { file = '/nonexistent/token' }", "/nonexistent/token: No such file"),
            ("token = { env = 'RLAIF_TEST_UNSET' }", "RLAIF_TEST_UNSET is not set; set it"),
            ("token = { path = 'x' }", "file"),
            ("token = { file = 'x', env = 'y' }", "one place"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
