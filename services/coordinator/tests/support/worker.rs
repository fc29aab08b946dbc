//! Workers without models.

use rlaif_artifacts::{ArtifactStore, Artifacts, Payload, StoredPayload};
use rlaif_coordinator::Queues;
use rlaif_job::*;
use rlaif_queue::{Lease, Queue};
use rlaif_types::{
    Comparison, ContentHash, Episode, Finish, LabelId, OrderScores, Pair, Prompt, SoftLabel,
    Unscorable, UnscorableReason,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What a worker does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// It fails, every time.
    Fail,
    /// Its result refers to an artifact that is not there.
    LoseResult,
    /// Its result is of a kind that only a newer version knows.
    AnswerAsNewer,
    /// It answers with what another task asks for.
    AnswerAnother,
    /// It does its work, but can label nothing.
    LabelNothing,
}

/// One worker of each kind; they end with this value.
pub struct Workers {
    /// Items that they may still do.
    budget: Arc<Semaphore>,
    tricks: Arc<Mutex<BTreeMap<String, Trick>>>,
    running: tokio::task::JoinSet<()>,
}

impl Workers {
    pub fn start(queues: &Queues, store: &ArtifactStore) -> Self {
        let (budget, tricks) = (Arc::new(Semaphore::new(0)), Arc::default());
        let mut running = tokio::task::JoinSet::new();
        for kind in WorkerKind::ALL {
            let queue = queues.of(kind).clone();
            let bench =
                Bench { budget: budget.clone(), tricks: Arc::clone(&tricks), store: store.clone() };
            running.spawn(bench.serve(queue));
        }
        Self { budget, tricks, running }
    }

    /// Lets them do this many items more.
    pub fn allow(&self, items: usize) {
        self.budget.add_permits(items);
    }

    /// Lets them do whatever comes.
    pub fn allow_all(&self) {
        self.allow(1_000_000);
    }

    /// Lets them do nothing more.
    pub fn stop(&self) {
        self.budget.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Items that they may still do.
    pub fn left(&self) -> usize {
        self.budget.available_permits()
    }

    /// What they do with the item of this id.
    pub fn play(&self, item: &str, trick: Trick) {
        self.tricks.lock().unwrap().insert(item.to_owned(), trick);
    }

    /// From now on they do their work.
    pub fn behave(&self) {
        self.tricks.lock().unwrap().clear();
    }
}

struct Bench {
    budget: Arc<Semaphore>,
    tricks: Arc<Mutex<BTreeMap<String, Trick>>>,
    store: ArtifactStore,
}

impl Bench {
    /// A queue that is away is asked again.
    async fn serve(self, queue: Queue) {
        let mut consumer = queue.consumer("fake");
        loop {
            let permit = self.budget.acquire().await.unwrap();
            let leased = consumer.lease(1, Duration::from_millis(100)).await.unwrap_or_default();
            for delivery in leased {
                if let Ok(Some(lease)) = delivery.start().await {
                    permit.forget();
                    // What was not settled is handed out again.
                    let _ = self.settle(lease).await;
                    break;
                }
            }
        }
    }

    async fn settle(&self, lease: Lease) -> Result<(), rlaif_queue::Error> {
        let trick = self.tricks.lock().unwrap().get(lease.id().as_str()).copied();
        let payload = match trick {
            Some(Trick::Fail) => return lease.fail("the device is on fire").await.map(drop),
            Some(Trick::LoseResult) => Payload::Stored(StoredPayload {
                name: "payloads/lost".into(),
                sha256: ContentHash::of("lost"),
                bytes: 4,
            }),
            Some(Trick::AnswerAsNewer) => {
                let answer = json!({"result": {"distilled": 3}, "seconds": 1.0, "worker": "new"});
                Payload::Inline(answer.to_string().into())
            }
            Some(Trick::AnswerAnother) => {
                self.pack(WorkResult::Rewards(Vec::new()), lease.payload()).await
            }
            Some(Trick::LabelNothing) | None => {
                let blind = trick.is_some();
                self.answer(lease.payload(), blind).await
            }
        };
        lease.commit(payload.to_wire()).await.map(drop)
    }

