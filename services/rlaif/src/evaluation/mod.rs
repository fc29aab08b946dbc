//! What `rlaif eval` is made of: arms and their responses, the guard against leaks, the judge's
//! verdicts, people's rankings, and the folder that it all stands in.

mod annotations;
mod arms;
mod best_of;
mod judging;
mod leaks;
mod output;
mod policy;
mod rankings;
mod responses;
mod runs;

pub use annotations::Annotations;
pub use arms::{Arm, Meeting, Source};
pub use best_of::Scoring;
pub use judging::Jury;
pub use leaks::Training;
pub use output::{Output, samples};
pub use policy::{Drawing, Policy};
pub use rankings::read_rankings;
pub use responses::{Responses, given_texts, respond};
pub use runs::{Named, Run};
