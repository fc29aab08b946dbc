//! Audits of a few pairs counted by hand, of nothing at all, and of pairs whose sides are exchanged.

mod degenerate;
mod exchanged;
mod fixture;
mod small;
