//! Signals, sent to a real process: this test program again, running `service`.

use rlaif_service::shutdown::{Tasks, on_signals};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The process that the tests below start. It ends when told to, unless it is to hang.
#[test]
#[ignore = "not a test of its own: the others start it"]
fn service() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut tasks = Tasks::new(on_signals().unwrap(), Duration::from_secs(3600));
        let shutdown = tasks.shutdown();
        tasks.spawn::<std::io::Error>("work", async move {
            println!("\nrunning");
            shutdown.cancelled().await;
            println!("draining");
            if std::env::var_os("RLAIF_TEST_HANG").is_some() {
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        tasks.join().await.unwrap();
    });
}

struct Service {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Service {
    fn start(hang: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "service", "--ignored", "--nocapture"]).stdout(Stdio::piped());
        if hang {
            command.env("RLAIF_TEST_HANG", "1");
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        Self { child, lines: Box::new(lines) }
    }

    fn wait_for(&mut self, line: &str) {
        assert!(self.lines.any(|l| l == line), "it ended before it said {line}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

#[test]
fn a_signal_drains_and_ends_well() {
    for name in ["TERM", "INT"] {
        let mut service = Service::start(false);
        service.wait_for("running");
        service.signal(name);
        service.wait_for("draining");
        assert!(service.child.wait().unwrap().success());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut service = Service::start(true);
    service.wait_for("running");
    service.signal("TERM");
    service.wait_for("draining");
    service.signal("TERM");
    assert_eq!(service.child.wait().unwrap().code(), Some(128 + 15));
}
