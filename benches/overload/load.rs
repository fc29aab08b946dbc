//! The callers: a process of their own, so that what they cost is not taken for the server's.

use crate::process;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_proto::reward::v1::reward_service_client::RewardServiceClient;
use rlaif_proto::reward::v1::score_question::Input;
use rlaif_proto::reward::v1::{ScoreQuestion, ScoreRequest};
use rlaif_service::client::{self, CallPolicy, Channel};
use rlaif_types::{Item, Prompt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tonic::Code;

/// Connections, because a server bounds the calls of each.
const CONNECTIONS: usize = 16;
/// Calls that wait for their answers; the callers' own bound.
const MAX_IN_FLIGHT: usize = 8192;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// Words of a response, at least and at most.
const WORDS: (usize, usize) = (4, 48);

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub endpoint: String,
    pub arrivals: Arrivals,
    /// How long answers are counted.
    pub window: Duration,
    /// After which a caller has no use for an answer.
    pub deadline: Duration,
    pub seed: u64,
}

/// When calls are made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Arrivals {
    /// So many callers, each asking again as soon as it is answered.
    Closed { callers: usize },
    /// At random times, so many a second on average, whatever becomes of them.
    Open { per_second: f64 },
}

/// What became of the calls that were answered within the window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub asked_per_s: f64,
    /// Scores that came before their deadline.
    pub scored_per_s: f64,
    pub refused_per_s: f64,
    pub late_per_s: f64,
    /// Anything else: a mistake.
    pub failed: usize,
    /// Never made: more were waiting than the callers may have in flight.
    pub not_made: usize,
    pub scored_p50_ms: f64,
    pub scored_p99_ms: f64,
    pub refused_p50_ms: f64,
    pub refused_p99_ms: f64,
    /// Processor time of the callers, as a part of one core.
    pub callers_cores: f64,
}

/// How one call ended.
enum Ending {
    Scored,
    Refused,
    Late,
    Failed,
    NotMade,
}

/// One call, from the time at which it was due.
struct Call {
    ending: Ending,
    took: Duration,
}

/// Makes the calls and says what became of them.
pub async fn run(plan: Plan) -> Outcome {
    let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| channel(&plan.endpoint)).collect();
    let (report, mut ended) = mpsc::unbounded_channel();
    let callers = Callers { channels, deadline: plan.deadline, seed: plan.seed, report };
    let start = Instant::now();
    let (from, until) = (start + WARM_UP, start + WARM_UP + plan.window);
    let making = match plan.arrivals {
        Arrivals::Closed { callers: count } => {
            (0..count).for_each(|i| drop(tokio::spawn(callers.clone().ask_again_and_again(i))));
            tokio::spawn(tokio::time::sleep_until(until))
        }
        Arrivals::Open { per_second } => tokio::spawn(callers.clone().arrive(per_second, until)),
    };
    tokio::time::sleep_until(from).await;
    while ended.try_recv().is_ok() {}
    let cpu = process::cpu_seconds();
    let mut calls = Vec::new();
    while let Ok(Some(call)) = tokio::time::timeout_at(until, ended.recv()).await {
        calls.push(call);
    }
    let cores = (process::cpu_seconds() - cpu) / plan.window.as_secs_f64();
    making.abort();
    outcome(calls, plan.window, cores)
}

fn channel(endpoint: &str) -> Channel {
    let config = client::Config {
        endpoint: endpoint.to_owned(),
        tls: None,
        token: None,
        connect_timeout: Duration::from_secs(10),
        keep_alive_interval: Duration::from_secs(30),
        calls: CallPolicy::default(),
    };
    client::channel(&config).expect("a loopback address")
}

#[derive(Clone)]
struct Callers {
    channels: Vec<Channel>,
    deadline: Duration,
    seed: u64,
    report: mpsc::UnboundedSender<Call>,
}

impl Callers {
    async fn ask_again_and_again(self, first: usize) {
        for round in 0.. {
            let number = first + round * 1_000_003;
            let _ = self.report.send(self.ask(number, Instant::now()).await);
        }
    }

