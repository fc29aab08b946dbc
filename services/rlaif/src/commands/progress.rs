//! A run's progress on the terminal: one bar a stage, or one line now and then where there is none.

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rlaif_job::StageProgress;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

/// Bars on standard error.
pub struct Bars {
    screen: MultiProgress,
    bars: HashMap<String, ProgressBar>,
    lines: bool,
}

impl Bars {
    /// None until the first stage begins.
    pub fn new() -> Self {
        let lines = !std::io::stderr().is_terminal();
        let screen = MultiProgress::new();
        if lines {
            screen.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { screen, bars: HashMap::new(), lines }
    }

    /// Shows how far a stage is. One that was finished before this process began is not shown.
    pub fn show(&mut self, stage: &StageProgress) {
        let detail = detail(stage);
        let StageProgress { stage, done, total, .. } = stage;
        if !self.bars.contains_key(stage) {
            if *done == 0 || done == total && *total > 1 && self.bars.is_empty() {
                return;
            }
            let bar = self.screen.add(new_bar(stage, *total));
            self.bars.insert(stage.clone(), bar);
        }
        let bar = &self.bars[stage];
        let known = (bar.position(), bar.length().unwrap_or(0));
        // A long task counts its steps while it runs, and as one task when it is done.
        if bar.is_finished() || (known.1 > *total as u64 && done == total) {
            bar.finish();
            return;
        }
        bar.set_length(*total as u64);
        bar.set_message(detail.clone());
        bar.set_position(*done as u64);
        if self.lines && known.0 != *done as u64 {
            eprintln!("{stage} {done}/{total} {detail}");
        }
        if done == total {
            bar.finish();
        }
    }
}

/// The latest figure of a stage and, once the coordinator knows it, the time to its end.
pub fn detail(stage: &StageProgress) -> String {
    let eta = stage.eta_seconds.and_then(|eta| Duration::try_from_secs_f64(eta).ok());
    let left = eta.map(|eta| format!("{:#} left", HumanDuration(eta))).unwrap_or_default();
    let parts = [stage.note.clone(), left].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

fn new_bar(stage: &str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>9} {wide_bar} {human_pos}/{human_len}  {msg}  {elapsed} elapsed",
    )
    .expect("the template is a constant");
    let bar = ProgressBar::new(total as u64).with_prefix(stage.to_owned());
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_the_end_follows_the_figure_where_both_are_known() {
        let stage = |note: &str, eta_seconds| {
            detail(&StageProgress { note: note.into(), eta_seconds, ..StageProgress::default() })
        };
        assert_eq!(stage("loss 0.5", Some(7200.0)), "loss 0.5, 2h left");
        assert_eq!(
            (stage("", Some(30.2)), stage("loss 0.5", None)),
            ("30s left".into(), "loss 0.5".into())
        );
        // What no clock can hold is not shown.
        assert_eq!(stage("", Some(f64::INFINITY)), "");
    }
}
