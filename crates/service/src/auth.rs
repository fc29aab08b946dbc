//! Who may call what: bearer tokens with roles, and a table that has a rule for every method.
//!
//! A method without a rule keeps the service from starting, so a new RPC cannot be open by
//! oversight. Tokens are compared by their digests, all of them and in constant time.

use crate::config::{Problems, Secret, Validate};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tonic::Status;

/// Shortest token, in bytes: 16 random bytes in hexadecimal have 32.
const MIN_TOKEN_BYTES: usize = 24;

/// What a caller is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Submits jobs and asks for scores.
    Client,
    /// Another service of the cluster.
    Worker,
    /// Operates the cluster.
    Admin,
}

impl fmt::Display for Role {
    /// As it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Public,
    /// Callers with one of these roles.
    Roles(&'static [Role]),
}

/// A line of the table: the method's path `/package.Service/Method`, and who may call it.
pub type Rule = (&'static str, Access);

/// Health is public: orchestrators probe it without a token, and it says only yes or no.
pub const HEALTH_RULES: &[Rule] = &[
    ("/grpc.health.v1.Health/Check", Access::Public),
    ("/grpc.health.v1.Health/Watch", Access::Public),
];

/// Reflection shows the whole interface, so it takes a token, of any role. Its first version says the
/// same to the many tools that know no other.
pub const REFLECTION_RULES: &[Rule] = &[
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ANY_ROLE),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ANY_ROLE),
];
const ANY_ROLE: Access = Access::Roles(&[Role::Client, Role::Worker, Role::Admin]);

/// Why there is no table of rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no descriptor set.
    #[error("the descriptor set is malformed: {0}")]
    Descriptor(#[from] prost::DecodeError),
    /// Table and descriptor set do not fit.
    #[error("access rules: no rule for [{}]; a rule but no method for [{}]; two rules for [{}]", .missing.join(", "), .unknown.join(", "), .repeated.join(", "))]
    Rules {
        /// Methods without a rule.
        missing: Vec<String>,
        /// Rules without a method.
        unknown: Vec<String>,
        /// Methods with more than one rule.
        repeated: Vec<String>,
    },
}

/// A rule for every method of a service, of health and of reflection.
#[derive(Debug, Clone)]
pub struct AuthRules {
    table: Arc<HashMap<&'static str, Method>>,
}

/// What is known of a method.
#[derive(Debug, Clone, Copy)]
struct Method {
    access: Access,
    /// Whether its answer is a stream.
    streams: bool,
}

impl AuthRules {
    /// The `rules` for the methods in `descriptor` (an encoded `FileDescriptorSet`); those of health
    /// and reflection are added.
    ///
    /// # Errors
    /// When a method has no rule or several, or a rule has no method.
    pub fn new(descriptor: &[u8], rules: &[Rule]) -> Result<Self, Error> {
        let mut methods = methods(descriptor)?;
        methods.extend(self::methods(tonic_health::pb::FILE_DESCRIPTOR_SET)?);
        methods.extend(self::methods(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)?);
        methods.extend(self::methods(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)?);
        let built_in = [HEALTH_RULES, REFLECTION_RULES].concat();
        let mut table = HashMap::new();
        let mut repeated = Vec::new();
        for (path, access) in rules.iter().chain(&built_in) {
            let streams = methods.get(*path).is_some_and(|streams| *streams);
            if table.insert(*path, Method { access: *access, streams }).is_some() {
                repeated.push((*path).to_owned());
            }
        }
        let missing: Vec<String> =
            methods.keys().filter(|m| !table.contains_key(m.as_str())).cloned().collect();
        let unknown: Vec<String> =
            table.keys().filter(|p| !methods.contains_key(**p)).map(|p| (*p).to_owned()).collect();
        if missing.is_empty() && unknown.is_empty() && repeated.is_empty() {
            Ok(Self { table: Arc::new(table) })
        } else {
            Err(Error::Rules { missing, unknown, repeated })
        }
    }

    /// The method of a path, `package.Service/Method`, if it is one of ours: for metrics, where
    /// callers must not invent names.
    pub(crate) fn method(&self, path: &str) -> Option<&'static str> {
        self.table.get_key_value(path).map(|(known, _)| known.trim_start_matches('/'))
    }

    /// Whether the method of this path answers with a stream.
    pub(crate) fn streams(&self, path: &str) -> bool {
        self.table.get(path).is_some_and(|method| method.streams)
    }
}

