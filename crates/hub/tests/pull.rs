//! Pulling from a hub that runs in this process: what is asked of it, what ends up on disk, and what
//! is said when it fails.

mod hub_server;

use hub_server::{Fault, HubServer, Request};
use rlaif_hub::{Error, Progress, Silent, Store};
use std::path::Path;

const MODEL: &str = "hf:owner/tiny";
const GGUF: &str = "hf:owner/tiny/q4/tiny.Q4_1.gguf";
const WEIGHTS: &str = "model.safetensors";

/// Bytes that differ everywhere, so that a part in the wrong place changes the hash.
fn weights() -> Vec<u8> {
    (0..1_000_000u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(300_001)
        .collect()
}

fn hub() -> HubServer {
    HubServer::start(&[
        ("README.md", b"# tiny".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"model\": 1}".to_vec()),
        ("chat_template.jinja", Vec::new()),
        (WEIGHTS, weights()),
        ("pytorch_model.bin", b"pickle".to_vec()),
        ("q4/tiny.Q4_1.gguf", b"GGUF".repeat(1000)),
    ])
}

fn store(dir: &Path, hub: &HubServer) -> Store {
    Store::new(dir.into(), hub.endpoint(), None)
}

/// Pulls, must fail, and says what it said.
#[track_caller]
fn complaint(store: &Store, spec: &str) -> String {
    store.pull(spec, &mut Silent).unwrap_err().to_string()
}

/// Files below `dir`, locks aside.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.file_name().unwrap().to_str().unwrap().to_owned()),
        }
    }
    found.retain(|name| !name.ends_with(".lock"));
    found.sort();
    found
}

#[test]
fn a_repository_becomes_a_folder_of_what_makes_a_model() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let path = store(dir.path(), &hub).pull(MODEL, &mut Silent).unwrap();
    assert_eq!(path, dir.path().join("hf/owner/tiny@main"));
    let expected = ["chat_template.jinja", "config.json", WEIGHTS, "tokenizer.json"];
    assert_eq!(files(dir.path()), expected);
    assert_eq!(std::fs::read(path.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn shards_are_fetched_as_the_index_names_them() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let hub = HubServer::start(&[
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("model-1.safetensors", b"one".to_vec()),
        ("model-2.safetensors", b"two".to_vec()),
        ("consolidated.safetensors", b"all".to_vec()),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let path = store(dir.path(), &hub).pull(MODEL, &mut Silent).unwrap();
    assert_eq!(std::fs::read(path.join("model-2.safetensors")).unwrap(), b"two");
    assert!(!path.join("consolidated.safetensors").exists());
}

#[test]
fn one_file_of_a_repository_at_a_revision() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let spec = format!("{GGUF}@refs/pr/1");
    let path = store(dir.path(), &hub).pull(&spec, &mut Silent).unwrap();
    assert_eq!(path, dir.path().join("hf/owner/tiny/refs%2Fpr%2F1/q4/tiny.Q4_1.gguf"));
    assert_eq!(hub.requested(), ["q4/tiny.Q4_1.gguf"]);
}

#[test]
fn what_was_pulled_is_listed_and_found_without_the_network() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    assert!(store.pulled_from_hub().unwrap().is_empty());
    let specs = [MODEL, GGUF, "hf:owner/tiny@v1"];
    let pulled = specs.map(|spec| store.pull(spec, &mut Silent).unwrap());
    drop(hub);
    for (spec, path) in specs.iter().zip(&pulled) {
        assert_eq!(&store.find(spec).unwrap(), path);
        assert_eq!(&store.pull(spec, &mut Silent).unwrap(), path);
        assert_eq!(&store.resolve(spec, &mut Silent).unwrap(), path);
    }
    let mut listed: Vec<String> =
        store.pulled_from_hub().unwrap().iter().map(ToString::to_string).collect();
    listed.sort();
    let mut expected = specs.map(String::from);
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn a_model_that_is_not_there_is_pulled_by_resolve_but_not_by_find() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    let error = store.find(MODEL).unwrap_err().to_string();
    assert!(error.contains("rlaif models pull hf:owner/tiny"), "{error}");
    assert!(hub.requested().is_empty());
    store.resolve(MODEL, &mut Silent).unwrap();
    let error = store.resolve("no-such-model", &mut Silent).unwrap_err().to_string();
    assert!(error.contains("smollm2-135m-instruct") && error.contains("hf:"), "{error}");
}

#[test]
fn an_interrupted_download_is_resumed_by_the_next_pull_and_only_the_rest_is_asked_for() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    let half = weights().len() / 2;
    // config.json and tokenizer.json come whole; a try that brings nothing ends the pull.
    let faults = [usize::MAX, usize::MAX, half, 0];
    hub.state().faults.extend(faults.map(Fault::CutAfter));
    let error = complaint(&store, MODEL);
    assert!(error.contains(&format!("{half} of {} bytes", weights().len())), "{error}");
    assert!(error.contains("run it again"), "{error}");
    assert!(store.find(MODEL).is_err(), "half a model counts as none");

    hub.state().requests.clear();
    let path = store.pull(MODEL, &mut Silent).unwrap();
    let rest = Request { path: WEIGHTS.into(), range: Some(format!("bytes={half}-")), token: None };
    assert_eq!(hub.state().requests[0], rest, "what came whole is not asked for again");
    assert_eq!(std::fs::read(path.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn a_connection_that_breaks_is_taken_up_again_for_as_long_as_it_brings_something() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    hub.state().faults.extend([100, 200, 300].map(Fault::CutAfter));
    store(dir.path(), &hub).pull(GGUF, &mut Silent).unwrap();
    let ranges: Vec<_> = hub.state().requests.iter().map(|r| r.range.clone()).collect();
    let expected = [None, Some("bytes=100-"), Some("bytes=300-"), Some("bytes=600-")];
    assert_eq!(ranges, expected.map(|range| range.map(String::from)));
}

#[test]
fn a_server_that_gives_no_parts_is_asked_for_the_whole() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    hub.state().ignores_ranges = true;
    hub.state().faults.push_back(Fault::CutAfter(100));
    let path = store(dir.path(), &hub).pull(GGUF, &mut Silent).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"GGUF".repeat(1000));
}

