//! `rlaif doctor` on mistakes that people make, one seeded at a time: each is named, with where it is and how
//! to mend it, and on nothing else. On a cluster in order it finds nothing.

use rlaif_queue::Denial;
use rlaif_testkit::{RedisServer, free_port};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

/// A machine where a cluster would work, and who can make it worse.
struct Machine {
    folder: tempfile::TempDir,
    redis: RedisServer,
    environment: Vec<(String, String)>,
}

/// What a Redis must be told for the queue's promises.
const DURABLE: [&str; 2] = ["--appendfsync", "always"];

impl Machine {
    fn in_order() -> Self {
        Self::with_redis(RedisServer::start_with(&DURABLE))
    }

    fn with_redis(redis: RedisServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = redis.url();
        let mut machine = Self { folder, redis, environment: Vec::new() };
        machine.set("RLAIF__QUEUE__URL", &url);
        machine.set("RLAIF__ARTIFACTS__URL", machine.path("artifacts").to_str().unwrap());
        machine.set("RLAIF__ARTIFACTS__CACHE", machine.path("cache").to_str().unwrap());
        machine.set("RLAIF_MODELS", machine.path("models").to_str().unwrap());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// A configuration file of a service, as the argument that names both.
    fn file(&self, service: &str, text: &str) -> String {
        let path = self.path(&format!("{service}.toml"));
        std::fs::write(&path, text).unwrap();
        format!("{service}={}", path.display())
    }

    /// Whether it found all well, and what it found.
    fn examine(&self, args: &[&str]) -> (bool, Vec<Value>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.args(["doctor", "--json", "--patience", "2s"]).args(args);
        if !args.contains(&"--min-free-gb") {
            // A test's machine may have little room.
            command.args(["--min-free-gb", "0.001"]);
        }
        command.current_dir(self.folder.path()).env_remove("HF_TOKEN");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked") && !said.contains("secret"), "{errors}{said}");
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {errors}"));
        assert_eq!(answer["well"], output.status.success(), "{said}");
        (output.status.success(), answer["findings"].as_array().unwrap().clone())
    }

    /// What a service says that ends where it should start. It takes free ports where these sections have theirs.
    #[track_caller]
    fn fails_to_start(&self, service: &str, ports: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.arg(service).current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(ports.iter().map(|port| (format!("RLAIF__{port}__ADDRESS"), "127.0.0.1:0")));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !said.contains("panicked"), "{said}");
        said
    }

    /// The only thing wrong is of this check, at this place, and is called and mended so.
    #[track_caller]
    fn finds(&self, args: &[&str], check: &str, place: &str, what: &str, mend: &str) {
        let (well, findings) = self.examine(args);
        let wrong: Vec<&Value> = findings.iter().filter(|f| f["verdict"] == "wrong").collect();
        assert!(!well && wrong.len() == 1, "{wrong:#?}");
        let text = |field: &str| wrong[0][field].as_str().unwrap().to_owned();
        assert_eq!(text("check"), check, "{wrong:#?}");
        for (field, part) in [("place", place), ("what", what), ("mend", mend)] {
            assert!(text(field).contains(part), "no {part:?} in {field} of {wrong:#?}");
        }
    }
}

fn user(name: &str, rules: impl IntoIterator<Item = String>) -> Vec<String> {
    let begin = ["--user", name, "on", ">secret"].map(str::to_owned);
    begin.into_iter().chain(rules).collect()
}

/// A Redis that is reached over TCP by a user with these ACL rules.
fn with_user(rules: impl IntoIterator<Item = String>) -> (RedisServer, String) {
    let port = free_port().to_string();
    let mut options: Vec<String> = DURABLE.map(str::to_owned).into();
    options.extend(["--port".to_owned(), port.clone()]);
    options.extend(user("worker", rules));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    (RedisServer::start_with(&options), format!("redis://worker:secret@127.0.0.1:{port}"))
}

/// Where something answers that is of another version than this machine's Redis, or has another time: it says what a
/// Redis in order says of itself, but for that, and OK to all else. It ends with the test's process.
fn redis_that_says(version: &'static str, clock_ahead_s: i64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || {
                let (mut asked, mut said) = (BufReader::new(&stream), &stream);
                while let Some(command) = next_command(&mut asked) {
                    let answer = answer(&command, version, clock_ahead_s);
                    // A client that is gone says nothing more.
                    let _ = said.write_all(answer.as_bytes());
                }
            });
        }
    });
    url
}

/// The name of the next command that a client sends (an array of strings, as Redis' protocol has it); none where the
/// client is gone.
fn next_command(asked: &mut impl BufRead) -> Option<String> {
    let words = (0..length(asked, '*')?).map(|_| {
        let mut word = vec![0; length(asked, '$')?];
        asked.read_exact(&mut word).ok()?;
        asked.read_exact(&mut [0; "\r\n".len()]).ok()?;
        Some(String::from_utf8_lossy(&word).to_uppercase())
    });
    words.collect::<Option<Vec<_>>>()?.into_iter().next()
}

