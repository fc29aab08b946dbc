//! Draws a plot as a `<figure>` with inline SVG: gridlines at round numbers, labelled axes, one
//! coloured group per series, a tooltip on each point.
//!
//! Colours live in `style.css` as classes `c0` to `c5`, so one drawing serves light and dark pages.

use crate::document::{Plot, Point, Reference, Series, Style, is_drawable};
use crate::text::{escape, number};

/// Size of the drawing in SVG units; small, so that its 12-unit type is legible on a phone.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
/// The data area within it; the margins hold tick labels and axis names.
const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 18.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// Colours in `style.css`. Later series use them again, dashed.
const COLOURS: usize = 6;
/// A line of more points than this shows its dots on hover only.
const MAX_LINE_DOTS: usize = 40;
/// Tooltips per line, so that a long run does not make a heavy page.
const MAX_LINE_TOOLTIPS: usize = 400;

/// The plot with its caption and legend. Never fails: what cannot be drawn is left out, and a plot
/// with nothing to draw says "no data".
pub(crate) fn figure(plot: &Plot) -> String {
    let title = escape(&plot.title);
    let legend = legend(&plot.series);
    let drawing = match Frame::around(plot) {
        Some(frame) => frame.draw(plot),
        None => text(WIDTH / 2.0, HEIGHT / 2.0, "middle", "empty", "no data"),
    };
    format!(
        "<figure>\n<figcaption>{title}</figcaption>\n{legend}\
         <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         {drawing}</svg>\n</figure>\n"
    )
}

/// Height of a line of the legend of a drawing that stands alone.
const LEGEND_LINE: f64 = 18.0;
/// Entries in such a line.
const LEGEND_COLUMNS: usize = 3;

impl Plot {
    /// The plot as an SVG file of its own, caption, legend and style included.
    pub fn to_svg(&self) -> String {
        let drawing = match Frame::around(self) {
            Some(frame) => frame.draw(self),
            None => text(WIDTH / 2.0, HEIGHT / 2.0, "middle", "empty", "no data"),
        };
        let named = self.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
        let mut legend = String::new();
        let mut lines = 0;
        for (place, (index, series)) in named.enumerate() {
            let x = 12.0 + (place % LEGEND_COLUMNS) as f64 * (WIDTH - 24.0) / LEGEND_COLUMNS as f64;
            let y = HEIGHT + (place / LEGEND_COLUMNS) as f64 * LEGEND_LINE + 10.0;
            lines = place / LEGEND_COLUMNS + 1;
            let mark = format!("<polyline class=\"line\" points=\"{x},{y} {},{y}\"/>", x + 22.0);
            legend += &format!("<g class=\"{}\">{mark}</g>\n", colour(index));
            legend += &text(x + 28.0, y + 4.0, "start", "tick", &series.name);
        }
        let (title, style) = (escape(&self.title), include_str!("style.css"));
        let height = HEIGHT + lines as f64 * LEGEND_LINE + 28.0;
        let caption = text(12.0, -10.0, "start", "caption", &self.title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 -28 {WIDTH} {height}\" \
             font-family=\"sans-serif\" role=\"img\" aria-label=\"{title}\">\n\
             <style>\n{style}.caption {{ font-weight: 600; }}\n</style>\n\
             <rect x=\"0\" y=\"-28\" width=\"{WIDTH}\" height=\"{height}\" fill=\"var(--page)\"/>\n\
             {caption}{drawing}{legend}</svg>\n"
        )
    }
}