#[test]
fn a_damaged_part_of_an_earlier_try_is_thrown_away_and_fetched_anew() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    hub.state().faults.extend([Fault::CutAfter(100), Fault::CutAfter(0)]);
    complaint(&store, GGUF);
    let staging = dir.path().join("downloads/hf--owner--tiny--main--q4--tiny.Q4_1.gguf");
    let partial = staging.join("a".repeat(40)).join("q4/tiny.Q4_1.gguf.partial");
    std::fs::write(&partial, [0; 100]).unwrap();
    let path = store.pull(GGUF, &mut Silent).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"GGUF".repeat(1000));
}

#[test]
fn a_model_is_never_made_of_two_commits() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    let faults = [usize::MAX, usize::MAX, 100, 0];
    hub.state().faults.extend(faults.map(Fault::CutAfter));
    complaint(&store, MODEL);
    hub.state().commit = "b".repeat(40);
    hub.state().files.insert("config.json".into(), b"{\"new\": 1}".to_vec());
    let path = store.pull(MODEL, &mut Silent).unwrap();
    assert_eq!(std::fs::read(path.join("config.json")).unwrap(), b"{\"new\": 1}");
    assert_eq!(files(dir.path()).len(), 4, "nothing of the first try is left");
}

#[test]
fn what_has_another_hash_than_the_hub_states_is_not_kept() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    hub.state().lies = true;
    for spec in [MODEL, GGUF] {
        let error = complaint(&store(dir.path(), &hub), spec);
        assert!(error.contains("expected"), "{error}");
        assert!(files(dir.path()).is_empty(), "{:?}", files(dir.path()));
    }
}

