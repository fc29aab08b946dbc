//! Renders a document as one HTML file that needs nothing else: inline style, inline SVG, no
//! scripts, no links. The tags are also well-formed XML, which the tests check.

use crate::document::{Block, Document, Fact, Sample, Section, Table};
use crate::svg;
use crate::text::{escape, paragraphs};

/// The look of a report, for whatever else should look like one.
pub const STYLE: &str = include_str!("style.css");

impl Document {
    /// The document as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let subtitle = optional("p", "subtitle", &self.subtitle);
        let headline = headline(&self.headline);
        let sections: String = self.sections.iter().map(section).collect();
        format!(
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
{subtitle}</header>
{headline}{sections}</main>
</body>
</html>
"#
        )
    }
}

fn headline(facts: &[Fact]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let facts: String = facts.iter().map(fact).collect();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

fn fact(fact: &Fact) -> String {
    let (label, value) = (escape(&fact.label), escape(&fact.value));
    let detail = optional("dd", "detail", &fact.detail);
    format!("<div>\n<dt>{label}</dt>\n<dd class=\"value\">{value}</dd>\n{detail}</div>\n")
}

fn section(section: &Section) -> String {
    // Neighbouring plots share a grid, so that a wide screen shows them side by side.
    let together = |a: &Block, b: &Block| matches!((a, b), (Block::Plot(_), Block::Plot(_)));
    let body: String = section
        .blocks
        .chunk_by(together)
        .map(|blocks| {
            let inner: String = blocks.iter().map(block).collect();
            match blocks[0] {
                Block::Plot(_) => format!("<div class=\"plots\">\n{inner}</div>\n"),
                _ => inner,
            }
        })
        .collect();
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(&section.title))
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => {
            paragraphs(text).iter().map(|text| format!("<p>{}</p>\n", escape(text))).collect()
        }
        Block::Table(table) if table.width() == 0 => String::new(),
        Block::Table(table) => grid(table),
        Block::Plot(plot) => svg::figure(plot),
        Block::Samples(samples) => samples.iter().map(sample).collect(),
    }
}

fn grid(table: &Table) -> String {
    let numeric: Vec<bool> = (0..table.width()).map(|column| table.is_numeric(column)).collect();
    let row = |tag: &str, cells: &[String]| {
        let cells: String = table
            .padded(cells)
            .zip(&numeric)
            .map(|(cell, numeric)| {
                let class = if *numeric { " class=\"number\"" } else { "" };
                format!("<{tag}{class}>{}</{tag}>", escape(cell))
            })
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = row("th", &table.columns);
    let body: String = table.rows.iter().map(|cells| row("td", cells)).collect();
    format!(
        "<div class=\"scroll\">\n<table>\n<thead>\n{head}</thead>\n<tbody>\n{body}</tbody>\n\
         </table>\n</div>\n"
    )
}

fn sample(sample: &Sample) -> String {
    let prompt = passage("prompt", "Prompt", &sample.prompt);
    let side = |(label, text): &(String, String)| passage("side", label, text);
    let sides: String = sample.sides.iter().map(side).collect();
    let note = optional("p", "note", &sample.note);
    format!("<article>\n{prompt}<div class=\"pair\">\n{sides}</div>\n{note}</article>\n")
}

/// A labelled text. It goes into a `div` because `pre` would swallow a leading newline; `dir`
/// lets each text choose its own writing direction.
fn passage(class: &str, label: &str, text: &str) -> String {
    let (label, text) = (escape(label), escape(text));
    format!(
        "<div class=\"{class}\">\n<h3>{label}</h3>\n<div class=\"text\" dir=\"auto\">{text}</div>\n\
         </div>\n"
    )
}

/// An element that is left out when its text is empty.
fn optional(tag: &str, class: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("<{tag} class=\"{class}\">{}</{tag}>\n", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::markup::assert_well_formed;
    use crate::{Plot, Point, Reference, Series, Style};

    const HOSTILE: &str = "</style><script src=\"http://x\">alert('&')</script>";

    /// A document with every kind of block and the same text in every place that takes one.
    fn document(text: &str) -> Document {
        let text = || text.to_string();
        let point = Point { x: 1.0, y: 0.5, low: Some(0.4), high: Some(0.6) };
        let series = Series { name: text(), points: vec![point], style: Style::ErrorBars };
        let plot = Plot {
            title: text(),
            x_label: text(),
            y_label: text(),
            series: vec![series],
            reference: Some(Reference::Horizontal(0.5)),
        };
        let sample = Sample {
            prompt: text(),
            sides: vec![(text(), text()), (text(), text())],
            note: text(),
        };
        let blocks = vec![
            Block::Text(text()),
            Block::Table(Table {
                columns: vec![text(), "wins".into()],
                rows: vec![vec![text(), "12".into()]],
            }),
            Block::Plot(plot.clone()),
            Block::Plot(plot),
            Block::Samples(vec![sample]),
        ];
        Document {
            title: text(),
            subtitle: text(),
            headline: vec![Fact { label: text(), value: text(), detail: text() }],
            sections: vec![Section { title: text(), blocks }],
        }
    }

    #[test]
    fn every_text_is_escaped_wherever_it_stands() {
        let html = document(HOSTILE).to_html();
        assert_well_formed(&html);
        assert!(!html.contains("<script"));
        assert_eq!(html.matches("</style>").count(), 1);
        // The text reaches the page in each of its places, only escaped.
        assert!(html.matches(&escape(HOSTILE)).count() >= 20);
    }

    #[test]
    fn the_page_is_self_contained() {
        let html = document("plain").to_html();
        for outside in ["http", "src=", "href=", "<script", "<link", "url(", "@import"] {
            assert!(!html.contains(outside), "the page holds {outside}");
        }
    }

    #[test]
    fn an_empty_document_is_still_a_page() {
        let empty = Document {
            title: "Nothing".into(),
            subtitle: String::new(),
            headline: vec![],
            sections: vec![Section { title: "Empty".into(), blocks: vec![] }],
        };
        let html = empty.to_html();
        assert_well_formed(&html);
        assert!(html.contains("<h1>Nothing</h1>") && !html.contains("<dl"));
    }

    #[test]
    fn numbers_are_right_aligned_and_ragged_rows_padded() {
        let table = Table {
            columns: vec!["policy".into(), "wins".into()],
            rows: vec![vec!["sft".into(), "12".into()], vec!["ppo".into()]],
        };
        let html = grid(&table);
        assert!(html.contains("<td>sft</td><td class=\"number\">12</td>"));
        assert!(html.contains("<td>ppo</td><td class=\"number\"></td>"));
    }

    #[test]
    fn neighbouring_plots_share_one_grid() {
        let html = document("plain").to_html();
        assert_eq!(html.matches("<div class=\"plots\">").count(), 1);
        assert_eq!(html.matches("<svg class=\"chart\"").count(), 2);
    }

    #[test]
    fn samples_keep_their_line_breaks() {
        assert!(passage("side", "sft", "\na\n\nb").contains(">\na\n\nb</div>"));
    }
}
