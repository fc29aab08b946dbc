//! One job that is being worked on: its machine, and what follows from the machine's word.

use crate::disk::on_disk;
use crate::exports::{Exports, METRICS};
use crate::journal::InVain;
use crate::tally::JobTally;
use crate::{Error, JobRecord, Journal, Places, Used, What};
use rlaif_artifacts::Artifacts;
use rlaif_data::JsonlAppender;
use rlaif_job::{
    Answer, Asked, Effect, Job, JobOutcome, Machine, Manifest, RunFolder, StageProgress,
    Submission, TaskId, Tokens, WorkItem, WorkResult, hash_file, write_report,
};
use rlaif_types::ContentHash;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A job in memory.
pub struct ActiveJob {
    /// Its record, as in the journal.
    pub record: JobRecord,
    machine: Machine,
    folder: RunFolder,
    exports: Exports,
    artifacts: Artifacts,
    /// What follows from its results and is still to be done, in order. Until it is, nothing is handed
    /// out, for workers may need it, and the job does not end.
    owed: VecDeque<Effect>,
    /// `journal.jsonl`: what took how long.
    times: JsonlAppender,
    told: Vec<StageProgress>,
    /// What labeler and judge have read and written for it.
    used: Used,
    /// Answers of which nothing came that are among it: they may be told of more than once.
    in_vain: BTreeSet<(TaskId, ContentHash)>,
    tally: JobTally,
}

impl ActiveJob {
    /// The job of `record` as far as the journal knows it.
    ///
    /// # Errors
    /// When its folder or the journal cannot be read, or a recorded result is unreadable.
    pub async fn open(
        record: JobRecord,
        places: &Places,
        artifacts: Artifacts,
        journal: &Journal,
    ) -> Result<Self, Error> {
        let folder = places.run_folder(&record.id);
        let (mut job, files) = on_disk(|| Self::begin(record, folder, artifacts))?;
        // Where the store is the folder of run folders, each file is put where it lies already.
        for (name, bytes) in files {
            job.artifacts.put(&name, bytes).await?;
        }
        job.replay(journal).await?;
        Ok(job)
    }

    /// The job before its first result, and the files that it came with.
    fn begin(
        record: JobRecord,
        folder: RunFolder,
        artifacts: Artifacts,
    ) -> Result<(Self, BTreeMap<String, Vec<u8>>), Error> {
        let job = Job::parse(&folder.path("job.toml"))?;
        let submission = Submission::load(job, &folder)?;
        let machine = Machine::new(record.id.clone(), submission.job.clone(), submission.inputs()?);
        let exports = Exports::begin(folder.clone())?;
        let times = JsonlAppender::open(&folder.path("journal.jsonl"));
        let times = times.map_err(rlaif_job::Error::from)?;
        let job = Self {
            record,
            machine,
            folder,
            exports,
            artifacts,
            owed: VecDeque::new(),
            times,
            told: Vec::new(),
            used: Used::default(),
            in_vain: BTreeSet::new(),
            tally: JobTally::default(),
        };
        Ok((job, submission.files))
    }

    /// Gives the machine all recorded results. Artifacts are put once, at the end, as they are left.
    async fn replay(&mut self, journal: &Journal) -> Result<(), Error> {
        let mut artifacts: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        let (mut published, mut wrong) = (Vec::new(), Vec::new());
        let id = self.record.id.clone();
        let replayed = journal.answers(&id, |task, answer| {
            // It came while nobody was there to judge it.
            if let Err(error) = self.machine.judge(task, &answer.result) {
                tracing::warn!(job = id, %error, "a recorded result is forgotten");
                wrong.push(task);
                return Ok(());
            }
            self.pay(task, answer.tokens);
            self.count(task, &answer.result);
            for effect in self.machine.complete(task, answer.result)? {
                match effect {
                    Effect::Put { artifact, bytes } => {
                        drop(artifacts.insert(artifact, Some(bytes)))
                    }
                    Effect::Delete { artifact } => drop(artifacts.insert(artifact, None)),
                    Effect::Append { file, records } => {
                        self.exports.append(file, &records)?;
                        if file == METRICS {
                            self.tally.measure(&records);
                        }
                    }
                    Effect::Finished { stage, summary } => self.folder.finish(stage, &summary)?,
                    Effect::Publish { file } => published.push(file),
                }
            }
            Ok::<_, Error>(())
        });
        if !wrong.is_empty() {
            journal.forget(&id, |task| wrong.contains(&task))?;
        }
        if let Err(error) = &replayed {
            forget_the_fruitless(journal, &id, error)?;
        }
        replayed?;
        // What was forgotten just now is among it.
        for answer in journal.in_vain(&id)? {
            self.pay_in_vain(answer);
        }
        // A journal that is older than its account of these has them in the job's record alone.
        self.used = self.used.at_least(self.record.used);
        for file in published {
            self.publish(file).await?;
        }
        for (artifact, bytes) in artifacts {
            match bytes {
                Some(bytes) => self.artifacts.put(&artifact, bytes).await?,
                None => self.artifacts.delete(&artifact).await?,
            }
        }
        self.told = self.machine.progress();
        Ok(())
    }

