//! What a browser says to the page, without the browser. HTTP/1.0, so that an answer ends with its
//! connection.

use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub struct Browser {
    pub page: SocketAddr,
    pub token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Browser {
    /// Sends a request and reads the head of its answer.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (Seen, BufReader<TcpStream>) {
        let mut request = format!("{method} {path} HTTP/1.0\r\n");
        let mut add = |name: &str, value: &str| write!(request, "{name}: {value}\r\n").unwrap();
        if !headers.iter().any(|(name, _)| *name == "host") {
            add("host", &self.page.to_string());
        }
        if let Some(token) = &self.token {
            add("authorization", &format!("Bearer {token}"));
        }
        headers.iter().for_each(|(name, value)| add(name, value));
        add("content-length", &body.len().to_string());
        let mut stream = TcpStream::connect(self.page).await.unwrap();
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line).await.unwrap();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut seen = Seen { status: status.unwrap(), headers: Vec::new(), body: String::new() };
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            seen.headers.push((name.to_owned(), value.to_owned()));
        }
        (seen, answer)
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Seen {
        let (mut seen, mut rest) = self.ask(method, path, headers, body).await;
        rest.read_to_string(&mut seen.body).await.unwrap();
        seen
    }

    pub async fn get(&self, path: &str) -> Seen {
        self.send("GET", path, &[], "").await
    }

    /// The data at a path, which is there.
    pub async fn data(&self, path: &str) -> Value {
        let seen = self.get(path).await;
        assert_eq!(seen.status, 200, "{path}: {seen:?}");
        seen.json()
    }

    pub async fn post(&self, path: &str, body: &str) -> Seen {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Opens the stream of changes, after an event that was seen.
    pub async fn events(&self, last: Option<&str>) -> Events {
        let headers: Vec<_> = last.map(|id| ("last-event-id", id)).into_iter().collect();
        let (seen, rest) = self.ask("GET", "/api/events", &headers, "").await;
        assert_eq!((seen.status, seen.header("content-type")), (200, Some("text/event-stream")));
        Events(rest)
    }
}

/// A stream of changes.
pub struct Events(BufReader<TcpStream>);

/// A change: its id, its name, and what it says.
pub type Event = (String, String, Value);

impl Events {
    /// None once the server has ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (String::new(), String::new(), None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or_default() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ if line == "\n" => match data.take() {
                    Some(data) => return Some((id, name, data)),
                    None => continue,
                },
                _ => {}
            }
        }
    }
}
