//! A small document model with two renderers: Markdown for terminals and pull requests, and one
//! self-contained HTML file with inline SVG plots for everything else.
//!
//! The crate knows nothing of models or runs. `rlaif-job` turns a run folder into a [`Document`]
//! and writes [`Document::to_markdown`] and [`Document::to_html`] beside it. Rendering cannot fail:
//! every text is escaped, ragged tables are padded, and values that cannot be drawn are left out.

mod document;
mod html;
mod markdown;
mod svg;
mod text;

pub use html::STYLE;

pub use document::{
    Block, Document, Fact, Plot, Point, Reference, Sample, Section, Series, Style, Table,
};
