//! A run's progress on the terminal: one bar a stage, or one line now and then where there is none.

use indicatif::{ProgressBar, ProgressStyle};
use rlaif_pipeline::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;

/// Bars on standard error.
#[derive(Default)]
pub struct Bars {
    current: Mutex<Option<(String, ProgressBar)>>,
}

impl Progress for Bars {
    fn begin(&self, stage: &str, done: usize, total: usize) {
        let style = ProgressStyle::with_template(
            "{prefix:>9} {wide_bar} {human_pos}/{human_len}  {msg}  {elapsed} elapsed, {eta} left",
        )
        .expect("the template is a constant");
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(total as u64),
            false => ProgressBar::with_draw_target(
                Some(total as u64),
                indicatif::ProgressDrawTarget::hidden(),
            ),
        };
        bar.set_style(style);
        bar.set_prefix(stage.to_owned());
        bar.set_position(done as u64);
        bar.reset_eta();
        *self.current.lock().expect("no holder of this lock panics") =
            Some((stage.to_owned(), bar));
    }

    fn advance(&self, count: usize, note: &str) {
        let current = self.current.lock().expect("no holder of this lock panics");
        let Some((stage, bar)) = current.as_ref() else { return };
        bar.set_message(note.to_owned());
        bar.inc(count as u64);
        if bar.is_hidden() {
            let (done, total) = (bar.position(), bar.length().unwrap_or(0));
            eprintln!("{stage} {done}/{total} {note} ({:.0} s left)", bar.eta().as_secs_f64());
        }
    }

    fn end(&self) {
        if let Some((_, bar)) = self.current.lock().expect("no holder of this lock panics").take() {
            bar.finish();
        }
    }
}