/// Paths of all methods, and whether their answers are streams.
fn methods(descriptor: &[u8]) -> Result<BTreeMap<String, bool>, Error> {
    let set = FileDescriptorSet::decode(descriptor)?;
    let mut methods = BTreeMap::new();
    for file in &set.file {
        let prefix = match file.package() {
            "" => String::new(),
            package => format!("{package}."),
        };
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{prefix}{}/{}", service.name(), method.name());
                methods.insert(path, method.server_streaming());
            }
        }
    }
    Ok(methods)
}

/// Tokens of a server.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether callers need a token; without, everybody is an admin, so only on loopback.
    pub enabled: bool,
    /// Callers by name.
    #[serde(default)]
    pub tokens: BTreeMap<String, Token>,
}

/// A caller's token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What its bearer may do.
    pub role: Role,
    /// The token; at least 24 bytes of what `openssl rand -hex 16` prints.
    pub token: Secret,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        let nobody = self.enabled && self.tokens.is_empty();
        problems.check(!nobody, "tokens", "must hold a token, or nobody can call the service");
        let mut seen = BTreeSet::new();
        for (name, token) in &self.tokens {
            let field = format!("tokens.{name}.token");
            let text = token.token.expose();
            problems.check(
                text.len() >= MIN_TOKEN_BYTES,
                &field,
                "must have at least 24 bytes: openssl rand -hex 16",
            );
            problems.check(
                seen.insert(text),
                &field,
                "is another caller's token too: give each caller its own",
            );
        }
    }
}

/// Who makes a call; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name in the configuration; never the token.
    pub name: Arc<str>,
    /// The token's role.
    pub role: Role,
}

type TokenDigest = [u8; 32];

/// Decides about each call.
#[derive(Debug, Clone)]
pub struct Guard {
    rules: AuthRules,
    /// None where authentication is off.
    callers: Option<Arc<[(TokenDigest, Caller)]>>,
}

impl Guard {
    /// With the tokens of `config`.
    pub fn new(config: &Config, rules: AuthRules) -> Self {
        let callers = config.enabled.then(|| {
            let caller = |(name, token): (&String, &Token)| {
                let caller = Caller { name: name.as_str().into(), role: token.role };
                (digest(token.token.expose()), caller)
            };
            config.tokens.iter().map(caller).collect()
        });
        Self { rules, callers }
    }

    pub(crate) fn rules(&self) -> &AuthRules {
        &self.rules
    }

    /// The caller of `path` with this `authorization` header; none where the method is public.
    ///
    /// # Errors
    /// UNAUTHENTICATED: we do not know who calls. PERMISSION_DENIED: we do, and they may not.
    pub fn admit(
        &self,
        path: &str,
        authorization: Option<&http::HeaderValue>,
    ) -> Result<Option<Caller>, Status> {
        let roles = match self.rules.table.get(path).map(|method| method.access) {
            Some(Access::Public) => return Ok(None),
            Some(Access::Roles(roles)) => Some(roles),
            None => None,
        };
        // Whom we do not know is not told which methods there are.
        let caller = self.caller(authorization)?;
        let roles = roles.ok_or_else(|| Status::unimplemented("this server has no such method"))?;
        if roles.contains(&caller.role) {
            return Ok(Some(caller));
        }
        let roles: Vec<String> = roles.iter().map(Role::to_string).collect();
        Err(Status::permission_denied(format!(
            "{} may not call {path}: its role is {}, and that takes {}",
            caller.name,
            caller.role,
            roles.join(" or ")
        )))
    }

