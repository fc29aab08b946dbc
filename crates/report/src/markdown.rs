//! Renders a document as GitHub-flavoured Markdown, legible in a terminal as well.
//!
//! Plots become one summary line each; samples go into fenced code blocks, so nothing a model
//! wrote is taken for markup.

use crate::document::{Block, Document, Fact, Plot, Sample, Section, Series, Table};
use crate::text::{number, paragraphs};

impl Document {
    /// The document as Markdown, ending in one newline.
    pub fn to_markdown(&self) -> String {
        let mut parts = vec![format!("# {}", one_line(&self.title))];
        parts.extend(paragraphs(&self.subtitle).iter().map(|text| prose(text)));
        if !self.headline.is_empty() {
            parts.push(self.headline.iter().map(fact).collect::<Vec<_>>().join("\n"));
        }
        parts.extend(self.sections.iter().flat_map(section));
        parts.join("\n\n") + "\n"
    }
}

fn fact(fact: &Fact) -> String {
    let detail = one_line(&fact.detail);
    let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
    format!("- {}: **{}**{detail}", one_line(&fact.label), one_line(&fact.value))
}

fn section(section: &Section) -> Vec<String> {
    let mut parts = vec![format!("## {}", one_line(&section.title))];
    for block in &section.blocks {
        match block {
            Block::Text(text) => parts.extend(paragraphs(text).iter().map(|text| prose(text))),
            Block::Table(table) if table.width() == 0 => {}
            Block::Table(table) => parts.push(grid(table)),
            Block::Plot(plot) => parts.push(summary(plot)),
            Block::Samples(samples) => parts.extend(samples.iter().flat_map(sample)),
        }
    }
    parts
}

fn grid(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = table.padded(cells).map(cell).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule = |column| if table.is_numeric(column) { "---:" } else { ":---" };
    let rules: Vec<&str> = (0..table.width()).map(rule).collect();
    let mut lines = vec![row(&table.columns), format!("| {} |", rules.join(" | "))];
    lines.extend(table.rows.iter().map(|cells| row(cells)));
    lines.join("\n")
}

/// One line for a plot: its title, then where each series starts, ends and ranges.
fn summary(plot: &Plot) -> String {
    let series: Vec<String> = plot.series.iter().map(span).collect();
    let series = if series.is_empty() { "no data".into() } else { series.join("; ") };
    format!("**{}** — {series}", one_line(&plot.title))
}

fn span(series: &Series) -> String {
    let name = one_line(&series.name);
    let prefix = if name.is_empty() { name } else { format!("{name}: ") };
    let values: Vec<f64> = series.drawable().map(|point| point.y).collect();
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else {
        return prefix + "no data";
    };
    let min = values.iter().copied().fold(first, f64::min);
    let max = values.iter().copied().fold(first, f64::max);
    let [first, last, min, max] = [first, last, min, max].map(number);
    format!("{prefix}{first} -> {last} (min {min}, max {max})")
}

fn sample(sample: &Sample) -> Vec<String> {
    let mut parts = vec!["**Prompt**".into(), fenced(&sample.prompt)];
    for (label, text) in &sample.sides {
        parts.push(format!("**{}**", one_line(label)));
        parts.push(fenced(text));
    }
    parts.extend(paragraphs(&sample.note).iter().map(|text| prose(text)));
    parts
}

/// A code block whose fence is longer than any run of backticks in the text, so that the text
/// cannot close it.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}text\n{text}{end}{fence}")
}

/// A table cell: the pipe would end it and a newline would end the table.
fn cell(text: &str) -> String {
    inline(text.trim()).replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}