    /// A Poisson process.
    async fn arrive(self, per_second: f64, until: Instant) {
        let places = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let mut draws = ChaCha8Rng::seed_from_u64(self.seed);
        let mut due = Instant::now();
        for number in 0.. {
            due +=
                Duration::from_secs_f64(-draws.random_range(f64::EPSILON..1.0).ln() / per_second);
            if due >= until {
                return;
            }
            tokio::time::sleep_until(due).await;
            let Ok(place) = places.clone().try_acquire_owned() else {
                let call = Call { ending: Ending::NotMade, took: Duration::ZERO };
                let _ = self.report.send(call);
                continue;
            };
            let this = self.clone();
            tokio::spawn(async move {
                let _ = this.report.send(this.ask(number, due).await);
                drop(place);
            });
        }
    }

    /// One call, which was `due` then: what a late caller waited before it asked counts.
    async fn ask(&self, number: usize, due: Instant) -> Call {
        let mut request =
            tonic::Request::new(ScoreRequest { questions: vec![self.question(number)] });
        request.set_timeout(self.deadline);
        let channel = self.channels[number % self.channels.len()].clone();
        let answer = RewardServiceClient::new(channel).score(request).await;
        let took = due.elapsed();
        let late = took > self.deadline;
        let ending = match answer.map_err(|status| status.code()) {
            Ok(answer) => match answer.into_inner().answers.first().map(|a| a.judgement()) {
                Some(Ok(Ok(_))) if late => Ending::Late,
                Some(Ok(Ok(_))) => Ending::Scored,
                _ => Ending::Failed,
            },
            Err(Code::ResourceExhausted) => Ending::Refused,
            Err(Code::DeadlineExceeded) => Ending::Late,
            // How tonic's channel says that the request's own time has passed.
            Err(Code::Cancelled) if took >= self.deadline => Ending::Late,
            Err(_) => Ending::Failed,
        };
        Call { ending, took }
    }

    /// A response of random words and length.
    fn question(&self, number: usize) -> ScoreQuestion {
        const SOME: [&str; 8] =
            ["the", "river", "answered", "slowly", "because", "nobody", "asked", "twice"];
        let mut draws = ChaCha8Rng::seed_from_u64(self.seed ^ (number as u64) << 20);
        let words = draws.random_range(WORDS.0..=WORDS.1);
        let words: Vec<&str> =
            (0..words).map(|_| SOME[draws.random_range(0..SOME.len())]).collect();
        let prompt = Prompt::Text("Tell me something.".to_owned());
        let item = Item { prompt, response: words.join(" ") };
        ScoreQuestion { id: String::new(), input: Some(Input::Item(item.into())) }
    }
}

fn outcome(calls: Vec<Call>, window: Duration, callers_cores: f64) -> Outcome {
    let mut outcome = Outcome { callers_cores, ..Outcome::default() };
    let (mut scored, mut refused, mut late) = (Vec::new(), Vec::new(), 0);
    for call in &calls {
        match call.ending {
            Ending::Scored => scored.push(call.took),
            Ending::Refused => refused.push(call.took),
            Ending::Late => late += 1,
            Ending::Failed => outcome.failed += 1,
            Ending::NotMade => outcome.not_made += 1,
        }
    }
    let per_s = |count: usize| count as f64 / window.as_secs_f64();
    outcome.asked_per_s = per_s(calls.len());
    outcome.scored_per_s = per_s(scored.len());
    outcome.refused_per_s = per_s(refused.len());
    outcome.late_per_s = per_s(late);
    [outcome.scored_p50_ms, outcome.scored_p99_ms] = percentiles(&mut scored);
    [outcome.refused_p50_ms, outcome.refused_p99_ms] = percentiles(&mut refused);
    outcome
}

/// The 50th and the 99th, in milliseconds.
fn percentiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    [0.50, 0.99].map(|part| {
        let at = (part * times.len() as f64) as usize;
        times.get(at.min(times.len().saturating_sub(1))).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    })
}
