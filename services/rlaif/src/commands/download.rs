//! A download's progress on the terminal: one bar a file, or one line where there is none.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rlaif_hub::Progress;
use std::io::IsTerminal;

/// A bar in bytes on standard error.
pub struct DownloadBar {
    bar: ProgressBar,
}

impl DownloadBar {
    /// No bar until the first file begins.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }
}

impl Progress for DownloadBar {
    fn say(&mut self, what: &str) {
        self.bar.suspend(|| eprintln!("{what}"));
    }

    fn begin(&mut self, file: &str, bytes: u64) {
        if !std::io::stderr().is_terminal() {
            eprintln!("{file} ({})", HumanBytes(bytes));
            return;
        }
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left",
        )
        .expect("the template is a constant");
        self.bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        self.bar.set_style(style);
        self.bar.set_message(file.to_owned());
    }

    fn reached(&mut self, bytes: u64) {
        // What an earlier try brought says nothing about this one's speed.
        if self.bar.position() == 0 {
            self.bar.set_position(bytes);
            self.bar.reset_eta();
        }
        self.bar.set_position(bytes);
    }

    fn end(&mut self) {
        self.bar.finish();
    }
}