    /// Does the work; a blind labeler can judge nothing.
    async fn answer(&self, payload: &[u8], blind: bool) -> Payload {
        let item = item(payload);
        let mut result = work(&item.work, &self.store.job(&item.job).unwrap()).await;
        if let (true, WorkResult::Labels(labels)) = (blind, &mut result) {
            for label in labels {
                let why = Unscorable::new(UnscorableReason::NoVerdict, "it sees nothing");
                (label.comparison, label.unscorable) = (None, Some(why));
            }
        }
        self.pack(result, payload).await
    }

    /// A result as the answer to an item.
    async fn pack(&self, result: WorkResult, payload: &[u8]) -> Payload {
        let artifacts = self.store.job(&item(payload).job).unwrap();
        let answer =
            Answer { result, seconds: 0.5, worker: "fake".into(), tokens: Tokens::read(20) };
        Payload::of(&artifacts, serde_json::to_vec(&answer).unwrap()).await.unwrap()
    }
}

fn item(payload: &[u8]) -> WorkItem {
    let Payload::Inline(message) = Payload::from_wire(payload).unwrap() else {
        panic!("the test's items are small")
    };
    serde_json::from_slice(&message).unwrap()
}

/// The work, done without a model.
async fn work(work: &Work, artifacts: &Artifacts) -> WorkResult {
    match work {
        Work::CheckPolicy(_) => checked("policy"),
        Work::CheckLabeler(check) => checked(labeler_of(check)),
        Work::CheckReward(_) => checked("reward"),
        Work::FineTune(_) => WorkResult::FineTuned(train("sft", artifacts).await),
        Work::SamplePairs(asked) => WorkResult::Pairs(each(asked, sampled)),
        Work::Label(asked) => {
            WorkResult::Labels(asked.pairs.iter().map(|pair| label(&asked.labeler, pair)).collect())
        }
        Work::TrainReward(_) => WorkResult::RewardTrained {
            trained: train("reward", artifacts).await,
            summary: RewardSummary {
                quality: reward_quality(&[Predicted {
                    prompt: 0,
                    lengths: [2, 1],
                    label: SoftLabel::new(0.75).unwrap(),
                    prefers_a: 0.75,
                }]),
                trained_on: 7,
                mean: 0.0,
                std: 1.0,
                start_hash: Some(ContentHash::of("start")),
                by_source: BTreeMap::new(),
                against_people: None,
            },
        },
        Work::Rollout(asked) => WorkResult::Rollouts(each(asked, rollout)),
        Work::Rate(asked) => WorkResult::Rewards(vec![Ok(0.5); asked.items.len()]),
        Work::MatchUps(asked) => WorkResult::Rewards(vec![Ok(0.5); asked.items.len()]),
        Work::Score(asked) => WorkResult::Rewards(vec![Ok(0.25); asked.items.len()]),
        Work::PolicyStep(asked) => WorkResult::Stepped(step(asked, artifacts).await),
        Work::SavePolicy(_) => {
            let model = train("policy", artifacts).await.model;
            WorkResult::Saved(model)
        }
        Work::Respond(asked) => WorkResult::Contests(each(&asked.trained, contest)),
        Work::Judge(asked) => {
            WorkResult::Evaluations(asked.contests.iter().map(|c| judge(asked, c)).collect())
        }
    }
}

fn each<T>(asked: &Generate, make: fn(&Prompt, usize) -> T) -> Vec<T> {
    let numbered = asked.prompts.iter().zip(asked.first..);
    numbered.map(|(prompt, number)| make(prompt, number)).collect()
}

/// All models are called the labeler, but for one that a job calls its judge.
fn labeler_of(check: &CheckLabeler) -> &str {
    match &check.model {
        ModelRef::Named(name) if name == "judge" => name,
        _ => "labeler",
    }
}

fn checked(name: &str) -> WorkResult {
    WorkResult::Checked(CheckedModel { name: name.into(), hash: ContentHash::of(name) })
}

async fn train(stage: &str, artifacts: &Artifacts) -> Trained {
    let model = format!("checkpoints/{stage}");
    artifacts.put(&format!("{model}/model.safetensors"), stage.as_bytes().to_vec()).await.unwrap();
    let metrics = vec![json!({"stage": stage, "step": 1, "loss": 0.5})];
    Trained { model, metrics, examples: 6, left_out: LeftOut::default() }
}

/// The first response is cut off.
fn sampled(prompt: &Prompt, number: usize) -> SampledPair {
    let pair = Pair {
        prompt: prompt.clone(),
        response_a: format!("{number} is nice."),
        response_b: format!("{number} is not."),
    };
    SampledPair { pair, finish_a: Finish::Length, finish_b: Finish::Stop }
}

fn label(labeler: &Labeler, pair: &Pair) -> LabelRecord {
    let order = |p: f64| OrderScores {
        verdict_logprobs: [p.ln(), (1.0 - p).ln()],
        prefers_first: SoftLabel::new(p).unwrap(),
        prompt_tokens: 10,
        completion_tokens: 0,
        rationales: Vec::new(),
    };
    let (ab, ba) = (order(0.75), order(0.5));
    let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
    LabelRecord {
        label_id: LabelId(ContentHash::of(serde_json::to_vec(pair).unwrap())),
        pair: pair.clone(),
        finish_a: Finish::Stop,
        finish_b: Finish::Stop,
        comparison: Some(Comparison { label, ab, ba }),
        unscorable: None,
        template: labeler.template.name.clone(),
        template_hash: labeler.template.hash(),
        asking: labeler.asking.clone(),
        labeler: "labeler".into(),
        labeler_hash: ContentHash::of("labeler"),
    }
}

fn rollout(_: &Prompt, number: usize) -> Rollout {
    let episode = Episode {
        prompt: vec![1, 2],
        response: vec![number as u32],
        logprobs: vec![-0.5],
        reward: Ok(0.0),
        off_policy_steps: 0,
    };
    Rollout { episode, text: format!("{number} it is."), finish: Finish::Stop }
}

async fn step(asked: &PolicyStep, artifacts: &Artifacts) -> Stepped {
    let Lessons::Rollouts(batches) = &asked.lessons else { panic!("{:?}", asked.lessons) };
    for batch in batches {
        let bytes = artifacts.get(batch).await.unwrap();
        let episodes: Vec<Episode> = serde_json::from_slice(&bytes).unwrap();
        assert!(episodes.iter().all(|episode| episode.reward.is_ok()));
    }
    let last = asked.step == asked.steps;
    let model = match last && !asked.candidate {
        true => Some(train("policy", artifacts).await.model),
        false => None,
    };
    let metrics =
        json!({"stage": "policy", "step": asked.step, "reward": 0.5, "objective/kl": 0.125});
    let parameters = format!("versions/policy-{:08}.safetensors", asked.step);
    let candidate = asked.candidate.then(|| format!("candidates/policy-{:08}", asked.step));
    let left_out = LeftOut::default();
    Stepped { metrics, parameters, checkpointed: last, model, candidate, left_out }
}

fn contest(prompt: &Prompt, number: usize) -> Contest {
    let (trained, start) = (format!("{number}, gladly."), format!("{number}."));
    Contest { prompt: prompt.clone(), trained, start }
}

fn judge(asked: &JudgeContests, contest: &Contest) -> EvaluationRecord {
    let verdict = |template: &rlaif_template::Template| {
        (template.name.clone(), Judged::Verdict(Verdict::of_scores(0.75, 0.25)))
    };
    let verdicts = asked.templates.iter().map(verdict).collect();
    EvaluationRecord { contest: contest.clone(), verdicts }
}