    fn caller(&self, authorization: Option<&http::HeaderValue>) -> Result<Caller, Status> {
        let Some(callers) = &self.callers else {
            return Ok(Caller { name: "anonymous".into(), role: Role::Admin });
        };
        let token = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Status::unauthenticated("send a token: authorization: Bearer TOKEN"))?;
        let presented = digest(token);
        let mut found = None;
        // No early exit: how long this takes says nothing about the tokens.
        for (known, caller) in callers.iter() {
            if bool::from(known.ct_eq(&presented)) {
                found = Some(caller);
            }
        }
        found.cloned().ok_or_else(|| Status::unauthenticated("the token is not known here"))
    }
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};
    use tonic::Code;

    fn descriptor(methods: &[&str]) -> Vec<u8> {
        let method = |name: &&str| MethodDescriptorProto {
            name: Some((*name).to_owned()),
            ..MethodDescriptorProto::default()
        };
        let service = ServiceDescriptorProto {
            name: Some("JobService".to_owned()),
            method: methods.iter().map(method).collect(),
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            package: Some("rlaif.coordinator.v1".to_owned()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    const SUBMIT: Rule =
        ("/rlaif.coordinator.v1.JobService/Submit", Access::Roles(&[Role::Client, Role::Admin]));

    fn guard(enabled: bool) -> Guard {
        let token = |role, token: &str| Token { role, token: Secret::new(token.to_owned()) };
        let tokens = [
            ("alice".to_owned(), token(Role::Client, "alice-alice-alice-alice-alice")),
            ("labeler-1".to_owned(), token(Role::Worker, "labeler-labeler-labeler-labeler")),
        ];
        let config = Config { enabled, tokens: tokens.into() };
        Guard::new(&config, AuthRules::new(&descriptor(&["Submit"]), &[SUBMIT]).unwrap())
    }

    fn admit(
        guard: &Guard,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Option<Caller>, Code> {
        let value = authorization.map(|a| a.parse().unwrap());
        guard.admit(path, value.as_ref()).map_err(|s| s.code())
    }

    #[test]
    fn a_method_without_a_rule_is_named_and_keeps_the_service_from_starting() {
        let error = AuthRules::new(&descriptor(&["Submit", "Cancel"]), &[SUBMIT]).unwrap_err();
        assert!(error.to_string().contains("[/rlaif.coordinator.v1.JobService/Cancel]"), "{error}");
    }

    #[test]
    fn a_rule_without_a_method_and_a_second_rule_are_mistakes() {
        let Err(Error::Rules { unknown, .. }) = AuthRules::new(&descriptor(&[]), &[SUBMIT]) else {
            panic!("accepted")
        };
        assert_eq!(unknown, [SUBMIT.0]);
        let twice = AuthRules::new(&descriptor(&["Submit"]), &[SUBMIT, (SUBMIT.0, Access::Public)]);
        let Err(Error::Rules { repeated, .. }) = twice else { panic!("accepted") };
        assert_eq!(repeated, [SUBMIT.0]);
    }

    #[test]
    fn unknown_callers_and_forbidden_ones_are_told_apart() {
        let guard = guard(true);
        let alice = admit(&guard, SUBMIT.0, Some("Bearer alice-alice-alice-alice-alice")).unwrap();
        assert_eq!(alice, Some(Caller { name: "alice".into(), role: Role::Client }));
        let worker = "bearer labeler-labeler-labeler-labeler";
        assert_eq!(admit(&guard, SUBMIT.0, Some(worker)), Err(Code::PermissionDenied));
        let worker: http::HeaderValue = worker.parse().unwrap();
        let refused = guard.admit(SUBMIT.0, Some(&worker)).unwrap_err();
        let says = "its role is worker, and that takes client or admin";
        assert!(refused.message().ends_with(says), "{refused}");
        for unknown in [None, Some("Bearer x"), Some("Basic alice-alice-alice-alice-alice")] {
            assert_eq!(admit(&guard, SUBMIT.0, unknown), Err(Code::Unauthenticated));
        }
    }

    #[test]
    fn a_path_outside_the_table_tells_strangers_nothing() {
        let guard = guard(true);
        assert_eq!(admit(&guard, "/x.Y/Z", None), Err(Code::Unauthenticated));
        let alice = Some("Bearer alice-alice-alice-alice-alice");
        assert_eq!(admit(&guard, "/x.Y/Z", alice), Err(Code::Unimplemented));
        assert_eq!(admit(&guard, "/grpc.health.v1.Health/Check", None), Ok(None));
        assert_eq!(admit(&guard, REFLECTION_RULES[0].0, None), Err(Code::Unauthenticated));
    }

    #[test]
    fn short_and_shared_tokens_are_refused() {
        let token = |t: &str| Token { role: Role::Client, token: Secret::new(t.to_owned()) };
        let long = "x".repeat(MIN_TOKEN_BYTES);
        let tokens = [("a", "short"), ("b", &long), ("c", &long)];
        let tokens = tokens.iter().map(|(n, t)| ((*n).to_owned(), token(t))).collect();
        let problems = Problems::of(&Config { enabled: true, tokens }).to_string();
        assert!(problems.contains("tokens.a.token must") && problems.contains("tokens.c.token is"));
        assert!(problems.contains("give each caller its own"), "{problems}");
        assert!(!problems.contains(&long));
        assert!(!Problems::of(&Config { enabled: true, tokens: BTreeMap::new() }).is_empty());
    }

    #[test]
    fn without_authentication_everybody_is_an_admin() {
        let caller = guard(false).caller(None).unwrap();
        assert_eq!(caller.role, Role::Admin);
    }
}
