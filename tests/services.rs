//! Workers as network services, as their callers, their queue and their operators meet them: real
//! gRPC, a real Redis, tiny models.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use rlaif_artifacts::Payload;
use rlaif_job::{Answer, CheckLabeler, ModelRef, TaskId, Work, WorkItem, WorkResult};
use rlaif_labeler::Labeler;
use rlaif_learner::Learner;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use rlaif_proto::common::v1 as common;
use rlaif_proto::labeler::v1::label_service_client::LabelServiceClient;
use rlaif_proto::labeler::v1::{
    Asking, CompareRequest, CompareStreamRequest, ComparisonAnswer, ComparisonQuestion,
    RateRequest, RatingQuestion, Reasoning,
};
use rlaif_proto::learner::v1::learner_service_client::LearnerServiceClient;
use rlaif_proto::learner::v1::{GetStatusRequest, ListVersionsRequest};
use rlaif_proto::reward::v1::reward_service_client::RewardServiceClient;
use rlaif_proto::reward::v1::score_question::Input;
use rlaif_proto::reward::v1::{
    GetModelInfoRequest, ScoreQuestion, ScoreRequest, ScoreStreamRequest, TokenSequence,
};
use rlaif_proto::rollout::v1 as rollout;
use rlaif_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use rlaif_queue::{Address, Item, Options, Outcome, Position, Queue};
use rlaif_reward::Reward;
use rlaif_rollout::Rollout;
use rlaif_service::auth::{Access, Role, Rule, Token};
use rlaif_service::client::{self, CallPolicy, Channel};
use rlaif_service::config::{self, Secret};
use rlaif_service::http;
use rlaif_service::metrics::Registry;
use rlaif_template::Template;
use rlaif_testkit::{RedisServer, eventually, free_port};
use rlaif_types::{ContentHash, Pair, UnscorableReason};
use rlaif_worker::{Config, Error, Host, Service};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const TEMPLATE: &str = "sentiment/compare";
/// A score alone and in a batch differ by how sums are taken in f32; as for golden values.
const TOLERANCE: f32 = 1e-4;

/// A worker of this process.
struct Running {
    address: SocketAddr,
    metrics: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
}

/// The built-in configuration with a queue at `redis`, artifacts in `folder` and what `change` does.
fn config<S: Service>(
    redis: &str,
    folder: &Path,
    change: impl FnOnce(&mut Config<S::Direct>),
) -> Config<S::Direct> {
    let defaults = rlaif_worker::config::defaults::<S>();
    let mut config: Config<S::Direct> = config::load(&defaults, None).unwrap();
    config.queue.url = Secret::new(redis.to_owned());
    config.artifacts.url = folder.join("artifacts").display().to_string();
    config.artifacts.cache = folder.join("cache");
    change(&mut config);
    config
}

async fn start<S: Service>(config: Config<S::Direct>) -> Running {
    let host = Host::<S>::bind(config, Registry::new()).await.unwrap();
    let (address, metrics) = (host.address(), host.metrics_address());
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(host.run(shutdown.clone()));
    Running { address, metrics, shutdown, ended }
}

impl Running {
    fn channel(&self, token: Option<&str>) -> Channel {
        let config = client::Config {
            endpoint: format!("http://{}", self.address),
            tls: None,
            token: token.map(|token| Secret::new(token.to_owned())),
            connect_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(30),
            calls: CallPolicy::default(),
        };
        client::channel(&config).unwrap()
    }