/// A text for places that take a single line: headings, labels, list items.
fn one_line(text: &str) -> String {
    inline(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A paragraph none of whose lines starts a heading, list, quote, table, rule or link definition.
fn prose(paragraph: &str) -> String {
    let lines = paragraph.lines().map(|line| {
        let escape =
            if line.starts_with(['#', '>', '-', '+', '=', '|', '~', '[']) { "\\" } else { "" };
        format!("{escape}{}", inline(line))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Escapes what Markdown reads as inline markup or HTML. For legibility, underscores within a word
/// and the brackets of `[0.4, 0.6]` are left alone: they start neither emphasis nor a link.
fn inline(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut after_word = false;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let is_markup = match c {
            '\\' | '`' | '*' | '<' | '&' => true,
            '_' => !(after_word && next.is_alphanumeric()),
            ']' => next == '(',
            _ => false,
        };
        if is_markup {
            escaped.push('\\');
        }
        escaped.push(c);
        after_word = c.is_alphanumeric();
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Point, Style};

    fn series(name: &str, values: &[f64]) -> Series {
        let point = |(i, &y): (usize, &f64)| Point { x: i as f64, y, low: None, high: None };
        let points = values.iter().enumerate().map(point).collect();
        Series { name: name.into(), points, style: Style::Line }
    }

    fn document(blocks: Vec<Block>) -> Document {
        Document {
            title: "Run 7".into(),
            subtitle: "tiny model".into(),
            headline: vec![Fact {
                label: "win rate".into(),
                value: "71 %".into(),
                detail: "of 400".into(),
            }],
            sections: vec![Section { title: "Results".into(), blocks }],
        }
    }

    #[test]
    fn a_document_reads_top_down() {
        let table = Table {
            columns: vec!["policy".into(), "wins".into()],
            rows: vec![vec!["sft".into(), "12".into()]],
        };
        let markdown = document(vec![Block::Text("One.\n\nTwo.".into()), Block::Table(table)]);
        let expected = "# Run 7\n\ntiny model\n\n- win rate: **71 %** (of 400)\n\n## Results\n\n\
            One.\n\nTwo.\n\n| policy | wins |\n| :--- | ---: |\n| sft | 12 |\n";
        assert_eq!(markdown.to_markdown(), expected);
    }

    #[test]
    fn pipes_and_newlines_stay_within_their_cell() {
        assert_eq!(cell("a|b\nc\r\nd"), "a\\|b<br>c<br>d");
        // The backslash is escaped first, or it would unescape the pipe.
        assert_eq!(cell("a\\|b"), "a\\\\\\|b");
    }

    #[test]
    fn a_fence_is_longer_than_any_backticks_it_holds() {
        assert_eq!(fenced("plain"), "```text\nplain\n```");
        assert_eq!(fenced("a ```` b\n"), "`````text\na ```` b\n`````");
        assert_eq!(fenced(""), "```text\n```");
    }

    #[test]
    fn plain_text_never_becomes_markup() {
        assert_eq!(inline("*a* <b> [c](d) `e`"), "\\*a\\* \\<b> [c\\](d) \\`e\\`");
        assert_eq!(inline("max_batch_tokens _x_"), "max_batch_tokens \\_x\\_");
        assert_eq!(inline("0.5 [0.4, 0.6]"), "0.5 [0.4, 0.6]");
        assert_eq!(prose("# a\n- b\nc"), "\\# a\n\\- b\nc");
        assert_eq!(one_line("a\n# b"), "a # b");
    }

    #[test]
    fn a_plot_is_one_line_of_first_last_min_max() {
        let plot = Plot {
            title: "reward".into(),
            x_label: "step".into(),
            y_label: "reward".into(),
            series: vec![series("policy", &[0.5, f64::NAN, -1.0, 2.25]), series("ref", &[])],
            reference: None,
        };
        let expected = "**reward** — policy: 0.5 -> 2.25 (min -1, max 2.25); ref: no data";
        assert_eq!(summary(&plot), expected);
        assert_eq!(summary(&Plot { series: vec![], ..plot }), "**reward** — no data");
    }

    #[test]
    fn samples_show_prompt_all_sides_and_note() {
        let sample = Sample {
            prompt: "Say hi".into(),
            sides: vec![("sft".into(), "hi".into()), ("ppo".into(), "```\nhi\n```".into())],
            note: "right preferred".into(),
        };
        let markdown = document(vec![Block::Samples(vec![sample])]).to_markdown();
        let expected = "**Prompt**\n\n```text\nSay hi\n```\n\n**sft**\n\n```text\nhi\n```\n\n\
            **ppo**\n\n````text\n```\nhi\n```\n````\n\nright preferred\n";
        assert!(markdown.ends_with(expected), "{markdown}");
    }

    #[test]
    fn an_empty_document_is_its_title() {
        let empty = Document {
            title: "Nothing".into(),
            subtitle: String::new(),
            headline: vec![],
            sections: vec![],
        };
        assert_eq!(empty.to_markdown(), "# Nothing\n");
    }
}
