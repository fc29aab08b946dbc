//! An OpenAI-compatible labeler that has an opinion about every question: the same one each time, and at
//! any speed. It counts what it was asked, and fails on request.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Which answers go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Of so many requests one fails in a way that trying again mends: 429, 500, or an answer that is cut
    /// off. 0 for none.
    pub one_in: u64,
    /// Of so many questions one never gets log-probabilities, however often it is asked. 0 for none.
    pub mute_one_in: u64,
}

/// The labeler. It ends with its value.
#[derive(Debug)]
pub struct Oracle {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    /// How often each question was answered, by the hash of its messages.
    answered: Mutex<HashMap<u64, u32>>,
}

impl Oracle {
    /// Starts to answer on a free port of loopback.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, seen.clone(), faults)).abort_handle();
        Self { address, seen, task }
    }

    /// What a client's configuration says of it: `base_url`, `model`, and no patience for pauses.
    pub fn describe(&self) -> String {
        format!(
            "base_url = \"http://{}/v1\"\nmodel = \"oracle\"\nmax_concurrency = 32\n\
             max_attempts = 20\nfirst_backoff = \"1ms\"\nmax_backoff = \"4ms\"\n",
            self.address
        )
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.seen.requests.store(0, Ordering::Relaxed);
        self.seen.with(HashMap::clear);
    }

    /// Requests so far, those that failed included.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Different questions that were answered with log-probabilities.
    pub fn questions(&self) -> u64 {
        self.seen.with(|answered| answered.len() as u64)
    }

    /// Answers beyond the first to the same question: what was paid for twice.
    pub fn repeated(&self) -> u64 {
        self.seen.with(|answered| answered.values().map(|times| u64::from(times - 1)).sum())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u64, u32>) -> T) -> T {
        f(&mut self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>, faults: Faults) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(request, seen.clone(), faults));
            // An error means that the client has gone.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Seen>,
    faults: Faults,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let number = seen.requests.fetch_add(1, Ordering::Relaxed);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    asked["messages"].to_string().hash(&mut hasher);
    let question = hasher.finish();
    if is_one_in(faults.one_in, mixed(number)) {
        return Ok(match mixed(number) >> 60 {
            0..8 => fault(StatusCode::TOO_MANY_REQUESTS, "{\"error\": {\"message\": \"slower\"}}"),
            8..12 => fault(StatusCode::INTERNAL_SERVER_ERROR, "no"),
            // Whole as HTTP, cut off as JSON.
            _ => fault(StatusCode::OK, "{\"id\": \"x\", \"choices\": [{\"ind"),
        });
    }
    let is_mute = is_one_in(faults.mute_one_in, mixed(question));
    if !is_mute {
        seen.with(|answered| *answered.entry(question).or_default() += 1);
    }
    let text = spoken(question, is_mute).to_string();
    let response = Response::new(Full::new(Bytes::from(text)));
    Ok(response)
}

fn fault(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}

/// The opinion on a question: probabilities of "1" and "2" from 2 to 98 %.
fn spoken(question: u64, is_mute: bool) -> Value {
    let first = 0.02 + 0.96 * (mixed(question) >> 11) as f64 / (1_u64 << 53) as f64;
    let token = |text: &str, p: f64| json!({"token": text, "logprob": p.ln(), "bytes": null});
    let named = json!([token("1", first), token("2", 1.0 - first)]);
    let drawn = if first > 0.5 { ("1", first) } else { ("2", 1.0 - first) };
    let mut said = token(drawn.0, drawn.1);
    said["top_logprobs"] = named;
    let logprobs = if is_mute { Value::Null } else { json!({"content": [said]}) };
    json!({
        "id": "x", "object": "chat.completion", "model": "oracle-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": drawn.0},
            "finish_reason": "length", "logprobs": logprobs}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    })
}

fn is_one_in(one_in: u64, drawn: u64) -> bool {
    one_in > 0 && drawn.is_multiple_of(one_in)
}

/// A number without visible relation to `seed` (the finaliser of splitmix64, Steele et al. 2014).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
