//! Audits of a few pairs counted by hand, of nothing at all, of pairs whose sides are exchanged, and of several pairs
//! of one prompt.

mod clustered;
mod degenerate;
mod exchanged;
mod fixture;
mod small;