    /// What `/readyz` says.
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.metrics) else { return false };
        let request = "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes());
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    async fn until_ready(&self, ready: bool) {
        eventually("readiness", async || (self.is_ready() == ready).then_some(())).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// Nobody listens there: direct callers are served whether or not the queue answers.
fn no_redis(folder: &Path) -> String {
    format!("redis+unix://{}", folder.join("none.sock").display())
}

async fn labeler(folder: &Path) -> Running {
    let config = config::<Labeler>(&no_redis(folder), folder, |config| {
        config.direct.model = Some(MODEL.to_owned());
    });
    start::<Labeler>(config).await
}

fn pair(a: &str, b: &str) -> Pair {
    let prompt = rlaif_types::Prompt::Text("Say something.".to_owned());
    Pair { prompt, response_a: a.to_owned(), response_b: b.to_owned() }
}

fn question(id: &str, pair: Pair) -> ComparisonQuestion {
    let (id, template) = (id.to_owned(), TEMPLATE.to_owned());
    ComparisonQuestion { id, template, pair: Some(pair.into()), asking: None }
}

async fn compare(channel: &Channel, a: &str, b: &str) -> ComparisonAnswer {
    let request = CompareRequest { question: Some(question("q", pair(a, b))) };
    let mut client = LabelServiceClient::new(channel.clone());
    client.compare(request).await.unwrap().into_inner().answer.unwrap()
}

/// What `rlaif label` says about the same pair.
fn label_command(a: &str, b: &str, how: &[&str]) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(["label", "--model", MODEL])
        .args(how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let record = json!({"prompt": "Say something.", "response_a": a, "response_b": b});
    writeln!(child.stdin.take().unwrap(), "{record}").unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_over_the_wire_is_the_commands_bit_for_bit_and_exchanges_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let channel = worker.channel(None);
    for (a, b) in [("A fine day.", "A grim day."), ("x", "naïve 🚀")] {
        let forward = compare(&channel, a, b).await;
        let label = forward.judgement().unwrap().unwrap().label;
        // Alone in its batch, as in the command's.
        let expected = label_command(a, b, &["--template", TEMPLATE]);
        assert_eq!(label.value(), expected["soft_label"].as_f64().unwrap());
        assert_eq!(forward.label_id, expected["label_id"].as_str().unwrap());
        assert_eq!(forward.template.unwrap().hash, expected["template_hash"].as_str().unwrap());
        assert_eq!(forward.model.unwrap().hash, expected["model_hash"].as_str().unwrap());

        let backward = compare(&channel, b, a).await.judgement().unwrap().unwrap().label;
        assert_eq!(label.value(), 1.0 - backward.value());
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_way_of_asking_is_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let mut client = LabelServiceClient::new(worker.channel(None));
    let reasoning =
        Reasoning { max_tokens: 12, samples: 2, temperature: 0.9, top_k: 5, clamp: Some(0.4) };
    let asking = Asking { reasoning: Some(reasoning), seed: 3, ..Asking::default() };
    let template = "helpful/base".to_owned();
    let asked = question("q", pair("A fine day.", "A grim day."));
    let question = ComparisonQuestion { template, asking: Some(asking), ..asked };
    let request = CompareRequest { question: Some(question) };
    let answer = client.compare(request).await.unwrap().into_inner().answer.unwrap();
    let comparison = answer.judgement().unwrap().unwrap();
    let how = ["--cot", "--max-rationale-tokens=12", "--samples=2", "--temperature=0.9"];
    let how = [&how[..], &["--top-k=5", "--clamp=0.4", "--seed=3"]].concat();
    let expected = label_command("A fine day.", "A grim day.", &how);
    assert_eq!(json!(comparison.ab), expected["order_ab"]);
    assert_eq!(json!(comparison.label), expected["soft_label"]);
    assert_eq!(answer.label_id, expected["label_id"].as_str().unwrap());
    assert_eq!(comparison.ab.rationales.len(), 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_every_question_and_what_cannot_be_judged_has_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let asked = [
        ("fine", pair("fine", "good")),
        ("empty", pair("", "good")),
        ("long", pair("bad", &"long ".repeat(600))),
    ];
    let questions =
        asked.map(|(id, pair)| CompareStreamRequest { question: Some(question(id, pair)) });
    let mut client = LabelServiceClient::new(worker.channel(None));
    let answers = client.compare_stream(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().answer.unwrap()).collect().await;
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let reason = answer.judgement().unwrap().err().map(|unscorable| unscorable.reason);
        let expected = match answer.id.as_str() {
            "fine" => None,
            "empty" => Some(UnscorableReason::BadItem),
            _ => Some(UnscorableReason::PromptTooLong),
        };
        assert_eq!(reason, expected, "{}", answer.id);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_template_is_built_in_and_of_the_right_kind() {
    let folder = tempfile::tempdir().unwrap();
    let worker = labeler(folder.path()).await;
    let mut client = LabelServiceClient::new(worker.channel(None));
    // A path is no name; a rating is no comparison.
    for template in ["/etc/passwd", "helpful/rating", ""] {
        let question =
            ComparisonQuestion { template: template.to_owned(), ..question("", pair("a", "b")) };
        let refused =
            client.compare(CompareRequest { question: Some(question) }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{template}");
        let violations =
            refused.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(violations[0].field, "question.template");
    }
    let item = rlaif_types::Item { prompt: pair("", "").prompt, response: "Hello".to_owned() };
    let question = RatingQuestion {
        id: "r".to_owned(),
        template: "helpful/rating".to_owned(),
        item: Some(item.into()),
        asking: None,
    };
    let rated = client.rate(RateRequest { question: Some(question) }).await.unwrap().into_inner();
    let rating = rated.answer.unwrap().judgement().unwrap().unwrap();
    assert!((-1.0..=1.0).contains(&rating.reward), "{rating:?}");
    worker.stop().await;
}

/// A reward model; see [`reward_model_of`].
fn reward_model(folder: &Path) -> String {
    reward_model_of(folder, 1.0)
}

/// A reward model whose head adds up the hidden state, times `scale`: a fresh one says 0 of everything.
fn reward_model_of(folder: &Path, scale: f32) -> String {
    let checkpoint = Checkpoint::open(Path::new(MODEL)).unwrap();
    let device = DeviceName::Cpu;
    let backbone =
        CausalLm::load(&checkpoint, &device.open().unwrap(), device.default_dtype()).unwrap();
    let path = folder.join(format!("reward-model-{scale}"));
    std::fs::create_dir_all(&path).unwrap();
    ScalarModel::zero(backbone).save(&path, &checkpoint).unwrap();
    fill(&path.join("model.safetensors"), "score.weight", scale);
    path.display().to_string()
}

/// Sets all of a tensor's values.
fn fill(file: &Path, tensor: &str, value: f32) {
    let mut bytes = std::fs::read(file).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let (begin, end) = metadata.info(tensor).unwrap().data_offsets;
    let data = header + size_of::<u64>();
    for bytes in bytes[data + begin..data + end].chunks_exact_mut(4) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    std::fs::write(file, bytes).unwrap();
}

fn score_of(text: &str) -> ScoreQuestion {
    let item = rlaif_types::Item { prompt: pair("", "").prompt, response: text.to_owned() };
    ScoreQuestion { id: text.to_owned(), input: Some(Input::Item(item.into())) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_the_same_alone_in_a_batch_and_in_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(reward_model(folder.path()));
        (config.direct.mean, config.direct.std) = (Some(0.5), Some(2.0));
    });
    let worker = start::<Reward>(config).await;
    let mut client = RewardServiceClient::new(worker.channel(None));
    let texts = ["Yes.", "A much longer answer, with reasons.", "naïve 🚀"];
    let questions: Vec<_> = texts.map(score_of).into();
    let together = ScoreRequest { questions: questions.clone() };
    let together = client.score(together).await.unwrap().into_inner().answers;
    let stream = questions.clone().into_iter();
    let stream = stream.map(|question| ScoreStreamRequest { question: Some(question) });
    let streamed = client.score_stream(tokio_stream::iter(stream)).await.unwrap().into_inner();
    let streamed: Vec<_> = streamed.map(|answer| answer.unwrap().answer.unwrap()).collect().await;
    for (question, answer) in questions.iter().zip(&together) {
        let reward = answer.judgement().unwrap().unwrap();
        let alone = ScoreRequest { questions: vec![question.clone()] };
        let alone = client.score(alone).await.unwrap().into_inner().answers.remove(0);
        let in_stream = streamed.iter().find(|streamed| streamed.id == question.id).unwrap();
        for other in [&alone, in_stream] {
            let difference = (other.judgement().unwrap().unwrap() - reward).abs();
            assert!(difference <= TOLERANCE, "{}: {difference}", question.id);
        }
        assert_eq!((answer.id.as_str(), answer.model_version), (question.id.as_str(), 1));
    }
    let info = client.get_model_info(GetModelInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.model_version, info.context_length_tokens), (1, 512));
    assert_eq!(info.normalisation.unwrap().std, Some(2.0));
    worker.stop().await;
}

/// The reward of `text` and the version that gave it.
async fn scored(client: &mut RewardServiceClient<Channel>, text: &str) -> (f32, u64) {
    let request = ScoreRequest { questions: vec![score_of(text)] };
    let answer = client.score(request).await.unwrap().into_inner().answers.remove(0);
    (answer.judgement().unwrap().unwrap(), answer.model_version)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_newest_reward_model_answers_from_the_next_batch_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.job = Some("job-1".to_owned());
    });
    let store = &config.artifacts;
    let store = rlaif_artifacts::ArtifactStore::open(&store.url, &store.cache).unwrap();
    let job = store.job("job-1").unwrap();
    let worker = start::<Reward>(config).await;
    let mut client = RewardServiceClient::new(worker.channel(None));

    let request = ScoreRequest { questions: vec![score_of("Yes.")] };
    let early = client.score(request).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable, "{early}");

    let publish = async |scale: f32, std: f64| {
        let model = reward_model_of(folder.path(), scale);
        let normalisation = json!({"mean": 0.25, "std": std}).to_string();
        std::fs::write(Path::new(&model).join("normalisation.json"), normalisation).unwrap();
        job.save_folder(Path::new(&model), "checkpoints/reward").await.unwrap();
    };
    publish(1.0, 1.0).await;
    let first = scored(&mut client, "Yes.").await;
    assert_eq!(first.1, 1);

    // Others ask while the second is published; whoever answers them says who it is.
    let (others, stopped) = (client.clone(), CancellationToken::new());
    let asking = (0..4).map(|_| {
        let (mut client, stopped) = (others.clone(), stopped.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !stopped.is_cancelled() {
                answers.push(scored(&mut client, "Yes.").await);
            }
            answers
        })
    });
    let asking: Vec<_> = asking.collect();
    publish(-1.0, 2.0).await;
    let second = eventually("the second version", async || {
        Some(scored(&mut others.clone(), "Yes.").await).filter(|(_, version)| *version == 2)
    })
    .await;
    stopped.cancel();
    assert!((second.0 - first.0).abs() > 10.0 * TOLERANCE, "{first:?} {second:?}");
    for asked in asking {
        for (reward, version) in asked.await.unwrap() {
            let expected = if version == 1 { first.0 } else { second.0 };
            assert!((reward - expected).abs() <= TOLERANCE, "{reward} by version {version}");
        }
    }
    let info = client.get_model_info(GetModelInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.model_version, info.normalisation.unwrap().std), (2, Some(2.0)));
    let second = Checkpoint::open(&folder.path().join("reward-model--1")).unwrap();
    assert_eq!(info.model.unwrap().hash, second.hash.to_string());

    // What cannot be loaded leaves the one before in its place.
    let broken = folder.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("config.json"), "{}").unwrap();
    job.save_folder(&broken, "checkpoints/reward").await.unwrap();
    // Longer than a server goes without looking for a newer one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(scored(&mut client, "Yes.").await.1, 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_model_cannot_read_are_unscorable_and_cost_their_neighbours_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(reward_model(folder.path()));
    });
    let worker = start::<Reward>(config).await;
    let tokens = |ids: Vec<u32>| {
        let response = Some(common::TokenIds { ids });
        let prompt = Some(common::TokenIds { ids: vec![5] });
        let input = Some(Input::Tokens(TokenSequence { prompt, response }));
        ScoreQuestion { id: String::new(), input }
    };
    let questions = vec![tokens(vec![7, 8]), tokens(vec![1_000_000]), tokens(vec![6; 600])];
    let mut client = RewardServiceClient::new(worker.channel(None));
    let answers = client.score(ScoreRequest { questions }).await.unwrap().into_inner().answers;
    let reasons: Vec<_> =
        answers.iter().map(|a| a.judgement().unwrap().err().map(|u| u.reason)).collect();
    let expected = [None, Some(UnscorableReason::BadItem), Some(UnscorableReason::PromptTooLong)];
    assert_eq!(reasons, expected);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_queue_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(reward_model(folder.path()));
        config.direct.batching.batcher.max_batch_items = 1;
        config.direct.batching.batcher.max_queued_items = 2;
    });
    let worker = start::<Reward>(config).await;
    let mut client = RewardServiceClient::new(worker.channel(None));
    // One call asks for far more than wait and run at once.
    let questions = (0..500).map(|i| score_of(&format!("answer {i}"))).collect();
    let refused = client.score(ScoreRequest { questions }).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    // What was refused left nothing behind that would keep others out.
    eventually("the queue has room again", async || {
        let questions = vec![score_of("one")];
        client.clone().score(ScoreRequest { questions }).await.ok()
    })
    .await;
    worker.stop().await;
}