    /// Whether a result is to be recorded. What cannot be done is none, nor is what does not answer what its
    /// task asks: they fail the job, and once that is mended the task is tried again.
    pub fn lasts(&self, task: TaskId, result: &WorkResult) -> bool {
        !matches!(result, WorkResult::Impossible(_)) && self.machine.judge(task, result).is_ok()
    }

    /// Takes in the result of one task, which the journal has already; the first counts. What follows
    /// from it is owed then, see [`ActiveJob::settle`].
    ///
    /// # Errors
    /// When it is no answer, which the journal does not have, or the job cannot go on.
    pub fn take_in(&mut self, task: TaskId, answer: Answer) -> Result<(), Error> {
        if self.machine.has(task) {
            return Ok(());
        }
        // What does not last is paid in vain.
        if self.lasts(task, &answer.result) {
            self.pay(task, answer.tokens);
        }
        self.machine.judge(task, &answer.result)?;
        let (count, seconds) = (answer.result.count(), answer.seconds);
        self.count(task, &answer.result);
        self.owed.extend(self.machine.complete(task, answer.result)?);
        self.note_time(task.stage(), count, seconds, &answer.worker)
    }

    /// Does what is owed and adds what watchers are to be told of it.
    ///
    /// # Errors
    /// When the artifact store is away: what is left is still owed. Else when the job cannot go on.
    pub async fn settle(&mut self, told: &mut Vec<What>) -> Result<(), Error> {
        while let Some(effect) = self.owed.pop_front() {
            if let Err(error) = self.carry_out(&effect, told).await {
                self.owed.push_front(effect);
                return Err(error);
            }
        }
        told.extend(self.progress_since_told());
        Ok(())
    }

    async fn carry_out(&mut self, effect: &Effect, told: &mut Vec<What>) -> Result<(), Error> {
        match effect {
            Effect::Append { file, records } => {
                let file = *file;
                on_disk(|| self.exports.append(file, records))?;
                if file == METRICS {
                    self.tally.measure(records);
                    told.extend(records.iter().cloned().map(What::Metrics));
                }
            }
            Effect::Put { artifact, bytes } => self.artifacts.put(artifact, bytes.clone()).await?,
            Effect::Delete { artifact } => self.artifacts.delete(artifact).await?,
            Effect::Publish { file } => self.publish(file).await?,
            Effect::Finished { stage, summary } => {
                on_disk(|| self.folder.finish(stage, summary))?;
            }
        }
        Ok(())
    }

    /// Puts what an answer took on the job's account, where labeler or judge gave it.
    fn pay(&mut self, task: TaskId, tokens: Tokens) {
        match self.machine.asks(task) {
            Some(Asked::Labeler) => self.used.labeler += tokens,
            Some(Asked::Judge) => self.used.judge += tokens,
            None => {}
        }
    }

    /// Puts what an answer of which nothing comes took on the job's account, once.
    pub fn pay_in_vain(&mut self, answer: InVain) {
        if self.in_vain.insert((answer.task, answer.answer)) {
            self.pay(answer.task, answer.tokens);
        }
    }

    /// Counts a result among the job's numbers.
    fn count(&mut self, task: TaskId, result: &WorkResult) {
        self.tally.add(task, result, self.machine.asks(task).is_some());
    }

