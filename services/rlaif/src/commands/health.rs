//! `rlaif health`: a probe for images that have no HTTP client.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read; a probe's is a line.
const MAX_ANSWER: u64 = 4096;

/// Ask a service on this machine whether it is ready; it must serve metrics.
///
/// Exits with 0 where it is, otherwise with an error that says why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif health --address 127.0.0.1:9464 || echo not ready")]
pub struct Args {
    /// The service's `metrics.address`. One that listens everywhere is asked over the loopback.
    #[arg(long, env = "RLAIF__METRICS__ADDRESS", default_value = "127.0.0.1:9464")]
    address: SocketAddr,
    /// Ask whether it is alive instead: whether a restart would mend it.
    #[arg(long)]
    live: bool,
    /// How long connecting, and then the answer, may take.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub fn run(args: Args) -> Result<()> {
    let address = reachable(args.address);
    let path = if args.live { "/livez" } else { "/readyz" };
    let answer = ask(address, path, args.timeout).with_context(|| {
        format!("asking {address}; does a service with metrics.address = \"{address}\" run here?")
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("{address} answers {}: {}", head.lines().next().unwrap_or("nothing"), body.trim());
    }
    Ok(())
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// The answer to one plain HTTP request.
fn ask(address: SocketAddr, path: &str, timeout: Duration) -> Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, timeout)?;
    connection.set_read_timeout(Some(timeout))?;
    connection.set_write_timeout(Some(timeout))?;
    // In one write: pieces of a request would be packets of their own.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A service that gives one answer.
    fn asked(answer: &'static str) -> Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = connection.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
                connection.write_all(answer.as_bytes()).unwrap();
            });
            run(Args { address, live: false, timeout: Duration::from_secs(10) })
        })
    }

    #[test]
    fn a_ready_service_is_ready() {
        asked("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
    }

    #[test]
    fn any_other_answer_is_told() {
        let why = asked("HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready\n").unwrap_err();
        assert!(why.to_string().ends_with("503 Service Unavailable: not ready"), "{why}");
        asked("").unwrap_err();
    }

    #[test]
    fn where_nobody_listens_it_says_what_to_look_at() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = Args { address: free, live: true, timeout: Duration::from_secs(1) };
        let why = format!("{:#}", run(args).unwrap_err());
        assert!(why.contains("metrics.address"), "{why}");
    }
}