/// One of a crowd: most ask one question, some far more than wait and run at once.
async fn ask_in_a_crowd(channel: Channel, number: usize) -> Result<Vec<(usize, f32)>, Code> {
    let questions = if number.is_multiple_of(50) { 200 } else { 1 };
    let texts = (0..questions).map(|i| number + i);
    let questions = texts.clone().map(|text| score_of(&format!("answer {text}"))).collect();
    let mut request = tonic::Request::new(ScoreRequest { questions });
    match number % 3 {
        0 => request.set_timeout(Duration::from_millis(40)),
        1 => request.set_timeout(Duration::from_secs(60)),
        _ => {}
    }
    let answers = RewardServiceClient::new(channel).score(request).await.map_err(|e| e.code())?;
    let rewards = answers.into_inner().answers.into_iter();
    Ok(texts.zip(rewards.map(|answer| answer.judgement().unwrap().unwrap())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_overload_every_call_ends_and_every_score_is_the_one_given_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(reward_model(folder.path()));
        config.direct.batching.batcher.max_batch_items = 4;
        config.direct.batching.batcher.max_queued_items = 16;
    });
    let worker = start::<Reward>(config).await;
    let channels: Vec<Channel> = (0..4).map(|_| worker.channel(None)).collect();
    let crowd: Vec<_> = (0..400)
        .map(|i| tokio::spawn(ask_in_a_crowd(channels[i % channels.len()].clone(), i)))
        .collect();
    // Some leave.
    crowd.iter().step_by(7).for_each(JoinHandle::abort);
    let (mut scores, mut refused) = (Vec::new(), 0);
    for (i, call) in crowd.into_iter().enumerate() {
        match call.await {
            Ok(Ok(answers)) => scores.extend(answers),
            Ok(Err(Code::ResourceExhausted)) => refused += 1,
            Ok(Err(Code::DeadlineExceeded)) => {}
            // How tonic's channel says that the request's own time has passed.
            Ok(Err(Code::Cancelled)) if i % 3 == 0 => {}
            Ok(Err(other)) => panic!("call {i} ended with {other:?}"),
            Err(left) => assert!(left.is_cancelled() && i.is_multiple_of(7), "{left}"),
        }
    }
    assert!(!scores.is_empty() && refused > 0, "{} scores, {refused} refused", scores.len());
    let mut client = RewardServiceClient::new(worker.channel(None));
    for (text, reward) in scores.into_iter().take(50) {
        let (alone, _) = scored(&mut client, &format!("answer {text}")).await;
        assert!((alone - reward).abs() <= TOLERANCE, "answer {text}: {reward} and alone {alone}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_for_direct_callers_they_are_told_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let worker =
        start::<Reward>(config::<Reward>(&no_redis(folder.path()), folder.path(), |_| {})).await;
    let mut client = RewardServiceClient::new(worker.channel(None));
    let request = ScoreRequest { questions: vec![score_of("x")] };
    let refused = client.score(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("direct.model"), "{}", refused.message());
    worker.stop().await;
}

/// Status line and body of an answer to a POST.
fn post(address: SocketAddr, body: &Value) -> (String, String) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = "POST /get_reward HTTP/1.1\r\nhost: test\r\nconnection: close";
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_of_openrlhf_gets_the_rewards_that_grpc_gives() {
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = config::<Reward>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(reward_model(folder.path()));
        config.direct.http = Some(http::Config {
            address,
            allow_remote: false,
            max_connections: 4,
            max_request_bytes: 10_000,
        });
    });
    let worker = start::<Reward>(config).await;
    let mut client = RewardServiceClient::new(worker.channel(None));
    let request = ScoreRequest { questions: vec![score_of(" Yes.")] };
    let answer = client.score(request).await.unwrap().into_inner().answers.remove(0);
    let expected = answer.judgement().unwrap().unwrap();

    // The trainer's queries hold the mark of their end where one was drawn.
    let tokenizer = Checkpoint::open(Path::new(MODEL)).unwrap().tokenizer;
    let end = tokenizer.token_text(tokenizer.eos_ids()[0]).unwrap();
    let prompt = "Say something.";
    let queries = [format!("{prompt} Yes."), format!("{prompt} Yes.{end}")];
    let (status, body) =
        post(address, &json!({"query": queries, "prompts": [prompt, prompt], "labels": ["", ""]}));
    assert!(status.contains("200"), "{status}: {body}");
    let rewards = serde_json::from_str::<Value>(&body).unwrap()["rewards"].clone();
    let rewards: Vec<f32> = serde_json::from_value(rewards).unwrap();
    assert_eq!(rewards.len(), 2);
    let near = |reward: &f32| (reward - expected).abs() <= TOLERANCE;
    assert!(rewards.iter().all(near), "{rewards:?} {expected}");

    // What has no reward refuses the request: no number stands for it.
    let (status, body) = post(address, &json!({"query": ["fine", "long ".repeat(600)]}));
    assert!(status.contains("422") && body.contains("query[1]"), "{status}: {body}");
    let (status, _) = post(address, &json!({"query": "no list"}));
    assert!(status.contains("400"), "{status}");
    let (status, _) = post(address, &json!({"query": ["x".repeat(20_000)]}));
    assert!(status.contains("413"), "{status}");
    worker.stop().await;
}

