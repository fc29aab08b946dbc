//! An HTTP server that answers by script, and fails in all the ways that servers and networks do.
//! It writes bytes itself: a proper server library would not let it misbehave.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What is done with one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// A whole answer.
    Answer {
        /// The status.
        status: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// A head that promises one byte more than this body, which comes, and the end of the
    /// connection.
    CutOff(Vec<u8>),
    /// The same, but the connection stays open and silent.
    Stall(Vec<u8>),
    /// A body that never ends.
    Flood,
    /// Nothing, until the client goes.
    Silence,
    /// The connection is reset.
    Reset,
}

impl Act {
    /// A body with status 200.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A body with this status.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same answer with a header more; other acts have none.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `/v1/chat/completions`.
    pub path: String,
    /// In lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, which must be text.
    pub body: String,
}

impl HttpRequest {
    /// The value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A server on loopback; it ends with its value. Each connection is for one request.
#[derive(Debug)]
pub struct ScriptedHttp {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    script: VecDeque<Act>,
    requests: Vec<HttpRequest>,
    /// Connections whose request has come and whose end has not.
    open: usize,
}

impl ScriptedHttp {
    /// Starts a server that does with each request what is next in the script, and goes on with the
    /// last.
    ///
    /// # Panics
    /// When the script is empty, or there is no free port.
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let script: VecDeque<Act> = script.into_iter().collect();
        assert!(!script.is_empty(), "a script needs an act");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Shared { script, requests: Vec::new(), open: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let task = tokio::spawn(serve(listener, shared.clone())).abort_handle();
        Self { address, shared, task }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.shared).requests.clone()
    }

    /// How many requests are neither answered nor given up.
    pub fn open(&self) -> usize {
        lock(&self.shared).open
    }
}

impl Drop for ScriptedHttp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // An error means that the client has gone.
            let _ = converse(stream, &shared).await;
        });
    }
}

async fn converse(mut stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    let act = {
        let mut shared = lock(shared);
        shared.requests.push(request);
        shared.open += 1;
        match shared.script.len() {
            1 => shared.script[0].clone(),
            _ => shared.script.pop_front().expect("a script never becomes empty"),
        }
    };
    let done = perform(&mut stream, act).await;
    lock(shared).open -= 1;
    done
}

async fn perform(stream: &mut TcpStream, act: Act) -> io::Result<()> {
    match act {
        Act::Answer { status, headers, body } => {
            stream.write_all(head(status, &headers, body.len()).as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await
        }
        Act::CutOff(body) => {
            promise_too_much(stream, &body).await?;
            stream.shutdown().await
        }
        Act::Stall(body) => {
            promise_too_much(stream, &body).await?;
            until_closed(stream).await
        }
        Act::Flood => {
            // Without a length, a body lasts as long as its connection.
            stream.write_all(b"HTTP/1.1 200 -\r\nconnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
        Act::Silence => until_closed(stream).await,
        Act::Reset => stream.set_zero_linger(),
    }
}

fn head(status: u16, headers: &[(String, String)], length: usize) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers = lines.collect::<String>();
    format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n")
}

async fn promise_too_much(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    stream.write_all(head(200, &[], body.len() + 1).as_bytes()).await?;
    stream.write_all(body).await
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn read_request(stream: &mut TcpStream) -> io::Result<HttpRequest> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut request = HttpRequest { path, headers, body: String::new() };
    let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let body_at = head_end + 4;
    while bytes.len() - body_at < length {
        more(stream, &mut bytes).await?;
    }
    request.body = String::from_utf8_lossy(&bytes[body_at..]).into_owned();
    Ok(request)
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
