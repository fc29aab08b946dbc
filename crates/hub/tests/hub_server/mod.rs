//! A Hugging Face hub on this machine, with one repository and any fault one may wish for.

use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

pub const REPOSITORY: &str = "owner/tiny";

/// What goes wrong with the next request for a file.
pub enum Fault {
    /// The connection closes after so many bytes of the content.
    CutAfter(usize),
    /// This status instead of the file.
    Status(u16),
}

/// A request for a file, as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

/// What the server has and how it behaves; tests change it between requests.
pub struct State {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Used up one a file request.
    pub faults: VecDeque<Fault>,
    /// Only this token is let in.
    pub gate: Option<String>,
    /// Answers a request for a part with the whole.
    pub ignores_ranges: bool,
    /// States a hash that is not the content's.
    pub lies: bool,
    /// Sends the client elsewhere for files, as the hub does for large ones.
    pub files_at: Option<String>,
    /// Answers everything with a web page, like the network of a hotel.
    pub portal: bool,
    /// Requests for files so far.
    pub requests: Vec<Request>,
}

pub struct HubServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl HubServer {
    pub fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let state = Arc::new(Mutex::new(State {
            commit: "a".repeat(40),
            files: files.iter().map(|(name, content)| ((*name).into(), content.clone())).collect(),
            faults: VecDeque::new(),
            gate: None,
            ignores_ranges: false,
            lies: false,
            files_at: None,
            portal: false,
            requests: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let open = listener.incoming().map_while(|stream| stream.ok());
            // A connection without a request is the end.
            for stream in open {
                match read_head(&stream) {
                    Some(head) => answer(stream, &head, &shared),
                    None => break,
                }
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The files that were asked for, in order.
    pub fn requested(&self) -> Vec<String> {
        self.state().requests.iter().map(|r| r.path.clone()).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        drop(TcpStream::connect(self.address));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The lines of a request up to the empty one.
fn read_head(stream: &TcpStream) -> Option<Vec<String>> {
    let lines = BufReader::new(stream).lines();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
    (!head.is_empty()).then_some(head)
}

fn answer(mut stream: TcpStream, head: &[String], state: &Mutex<State>) {
    let mut state = state.lock().unwrap();
    let target = head[0].split(' ').nth(1).unwrap_or("").to_owned();
    let header = |name: &str| {
        let found = head[1..].iter().filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned()).next()
    };
    let request = Request { path: target, range: header("range"), token: header("authorization") };
    let reply = match request.path.strip_prefix("/api/models/") {
        _ if state.portal => Reply::ok(b"<html>please log in</html>".to_vec()),
        Some(listing) => state.listing(listing),
        None => state.file(request),
    };
    let _ = stream.write_all(&reply.bytes());
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How much of the body is really sent.
    sent: usize,
}

impl Reply {
    fn ok(body: Vec<u8>) -> Self {
        Self { status: 200, headers: Vec::new(), sent: body.len(), body }
    }

    fn status(status: u16, code: &str) -> Self {
        let headers = vec![("x-error-code", code.to_owned())];
        Self { status, headers, body: Vec::new(), sent: 0 }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Any\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = bytes.into_bytes();
        bytes.extend(&self.body[..self.sent]);
        bytes
    }
}

impl State {
    /// `owner/name/revision/REVISION?blobs=true`
    fn listing(&self, target: &str) -> Reply {
        let known = target.strip_prefix(REPOSITORY).and_then(|t| t.strip_prefix("/revision/"));
        let Some((revision, query)) = known.and_then(|t| t.split_once('?')) else {
            return Reply::status(404, "RepoNotFound");
        };
        assert_eq!(query, "blobs=true");
        if !["main", "v1", "refs%2Fpr%2F1"].contains(&revision) {
            return Reply::status(404, "RevisionNotFound");
        }
        let siblings: Vec<Value> =
            self.files.iter().map(|(name, content)| self.sibling(name, content)).collect();
        Reply::ok(json!({"sha": self.commit, "siblings": siblings}).to_string().into_bytes())
    }

    /// Weights are stored as large files, the rest in git.
    fn sibling(&self, name: &str, content: &[u8]) -> Value {
        let hashed = if self.lies { b"other" } else { content };
        if name.ends_with(".json") || name.ends_with(".jinja") || name.ends_with(".md") {
            let mut git = Sha1::new_with_prefix(format!("blob {}\0", hashed.len()));
            git.update(hashed);
            return json!({"rfilename": name, "size": content.len(), "blobId": hex(&git.finalize())});
        }
        let lfs = json!({"sha256": hex(&Sha256::digest(hashed)), "size": content.len()});
        json!({"rfilename": name, "size": content.len(), "blobId": "of the pointer", "lfs": lfs})
    }

    /// `/owner/name/resolve/COMMIT/PATH`
    fn file(&mut self, mut request: Request) -> Reply {
        let prefix = format!("/{REPOSITORY}/resolve/{}/", self.commit);
        let path = request.path.strip_prefix(&prefix).unwrap_or(&request.path).to_owned();
        request.path.clone_from(&path);
        self.requests.push(request.clone());
        if let Some(gate) = &self.gate
            && request.token != Some(format!("Bearer {gate}"))
        {
            return Reply::status(if request.token.is_some() { 403 } else { 401 }, "GatedRepo");
        }
        if let Some(elsewhere) = &self.files_at {
            let headers = vec![("Location", format!("{elsewhere}{prefix}{path}"))];
            return Reply { status: 302, headers, body: Vec::new(), sent: 0 };
        }
        let Some(content) = self.files.get(&path) else {
            return Reply::status(404, "EntryNotFound");
        };
        let mut reply = self.part(content, request.range.as_deref());
        match self.faults.pop_front() {
            Some(Fault::CutAfter(bytes)) => reply.sent = bytes.min(reply.body.len()),
            Some(Fault::Status(status)) => reply = Reply::status(status, ""),
            None => {}
        }
        reply
    }

    fn part(&self, content: &[u8], range: Option<&str>) -> Reply {
        let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match from {
            Some(from) if !self.ignores_ranges => {
                let (last, all) = (content.len() - 1, content.len());
                let range = ("Content-Range", format!("bytes {from}-{last}/{all}"));
                Reply { status: 206, headers: vec![range], ..Reply::ok(content[from..].to_vec()) }
            }
            _ => Reply::ok(content.to_vec()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
