//! What a client hands over: the job and everything it refers to, read and checked, so that nothing
//! on the client's disk is needed afterwards.

mod as_written;

use crate::machine::{Inputs, split_heldout};
use crate::{Error, Job, PartSource, RewardModelConfig, RewardPart, RunFolder};
use rlaif_data::{PromptSet, Reader, demonstration_of, preferences_of, prompt_of, write_atomic};
use rlaif_template::{Kind, Template};
use rlaif_types::{ContentHash, Hasher, LabelSource, Preference, Problems, Prompt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::iter;
use std::path::{Path, PathBuf};

const PROMPTS: &str = "data/prompts.jsonl";
const HELDOUT: &str = "data/heldout_prompts.jsonl";
const DEMONSTRATIONS: &str = Submission::DEMONSTRATIONS;
const PREFERENCES: &str = Submission::PREFERENCES;
const TEMPLATES: &str = "data/templates.json";

/// Characters of a prompt in a message.
const SHOWN: usize = 120;

/// A job and its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The job, with every default filled in.
    pub job: Job,
    /// Files by their name in the run folder, which is also the name of their artifact.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The prompts of each file of data, by its name in the run folder: what is read once, to be counted and to be looked
/// over for prompts that are trained on and held out.
type Asked = BTreeMap<&'static str, Vec<Prompt>>;

/// The job's templates by value.
#[derive(Serialize, Deserialize)]
struct Templates {
    labeler: Template,
    evaluation: Vec<Template>,
    /// Of a mixture of rewards, by part; none for parts that ask nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mixture: Vec<Option<Template>>,
}

impl Templates {
    /// Those that `job` names.
    ///
    /// # Errors
    /// When there is no such template, or it is senseless.
    fn of(job: &Job) -> Result<Self, Error> {
        let load = |name: &String| Template::load(name);
        let mixture =
            job.rl.mixture.iter().map(|part| part.template.as_ref().map(load).transpose());
        Ok(Self {
            labeler: load(&job.labeler.template)?,
            evaluation: job.evaluate.templates.iter().map(load).collect::<Result<_, _>>()?,
            mixture: mixture.collect::<Result<_, _>>()?,
        })
    }

    /// In the order of [`Job::template_names_mut`].
    fn all(&self) -> impl Iterator<Item = &Template> {
        iter::once(&self.labeler).chain(&self.evaluation).chain(self.mixture.iter().flatten())
    }

    /// Whether the job can ask them as it says.
    fn problems(&self, job: &Job) -> Problems {
        let mut problems = Problems::default();
        problems.section("labeler.asking", job.labeler.asking.problems(&self.labeler));
        if job.reward_model.as_ref().is_some_and(|rm| rm.staleness.is_some()) {
            let what = format!(
                "compares two responses, and labeler.template {} is for {}",
                self.labeler.name,
                self.labeler.kind.describe()
            );
            let compares = self.labeler.kind == Kind::Compare;
            problems.check(compares, "reward_model.staleness", what);
        }
        let count = self.mixture.len();
        let what = format!("has {} parts, but templates for {count}", job.rl.mixture.len());
        problems.check(count == job.rl.mixture.len(), "rl.mixture", what);
        for (i, (part, template)) in job.rl.mixture.iter().zip(&self.mixture).enumerate() {
            let Some(template) = template else { continue };
            problems.section(&format!("rl.mixture[{i}]"), part_problems(part, template));
        }
        problems
    }
}

/// Whether a part of a mixture can be asked by its template.
fn part_problems(part: &RewardPart, template: &Template) -> Problems {
    let mut problems = Problems::default();
    let (compares, needed) = match part.source {
        PartSource::Pairwise => (true, "comparing two responses"),
        _ => (false, "rating one response"),
    };
    let what = format!(
        "{} is for {}; this part needs one for {needed}",
        template.name,
        template.kind.describe()
    );
    problems.check((template.kind == Kind::Compare) == compares, "template", what);
    problems.section("asking", part.asking.problems(template));
    problems
}

impl Submission {
    /// Its demonstrations, where it fine-tunes on given ones.
    pub const DEMONSTRATIONS: &str = "data/demonstrations.jsonl";
    /// Its preferences to learn from, where policy or reward model learn from given ones.
    pub const PREFERENCES: &str = "data/preferences.jsonl";

    /// Reads everything that `job` refers to.
    ///
    /// # Errors
    /// When a file is missing, or says something senseless.
    pub fn read(job: Job) -> Result<Self, Error> {
        let templates = Templates::of(&job)?;
        let mut problems = templates.problems(&job);
        problems.0.extend(unread_problems(&job).0);
        if !problems.is_empty() {
            return Err(Error::Settings(problems.to_string()));
        }
        let (mut files, mut asked) = (BTreeMap::new(), Asked::new());
        for (name, path) in data_files(&job) {
            let bytes = fs::read(path).map_err(Error::io(path))?;
            asked.insert(name, check_records(Some(&job), name, path, &bytes)?);
            files.insert(name.to_owned(), bytes);
        }
        files.insert(TEMPLATES.to_owned(), encoded(&templates));
        let problems = heldout_problems(&job, &asked);
        if !problems.is_empty() {
            return Err(Error::Settings(problems.to_string()));
        }
        Ok(Self { job, files })
    }

    /// Puts together what another machine sent: what [`Submission::read`] made there, its job by
    /// [`Job::to_toml`] and its files; or, without the file of templates, a job as it was written and the
    /// files that it names. Everything is checked.
    ///
    /// # Errors
    /// All that is wrong, by its path: `job_toml.rl.steps`, `attachments.data/prompts.jsonl`.
    pub fn from_parts(job_toml: &str, files: BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        if files.contains_key(TEMPLATES) {
            return Self::from_read_parts(job_toml, files);
        }
        let within = |found| {
            let mut problems = Problems::default();
            problems.section("job_toml", found);
            problems
        };
        let job = Job::from_toml(job_toml).map_err(within)?;
        let unread = unread_problems(&job);
        if !unread.is_empty() {
            return Err(within(unread));
        }
        let (templates, files, asked) = as_written::files(&job, &files)?;
        let mut problems = templates.problems(&job);
        problems.0.extend(heldout_problems(&job, &asked).0);
        if problems.is_empty() { Ok(Self { job, files }) } else { Err(within(problems)) }
    }

    fn from_read_parts(job_toml: &str, files: BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let job = Job::from_toml(job_toml).map_err(|found| problems.section("job_toml", found));
        let expected = [
            (PROMPTS, true),
            (HELDOUT, true),
            (TEMPLATES, true),
            (DEMONSTRATIONS, job.as_ref().is_ok_and(|job| job.data.demonstrations.is_some())),
            (PREFERENCES, job.as_ref().is_ok_and(|job| job.data.preferences.is_some())),
        ];
        let (mut attachments, mut asked) = (Problems::default(), Asked::new());
        for (name, needed) in expected {
            match files.get(name).map(|bytes| check_file(job.as_ref().ok(), name, bytes)) {
                Some(Ok(prompts)) => drop(asked.insert(name, prompts)),
                Some(Err(what)) => attachments.check(false, name, what),
                None => attachments.check(!needed, name, "is missing"),
            }
        }
        for name in files.keys() {
            let known = expected.iter().any(|(expected, _)| expected == name);
            attachments.check(known, name, "is no file of a job");
        }
        problems.section("attachments", attachments);
        if let (Ok(job), Some(bytes)) = (&job, files.get(TEMPLATES))
            && let Ok(templates) = serde_json::from_slice::<Templates>(bytes)
        {
            problems.section("job_toml", templates.problems(job));
        }
        if let Ok(job) = &job {
            problems.section("job_toml", unread_problems(job));
            problems.section("job_toml", heldout_problems(job, &asked));
        }
        match job {
            Ok(job) if problems.is_empty() => Ok(Self { job, files }),
            _ => Err(problems),
        }
    }

    /// Its hash: equal submissions have equal ones.
    pub fn hash(&self) -> ContentHash {
        let mut hasher = Hasher::new();
        hasher.field(self.job.to_toml().as_bytes());
        for (name, bytes) in &self.files {
            hasher.field(name.as_bytes());
            hasher.field(bytes);
        }
        hasher.finish()
    }

    /// Writes the files into the run folder.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, folder: &RunFolder) -> Result<(), Error> {
        let data = folder.path("data");
        fs::create_dir_all(&data).map_err(Error::io(&data))?;
        for (name, bytes) in &self.files {
            write_atomic(&folder.path(name), bytes)?;
        }
        Ok(())
    }

    /// Reads what [`Submission::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn load(job: Job, folder: &RunFolder) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for name in [PROMPTS, HELDOUT, DEMONSTRATIONS, PREFERENCES, TEMPLATES] {
            let path = folder.path(name);
            match fs::read(&path) {
                Ok(bytes) => drop(files.insert(name.to_owned(), bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&path)(e)),
            }
        }
        Ok(Self { job, files })
    }

    /// In what `job`, as it stands now, is another one than `before`, whose run is in `folder`: settings, and what is in
    /// its files of data and templates, wherever they lie.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn differences(job: &Job, before: Job, folder: &RunFolder) -> Result<Vec<String>, Error> {
        let (mut now, mut before) = (job.clone(), Job { data: job.data.clone(), ..before });
        let asked: Templates = folder.json(TEMPLATES)?;
        let mut edited = Vec::new();
        let names = now.template_names_mut().zip(before.template_names_mut());
        let templates = Templates::of(job)?;
        // A template that the program brings is known by its name, and may be worded better later.
        for ((name, known), (template, was)) in names.zip(templates.all().zip(asked.all())) {
            if name.ends_with(".toml") && known.ends_with(".toml") {
                if template != was {
                    edited.push(format!("{name} is not the template that it asked by"));
                }
                known.clone_from(name);
            }
        }
        let mut found = now.differences(&before);
        found.extend(edited);
        for (name, path) in data_files(job) {
            let now = fs::read(path).map_err(Error::io(path))?;
            if fs::read(folder.path(name)).ok().is_none_or(|before| before != now) {
                found.push(format!("{} is not the {name} that it worked on", path.display()));
            }
        }
        Ok(found)
    }

    /// The files of a run folder whose prompts a job trains on, as far as they are there.
    pub fn training_files(folder: &RunFolder) -> Vec<PathBuf> {
        let files = [PROMPTS, DEMONSTRATIONS, PREFERENCES].map(|name| folder.path(name));
        files.into_iter().filter(|path| path.is_file()).collect()
    }

    /// The held-out prompts by which the run of `job` in `folder` chooses among its policy's versions; none where it
    /// does not choose, or the folder does not say.
    ///
    /// # Errors
    /// When the prompts cannot be read.
    pub fn selection_prompts(job: &Job, folder: &RunFolder) -> Result<Vec<Prompt>, Error> {
        let path = folder.path(HELDOUT);
        if job.rl.selection.is_none() || !path.is_file() {
            return Ok(Vec::new());
        }
        let heldout = prompts(HELDOUT, &fs::read(&path).map_err(Error::io(&path))?)?;
        Ok(split_heldout(job, &heldout).0)
    }

    /// What the machine works on.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn inputs(&self) -> Result<Inputs, Error> {
        let file = |name: &str| {
            let missing = || Error::run_folder(Path::new(name), "is missing from the submission");
            self.files.get(name).ok_or_else(missing)
        };
        let templates: Templates = serde_json::from_slice(file(TEMPLATES)?)
            .map_err(|e| Error::run_folder(Path::new(TEMPLATES), e.to_string()))?;
        Ok(Inputs {
            prompts: prompts(PROMPTS, file(PROMPTS)?)?,
            heldout: prompts(HELDOUT, file(HELDOUT)?)?,
            template: templates.labeler,
            evaluation_templates: templates.evaluation,
            mixture_templates: templates.mixture,
        })
    }
}

