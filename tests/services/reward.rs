//! A reward worker for direct callers, over gRPC and as OpenRLHF asks: batches, versions, overload.

use crate::labeler::pair;
use crate::{MODEL, config, no_redis, start};
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use rlaif_proto::common::v1 as common;
use rlaif_proto::reward::v1::reward_service_client::RewardServiceClient;
use rlaif_proto::reward::v1::score_question::Input;
use rlaif_proto::reward::v1::{
    GetModelInfoRequest, ScoreQuestion, ScoreRequest, ScoreStreamRequest, TokenSequence,
};
use rlaif_reward::Reward;
use rlaif_service::client::Channel;
use rlaif_service::http;
use rlaif_testkit::{eventually, free_port};
use rlaif_types::UnscorableReason;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;

/// A score alone and in a batch differ by how sums are taken in f32; as for golden values.
const TOLERANCE: f32 = 1e-4;

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