/// In HTML rather than in the drawing, where long names could not wrap.
fn legend(series: &[Series]) -> String {
    let entries: String = series
        .iter()
        .enumerate()
        .filter(|(_, series)| !series.name.is_empty())
        .map(|(index, series)| {
            let mark = match series.style {
                Style::Line => "<polyline class=\"line\" points=\"1,6 23,6\"/>",
                Style::Dots => "<circle class=\"dot\" cx=\"12\" cy=\"6\" r=\"4\"/>",
                Style::ErrorBars => {
                    "<line class=\"bar\" x1=\"12\" y1=\"0\" x2=\"12\" y2=\"12\"/>\
                     <circle class=\"dot\" cx=\"12\" cy=\"6\" r=\"3\"/>"
                }
            };
            let (class, name) = (colour(index), escape(&series.name));
            format!(
                "<li class=\"{class}\"><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\">{mark}</svg>\
                 {name}</li>\n"
            )
        })
        .collect();
    if entries.is_empty() { entries } else { format!("<ul class=\"legend\">\n{entries}</ul>\n") }
}

fn colour(index: usize) -> String {
    let dashed = if index < COLOURS { "" } else { " dashed" };
    format!("c{}{dashed}", index % COLOURS)
}

/// The data area: where values of each axis lie on the drawing.
struct Frame {
    x: Axis,
    y: Axis,
}

impl Frame {
    /// `None` when no point can be drawn.
    fn around(plot: &Plot) -> Option<Self> {
        let points = || plot.series.iter().flat_map(Series::drawable);
        points().next()?;
        let mut xs: Vec<f64> = points().map(|point| point.x).collect();
        let mut ys: Vec<f64> = points().map(|point| point.y).collect();
        ys.extend(points().filter_map(Point::interval).flat_map(|(low, high)| [low, high]));
        match plot.reference {
            Some(Reference::Horizontal(y)) if is_drawable(y) => ys.push(y),
            Some(Reference::Diagonal) => {
                xs.append(&mut ys);
                ys.clone_from(&xs);
            }
            _ => {}
        }
        Some(Self { x: Axis::over(&xs), y: Axis::over(&ys) })
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.fraction(x) * (RIGHT - LEFT)
    }

    fn py(&self, y: f64) -> f64 {
        BOTTOM - self.y.fraction(y) * (BOTTOM - TOP)
    }

    fn draw(&self, plot: &Plot) -> String {
        let mut drawing = self.grid() + &axis_names(plot);
        drawing += &plot.reference.map(|line| self.reference(line)).unwrap_or_default();
        for (index, series) in plot.series.iter().enumerate() {
            let marks = match series.style {
                Style::Line => self.line(series),
                Style::Dots => String::new(),
                Style::ErrorBars => self.bars(series),
            };
            let dots = self.dots(series, plot);
            drawing += &format!("<g class=\"{}\">\n{marks}{dots}</g>\n", colour(index));
        }
        drawing
    }

    fn grid(&self) -> String {
        let mut grid = String::new();
        for value in self.x.ticks() {
            let x = self.px(value);
            grid += &segment("grid", (x, TOP), (x, BOTTOM), "");
            grid += &text(x, BOTTOM + 16.0, "middle", "tick", &self.x.label(value));
        }
        for value in self.y.ticks() {
            let y = self.py(value);
            grid += &segment("grid", (LEFT, y), (RIGHT, y), "");
            grid += &text(LEFT - 6.0, y + 4.0, "end", "tick", &self.y.label(value));
        }
        grid
    }

    fn reference(&self, reference: Reference) -> String {
        match reference {
            Reference::Horizontal(y) if !is_drawable(y) => String::new(),
            Reference::Horizontal(y) => {
                let at = self.py(y);
                segment("reference", (LEFT, at), (RIGHT, at), &number(y))
            }
            Reference::Diagonal => segment("reference", (LEFT, BOTTOM), (RIGHT, TOP), "y = x"),
        }
    }

    /// One polyline per run of drawable points, over a band where the whole run has intervals.
    fn line(&self, series: &Series) -> String {
        let runs = series.points.split(|point| !point.is_drawable());
        runs.filter(|run| !run.is_empty()).map(|run| self.band(run) + &self.polyline(run)).collect()
    }

    fn polyline(&self, run: &[Point]) -> String {
        let mut path: Vec<String> = run.iter().map(|p| self.pair(p.x, p.y)).collect();
        if let [only] = path.as_slice() {
            // A line of no length: its round caps draw a dot, where one point draws nothing.
            path.push(only.clone());
        }
        format!("<polyline class=\"line\" points=\"{}\"/>\n", path.join(" "))
    }

