//! Curves as SVG: two axes with round numbers, a line for each series. Sized for a phone's width; a wide page shows
//! several side by side.

use ninc_runtime::words::escape;
use std::fmt::Write;

/// A line of a chart.
pub struct Series {
    /// What it is of.
    pub name: String,
    /// How it looks: series of the same number look the same.
    pub look: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
/// The most points of a curve: more than pixels help nobody.
const POINTS: usize = 1000;

/// A scale from a range of values to pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Returns round values within the range: 1, 2 or 5 times a power of ten apart.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|t| *t <= self.high * (1.0 + 1e-12)).take(20).collect()
    }
}

/// Returns the smallest and the largest value; a single one gets some room around it.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match low.is_finite() && high.is_finite() {
        true if high > low => Some((low, high)),
        true => Some((low - low.abs().max(1e-6) * 0.5, high + high.abs().max(1e-6) * 0.5)),
        false => None,
    }
}

/// Writes a number with as many digits as it needs.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v < 1e-12 => "0".into(),
        v if !(1e-3..1e5).contains(&v) => format!("{value:.0e}"),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

/// What all lines of a chart share.
pub struct Chart<'a> {
    /// What the vertical axis shows.
    pub title: &'a str,
    /// What the horizontal axis shows.
    pub by: &'a str,
    /// Whether points are given by the decimal logarithm of what the horizontal axis shows.
    pub powers: bool,
    /// The least and the largest value of the vertical axis; `None`: those of the points.
    pub range: Option<(f64, f64)>,
}

impl Chart<'_> {
    /// Starts a chart by epochs, as high as its points.
    pub fn new(title: &str) -> Chart<'_> {
        Chart { title, by: "epoch", powers: false, range: None }
    }

    /// Draws an SVG picture; empty where there is nothing to show.
    pub fn draw(&self, series: &[Series]) -> String {
        let series: Vec<&Series> = series.iter().filter(|s| !s.points.is_empty()).collect();
        let all = || series.iter().flat_map(|s| s.points.iter());
        let values = self.range.or_else(|| range(all().map(|p| p.1)));
        let (Some(x), Some(y)) = (range(all().map(|p| p.0)), values) else { return String::new() };
        let x = Axis { low: x.0, high: x.1, from: LEFT, to: WIDTH - RIGHT };
        let low = if y.0 > 0.0 && y.0 < 0.4 * y.1 { 0.0 } else { y.0 };
        let y = Axis { low, high: y.1, from: HEIGHT - BOTTOM, to: TOP };
        let (title, by) = (escape(self.title), escape(self.by));
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title} by {by}\"><text class=\"title\" \
             x=\"{LEFT}\" y=\"16\">{title}</text>"
        );
        self.axes(&mut svg, &x, &y);
        series.iter().rev().for_each(|one| line(&mut svg, one, &x, &y));
        if series.len() > 1 {
            svg += &legend(&series, self.title);
        }
        svg + "</svg>"
    }

    fn axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        // Formatting into a string cannot fail, so the results below carry nothing.
        for tick in y.ticks() {
            let at = y.at(tick);
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"right\" x=\"{:.1}\" \
                 y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                number(tick)
            );
        }
        // Between whole powers there is nothing round.
        for tick in x.ticks().into_iter().filter(|tick| !self.powers || tick.fract() == 0.0) {
            let shown = if self.powers { format!("1e{tick}") } else { number(tick) };
            let (at, below) = (x.at(tick), HEIGHT - BOTTOM + 18.0);
            let _ = write!(svg, "<text class=\"middle\" x=\"{at:.1}\" y=\"{below:.1}\">{shown}</text>");
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {:.1}H{:.1}\"/>", HEIGHT - BOTTOM, WIDTH - RIGHT);
    }
}

/// Draws the line of a series, or a dot where it has one point.
fn line(svg: &mut String, one: &Series, x: &Axis, y: &Axis) {
    let skip = one.points.len().div_ceil(POINTS).max(1);
    let last = one.points.len() - 1;
    let kept = one.points.iter().enumerate().filter(|(n, _)| n % skip == 0 || *n == last).map(|(_, p)| p);
    let points: Vec<(f64, f64)> = kept.map(|p| (x.at(p.0), y.at(p.1))).collect();
    let class = look(one.look);
    let _ = match points.as_slice() {
        [(cx, cy)] => write!(svg, "<circle class=\"dot {class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>"),
        _ => {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))
        }
    };
}

/// Writes the names of the series beside the title; empty if they would not fit there.
fn legend(series: &[&Series], title: &str) -> String {
    let (mut text, mut right) = (String::new(), WIDTH - RIGHT);
    for one in series.iter().rev() {
        let (class, name) = (look(one.look), escape(&one.name));
        let _ = write!(text, "<text class=\"right name {class}\" x=\"{right}\" y=\"16\">{name}</text>");
        right -= 8.0 * one.name.chars().count() as f64 + 12.0;
    }
    let room = LEFT + 8.0 * title.chars().count() as f64;
    if right < room { String::new() } else { text }
}

/// Colours that people tell apart, whatever colours they see, and patterns of lines in each.
const COLOURS: usize = 8;

/// Looks of lines that differ.
pub const LOOKS: usize = 3 * COLOURS;

/// The style sheet's names of a look.
fn look(number: usize) -> String {
    format!("s{} d{}", number % COLOURS, number / COLOURS % 3)
}

/// A short line in a look, for tables that say what lines are of.
pub fn sample(number: usize) -> String {
    format!(
        "<svg class=\"sample\" viewBox=\"0 0 30 8\"><polyline class=\"{}\" points=\"1,4 29,4\"/></svg>",
        look(number)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis { low: 0.13, high: 2.42, from: 0.0, to: 1.0 };
        assert_eq!(axis.ticks().iter().map(|t| number(*t)).collect::<Vec<_>>(), ["0.5", "1", "1.5", "2"]);
        assert_eq!([0.05, 1e-7, 12.0, 250_000.0].map(number), ["0.05", "1e-7", "12", "2e5"]);
    }

    #[test]
    fn odd_curves_are_drawn_too() {
        let one = |points: &[(f64, f64)]| {
            Chart::new("a<b").draw(&[Series { name: "x".into(), look: 0, points: points.to_vec() }])
        };
        assert_eq!(one(&[]), "");
        assert!(one(&[(1.0, 0.5)]).contains("<circle") && one(&[(0.0, 0.0), (1.0, 0.0)]).contains("<polyline"));
        assert!(one(&[(1.0, 0.5)]).contains("a&lt;b") && !one(&[(1.0, 0.5)]).contains("NaN"));
        // A legend without room would lie over the title.
        let two = |name: &str| {
            let one = |look| Series { name: name.into(), look, points: vec![(0.0, 1.0), (1.0, 2.0)] };
            Chart::new("loss").draw(&[one(0), one(9)])
        };
        assert!(two("training").contains("name s1 d1") && !two("a long name of a line").contains("class=\"right name"));
    }
}
