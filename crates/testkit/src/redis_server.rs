//! A redis-server of a test's own: a child process on a Unix socket, with its data in a temporary
//! folder, so that it can be killed and started again with what it had written. No other test can
//! take its socket, as it could take a port.

use crate::append_only_file;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starting may load an append-only file; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
// In its folder.
const LOG: &str = "redis.log";
const SOCKET: &str = "redis.sock";

/// A running redis-server with `appendonly yes` and `maxmemory-policy noeviction`; it ends with its
/// value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    folder: TempDir,
    extra: Vec<String>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When redis-server is not installed or does not answer.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with more command-line options.
    ///
    /// # Panics
    /// When redis-server is not installed or does not answer.
    pub fn start_with(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let extra = extra.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
        let child = spawn(folder.path(), &extra);
        let mut server = Self { child, folder, extra };
        server.wait_until_it_answers();
        server
    }

    /// Where it listens, as the queue takes it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The Unix socket where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// Ends it as `kill -9` does: what it had not written is lost.
    ///
    /// # Panics
    /// When the child cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Starts it again at the same place with the data it had written, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.folder.path(), &self.extra);
        self.wait_until_it_answers();
    }

    /// Ends it and starts another at the same place that knows nothing, as after a lost disk.
    ///
    /// # Panics
    /// When its data cannot be removed, or the other does not answer.
    pub fn lose_everything(&mut self) {
        self.kill();
        let data = self.folder.path().join("appendonlydir");
        std::fs::remove_dir_all(data).expect("a dead server's data can be removed");
        self.restart();
    }

    /// A blocking connection for looking at what is in it.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("the URL is well-formed");
        client.get_connection().expect("the server answers")
    }

    /// Changes a setting while it runs; a restart has it as it was.
    ///
    /// # Panics
    /// When it is away, or has no such setting.
    pub fn configure(&self, setting: &str, value: &str) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(setting).arg(value);
        command.exec(&mut self.connection()).expect("the server has the setting");
    }

    /// Every command that changed its data, in order, since it was first started: what its
    /// append-only file holds. Scripts stand there as the commands that they made.
    ///
    /// # Panics
    /// When the file was rewritten: then it holds the data, and no history any more.
    pub fn history(&self) -> Vec<Vec<Vec<u8>>> {
        append_only_file::commands(&self.folder.path().join("appendonlydir"))
    }

    fn wait_until_it_answers(&mut self) {
        let client = redis::Client::open(self.url()).expect("the URL is well-formed");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pong = client.get_connection().and_then(|mut c| redis::cmd("PING").exec(&mut c));
            match pong {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => panic!("redis-server: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
            if let Some(status) = self.child.try_wait().expect("our own child can be asked") {
                let log = std::fs::read_to_string(self.folder.path().join(LOG));
                panic!("redis-server ended with {status}: {}", log.unwrap_or_default());
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, extra: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--logfile").arg(folder.join(LOG));
    command.arg("--unixsocket").arg(folder.join(SOCKET));
    command.args(["--appendonly", "yes", "--maxmemory-policy", "noeviction", "--dir"]).arg(folder);
    command.args(extra);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("redis-server does not start ({error}): apt-get install redis-server, or ./test")
    })
}

/// A TCP port for what needs one. It is free now; nothing keeps others from taking it.
///
/// # Panics
/// When the loopback interface has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