#[test]
fn a_gated_repository_says_how_to_be_let_in() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    hub.state().gate = Some("right".into());
    let error = complaint(&store(dir.path(), &hub), MODEL);
    assert!(error.contains("owner/tiny") && error.contains("set HF_TOKEN"), "{error}");
    let with = |token: &str| Store::new(dir.path().into(), hub.endpoint(), Some(token.into()));
    let error = complaint(&with("wrong"), MODEL);
    assert!(error.contains("ask for it at"), "{error}");
    with("right").pull(MODEL, &mut Silent).unwrap();
}

#[test]
fn the_token_is_not_shown_to_the_host_that_a_redirect_names() {
    let (hub, files, dir) = (hub(), hub(), tempfile::tempdir().unwrap());
    hub.state().gate = Some("secret".into());
    hub.state().files_at = Some(files.endpoint().replace("127.0.0.1", "localhost"));
    files.state().faults.push_back(Fault::CutAfter(100));
    let store = Store::new(dir.path().into(), hub.endpoint(), Some("secret".into()));
    store.pull(GGUF, &mut Silent).unwrap();
    let path = "q4/tiny.Q4_1.gguf".to_owned();
    let whole = Request { path: path.clone(), ..Request::default() };
    let rest = Request { path, range: Some("bytes=100-".into()), token: None };
    assert_eq!(files.state().requests, [whole, rest]);
}

#[test]
fn a_hub_out_of_reach_is_named() {
    let hub = hub();
    let (endpoint, dir) = (hub.endpoint(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    drop(hub);
    let error = complaint(&store, MODEL);
    assert!(error.contains(&format!("cannot reach {endpoint}")), "{error}");
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    for (spec, said) in [
        ("hf:owner/absent", "owner/absent: "),
        ("hf:owner/tiny@absent", "no revision absent"),
        ("hf:owner/tiny/absent.gguf", "hf:owner/tiny/q4/tiny.Q4_1.gguf"),
        ("hf:owner", "expected hf:owner/name"),
    ] {
        let error = complaint(&store, spec);
        assert!(error.contains(said), "{spec}: {error}");
    }
    hub.state().faults.extend([Fault::Status(404), Fault::Status(503)]);
    assert!(complaint(&store, GGUF).contains("no file q4/tiny.Q4_1.gguf"));
    assert!(complaint(&store, GGUF).contains("status 503"));
    hub.state().portal = true;
    let error = complaint(&store, GGUF);
    assert!(error.contains("answered something that is no list"), "{error}");
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    let pull = || store.pull(MODEL, &mut Silent).unwrap();
    std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(pull), scope.spawn(pull));
        assert_eq!(one.join().unwrap(), two.join().unwrap());
    });
    let mut requested = hub.requested();
    requested.sort();
    let once = ["chat_template.jinja", "config.json", WEIGHTS, "tokenizer.json"];
    // An empty file is complete before it is asked for.
    assert_eq!(requested, once[1..]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = store(&file, &hub).pull(MODEL, &mut Silent).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(&file)), "{error}");
}

/// Bytes of each file as they were reported.
#[derive(Default)]
struct Recorder(Vec<(String, u64, Vec<u64>)>);

impl Progress for Recorder {
    fn say(&mut self, _what: &str) {}
    fn begin(&mut self, file: &str, bytes: u64) {
        self.0.push((file.into(), bytes, Vec::new()));
    }
    fn reached(&mut self, bytes: u64) {
        self.0.last_mut().unwrap().2.push(bytes);
    }
    fn end(&mut self) {}
}

#[test]
fn progress_counts_bytes_and_goes_on_from_where_an_earlier_try_ended() {
    let (hub, dir) = (hub(), tempfile::tempdir().unwrap());
    let store = store(dir.path(), &hub);
    hub.state().faults.extend([Fault::CutAfter(1000), Fault::CutAfter(0)]);
    complaint(&store, GGUF);
    let mut recorder = Recorder::default();
    store.pull(GGUF, &mut recorder).unwrap();
    let [(file, bytes, reached)] = recorder.0.as_slice() else { panic!("one file") };
    assert_eq!((file.as_str(), *bytes), ("q4/tiny.Q4_1.gguf", 4000));
    assert_eq!((reached[0], reached.last()), (1000, Some(&4000)));
    assert!(reached.is_sorted());
}
