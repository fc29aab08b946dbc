//! `rlaif align` as its users see it: ways of asking that only rationales have, and answers that outlive an audit
//! that had no report.

use rlaif_ledger::{Answer, Filter, Reader};
use rlaif_testkit::{Act, ScriptedHttp, write_jsonl};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

/// A folder with pairs that people have judged, and a template that may ask for a rationale first. It is also where the
/// program keeps its temporary files.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new(pairs: usize) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        let pair = |i: usize| {
            json!({"prompt": "Say something.", "chosen": format!("It is {i} degrees."),
                "rejected": format!("I have {i} cats.")})
        };
        write_jsonl(&scene.path("pairs.jsonl"), (0..pairs).map(pair));
        let template = "name = \"warmth\"\nkind = \"compare\"\nlayout = \"text\"\n\
            preamble = \"Which is warmer?\\n\"\nsample = \"1: {response_1}\\n2: {response_2}\\n\"\n\
            ending = \"It is\"\nverdicts = [\"1\", \"2\"]\n\
            [rationale]\nrequest = \"Say why.\\n\"\nbegin = \"Since\"\n";
        scene.write("warmth.toml", template);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// `rlaif align` of the pairs with these further arguments.
    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.args("align --task warmth=pairs.jsonl --template warmth.toml".split(' '));
        command.args(args.split_whitespace());
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }

    fn align(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    /// The numbers of an audit with these arguments, arm by arm.
    fn arms(&self, args: &str) -> Vec<Value> {
        let output = self.align(&format!("{args} --json audit.json"));
        assert!(output.status.success(), "{}", stderr(&output));
        let audit = std::fs::read_to_string(self.path("audit.json")).unwrap();
        let audit: Value = serde_json::from_str(&audit).unwrap();
        audit["arms"].as_array().unwrap().clone()
    }

    /// Folders for answers of audits without a ledger that are still there.
    fn left(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("rlaif-align-")).count()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn arms_with_rationales_have_self_consistency_and_a_clamp_and_the_others_have_neither() {
    let scene = Scene::new(3);
    let how =
        "--cot both --max-rationale-tokens 4 --samples 3 --temperature 0.9 --top-k 5 --clamp 0.45";
    let arms = scene.arms(&format!("--model {MODEL} {how} --ledger l.sqlite"));
    let [straight, reasoned] = &arms[..] else { panic!("{arms:?}") };
    assert_eq!(straight["question"]["rationale"], Value::Null);
    assert_eq!(reasoned["question"]["rationale"], json!({"samples": 3, "clamp": 0.45}));

    let reader = Reader::open(scene.path("l.sqlite")).unwrap();
    let mut reasoned = 0;
    for entry in reader.entries(Filter::default()) {
        let Ok(Answer::Comparison(said)) = entry.unwrap().outcome else { panic!("no label") };
        for order in [&said.ab, &said.ba] {
            let samples = order.rationales.len();
            assert!(samples == 0 || samples == 3, "{samples} rationales");
            if samples > 0 {
                reasoned += 1;
                let p = order.prefers_first.value();
                assert!((0.45 - 1e-9..=0.55 + 1e-9).contains(&p), "{p} is not clamped");
            }
        }
    }
    assert_eq!(reasoned, 6, "both orders of three pairs");
}

#[test]
fn what_is_said_of_rationales_where_there_are_none_is_refused() {
    let scene = Scene::new(2);
    for (args, complaint) in [
        ("--samples 3", "--cot"),
        ("--clamp 0.4", "--cot"),
        ("--cot no --temperature 0.7", "--cot no asks for none"),
        ("--cot yes --samples 3", "above 1 needs a temperature"),
        ("--cot yes --clamp 0.6", "must be in [0, 0.5]"),
        ("--cot yes --repeats 2", "asks the very same again"),
    ] {
        let output = scene.align(&format!("--model {MODEL} {args}"));
        assert!(!output.status.success(), "{args} succeeded");
        assert!(stderr(&output).contains(complaint), "{args}: {}", stderr(&output));
    }
}

/// A server that names the first response in both orders, but refuses who asks after `good` answers, once.
fn closed_once_after(good: usize) -> Vec<Act> {
    let named = json!([{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": -2.4}]);
    let content = json!([{"token": "1", "logprob": -0.1, "top_logprobs": named}]);
    let choice = json!({"message": {"role": "assistant", "content": "1"}, "finish_reason": "length",
        "logprobs": {"content": content}});
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 1});
    let answer = json!({"model": "m", "choices": [choice], "usage": usage}).to_string();
    let refusal = Act::status(402, r#"{"error": {"message": "no money left"}}"#);
    [vec![Act::ok(answer.clone()); good], vec![refusal, Act::ok(answer)]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_was_refused_goes_on_without_paying_twice_whether_or_not_a_ledger_was_named()
{
    for named in ["", "--ledger mine.sqlite"] {
        // In the middle of the second batch.
        let server = ScriptedHttp::start(closed_once_after(70)).await;
        let scene = Scene::new(50);
        let endpoint = format!(
            "base_url = \"{}/v1\"\nmodel = \"m\"\nmax_attempts = 2\nmax_concurrency = 1\n",
            server.url()
        );
        scene.write("m.toml", &endpoint);
        let output = scene.align(&format!("--model m.toml --json audit.json {named}"));
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains("refuses to answer"), "{said}");
        assert!(output.stdout.is_empty() && !scene.path("audit.json").exists());
        let hint = said.lines().find(|line| line.starts_with("what was answered is in "));
        let hint = hint.unwrap_or_else(|| panic!("it does not say how to go on: {said}"));
        let ledger = match named {
            "" => hint.split(' ').skip_while(|word| *word != "--ledger").nth(1).unwrap(),
            _ => "mine.sqlite",
        };
        assert!(hint.contains(ledger), "{hint}");
        let arms = scene.arms(&format!("--model m.toml --ledger {ledger}"));
        let census = &arms[0]["census"];
        assert_eq!((&census["answers"], &census["unscorable_by_reason"]), (&json!(50), &json!({})));
        // Both orders of 50 pairs, and the refusal.
        assert_eq!(server.requests().len(), 101, "{named:?}");
    }
}

#[test]
fn an_audit_that_has_its_report_leaves_no_answers_behind() {
    let scene = Scene::new(3);
    let arms = scene.arms(&format!("--model {MODEL}"));
    assert_eq!((arms.len(), scene.left()), (1, 0));
    // Nor does one that was answered nothing.
    let output = scene.align("--model nowhere.gguf");
    assert!(!output.status.success());
    assert_eq!(scene.left(), 0, "{}", stderr(&output));
}

#[test]
fn a_report_that_cannot_be_shown_loses_neither_its_files_nor_the_answers() {
    let scene = Scene::new(3);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = scene.command(&format!("--model {MODEL} --out audit.md --json audit.json"));
    let output = command.stdout(full).output().unwrap();
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains("error: writing output"), "{said}");
    assert!(said.contains("what was answered is in "), "{said}");
    assert!(scene.path("audit.md").exists() && scene.path("audit.json").exists());
    assert_eq!(scene.left(), 1);
}
