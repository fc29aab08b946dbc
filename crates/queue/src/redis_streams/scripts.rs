//! The scripts and the keys that they share.

use crate::Error;
use redis::{Script, ScriptInvocation};

pub(super) struct Keys {
    pub work: String,
    pub results: String,
    pub dead: String,
    /// All of them, in the order of `common.lua`.
    all: Vec<String>,
}

impl Keys {
    fn of(queue: &str) -> Self {
        let names = [
            "work", "results", "dead", "items", "tokens", "starts", "attempts", "suspects",
            "traces",
        ];
        let all: Vec<String> = names.iter().map(|key| format!("{{rlaif:{queue}}}:{key}")).collect();
        let [work, results, dead] = [0, 1, 2].map(|at| all[at].clone());
        Self { work, results, dead, all }
    }
}

macro_rules! scripts {
    ($($name:ident),*) => {
        /// One [`Script`] for each file beside this one, with `common.lua` in front.
        pub(super) struct Scripts {
            keys: Keys,
            $($name: Script,)*
        }

        impl Scripts {
            /// The scripts over the keys of a queue.
            pub fn for_queue(name: &str) -> Result<Self, Error> {
                check(name)?;
                Ok(Self {
                    keys: Keys::of(name),
                    $($name: Script::new(concat!(
                        include_str!("common.lua"),
                        include_str!(concat!(stringify!($name), ".lua"))
                    )),)*
                })
            }

            $(pub fn $name(&self) -> ScriptInvocation<'_> {
                let mut call = self.$name.prepare_invoke();
                call.key(&self.keys.all);
                call
            })*
        }
    };
}

scripts!(
    open,
    enqueue,
    take,
    start,
    heartbeat,
    commit,
    fail,
    release,
    progress,
    acknowledge,
    requeue,
    cancel,
    discard,
    leave,
    depth,
    workers
);

impl Scripts {
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

fn check(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_hash_slot_is_refused() {
        for name in ["", "a}b", "a b", &"x".repeat(65)] {
            assert!(matches!(Scripts::for_queue(name), Err(Error::Name(_))), "{name:?}");
        }
        let scripts = Scripts::for_queue("label").unwrap();
        assert_eq!(scripts.keys().work, "{rlaif:label}:work");
        assert!(scripts.keys().all.iter().all(|key| key.starts_with("{rlaif:label}:")));
    }
}
