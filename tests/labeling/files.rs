//! Where pairs come from and where labels go: no input is written over, a pipe is read as a file is, and a
//! name says its container.

use crate::{MODEL, Work, records, stderr};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn no_command_writes_over_a_file_that_it_reads_or_writes_besides() {
    let work = Work::with(2);
    let before = std::fs::read(work.path("pairs.jsonl")).unwrap();
    std::os::unix::fs::symlink(work.path("pairs.jsonl"), work.path("link.jsonl")).unwrap();
    let arm = format!("b={MODEL}");
    let commands: [&[&str]; 16] = [
        &["label", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--out", "link.jsonl", "--model", MODEL],
        &[
            "label",
            "--in",
            "pairs.jsonl",
            "--min-confidence",
            "1",
            "--route-uncertain",
            "pairs.jsonl",
            "--model",
            MODEL,
        ],
        &["label", "--in", "pairs.jsonl", "--report", "./pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--ledger", "pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--out", "n", "--report", "n", "--model", MODEL],
        &["rate", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["align", "--task", "t=pairs.jsonl", "--json", "link.jsonl", "--model", MODEL],
        &["generate", "--in", "pairs.jsonl", "--out", "link.jsonl", "--model", MODEL],
        &["logprobs", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["reward", "curve", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["data", "convert", "--in", "pairs.jsonl", "--to", "prompts", "--out", "pairs.jsonl"],
        &["data", "split", "--in", "pairs.jsonl", "--part", "link.jsonl=1", "--part", "b=1"],
        &["data", "split", "--in", "pairs.jsonl", "--part", "new=1", "--part", "./new=1"],
        &[
            "eval",
            "--prompts",
            "pairs.jsonl",
            "--judge",
            MODEL,
            "--out",
            "e",
            "--arm",
            "a=e/responses/a.jsonl",
            "--arm",
            &arm,
        ],
        &[
            "eval",
            "--prompts",
            "pairs.jsonl",
            "--judge",
            MODEL,
            "--out",
            "e",
            "--arm",
            "a=e/responses/a.json",
            "--arm",
            &arm,
        ],
    ];
    for args in commands {
        let output = work.rlaif(args);
        let said = stderr(&output);
        assert!(
            !output.status.success() && said.contains("is the file that --"),
            "{args:?}: {said}"
        );
        let after = std::fs::read(work.path("pairs.jsonl")).unwrap();
        assert!(after == before, "{args:?} destroyed its input");
    }
}

/// SQLite keeps the last labels in a log beside the ledger, and who writes there at all is settled by a lock.
#[test]
fn no_output_is_a_file_of_the_ledger() {
    let work = Work::with(2);
    work.labelled("labels.jsonl", &["--model", MODEL, "--ledger", "l.sqlite"]);
    let with_ledger = ["--ledger", "l.sqlite", "--model", MODEL];
    let commands: [(&[&str], &str); 6] = [
        (&["label", "--in", "pairs.jsonl"], "--out"),
        (&["label", "--in", "pairs.jsonl"], "--report"),
        (&["label", "--in", "pairs.jsonl", "--min-confidence", "1"], "--route-uncertain"),
        (&["rate", "--in", "pairs.jsonl"], "--out"),
        (&["align", "--task", "t=pairs.jsonl"], "--json"),
        (&["labels", "reaggregate"], "--out"),
    ];
    for (command, option) in commands {
        for kind in ["", "-wal", "-shm", "-journal", ".lock"] {
            let file = format!("./l.sqlite{kind}");
            let args = match command {
                // It asks no model.
                ["labels", ..] => [command, &with_ledger[..2], &[option, file.as_str()]].concat(),
                _ => [command, &with_ledger[..], &[option, file.as_str()]].concat(),
            };
            let output = work.rlaif(&args);
            let said = stderr(&output);
            assert!(
                !output.status.success() && said.contains("is the file that --"),
                "{args:?}: {said}"
            );
        }
    }
    // A ledger that nobody named is in the evaluation's folder.
    let arms = [format!("a={MODEL}"), format!("b={MODEL}")];
    let prompts = "e/labels.sqlite-wal";
    let output = work.rlaif(&[
        "eval",
        "--prompts",
        prompts,
        "--judge",
        MODEL,
        "--out",
        "e",
        "--arm",
        &arms[0],
        "--arm",
        &arms[1],
    ]);
    assert!(stderr(&output).contains("is the file that --"), "{}", stderr(&output));
    assert_eq!(work.in_ledger(), 2);
}

#[test]
fn pairs_from_a_pipe_are_labelled_as_from_a_file() {
    let work = Work::with(3);
    let from_file = work.labelled("file.jsonl", &["--model", MODEL]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(["label", "--in", "/dev/stdin", "--out", "piped.jsonl", "--model", MODEL]);
    command.args(["--template", "sentiment/compare"]).current_dir(work.folder.path());
    let mut labeling = command.stdin(Stdio::piped()).spawn().unwrap();
    let pairs = std::fs::read(work.path("pairs.jsonl")).unwrap();
    labeling.stdin.take().unwrap().write_all(&pairs).unwrap();
    assert!(labeling.wait().unwrap().success());
    assert_eq!(records(&work.path("piped.jsonl")), from_file);
}

#[test]
fn lines_of_json_are_not_written_under_another_containers_name() {
    let work = Work::with(1);
    for name in ["q.jsonl.gz", "q.GZ", "q.Parquet"] {
        let routed = ["--model", MODEL, "--min-confidence", "1", "--route-uncertain", name];
        for output in [work.label("out.jsonl", &routed), work.label(name, &["--model", MODEL])] {
            assert!(!output.status.success() && !work.path(name).exists(), "{name} is written");
            assert!(stderr(&output).contains("data convert"), "{}", stderr(&output));
        }
    }
}