fn completion(text: &str, seed: u64) -> rollout::GenerateRequest {
    let prompt = rlaif_types::Prompt::Text(text.to_owned());
    rollout::GenerateRequest {
        input: Some(rollout::generate_request::Input::Prompt(prompt.into())),
        sampling: Some(rollout::Sampling {
            max_new_tokens: 8,
            temperature: Some(1.0),
            seed,
            ..Default::default()
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_depends_on_its_own_seed_and_not_on_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Rollout>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(MODEL.to_owned());
        config.direct.chat = false;
    });
    let worker = start::<Rollout>(config).await;
    let client = RolloutServiceClient::new(worker.channel(None));
    let draw = async |request| client.clone().generate(request).await;
    let alone = draw(completion("Once", 3)).await.unwrap().into_inner();
    let logprobs = alone.logprobs.as_ref().unwrap().to_f32s().unwrap();
    assert_eq!((logprobs.len(), alone.policy_version), (alone.tokens.len(), 0));

    // Beside a prompt that does not fit, and another that does.
    let (again, refused, other) = tokio::join!(
        draw(completion("Once", 3)),
        draw(completion(&"long ".repeat(600), 4)),
        draw(completion("Once upon", 5)),
    );
    assert_eq!(again.unwrap().into_inner().tokens, alone.tokens);
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    other.unwrap();

    let mut forgotten = completion("Once", 3);
    forgotten.sampling.as_mut().unwrap().temperature = None;
    let refused = draw(forgotten).await.unwrap_err();
    let violations = refused.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "sampling.temperature");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learners_versions_come_newest_first_and_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Learner>(&no_redis(folder.path()), folder.path(), |_| {});
    let store = config.artifacts.clone();
    let store = rlaif_artifacts::ArtifactStore::open(&store.url, &store.cache).unwrap();
    let job = store.job("job-1").unwrap();
    for step in [8, 9, 10] {
        let name = format!("versions/policy-{step:08}.safetensors");
        job.put(&name, format!("weights of {step}")).await.unwrap();
    }
    let worker = start::<Learner>(config).await;
    let mut client = LearnerServiceClient::new(worker.channel(None));
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListVersionsRequest { job_id: "job-1".to_owned(), page_size: 2, page_token };
        let page = client.list_versions(request).await.unwrap().into_inner();
        assert!(page.versions.len() <= 2);
        found.extend(page.versions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let versions: Vec<_> = found.iter().map(|version| version.policy_version).collect();
    assert_eq!(versions, [10, 9, 8]);
    assert_eq!(found[0].artifact_uri, "job-1/versions/policy-00000010.safetensors");
    let hash = ContentHash::of("weights of 10").to_string();
    assert_eq!((found[0].hash.as_str(), found[1].hash == hash), (hash.as_str(), false));
    for job_id in ["", "../job-1"] {
        let request = ListVersionsRequest { job_id: job_id.to_owned(), ..Default::default() };
        let refused = client.list_versions(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{job_id:?}");
    }
    let status = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.job_id.as_str(), status.policy_version), ("", 0));
    worker.stop().await;
}

