//! The document model: what a report says, without how it looks.
//!
//! All texts are plain text; the renderers escape them, so a completion full of HTML or Markdown
//! shows up as its author wrote it.

/// A whole report.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Heading of the page and title of the browser tab.
    pub title: String,
    /// One line under the title; may be empty.
    pub subtitle: String,
    /// The few numbers a reader came for, shown large at the top.
    pub headline: Vec<Fact>,
    /// The body, in reading order.
    pub sections: Vec<Section>,
}

/// One big number at the top of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What was measured.
    pub label: String,
    /// The measurement, already formatted with its unit.
    pub value: String,
    /// Its uncertainty or context, in small print; may be empty.
    pub detail: String,
}

/// A titled part of the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Heading of the section.
    pub title: String,
    /// Contents, in reading order.
    pub blocks: Vec<Block>,
}

/// One piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Plain prose; a blank line starts a new paragraph.
    Text(String),
    /// A table of formatted cells.
    Table(Table),
    /// A chart; one summary line in Markdown.
    Plot(Plot),
    /// Completions to read side by side.
    Samples(Vec<Sample>),
}

/// A table of formatted cells. The first column is left-aligned, columns of numbers right-aligned.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Column headings.
    pub columns: Vec<String>,
    /// Rows; a row may be shorter or longer than `columns`, missing cells are shown empty.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Number of columns of the widest row, headings included.
    pub(crate) fn width(&self) -> usize {
        self.rows.iter().map(Vec::len).fold(self.columns.len(), usize::max)
    }

    /// The row's cells, padded to the table's width.
    pub(crate) fn padded<'a>(&self, row: &'a [String]) -> impl Iterator<Item = &'a str> {
        row.iter().map(String::as_str).chain(std::iter::repeat("")).take(self.width())
    }

    /// Whether a column is right-aligned: never the first, and only when it holds a number and
    /// nothing but numbers and blanks.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        let mut filled = self
            .rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.trim())
            .filter(|cell| !BLANKS.contains(cell))
            .peekable();
        column > 0 && filled.peek().is_some() && filled.all(starts_with_number)
    }
}

/// Cells that stand for "no value" and so say nothing about their column's alignment.
const BLANKS: [&str; 5] = ["", "-", "–", "—", "n/a"];

/// Units and intervals may follow the number: `71 %`, `0.54 [0.50, 0.58]`, `< 0.001`.
fn starts_with_number(cell: &str) -> bool {
    cell.trim_start_matches(['+', '-', '−', '±', '<', '>', '≤', '≥', '~', '≈', '.', ' '])
        .starts_with(|c: char| c.is_ascii_digit())
}

/// A chart of one or more series over common axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Caption.
    pub title: String,
    /// Name and unit of the x axis.
    pub x_label: String,
    /// Name and unit of the y axis.
    pub y_label: String,
    /// What is drawn, first series first.
    pub series: Vec<Series>,
    /// A line to compare the series with.
    pub reference: Option<Reference>,
}

/// The line a plot is read against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reference {
    /// A constant, such as the 50 % at which a judge cannot tell two policies apart.
    Horizontal(f64),
    /// y = x, as for calibration; both axes then cover the same range.
    Diagonal,
}

/// One named set of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend; an empty name has no legend entry.
    pub name: String,
    /// The points, in drawing order. A point whose x or y is not finite is skipped, which leaves a
    /// gap in a line.
    pub points: Vec<Point>,
    /// How the points are drawn.
    pub style: Style,
}

impl Series {
    /// The points that can be drawn.
    pub(crate) fn drawable(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|point| point.is_drawable())
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line through the points; a shaded band where they carry intervals.
    Line,
    /// Separate dots.
    Dots,
    /// Dots with a vertical bar over each interval.
    ErrorBars,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Position on the x axis.
    pub x: f64,
    /// Position on the y axis.
    pub y: f64,
    /// Lower end of the interval around `y`; the interval is drawn only when both ends are there.
    pub low: Option<f64>,
    /// Upper end of the interval around `y`.
    pub high: Option<f64>,
}

impl Point {
    pub(crate) fn is_drawable(&self) -> bool {
        is_drawable(self.x) && is_drawable(self.y)
    }

    /// The interval around `y`, when both of its ends can be drawn.
    pub(crate) fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high).filter(|&(low, high)| is_drawable(low) && is_drawable(high))
    }
}

/// Finite, and far enough from `f64::MAX` that the span of an axis is finite too.
pub(crate) fn is_drawable(value: f64) -> bool {
    value.abs() < 1e150
}

/// Completions of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What they all answer.
    pub prompt: String,
    /// Label and text of each completion, from left to right.
    pub sides: Vec<(String, String)>,
    /// What the judge made of them; may be empty.
    pub note: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Table {
        let rows = rows.iter().map(|row| row.iter().map(|cell| cell.to_string()).collect());
        Table { columns: vec!["name".into(), "value".into()], rows: rows.collect() }
    }

    #[test]
    fn a_column_of_numbers_with_units_intervals_and_blanks_is_numeric() {
        let table = table(&[&["a", "71 %"], &["b", "-0.5 [-0.6, -0.4]"], &["c", "—"], &["d"]]);
        assert!(table.is_numeric(1));
    }

    #[test]
    fn one_word_makes_a_column_text_and_blanks_alone_are_not_numbers() {
        assert!(!table(&[&["a", "71 %"], &["b", "unknown"]]).is_numeric(1));
        assert!(!table(&[&["a", ""], &["b", "n/a"]]).is_numeric(1));
    }

    #[test]
    fn the_first_column_is_text_even_when_it_holds_numbers() {
        assert!(!table(&[&["1", "2"]]).is_numeric(0));
    }

    #[test]
    fn a_ragged_table_is_as_wide_as_its_widest_row() {
        let table = table(&[&["a"], &["b", "1", "2"]]);
        assert_eq!(table.padded(&table.rows[0]).collect::<Vec<_>>(), ["a", "", ""]);
        assert_eq!(table.padded(&table.columns).collect::<Vec<_>>(), ["name", "value", ""]);
    }

    #[test]
    fn an_interval_needs_two_finite_ends() {
        let point = |low, high| Point { x: 0.0, y: 0.5, low, high };
        assert_eq!(point(Some(0.4), Some(0.6)).interval(), Some((0.4, 0.6)));
        assert_eq!(point(Some(0.4), None).interval(), None);
        assert_eq!(point(Some(f64::NAN), Some(0.6)).interval(), None);
    }
}
