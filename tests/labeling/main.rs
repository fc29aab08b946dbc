//! Labeling as its users see it: paid for once, within a budget, by several models, with people where
//! the labeler is unsure, and by models behind endpoints.

mod audits;
mod endpoints;
mod files;
mod panels;
mod people;
mod ratings;
mod report;
mod spending;

use rlaif_testkit::{Act, ScriptedHttp, write_jsonl};
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

/// A folder with pairs to label.
struct Work {
    folder: TempDir,
}

impl Work {
    fn with(pairs: usize) -> Self {
        Self::of((0..pairs).map(|i| {
            json!({"id": i, "prompt": "Say something.", "response_a": format!("It is {i} degrees."),
                "response_b": format!("I have {i} cats.")})
        }))
    }

    fn of(pairs: impl IntoIterator<Item = impl Borrow<Value>>) -> Self {
        let work = Self { folder: tempfile::tempdir().unwrap() };
        work.write("pairs.jsonl", pairs);
        work
    }

    fn write(&self, name: &str, records: impl IntoIterator<Item = impl Borrow<Value>>) {
        write_jsonl(&self.path(name), records);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rlaif(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.args(args).current_dir(self.folder.path()).output().unwrap()
    }

    /// `rlaif label` of the pairs into `out`.
    fn label(&self, out: &str, args: &[&str]) -> Output {
        let fixed =
            ["label", "--in", "pairs.jsonl", "--out", out, "--template", "sentiment/compare"];
        self.rlaif(&[&fixed[..], args].concat())
    }

    fn labelled(&self, out: &str, args: &[&str]) -> Vec<Value> {
        let output = self.label(out, args);
        assert!(output.status.success(), "{}", stderr(&output));
        records(&self.path(out))
    }

    /// Labels in the ledger.
    fn in_ledger(&self) -> u64 {
        let output = self.rlaif(&["labels", "list", "--ledger", "l.sqlite", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap().lines().count() as u64
    }
}

/// A pair of which people chose the response about the weather.
fn preference(i: usize) -> Value {
    json!({"id": i, "prompt": "Say something.", "chosen": format!("It is {i} degrees."),
        "rejected": format!("I have {i} cats.")})
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server that names the first response in both orders.
fn biased() -> Act {
    let named = json!([{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": -2.4}]);
    let content = json!([{"token": "1", "logprob": -0.1, "top_logprobs": named}]);
    let choice = json!({"message": {"role": "assistant", "content": "1"}, "finish_reason": "length",
        "logprobs": {"content": content}});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 1});
    Act::ok(json!({"model": "m", "choices": [choice], "usage": usage}).to_string())
}

/// A server that fails both questions of the first pair it is asked about, each twice, and then answers.
fn failing_once() -> Vec<Act> {
    [vec![Act::status(500, "oops"); 4], vec![biased()]].concat()
}

/// Describes the server for `--model m.toml`.
fn describe(work: &Work, server: &ScriptedHttp) {
    let endpoint = format!(
        "base_url = \"{}/v1\"\nmodel = \"m\"\nmax_attempts = 2\nmax_concurrency = 1\n\
         first_backoff = \"1ms\"\n",
        server.url()
    );
    std::fs::write(work.path("m.toml"), endpoint).unwrap();
}