/// Calls `path` with an empty message.
async fn call(channel: &Channel, path: &str) -> Code {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = path.parse().unwrap();
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await;
    answer.err().map_or(Code::Ok, |status| status.code())
}

/// Every method of a descriptor, as a path.
fn methods(descriptor: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptor).unwrap();
    let services = set.file.iter().flat_map(|f| f.service.iter().map(move |s| (f.package(), s)));
    services
        .flat_map(|(package, service)| {
            let methods = service.method.iter();
            methods.map(move |m| format!("/{package}.{}/{}", service.name(), m.name()))
        })
        .collect()
}

/// Every method has a rule, is refused without a token, with an unknown one and with that of a role
/// which may not call it, and admits the others.
async fn guards<S: Service>(descriptor: &[u8], rules: &[Rule]) {
    let folder = tempfile::tempdir().unwrap();
    let roles = [Role::Client, Role::Worker, Role::Admin];
    let token = |role: Role| format!("{role:?}").repeat(8);
    let config = config::<S>(&no_redis(folder.path()), folder.path(), |config| {
        config.server.auth.enabled = true;
        for role in roles {
            let token = Token { role, token: Secret::new(token(role)) };
            config.server.auth.tokens.insert(format!("{role:?}"), token);
        }
    });
    let running = start::<S>(config).await;
    let methods = methods(descriptor);
    assert!(!methods.is_empty());
    for method in methods {
        for stranger in [None, Some("nobody-nobody-nobody-nobody")] {
            let code = call(&running.channel(stranger), &method).await;
            assert_eq!(code, Code::Unauthenticated, "{method}");
        }
        let (_, access) = rules.iter().find(|(path, _)| *path == method).unwrap();
        let Access::Roles(allowed) = access else { panic!("{method} is open to everybody") };
        for role in roles {
            let code = call(&running.channel(Some(&token(role))), &method).await;
            let refused = matches!(code, Code::Unauthenticated | Code::PermissionDenied);
            assert_eq!(refused, !allowed.contains(&role), "{method} by {role:?}: {code:?}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_asks_for_a_token_of_its_roles() {
    guards::<Labeler>(rlaif_proto::labeler::DESCRIPTOR_SET, rlaif_labeler::RULES).await;
    guards::<Reward>(rlaif_proto::reward::DESCRIPTOR_SET, rlaif_reward::RULES).await;
    guards::<Rollout>(rlaif_proto::rollout::DESCRIPTOR_SET, rlaif_rollout::RULES).await;
    guards::<Learner>(rlaif_proto::learner::DESCRIPTOR_SET, rlaif_learner::RULES).await;
}

/// Work for a labeler that needs no more than to be loaded.
async fn enqueue(queue: &Queue, folder: &Path, job: &str) {
    let artifacts = rlaif_artifacts::ArtifactStore::open(
        &folder.join("artifacts").display().to_string(),
        &folder.join("cache"),
    );
    let templates = vec![Template::load(TEMPLATE).unwrap()];
    let work = Work::CheckLabeler(CheckLabeler { model: ModelRef::Named(MODEL.into()), templates });
    let item = WorkItem { job: job.to_owned(), task: TaskId::CheckLabeler, work };
    let message = serde_json::to_vec(&item).unwrap();
    let payload = Payload::of(&artifacts.unwrap().job(job).unwrap(), message).await.unwrap();
    let id = format!("{job}/{}", item.task);
    queue.enqueue(vec![Item::new(id, payload.to_wire())]).await.unwrap();
}

async fn result(queue: &Queue) -> WorkResult {
    let entry = eventually("a result", async || {
        let results = queue.results(Position::START, 1, Duration::from_secs(1)).await.ok()?;
        results.into_iter().find(|entry| matches!(entry.outcome, Outcome::Done { .. }))
    })
    .await;
    queue.acknowledge(entry.position).await.unwrap();
    let Outcome::Done { payload, .. } = entry.outcome else { unreachable!("just found") };
    let Payload::Inline(message) = Payload::from_wire(&payload).unwrap() else {
        panic!("a small result travels inline")
    };
    serde_json::from_slice::<Answer>(&message).unwrap().result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_does_what_is_queued_and_outlives_its_redis() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start();
    let url = redis.url();
    // The worker comes first: it waits.
    redis.kill();
    let config = config::<Labeler>(&url, folder.path(), |config| {
        config.queue.options.patience = Duration::from_secs(1);
    });
    let worker = start::<Labeler>(config).await;
    assert!(!worker.is_ready());
    redis.restart();
    worker.until_ready(true).await;

    let queue = Queue::redis("label", &Address::new(&url), Options::default()).await.unwrap();
    enqueue(&queue, folder.path(), "job-1").await;
    assert!(matches!(result(&queue).await, WorkResult::Checked(_)));

    // Longer than its patience, which readiness tells: the watch waits for two seconds.
    redis.kill();
    worker.until_ready(false).await;
    assert!(!worker.ended.is_finished());
    redis.restart();
    worker.until_ready(true).await;
    enqueue(&queue, folder.path(), "job-2").await;
    assert!(matches!(result(&queue).await, WorkResult::Checked(_)));
    worker.stop().await;
}

#[test]
fn a_dumped_configuration_is_whole_and_shows_no_secret() {
    for kind in ["labeler", "rollout", "reward", "learner"] {
        let output = Command::new(env!("CARGO_BIN_EXE_rlaif"))
            .args([kind, "--dump-config"])
            .env("RLAIF__QUEUE__URL", "redis://:hunter2@queue:6379")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        for expected in ["[queue]", "[artifacts]", "[worker]", "[direct]", "[server]", "patience"] {
            assert!(text.contains(expected), "{kind}: no {expected} in\n{text}");
        }
        assert!(!text.contains("hunter2"), "{kind}");
    }
}