/// The files of data that a job names: in the run folder, and where the job says they are.
fn data_files(job: &Job) -> impl Iterator<Item = (&'static str, &PathBuf)> {
    let data = &job.data;
    let always = [(PROMPTS, &data.prompts), (HELDOUT, &data.heldout_prompts)];
    let sometimes = [(DEMONSTRATIONS, &data.demonstrations), (PREFERENCES, &data.preferences)];
    let given = sometimes.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
    always.into_iter().chain(given)
}

/// Files that the job names and none of its stages reads. Whoever names one means it to be learned from.
fn unread_problems(job: &Job) -> Problems {
    let mut problems = Problems::default();
    let read = job.data.demonstrations.is_none() || job.learns_demonstrations();
    let what = "is read by no stage of this job; add [sft] with by = \"data\", or remove it";
    problems.check(read, "data.demonstrations", what);
    let read = job.data.preferences.is_none() || job.given_labels().is_some();
    let what = "is read by no stage of this job; add a [reward_model], or remove it";
    problems.check(read, "data.preferences", what);
    problems
}

fn encoded(templates: &Templates) -> Vec<u8> {
    serde_json::to_vec(templates).expect("templates are plain data")
}

/// The prompts of the file, which has none where it is that of templates. Complains in terms of the attachment.
fn check_file(job: Option<&Job>, name: &str, bytes: &[u8]) -> Result<Vec<Prompt>, String> {
    match name {
        TEMPLATES => {
            let templates: Templates = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
            templates
                .all()
                .try_for_each(|t| t.check().map_err(|what| format!("{}: {what}", t.name)))?;
            Ok(Vec::new())
        }
        _ => check_records(job, name, Path::new(name), bytes).map_err(|e| e.to_string()),
    }
}

