//! What a Redis user must be allowed to do for a queue, and how to find out what it may not.
//!
//! Scripts run with the rights of who calls them, so the commands inside them count too.

use super::connection::GROUP;

/// Stands for a key of the queue that nothing else uses.
const KEY: &str = "KEY";

/// Each right as an ACL rule names it, and a command that needs it and changes nothing: it reads what is
/// not there, or fails behind the check of rights. What SADD adds, SREM takes away again.
const RIGHTS: &[(&str, &[&str])] = &[
    ("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "0"]),
    ("script|load", &["SCRIPT", "LOAD", "return 1"]),
    ("info", &["INFO", "server"]),
    ("time", &["TIME"]),
    ("xadd", &["XADD", KEY, "NOMKSTREAM", "*", "f", "v"]),
    ("xrange", &["XRANGE", KEY, "-", "+", "COUNT", "1"]),
    ("xdel", &["XDEL", KEY, "1-1"]),
    ("xack", &["XACK", KEY, GROUP, "1-1"]),
    ("xclaim", &["XCLAIM", KEY, GROUP, "nobody", "0", "1-1"]),
    ("xlen", &["XLEN", KEY]),
    ("xread", &["XREAD", "COUNT", "1", "STREAMS", KEY, "0"]),
    ("xreadgroup", &["XREADGROUP", "GROUP", GROUP, "nobody", "COUNT", "1", "STREAMS", KEY, ">"]),
    ("xpending", &["XPENDING", KEY, GROUP]),
    ("xinfo", &["XINFO", "CONSUMERS", KEY, GROUP]),
    ("xgroup", &["XGROUP", "DELCONSUMER", KEY, GROUP, "nobody"]),
    ("xgroup", &["XGROUP", "CREATE", KEY, GROUP, "0"]),
    ("hget", &["HGET", KEY, "f"]),
    ("hset", &["HSET", KEY, "f", "v", "without a value"]),
    ("hdel", &["HDEL", KEY, "f"]),
    ("hexists", &["HEXISTS", KEY, "f"]),
    ("hincrby", &["HINCRBY", KEY, "f", "no number"]),
    ("hlen", &["HLEN", KEY]),
    ("sadd", &["SADD", KEY, "m"]),
    ("sismember", &["SISMEMBER", KEY, "m"]),
    ("srem", &["SREM", KEY, "m"]),
];

/// The keys of all queues, as an ACL rule names them.
const ALL_KEYS: &str = "~{rlaif:*}:*";

/// What stands before single rights. Among the commands of connections are those that pause and cut off
/// others', which are dangerous, and none that we need is.
const BEFORE_RIGHTS: [&str; 5] =
    [ALL_KEYS, "resetchannels", "-@all", "+@connection", "-@dangerous"];

/// The rules of an ACL user who may do what queues need and nothing else, without name and password.
pub fn acl_rules() -> Vec<String> {
    let mut rules: Vec<String> = BEFORE_RIGHTS.map(str::to_owned).into();
    for (right, _) in RIGHTS {
        let rule = format!("+{right}");
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// Commands that show of each right whether the user has it for a queue's keys.
pub(super) fn trials(queue: &str) -> impl Iterator<Item = (&'static str, redis::Cmd)> {
    let key = format!("{{rlaif:{queue}}}:doctor");
    RIGHTS.iter().map(move |(right, words)| {
        let mut command = redis::Cmd::new();
        for word in *words {
            command.arg(if *word == KEY { key.as_str() } else { word });
        }
        (*right, command)
    })
}

/// The rule that would have let the user do it; none where it was not for want of a right.
pub(super) fn missing(right: &str, answer: &redis::RedisError) -> Option<String> {
    if answer.code() != Some("NOPERM") {
        return None;
    }
    let about_keys = answer.detail().is_some_and(|detail| detail.contains("key"));
    Some(if about_keys { ALL_KEYS.to_owned() } else { format!("+{right}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_of_the_scripts_is_among_the_rights() {
        let rights: BTreeSet<&str> = RIGHTS.iter().map(|(right, _)| *right).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis_streams");
        let mut called = 0;
        for script in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if script.extension().is_none_or(|extension| extension != "lua") {
                continue;
            }
            let text = std::fs::read_to_string(&script).unwrap();
            for call in text.split("call('").skip(1) {
                let command = call.split('\'').next().unwrap().to_lowercase();
                assert!(rights.contains(command.as_str()), "{}: {command}", script.display());
                called += 1;
            }
        }
        assert!(called > 50, "the scripts are not where they were");
    }
}