    fn band(&self, run: &[Point]) -> String {
        let Some(intervals) = run.iter().map(Point::interval).collect::<Option<Vec<_>>>() else {
            return String::new();
        };
        let ends = || run.iter().zip(&intervals);
        let upper = ends().map(|(point, &(_, high))| self.pair(point.x, high));
        let lower = ends().rev().map(|(point, &(low, _))| self.pair(point.x, low));
        let outline: Vec<String> = upper.chain(lower).collect();
        format!("<polygon class=\"band\" points=\"{}\"/>\n", outline.join(" "))
    }

    fn bars(&self, series: &Series) -> String {
        let bar = |point: &Point| {
            let (low, high) = point.interval()?;
            let x = self.px(point.x);
            Some(segment("bar", (x, self.py(low)), (x, self.py(high)), ""))
        };
        series.drawable().filter_map(bar).collect()
    }

    /// A dot with a tooltip for each point; long lines have invisible and fewer ones.
    fn dots(&self, series: &Series, plot: &Plot) -> String {
        let points: Vec<&Point> = series.drawable().collect();
        let (class, radius, stride) = match series.style {
            Style::Line if points.len() > MAX_LINE_DOTS => {
                ("hover", 4.0, points.len().div_ceil(MAX_LINE_TOOLTIPS))
            }
            Style::Line => ("dot", 2.5, 1),
            Style::Dots | Style::ErrorBars => ("dot", 3.5, 1),
        };
        let dot = |point: &&Point| {
            let (x, y) = (self.px(point.x), self.py(point.y));
            let tooltip = tooltip(series, point, plot);
            format!(
                "<circle class=\"{class}\" cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\">\
                 <title>{tooltip}</title></circle>\n"
            )
        };
        points.iter().step_by(stride).map(dot).collect()
    }

    fn pair(&self, x: f64, y: f64) -> String {
        format!("{:.2},{:.2}", self.px(x), self.py(y))
    }
}

fn tooltip(series: &Series, point: &Point, plot: &Plot) -> String {
    let name = if series.name.is_empty() { String::new() } else { format!("{}\n", series.name) };
    let interval = point
        .interval()
        .map(|(low, high)| format!(" [{}, {}]", number(low), number(high)))
        .unwrap_or_default();
    let (x, y) = (number(point.x), number(point.y));
    escape(&format!("{name}{}: {x}\n{}: {y}{interval}", plot.x_label, plot.y_label))
}

fn axis_names(plot: &Plot) -> String {
    let x = text((LEFT + RIGHT) / 2.0, HEIGHT - 8.0, "middle", "axis", &plot.x_label);
    // Turned about the origin first, so that the name reads upwards along the axis.
    let middle = (TOP + BOTTOM) / 2.0;
    let y = text(-middle, 14.0, "middle", "axis", &plot.y_label);
    format!("{x}<g transform=\"rotate(-90)\">\n{y}</g>\n")
}

fn text(x: f64, y: f64, anchor: &str, class: &str, content: &str) -> String {
    let content = escape(content);
    format!(
        "<text class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\">{content}</text>\n"
    )
}

fn segment(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64), tooltip: &str) -> String {
    let title = match tooltip {
        "" => String::new(),
        tooltip => format!("<title>{}</title>", escape(tooltip)),
    };
    format!(
        "<line class=\"{class}\" x1=\"{x1:.2}\" y1=\"{y1:.2}\" x2=\"{x2:.2}\" y2=\"{y2:.2}\">\
         {title}</line>\n"
    )
}

/// A linear axis from one tick to another, so that it starts and ends at round numbers.
struct Axis {
    step: f64,
    /// First and last tick, in steps.
    first: f64,
    last: f64,
}

