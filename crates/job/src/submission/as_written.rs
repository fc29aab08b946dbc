//! A job as its author wrote it, and the files that it names, under the names that it gives them: what a
//! client sends that has neither our defaults nor our templates. It becomes what [`Submission::read`] makes of
//! the same files.
//!
//! [`Submission::read`]: super::Submission::read

use super::{Asked, TEMPLATES, Templates, check_records, data_files, encoded};
use crate::Job;
use rlaif_template::Template;
use rlaif_types::{Problem, Problems};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

type Files = BTreeMap<String, Vec<u8>>;

/// The job's templates, its files by their names in the run folder, and the prompts of those of data.
///
/// # Errors
/// All that is wrong: `attachments.prompts.jsonl`, `job_toml.labeler.template`.
pub(super) fn files(job: &Job, sent: &Files) -> Result<(Templates, Files, Asked), Problems> {
    let reading = Reading { sent, named: RefCell::default(), problems: RefCell::default() };
    let (mut files, mut asked) = (Files::new(), Asked::new());
    for (name, path) in data_files(job) {
        let shown = path.to_string_lossy();
        let Some(bytes) = reading.file(&shown) else { continue };
        match check_records(Some(job), name, path, bytes) {
            Ok(prompts) => drop(asked.insert(name, prompts)),
            Err(error) => reading.complain(format!("attachments.{shown}"), error.to_string()),
        }
        files.insert(name.to_owned(), bytes.to_vec());
    }
    let labeler = reading.template("job_toml.labeler.template", &job.labeler.template);
    let evaluation = job.evaluate.templates.iter().enumerate();
    let evaluation = evaluation
        .filter_map(|(i, name)| {
            reading.template(&format!("job_toml.evaluate.templates[{i}]"), name)
        })
        .collect();
    let parts = job.rl.mixture.iter().enumerate();
    let mixture = parts
        .map(|(i, part)| {
            let setting = format!("job_toml.rl.mixture[{i}].template");
            part.template.as_ref().and_then(|name| reading.template(&setting, name))
        })
        .collect();
    let problems = reading.finish();
    match labeler {
        // Without one, that is complained of.
        Some(labeler) if problems.is_empty() => {
            let templates = Templates { labeler, evaluation, mixture };
            files.insert(TEMPLATES.to_owned(), encoded(&templates));
            Ok((templates, files, asked))
        }
        _ => Err(problems),
    }
}

/// What was sent, which of it the job has named so far, and what is wrong with that.
struct Reading<'a> {
    sent: &'a Files,
    named: RefCell<BTreeSet<String>>,
    problems: RefCell<Problems>,
}

impl<'a> Reading<'a> {
    /// A file that the job names. One that is missing is complained of once.
    fn file(&self, name: &str) -> Option<&'a [u8]> {
        let is_new = self.named.borrow_mut().insert(name.to_owned());
        let found = self.sent.get(name).map(Vec::as_slice);
        if found.is_none() && is_new {
            self.complain(format!("attachments.{name}"), "is missing");
        }
        found
    }

    /// A built-in template, or one that was sent. No name reaches this machine's files.
    fn template(&self, setting: &str, name: &str) -> Option<Template> {
        let (field, template) = if name.ends_with(".toml") {
            let text = String::from_utf8_lossy(self.file(name)?);
            (format!("attachments.{name}"), Template::parse(name, &text))
        } else {
            (setting.to_owned(), Template::load(name))
        };
        template.map_err(|error| self.complain(field, error.to_string())).ok()
    }

    fn complain(&self, field: String, what: impl Into<String>) {
        self.problems.borrow_mut().0.push(Problem::new(field, what));
    }

    /// All complaints, also of files that the job does not name.
    fn finish(self) -> Problems {
        let named = self.named.into_inner();
        let mut problems = self.problems.into_inner();
        for name in self.sent.keys().filter(|name| !named.contains(*name)) {
            problems
                .0
                .push(Problem::new(format!("attachments.{name}"), "is no file that the job names"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use crate::{Job, Submission};
    use rlaif_template::Template;
    use std::collections::BTreeMap;
    use std::path::Path;

    const JOB: &str = "name = 't'\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\n\
        template = 'sentiment/rubric'\n[data]\nprompts = 'p.jsonl'\nheldout_prompts = 'h.jsonl'\n\
        demonstrations = 'd.jsonl'\n[sft]\n\
        [sampling]\ntemperature = 0.5\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 2\n\
        [evaluate]\ntemplates = ['sentiment/review', 'own.toml']\n";

    fn files() -> BTreeMap<String, Vec<u8>> {
        let own = Template::load("sentiment/rating").unwrap().to_toml();
        let prompts = "{\"prompt\": \"Hi\"}\n".to_owned();
        let heldout = "{\"prompt\": \"Ho\"}\n".to_owned();
        let demonstrations = "{\"prompt\": \"Hi\", \"completion\": \"Ho\"}\n".to_owned();
        let files = [
            ("p.jsonl", prompts),
            ("h.jsonl", heldout),
            ("own.toml", own),
            ("d.jsonl", demonstrations),
        ];
        files.map(|(name, text)| (name.to_owned(), text.into())).into()
    }

    #[test]
    fn it_becomes_what_is_read_from_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("job.toml", JOB.as_bytes());
        files().iter().for_each(|(name, bytes)| write(name, bytes));
        let read = Submission::read(Job::load(&folder.path().join("job.toml")).unwrap()).unwrap();

        let sent = Submission::from_parts(JOB, files()).unwrap();
        assert_eq!(sent.files, read.files);
        // The names of files are as they were written; all else has the same defaults.
        assert_eq!(sent.job.data.prompts, Path::new("p.jsonl"));
        let Job { rl, sampling, evaluate, .. } = sent.job.clone();
        assert_eq!((rl, sampling), (read.job.rl, read.job.sampling));
        assert_eq!(evaluate.templates[1], "own.toml");
        // What the run folder keeps is the same job again.
        let kept = Submission::from_parts(&sent.job.to_toml(), sent.files.clone()).unwrap();
        assert_eq!(kept, sent);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_by_the_names_in_the_job() {
        let mut files = files();
        files.remove("p.jsonl");
        files.insert("own.toml".into(), b"name = 3".to_vec());
        files.insert("/etc/passwd".into(), Vec::new());
        let job = JOB.replace("sentiment/rubric", "sentimental");
        let problems = Submission::from_parts(&job, files).unwrap_err();
        let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        let expected = [
            "attachments.p.jsonl",
            "job_toml.labeler.template",
            "attachments.own.toml",
            "attachments./etc/passwd",
        ];
        assert_eq!(fields, expected, "{problems}");
    }

    #[test]
    fn a_template_that_was_not_sent_is_not_looked_for_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("own.toml").display().to_string();
        std::fs::write(&here, Template::load("sentiment/rating").unwrap().to_toml()).unwrap();
        let mut files = files();
        files.remove("own.toml");
        let problems = Submission::from_parts(&JOB.replace("own.toml", &here), files).unwrap_err();
        assert_eq!(problems.to_string(), format!("attachments.{here} is missing"));
    }
}
