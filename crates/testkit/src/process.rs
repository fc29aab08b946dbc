//! A child process of a test: frozen, woken and killed at will, and never left behind.

use std::process::{Child, Command};

/// A running process. It ends with its value, also when it is frozen and when the test panics; on
/// Linux also with the thread that started it, so that a test that is killed leaves nobody behind.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        #[cfg(target_os = "linux")]
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            use std::os::unix::process::CommandExt;
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// False once it has ended, by itself or by [`kill`](Self::kill).
    ///
    /// # Panics
    /// When the child cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("our own child can be asked").is_none()
    }

    /// What the system calls it.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: it says goodbye to nobody. When this returns it is gone.
    ///
    /// # Panics
    /// When the child cannot be killed.
    pub fn kill(&mut self) {
        self.0.kill().expect("our own child can be killed");
        self.0.wait().expect("a killed child ends");
    }

    /// SIGSTOP. When this returns none of its threads runs: what it did not do by then it does only
    /// after [`wake`](Self::wake), if ever. One that has ended is frozen enough.
    pub fn freeze(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(libc::SIGSTOP);
        // SAFETY: all zeros is a valid `siginfo_t`, and the call writes to nothing else. WNOWAIT
        // leaves an ended child to be waited for by its owner.
        unsafe {
            let mut stopped: libc::siginfo_t = std::mem::zeroed();
            let what = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.0.id(), &mut stopped, what);
        }
    }

    /// SIGCONT: a frozen process goes on as if nothing had happened.
    pub fn wake(&mut self) {
        if self.is_running() {
            self.signal(libc::SIGCONT);
        }
    }

    /// SIGTERM, and waits until it has ended.
    ///
    /// # Panics
    /// When it ends with an error.
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let status = self.0.wait().expect("our own child can be waited for");
        assert!(status.success(), "it ended with {status}");
    }

    fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.0.id()).expect("a process id is a pid_t");
        // SAFETY: the call touches no memory. The child was not waited for, so its id is its own.
        unsafe { libc::kill(id, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already. SIGKILL also ends a frozen one.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    #[test]
    fn a_frozen_process_does_nothing_until_it_is_woken_and_can_be_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "while read line; do echo \"$line\"; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut process = Process(child);
        process.freeze();
        std::io::Write::write_all(&mut stdin, b"hello\n").unwrap();
        assert_eq!(process.state(), 'T');
        process.wake();
        assert_eq!(BufReader::new(stdout).lines().next().unwrap().unwrap(), "hello");
        process.freeze();
        assert!(process.is_running());
        process.kill();
        assert!(!process.is_running());
        process.freeze();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_ends_with_the_thread_that_started_it_also_when_frozen() {
        let start = || {
            let mut process = Process::spawn(Command::new("sleep").arg("600"));
            process.freeze();
            process
        };
        let mut process = std::thread::spawn(start).join().unwrap();
        let started = std::time::Instant::now();
        while process.is_running() {
            assert!(started.elapsed().as_secs() < 30, "it outlives its thread");
            std::thread::yield_now();
        }
    }

    impl Process {
        /// As `ps` shows it.
        fn state(&self) -> char {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
        }
    }
}