impl Axis {
    /// The axis that covers `values`: at least one, all drawable.
    fn over(values: &[f64]) -> Self {
        let mut low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let mut high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let size = low.abs().max(high.abs());
        // Values too close together to tell apart in f64 get an axis around them instead.
        if high - low <= (size * 1e-9).max(1e-150) {
            let margin = if size < 1e-100 { 0.5 } else { size * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        let step = nice_step((high - low) / 5.0);
        // The tolerance keeps 0.3 / 0.1 = 2.9999999999999996 from adding an empty interval.
        Self { step, first: (low / step + 1e-9).floor(), last: (high / step - 1e-9).ceil() }
    }

    fn fraction(&self, value: f64) -> f64 {
        (value / self.step - self.first) / (self.last - self.first)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.last - self.first) as usize;
        // Adding zero turns -0 into 0.
        (0..=count).map(|i| (self.first + i as f64) * self.step + 0.0)
    }

    /// As many decimals as the step has; scientific where that would be too wide for the margin.
    fn label(&self, value: f64) -> String {
        let decimals = -(self.step.log10() + 1e-9).floor();
        let largest = self.first.abs().max(self.last.abs()) * self.step;
        if value == 0.0 {
            return "0".into();
        }
        if largest < 1e6 && decimals <= 5.0 {
            let places = decimals.max(0.0) as usize;
            return format!("{value:.places$}");
        }
        let places = (value.abs().log10().floor() + decimals).clamp(0.0, 9.0) as usize;
        format!("{value:.places$e}")
    }
}

/// The smallest of 1, 2, 5, 10 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let magnitude = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    let factor = factors.into_iter().find(|factor| step <= factor * magnitude * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::markup::assert_well_formed;

    fn point(x: f64, y: f64) -> Point {
        Point { x, y, low: None, high: None }
    }

    fn plot(style: Style, points: Vec<Point>) -> Plot {
        Plot {
            title: "Win rate".into(),
            x_label: "step".into(),
            y_label: "win rate".into(),
            series: vec![Series { name: "policy".into(), points, style }],
            reference: None,
        }
    }

    fn drawn(plot: &Plot) -> String {
        let svg = figure(plot);
        assert_well_formed(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        svg
    }

    fn labels(values: &[f64]) -> Vec<String> {
        let axis = Axis::over(values);
        axis.ticks().map(|value| axis.label(value)).collect()
    }

    #[test]
    fn every_style_and_reference_draws_well_formed_svg() {
        let points: Vec<Point> = (0..5)
            .map(|i| f64::from(i) / 4.0)
            .map(|x| Point { x, y: x * x, low: Some(x * x - 0.1), high: Some(x * x + 0.1) })
            .collect();
        let cases = [(Style::Line, "polyline"), (Style::Dots, "circle"), (Style::ErrorBars, "bar")];
        for (style, mark) in cases {
            for reference in [None, Some(Reference::Horizontal(0.5)), Some(Reference::Diagonal)] {
                let svg = drawn(&Plot { reference, ..plot(style, points.clone()) });
                assert!(svg.contains(mark));
                assert_eq!(svg.contains("class=\"reference\""), reference.is_some());
            }
        }
    }

    #[test]
    fn hostile_names_are_escaped() {
        let mut hostile = plot(Style::Dots, vec![point(0.0, 1.0)]);
        for text in [&mut hostile.title, &mut hostile.x_label, &mut hostile.series[0].name] {
            *text = "\"><script>&".into();
        }
        assert!(!drawn(&hostile).contains("<script"));
    }

    #[test]
    fn non_finite_points_are_skipped_and_break_the_line() {
        let nan = f64::NAN;
        let points = vec![
            point(0.0, 1.0),
            point(1.0, 2.0),
            point(2.0, nan),
            point(f64::INFINITY, 1.0),
            point(4.0, f64::MAX),
            point(5.0, 3.0),
        ];
        let svg = drawn(&Plot {
            reference: Some(Reference::Horizontal(nan)),
            ..plot(Style::Line, points)
        });
        assert_eq!(svg.matches("<circle").count(), 3);
        // One polyline is the legend's; the lone last point is a line of no length.
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(!svg.contains("class=\"reference\""));
    }

    #[test]
    fn a_plot_without_drawable_points_says_no_data() {
        assert!(drawn(&plot(Style::Line, vec![])).contains("no data"));
        assert!(drawn(&plot(Style::Dots, vec![point(f64::NAN, 0.0)])).contains("no data"));
        assert!(drawn(&Plot { series: vec![], ..plot(Style::Dots, vec![]) }).contains("no data"));
    }

    #[test]
    fn a_single_point_or_a_constant_series_has_room_around_it() {
        for value in [0.0, 5e-324, 0.5, -3.0, 1e100] {
            drawn(&plot(Style::Line, vec![point(value, value)]));
        }
        assert_eq!(labels(&[0.0, 0.0]), ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]);
    }