/// How much of `kind` follows.
fn length(asked: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    asked.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

fn answer(command: &str, version: &str, clock_ahead_s: i64) -> String {
    let text = |text: String| format!("${}\r\n{text}\r\n", text.len());
    let two = |first: String, second: String| format!("*2\r\n{}{}", text(first), text(second));
    match command {
        "INFO" => text(format!(
            "redis_version:{version}\r\nrun_id:1\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
        )),
        "CONFIG" => two("appendfsync".to_owned(), "always".to_owned()),
        "TIME" => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seconds = now.as_secs().saturating_add_signed(clock_ahead_s);
            two(seconds.to_string(), now.subsec_micros().to_string())
        }
        _ => "+OK\r\n".to_owned(),
    }
}

#[test]
fn a_cluster_in_order_is_well_and_says_what_was_looked_at() {
    let mut machine = Machine::in_order();
    machine.set("RLAIF__QUEUE__OPTIONS__LEASE", "5s");
    let (well, findings) = machine.examine(&[]);
    assert!(well, "{findings:#?}");
    for check in ["settings", "redis", "clock", "artifacts", "models", "device", "disk"] {
        assert!(findings.iter().any(|f| f["check"] == check), "{check} was not looked at");
    }
    let (well, _) = machine.examine(&[&machine.file("labeler", &serves(MODEL)), "reward"]);
    assert!(well);
    // Nothing stays behind of the looking.
    let left: Vec<_> = std::fs::read_dir(machine.path("artifacts")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A worker's file that has direct callers served by a model.
fn serves(model: impl AsRef<Path>) -> String {
    format!("[direct]\nmodel = {:?}\n", model.as_ref())
}

#[test]
fn a_setting_that_is_misspelt() {
    let machine = Machine::in_order();
    let file = machine.file("labeler", "[worker]\nmax_modles = 3\n");
    machine.finds(&[&file], "settings", "labeler.toml", "max_modles", "--dump-config");
}

#[test]
fn a_value_that_makes_no_sense() {
    let mut machine = Machine::in_order();
    machine.set("RLAIF__WORKER__DEVICE", "tpu:0");
    machine.finds(&["learner"], "settings", "learner", "worker.device", "--dump-config");
}

#[test]
fn a_certificate_that_is_not_there() {
    let machine = Machine::in_order();
    let tls = "[server]\ntls = { certificate = \"/nowhere/server.crt\", key = \"/nowhere/server.key\" }\n";
    let file = machine.file("coordinator", tls);
    machine.finds(&[&file], "settings", "coordinator", "/nowhere/server.crt", "does not start");
}

#[test]
fn a_redis_that_is_not_there() {
    let mut machine = Machine::in_order();
    machine.redis.kill();
    machine.finds(&["coordinator"], "redis", "queue.url", "nobody answers", "start Redis");
}

#[test]
fn a_wrong_password() {
    let (redis, url) = with_user(rlaif_queue::acl_rules());
    let mut machine = Machine::with_redis(redis);
    machine.set("RLAIF__QUEUE__URL", url.replace("secret", "mistyped"));
    machine.finds(
        &["reward"],
        "redis",
        "queue.url of reward",
        "with the user and password of queue.url",
        "ACL LIST",
    );
}

#[test]
fn a_user_that_redis_does_not_know() {
    let (redis, url) = with_user(rlaif_queue::acl_rules());
    let mut machine = Machine::with_redis(redis);
    machine.set("RLAIF__QUEUE__URL", url.replace("worker", "stranger"));
    let what = "with the user and password of queue.url";
    machine.finds(&["learner"], "redis", "queue.url of learner", what, "ACL LIST");
}

#[test]
fn a_password_that_was_forgotten() {
    let machine = Machine::in_order();
    machine.redis.configure("requirepass", "secret");
    let what = "without a password, and queue.url has none";
    machine.finds(&[], "redis", "queue.url of every service", what, "RLAIF__QUEUE__URL");
}

/// A service that does not get in ends at its start, with what doctor says.
#[test]
fn a_service_without_its_password_says_how_to_mend_it_too() {
    let mut machine = Machine::in_order();
    machine.redis.configure("requirepass", "secret");
    let without = machine.redis.url();
    for (url, denial) in [
        (without.clone(), Denial::NoPassword),
        (format!("{without}?pass=mistyped"), Denial::WrongPassword),
    ] {
        machine.set("RLAIF__QUEUE__URL", url);
        for (service, ports) in [
            ("coordinator", &["SERVER", "METRICS", "PAGE"][..]),
            ("labeler", &["SERVER", "METRICS"][..]),
        ] {
            let said = machine.fails_to_start(service, ports);
            assert!(said.contains(denial.what()) && said.contains(denial.mend()), "{said}");
        }
    }
}

#[test]
fn a_port_that_another_has_is_named_once_with_the_setting_that_chooses_another() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let mut machine = Machine::in_order();
    machine.set("RLAIF__METRICS__ADDRESS", &address);
    let said = machine.fails_to_start("labeler", &["SERVER"]);
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
    for part in [address.as_str(), "metrics.address (RLAIF__METRICS__ADDRESS)", "ss -ltnp"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn a_user_who_may_not_do_what_queues_need() {
    let lacking = ["+xclaim", "+hincrby"];
    let rules = rlaif_queue::acl_rules().into_iter();
    let (redis, url) = with_user(rules.filter(|rule| !lacking.contains(&rule.as_str())));
    let mut machine = Machine::with_redis(redis);
    machine.set("RLAIF__QUEUE__URL", url);
    machine.finds(&["rollout"], "redis", "rollout", "+xclaim +hincrby", "ACL SETUSER");
}

#[test]
fn a_redis_that_writes_nothing_down() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let machine = Machine::with_redis(redis);
    machine.finds(&[], "redis", "every service", "restart of redis", "appendonly yes");
}

#[test]
fn a_redis_that_answers_before_it_has_written() {
    let redis = RedisServer::start_with(&["--appendfsync", "everysec"]);
    let machine = Machine::with_redis(redis);
    machine.finds(&[], "redis", "queue.url", "everysec", "appendfsync always");
}

#[test]
fn a_redis_that_evicts() {
    let options = [&DURABLE[..], &["--maxmemory-policy", "allkeys-lru"]].concat();
    let machine = Machine::with_redis(RedisServer::start_with(&options));
    machine.finds(&[], "redis", "queue.url", "allkeys-lru", "noeviction");
}

#[test]
fn a_redis_that_is_too_old() {
    let mut machine = Machine::in_order();
    machine.set("RLAIF__QUEUE__URL", redis_that_says("6.2.14", 0));
    let what = "redis 6.2.14 is older than 7.0";
    machine.finds(&["coordinator"], "redis", "queue.url of coordinator", what, "upgrade it");
}

#[test]
fn a_clock_that_is_off() {
    // A minute and more, so that how long it takes to ask changes no first digit.
    for (ahead_s, what) in [(65, "redis is +6"), (-65, "redis is -6")] {
        let mut machine = Machine::in_order();
        machine.set("RLAIF__QUEUE__URL", redis_that_says("7.4.1", ahead_s));
        machine.finds(&["reward"], "clock", "queue.url of reward", what, "NTP");
    }
}

#[test]
fn services_that_never_meet() {
    let machine = Machine::in_order();
    let other = RedisServer::start_with(&DURABLE);
    let mut elsewhere = Machine::in_order();
    elsewhere.environment.retain(|(name, _)| name != "RLAIF__QUEUE__URL");
    let at = |url: String| format!("[queue]\nurl = {url:?}\n");
    let coordinator = machine.file("coordinator", &at(machine.redis.url()));
    let labeler = machine.file("labeler", &at(other.url()));
    elsewhere.finds(
        &[&coordinator, &labeler],
        "agreement",
        "labeler",
        "never meet",
        "same queue.url",
    );
}

#[test]
fn services_that_store_in_different_places() {
    let mut machine = Machine::in_order();
    machine.environment.retain(|(name, _)| name != "RLAIF__ARTIFACTS__URL");
    let at = |name: &str| format!("[artifacts]\nurl = {:?}\n", machine.path(name));
    let coordinator = machine.file("coordinator", &at("one"));
    let learner = machine.file("learner", &at("two"));
    machine.finds(&[&coordinator, &learner], "agreement", "artifacts.url", "learner", "the same");
}

#[test]
fn services_that_treat_items_by_different_rules() {
    let machine = Machine::in_order();
    // Patience is everyone's own.
    let patient = machine.file("coordinator", "[queue.options]\npatience = \"2m\"\n");
    let (well, findings) = machine.examine(&[&patient, "labeler"]);
    assert!(well, "{findings:#?}");
    let hasty = machine.file("labeler", "[queue.options]\nlease = \"5s\"\n");
    let what = "labeler: Options { lease: 5s";
    machine.finds(&["coordinator", &hasty], "agreement", "queue.options", what, "the same");
}

#[test]
fn an_artifact_store_that_cannot_be_written() {
    let mut machine = Machine::in_order();
    let file = machine.path("file");
    std::fs::write(&file, "").unwrap();
    machine.set("RLAIF__ARTIFACTS__URL", file.join("artifacts").to_str().unwrap());
    let (well, findings) = machine.examine(&["labeler"]);
    assert!(!well);
    // The store, and the disk that it would be on.
    for check in ["artifacts", "disk"] {
        let named = |f: &&Value| f["check"] == check && f["verdict"] == "wrong";
        let finding =
            findings.iter().find(named).unwrap_or_else(|| panic!("{check}: {findings:#?}"));
        assert!(finding["mend"].as_str().unwrap().contains("folder that the service"), "{finding}");
    }
}

#[test]
fn a_bucket_that_this_build_does_not_know() {
    let mut machine = Machine::in_order();
    machine.set("RLAIF__ARTIFACTS__URL", "ftp://host/runs");
    machine.finds(&["reward"], "artifacts", "ftp://host/runs", "s3://", "folder that the services");
}

#[test]
fn a_model_that_was_never_pulled() {
    let machine = Machine::in_order();
    let file = machine.file("labeler", &serves("smollm2-135m-instruct"));
    let mend = "rlaif models pull smollm2-135m-instruct";
    machine.finds(&[&file], "models", "direct.model of labeler", "no model at", mend);
}

#[test]
fn a_pulled_model_that_is_damaged() {
    let machine = Machine::in_order();
    std::fs::create_dir(machine.path("models")).unwrap();
    std::fs::write(machine.path("models/smollm2-135m-instruct.gguf"), "not what was pulled")
        .unwrap();
    machine.finds(&[], "models", "smollm2-135m-instruct", "hash", "remove the file");
}

#[test]
fn a_model_folder_that_is_incomplete() {
    let machine = Machine::in_order();
    std::fs::create_dir(machine.path("half")).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(Path::new(MODEL).join(file), machine.path("half").join(file)).unwrap();
    }
    let file = machine.file("rollout", &serves(machine.path("half")));
    machine.finds(
        &[&file],
        "models",
        "direct.model of rollout",
        "safetensors",
        "name another model",
    );
}

#[test]
fn a_gpu_that_is_not_there() {
    let mut machine = Machine::in_order();
    machine.set("RLAIF__WORKER__DEVICE", "cuda:7");
    machine.finds(&["learner"], "device", "worker.device of learner", "cuda:7", "\"cpu\"");
}

#[test]
fn a_disk_with_too_little_room() {
    let machine = Machine::in_order();
    // No disk has an exabyte.
    let (well, findings) = machine.examine(&["coordinator", "--min-free-gb", "1e9"]);
    assert!(!well);
    let wrong: Vec<&Value> = findings.iter().filter(|f| f["verdict"] == "wrong").collect();
    assert!(wrong.iter().all(|f| f["check"] == "disk") && !wrong.is_empty(), "{wrong:#?}");
    assert!(wrong[0]["place"].as_str().unwrap().contains("coordinator.data_dir"), "{wrong:#?}");
    assert!(wrong[0]["what"].as_str().unwrap().contains("are free"), "{wrong:#?}");
}

/// Where a trained model is written before it becomes an artifact.
#[test]
fn a_temporary_folder_that_is_not_there() {
    let mut machine = Machine::in_order();
    std::fs::write(machine.path("file"), "").unwrap();
    for place in ["missing", "file/tmp"] {
        machine.set("TMPDIR", machine.path(place).to_str().unwrap());
        let trainers = "TMPDIR of reward, learner";
        machine.finds(&["reward", "learner"], "disk", trainers, "os error", "mkdir");
        let (well, findings) = machine.examine(&["labeler", "rollout"]);
        assert!(well, "others write nothing there: {findings:#?}");
    }
}

#[test]
fn a_temporary_folder_with_too_little_room() {
    let machine = Machine::in_order();
    let (_, findings) = machine.examine(&["learner", "--min-free-gb", "1e9"]);
    let of_tmpdir = |f: &&Value| f["place"].as_str().unwrap().starts_with("TMPDIR of learner");
    let finding = findings.iter().find(of_tmpdir).unwrap();
    assert_eq!(finding["verdict"], "wrong", "{finding}");
    assert!(finding["what"].as_str().unwrap().contains("are free"), "{finding}");
}

#[test]
fn prices_that_cannot_be_read() {
    let machine = Machine::in_order();
    let ledger = format!("[worker.ledger]\nprices = {:?}\n", machine.path("prices.toml"));
    let file = machine.file("labeler", &ledger);
    machine.finds(&[&file], "prices", "worker.ledger.prices", "prices.toml", "docs/labeling.md");
}

#[test]
fn for_people_each_problem_has_its_mend_below() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let machine = Machine::with_redis(redis);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(["doctor", "--min-free-gb", "0.001"]).current_dir(machine.folder.path());
    command.envs(machine.environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("WRONG")).unwrap();
    assert!(lines[at].contains("restart of redis"), "{said}");
    assert_eq!(lines[at + 1].trim(), "mend: set appendonly yes");
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 of "), "{said}");
}