/// The prompts of the file, in which there is something that the job can use. Complains in terms of the user's own
/// file. Where the job makes no sense, whoever's labels will do.
fn check_records(
    job: Option<&Job>,
    name: &str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<Prompt>, Error> {
    let shown = path.display().to_string();
    let all_of = |prompts: Vec<Prompt>, what: &str| (prompts.len(), prompts, what.to_owned());
    let (usable, prompts, what) = match (name, job.and_then(Job::given_labels)) {
        (DEMONSTRATIONS, _) => all_of(demonstrations(&shown, bytes)?, "demonstrations"),
        (PREFERENCES, Some((setting, labels))) => {
            let weights = job.and_then(|job| job.reward_model.as_ref());
            let (usable, prompts) = labelled(&shown, bytes, labels, weights)?;
            let what =
                format!("preferences with a label that {setting} = \"{}\" learns", labels.as_str());
            (usable, prompts, what)
        }
        (PREFERENCES, None) => {
            let (usable, prompts) = labelled(&shown, bytes, LabelSource::Mixed, None)?;
            (usable, prompts, "preferences with a label".to_owned())
        }
        _ => all_of(prompts(&shown, bytes)?, "prompts"),
    };
    match usable {
        0 => Err(Error::NothingToDo(format!("{shown}: no {what} in it"))),
        _ => Ok(prompts),
    }
}

fn prompts(name: &str, bytes: &[u8]) -> Result<Vec<Prompt>, Error> {
    Ok(Reader::new(name, Cursor::new(bytes.to_vec())).read_all(|record| prompt_of(&record))?)
}

/// Whether there are prompts to evaluate on that nothing is trained on, and that a selection leaves. Files that cannot
/// be read are not among those `asked`, and complained of elsewhere.
fn heldout_problems(job: &Job, asked: &Asked) -> Problems {
    let mut problems = Problems::default();
    let Some(heldout) = asked.get(HELDOUT) else { return problems };
    if let Some(selection) = &job.rl.selection {
        let (taken, all) = (selection.prompts, heldout.len());
        let what = format!(
            "= {taken} leaves nothing to evaluate on: {} has {all} prompts; the choice needs other prompts \
             than the evaluation after it",
            job.data.heldout_prompts.display()
        );
        problems.check(taken < all, "rl.selection.prompts", what);
    }
    for (name, path) in data_files(job) {
        let trained_on = asked.get(name).filter(|_| name != HELDOUT);
        let known: PromptSet = trained_on.into_iter().flatten().collect();
        let leaked: Vec<&Prompt> = heldout.iter().filter(|prompt| known.contains(prompt)).collect();
        let Some(first) = leaked.first() else { continue };
        let first: String = first.as_context().chars().take(SHOWN).collect();
        let what = format!(
            "has {} prompts of {} that {} has too, which is trained on; the first of them is {first:?}; take them \
             out of one of the files by `rlaif data convert --not-in`",
            leaked.len(),
            heldout.len(),
            path.display()
        );
        problems.check(false, "data.heldout_prompts", what);
    }
    problems
}

/// What is demonstrated how to answer.
fn demonstrations(name: &str, bytes: &[u8]) -> Result<Vec<Prompt>, Error> {
    let reader = Reader::new(name, Cursor::new(bytes.to_vec()));
    Ok(reader.read_all(|record| demonstration_of(&record).map(|(prompt, ..)| prompt))?)
}

/// How many preferences have such a label, and the prompts of all, which say how much they count where that is asked for.
fn labelled(
    name: &str,
    bytes: &[u8],
    labels: LabelSource,
    weights: Option<&RewardModelConfig>,
) -> Result<(usize, Vec<Prompt>), Error> {
    let reader = Reader::new(name, Cursor::new(bytes.to_vec()));
    let read = reader.read_all(|record| {
        weights.map_or(Ok(1.0), |config| config.weight_of(&record))?;
        preferences_of(&record)
    })?;
    let preferences: Vec<Preference> = read.into_iter().flatten().collect();
    let usable = preferences.iter().filter(|preference| labels.of(preference).is_some()).count();
    Ok((usable, preferences.into_iter().map(|preference| preference.pair.prompt).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RewardSource;

    fn submission() -> Submission {
        let folder = tempfile::tempdir().unwrap();
        let job = "name = 't'\n[policy]\nmodel = 'm'\n[labeler]\nmodel = 'm'\n\
            template = 'sentiment/rubric'\n[data]\nprompts = 'p.jsonl'\n\
            heldout_prompts = 'h.jsonl'\n[rl]\nreward = 'labeler'\nsteps = 1\nbatch_size = 2\n";
        fs::write(folder.path().join("job.toml"), job).unwrap();
        fs::write(folder.path().join("p.jsonl"), "{\"prompt\": \"Hi\"}\n").unwrap();
        fs::write(folder.path().join("h.jsonl"), "{\"prompt\": \"Ho\"}\n").unwrap();
        Submission::read(Job::load(&folder.path().join("job.toml")).unwrap()).unwrap()
    }

    #[test]
    fn what_one_machine_read_another_puts_together() {
        let sent = submission();
        let received = Submission::from_parts(&sent.job.to_toml(), sent.files.clone()).unwrap();
        assert_eq!((&received, received.hash()), (&sent, sent.hash()));
        let other = Submission { job: Job { seed: 7, ..sent.job.clone() }, ..sent.clone() };
        assert_ne!(other.hash(), sent.hash());
    }

    #[test]
    fn a_labeler_that_cannot_be_asked_so_is_refused_on_either_side() {
        let mut sent = submission();
        sent.job.labeler.asking.shots = 2;
        let problems = Submission::from_parts(&sent.job.to_toml(), sent.files).unwrap_err();
        assert_eq!(problems.0[0].field, "job_toml.labeler.asking.shots", "{problems}");
        let error = Submission::read(sent.job).unwrap_err().to_string();
        assert!(error.starts_with("labeler.asking.shots"), "{error}");
    }

    #[test]
    fn a_file_that_no_stage_reads_is_refused_on_either_side() {
        let mut sent = submission();
        sent.job.data.preferences = Some("f.jsonl".into());
        sent.job.data.demonstrations = Some("d.jsonl".into());
        let expected = "data.demonstrations is read by no stage of this job; add [sft] with by = \"data\", or \
            remove it; data.preferences is read by no stage of this job; add a [reward_model], or remove it";
        let error = Submission::read(sent.job.clone()).unwrap_err().to_string();
        assert_eq!(error, expected);
        let as_written = Submission::from_parts(&sent.job.to_toml(), BTreeMap::new());
        let fields = ["job_toml.data.demonstrations", "job_toml.data.preferences"];
        let found = as_written.unwrap_err();
        assert_eq!(found.0.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(), fields);
    }

    /// A reward model of these labels, of so many sampled pairs and of one given pair that a model has labelled.
    fn of_given_labels(labels: LabelSource, pairs: usize) -> Result<Submission, Problems> {
        let mut sent = submission();
        sent.job.data.preferences = Some("f.jsonl".into());
        sent.job.rl.reward = RewardSource::Model;
        sent.job.reward_model =
            Some(RewardModelConfig { labels, pairs, ..RewardModelConfig::default() });
        let pair = r#"{"prompt": "2+2?", "response_a": "4", "response_b": "5", "soft_label": 0.9}"#;
        sent.files.insert(PREFERENCES.into(), pair.into());
        Submission::from_parts(&sent.job.to_toml(), sent.files)
    }

    #[test]
    fn a_models_labels_may_be_given_and_those_that_are_not_learned_are_not_taken_for_them() {
        for labels in [LabelSource::Ai, LabelSource::Mixed] {
            for pairs in [0, 8] {
                of_given_labels(labels, pairs).unwrap();
            }
        }
        let refused = of_given_labels(LabelSource::Human, 8).unwrap_err().to_string();
        let expected =
            "no preferences with a label that reward_model.labels = \"human\" learns in it";
        assert!(refused.contains(expected), "{refused}");
    }

    #[test]
    fn a_selection_leaves_prompts_to_evaluate_on() {
        let sent = submission();
        let toml = sent.job.to_toml() + "\n[rl.selection]\nprompts = 1\n";
        let mut files = sent.files.clone();
        let problems = Submission::from_parts(&toml, files.clone()).unwrap_err().to_string();
        let expected = "job_toml.rl.selection.prompts = 1 leaves nothing to evaluate on: ";
        assert!(problems.starts_with(expected), "{problems}");
        files.insert(HELDOUT.into(), b"{\"prompt\": \"Ho\"}\n{\"prompt\": \"Ha\"}\n".to_vec());
        Submission::from_parts(&toml, files).unwrap();
    }

    #[test]
    fn prompts_that_are_trained_on_are_not_held_out() {
        let sent = submission();
        let refused = |name: &str, toml: &str, line: &str| {
            let mut files = sent.files.clone();
            files.insert(
                HELDOUT.into(),
                b"{\"prompt\": \"Ho\"}\n{\"prompt\": \"What  is it?\"}\n".to_vec(),
            );
            files.insert(name.into(), format!("{line}\n").into_bytes());
            Submission::from_parts(toml, files).unwrap_err().to_string()
        };
        let toml = sent.job.to_toml();
        // White space does not tell prompts apart.
        let why = refused(PROMPTS, &toml, "{\"prompt\": \"What is it?\"}");
        assert!(why.starts_with("job_toml.data.heldout_prompts has 1 prompts of 2 that "), "{why}");
        assert!(why.contains("\"What  is it?\"") && why.contains("--not-in"), "{why}");
        let fine_tuned =
            toml.replacen("[data]", "[data]\ndemonstrations = 'd.jsonl'", 1) + "\n[sft]\n";
        let shown = "{\"prompt\": \"Ho\", \"completion\": \"Hi.\"}";
        let why = refused(DEMONSTRATIONS, &fine_tuned, shown);
        assert!(why.contains("1 prompts of 2 that d.jsonl has too"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.jsonl"), "{\"prompt\": \"Hi\"}\n").unwrap();
        let mut job = sent.job.clone();
        job.data.prompts = folder.path().join("p.jsonl");
        job.data.heldout_prompts = folder.path().join("p.jsonl");
        let why = Submission::read(job).unwrap_err().to_string();
        assert!(why.starts_with("data.heldout_prompts has 1 prompts of 1 that "), "{why}");
    }

    #[test]
    fn given_pairs_that_are_weighed_all_have_a_weight() {
        let mut sent = submission();
        sent.job.data.preferences = Some("f.jsonl".into());
        sent.job.rl.reward = RewardSource::Model;
        let weight_field = Some("sure".to_owned());
        sent.job.reward_model =
            Some(RewardModelConfig { weight_field, ..RewardModelConfig::default() });
        let put_together = |second: &str| {
            let pair = |weight: &str| {
                format!(
                    "{{\"prompt\": \"2+2?\", \"response_a\": \"4\", \"response_b\": \"5\", \"soft_label\": 0.9{weight}}}\n"
                )
            };
            let lines = pair(", \"sure\": 0.5") + &pair(second);
            let mut files = sent.files.clone();
            files.insert(PREFERENCES.into(), lines.into());
            Submission::from_parts(&sent.job.to_toml(), files)
        };
        put_together(", \"sure\": 0").unwrap();
        let why = put_together("").unwrap_err().to_string();
        let expected = "attachments.data/preferences.jsonl data/preferences.jsonl:2: ";
        assert!(why.starts_with(expected) && why.contains("\"sure\""), "{why}");
    }

    #[test]
    fn staleness_needs_a_labeler_that_compares() {
        let mut sent = submission();
        let toml = sent.job.to_toml().replace("\"labeler\"", "\"model\"")
            + "\n[reward_model.staleness]\nevery = 2\n";
        let problems = Submission::from_parts(&toml, sent.files.clone()).unwrap_err();
        let expected = "job_toml.reward_model.staleness compares two responses, and labeler.template \
            sentiment/rubric is for rating one response by a rubric";
        assert_eq!(problems.to_string(), expected);
        sent.job = Job::from_toml(&toml).unwrap();
        sent.job.labeler.template = "sentiment/compare".into();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.jsonl"), "{\"prompt\": \"Hi\"}\n").unwrap();
        sent.job.data.prompts = folder.path().join("p.jsonl");
        fs::write(folder.path().join("h.jsonl"), "{\"prompt\": \"Ho\"}\n").unwrap();
        sent.job.data.heldout_prompts = folder.path().join("h.jsonl");
        Submission::read(sent.job).unwrap();
    }

    #[test]
    fn all_that_is_wrong_with_the_parts_is_said_at_once() {
        let mut sent = submission();
        sent.job.rl.batch_size = 0;
        sent.files.remove(HELDOUT);
        sent.files.insert(PROMPTS.into(), b"{\"prompt\": 3}\n".to_vec());
        sent.files.insert("../job.toml".into(), Vec::new());
        let problems = Submission::from_parts(&sent.job.to_toml(), sent.files).unwrap_err();
        let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        let expected = [
            "job_toml.rl.batch_size",
            "attachments.data/prompts.jsonl",
            "attachments.data/heldout_prompts.jsonl",
            "attachments.../job.toml",
        ];
        assert_eq!(fields, expected, "{problems}");
    }
}