    /// Gives workers a file of the run folder.
    async fn publish(&mut self, file: &str) -> Result<(), Error> {
        let path = self.folder.path(file);
        let bytes = on_disk(|| -> Result<Vec<u8>, Error> {
            self.exports.sync()?;
            Ok(std::fs::read(&path).map_err(rlaif_job::Error::io(&path))?)
        })?;
        Ok(self.artifacts.put(file, bytes).await?)
    }

    /// Stages that moved since watchers were last told.
    fn progress_since_told(&mut self) -> Vec<What> {
        let now = self.machine.progress();
        let moved = now.iter().filter(|stage| !self.told.contains(stage)).cloned();
        let moved = moved.map(What::Progress).collect();
        self.told = now;
        moved
    }

    fn note_time(
        &mut self,
        stage: &str,
        count: usize,
        seconds: f64,
        worker: &str,
    ) -> Result<(), Error> {
        self.times.push(&serde_json::json!({
            "unix_ms": crate::coordinator::unix_ms(),
            "stage": stage,
            "count": count,
            "seconds": seconds,
            "worker": worker,
        }));
        Ok(on_disk(|| self.times.sync()).map_err(rlaif_job::Error::from)?)
    }

    /// Tasks to hand out now.
    pub fn ready(&mut self) -> Vec<WorkItem> {
        self.machine.ready()
    }

    /// Hands out anew what has no result, as when a queue has lost it; what that is.
    pub fn forget_handed_out(&mut self) -> Vec<TaskId> {
        self.machine.forget_handed_out()
    }

    /// Whether something is handed out that labeler or judge have to be asked for.
    pub fn waits_for_judgement(&self) -> bool {
        self.machine.waits_for_judgement()
    }

    /// What labeler and judge have read and written for it so far.
    pub fn used(&self) -> Used {
        self.used
    }

    /// What its results come to so far.
    pub fn tally(&self) -> &JobTally {
        &self.tally
    }

    /// How far each stage is.
    pub fn progress(&self) -> Vec<StageProgress> {
        self.machine.progress()
    }

    /// Writes manifest and report if everything is done; true then.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn finish_if_done(&mut self) -> Result<bool, Error> {
        let Some(outcome) = self.machine.outcome() else { return Ok(false) };
        on_disk(|| self.exports.sync())?;
        let manifest = self.manifest(&outcome).await?;
        on_disk(|| write_report(self.machine.job(), &self.folder, &manifest))?;
        self.delete_what_only_work_needed().await?;
        Ok(true)
    }

    /// Training states, versions and messages of a finished job: most of its bytes, and of no use.
    async fn delete_what_only_work_needed(&self) -> Result<(), Error> {
        for folder in ["state", "versions", "candidates", "batches", "payloads"] {
            for artifact in self.artifacts.list(folder).await? {
                self.artifacts.delete(&artifact).await?;
            }
        }
        Ok(())
    }

    async fn manifest(&self, outcome: &JobOutcome) -> Result<Manifest, Error> {
        let mut files = BTreeMap::new();
        for checkpoint in Manifest::CHECKPOINTS {
            let weights = format!("{checkpoint}/model.safetensors");
            if self.artifacts.exists(&weights).await? {
                let folder = self.artifacts.local_folder(checkpoint).await?;
                let hash = on_disk(|| hash_file(&folder.join("model.safetensors")))?;
                files.insert(weights, hash);
            }
        }
        on_disk(|| -> Result<Manifest, Error> {
            let submission = Submission::load(self.machine.job().clone(), &self.folder)?;
            Ok(Manifest::new(&submission, outcome, files)?.write(&self.folder)?)
        })
    }
}

/// Where `error` says that all results of a stage are of no use, they are forgotten: who resumes the job
/// has mended what made them so.
///
/// # Errors
/// When the journal cannot be written.
pub fn forget_the_fruitless(journal: &Journal, job: &str, error: &Error) -> Result<(), Error> {
    match error {
        Error::Job(rlaif_job::Error::Fruitless { stage, .. }) => {
            journal.forget(job, |task| task.stage() == *stage)
        }
        _ => Ok(()),
    }
}