    #[test]
    fn ticks_are_round_numbers_that_enclose_the_data() {
        assert_eq!(labels(&[0.3, 0.7]), ["0.3", "0.4", "0.5", "0.6", "0.7"]);
        assert_eq!(labels(&[1.0, 97.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&[-0.02, 0.013]), ["-0.02", "-0.01", "0", "0.01", "0.02"]);
        assert_eq!(labels(&[0.0, 2.5e7]), ["0", "5e6", "1.0e7", "1.5e7", "2.0e7", "2.5e7"]);
        assert_eq!(labels(&[0.0, 3e-7]), ["0", "1e-7", "2e-7", "3e-7"]);
    }

    #[test]
    fn the_diagonal_gives_both_axes_the_same_range() {
        let plot = Plot {
            reference: Some(Reference::Diagonal),
            ..plot(Style::Dots, vec![point(0.1, 0.6), point(0.5, 0.9)])
        };
        let frame = Frame::around(&plot).expect("two points");
        assert_eq!((frame.x.first, frame.x.last), (frame.y.first, frame.y.last));
    }

    #[test]
    fn tooltips_give_name_values_and_interval() {
        let svg = drawn(&plot(
            Style::ErrorBars,
            vec![Point { x: 20.0, y: 0.5, low: Some(0.4), high: Some(0.6) }],
        ));
        assert!(svg.contains("<title>policy\nstep: 20\nwin rate: 0.5 [0.4, 0.6]</title>"));
    }

    #[test]
    fn a_band_is_drawn_where_the_whole_run_has_intervals() {
        let with = |x| Point { x, y: 0.5, low: Some(0.4), high: Some(0.6) };
        assert!(drawn(&plot(Style::Line, vec![with(0.0), with(1.0)])).contains("class=\"band\""));
        let partly = plot(Style::Line, vec![with(0.0), point(1.0, 0.5)]);
        assert!(!drawn(&partly).contains("class=\"band\""));
    }

    #[test]
    fn a_long_line_has_a_bounded_number_of_tooltips() {
        let points = (0..10_000).map(|i| point(f64::from(i), f64::from(i % 7))).collect();
        let svg = drawn(&plot(Style::Line, points));
        assert!(svg.matches("<title>").count() <= MAX_LINE_TOOLTIPS);
    }

    #[test]
    fn series_beyond_the_palette_are_dashed() {
        assert_eq!(colour(5), "c5");
        assert_eq!(colour(6), "c0 dashed");
    }

    #[test]
    fn a_plot_that_stands_alone_has_its_caption_legend_and_style() {
        let series = |name: &str| Series {
            name: name.into(),
            points: vec![Point { x: 0.0, y: 0.0, low: None, high: None }],
            style: Style::Line,
        };
        let plot = Plot {
            title: "a < b".into(),
            x_label: "x".into(),
            y_label: "y".into(),
            series: ["one", "two", "three", "four"].map(series).to_vec(),
            reference: None,
        };
        let svg = plot.to_svg();
        for part in ["xmlns", "a &lt; b", "--c0", ">four<"] {
            assert!(svg.contains(part), "{part} is missing: {svg}");
        }
        assert_well_formed(&svg);
    }
}
