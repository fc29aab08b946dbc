//! A job on the tiny model, which a test runs to its end in seconds: its data, and the job file that names them.

use std::path::Path;

/// The model: a Llama of two layers, 32 wide, with 304 tokens and weights that were drawn.
pub const TINY_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

/// Another model: a Qwen2 as small, with a tokenizer of its own.
pub const ANOTHER_TINY_MODEL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-qwen2");

/// What all tiny jobs have: the model as their policy, somebody who judges, and so many lines of data. No file is
/// written where there are none.
#[derive(Debug, Clone, Copy)]
pub struct TinyJob<'a> {
    /// Who judges: a model, or the file of an endpoint.
    pub labeler: &'a str,
    /// What it is asked.
    pub template: &'a str,
    /// Prompts to train on.
    pub prompts: usize,
    /// Prompts to evaluate on.
    pub heldout_prompts: usize,
    /// Demonstrations to fine-tune on.
    pub demonstrations: usize,
    /// Preferences of people.
    pub preferences: usize,
}

impl Default for TinyJob<'_> {
    fn default() -> Self {
        Self {
            labeler: TINY_MODEL,
            template: "sentiment/rubric",
            prompts: 9,
            heldout_prompts: 4,
            demonstrations: 0,
            preferences: 0,
        }
    }
}

impl TinyJob<'_> {
    /// Writes the job's file, with its data beside it; the job is called as its file. All that a test is about is in
    /// `settings`, which end the file: first those of no table, then tables.
    ///
    /// # Panics
    /// When `file` is not in a folder that can be written.
    pub fn write(&self, file: &Path, settings: &str) {
        let name = file.file_stem().expect("a job has a file").to_string_lossy();
        let Self { labeler, template, .. } = self;
        let mut job = format!(
            "name = \"{name}\"\n\
             policy = {{ model = \"{TINY_MODEL}\", chat = false }}\n\
             labeler = {{ model = \"{labeler}\", template = \"{template}\" }}\n"
        );
        for (setting, data, count, line) in [
            ("prompts", "prompts.jsonl", self.prompts, r#"{"prompt": "Tell me about {i}"}"#),
            (
                "heldout_prompts",
                "heldout.jsonl",
                self.heldout_prompts,
                r#"{"prompt": "What is {i}"}"#,
            ),
            (
                "demonstrations",
                "demonstrations.jsonl",
                self.demonstrations,
                r#"{"prompt": "Say {i}", "completion": "It is {i}."}"#,
            ),
            (
                "preferences",
                "preferences.jsonl",
                self.preferences,
                r#"{"prompt": "Say {i}", "chosen": "It is {i}.", "rejected": "No."}"#,
            ),
        ] {
            if count > 0 {
                let lines = (0..count).map(|i| line.replace("{i}", &i.to_string()) + "\n");
                write(&file.with_file_name(data), &lines.collect::<String>());
                job += &format!("data.{setting} = \"{data}\"\n");
            }
        }
        write(file, &(job + settings));
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the test's folder can be written");
}
