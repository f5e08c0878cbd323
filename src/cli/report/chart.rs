//! Curves as SVG: two axes with round numbers, a line for each series. Sized for a phone's width; a wide page shows
//! several side by side.

use super::page::escape;
use std::fmt::Write;

pub struct Series {
    pub name: String,
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

/// Draws an SVG picture; empty where there is nothing to show.
pub fn draw(title: &str, series: &[Series]) -> String {
    let series: Vec<&Series> = series.iter().filter(|s| !s.points.is_empty()).collect();
    let all = || series.iter().flat_map(|s| s.points.iter());
    let (Some(x), Some(y)) = (range(all().map(|p| p.0)), range(all().map(|p| p.1))) else { return String::new() };
    let x = Axis { low: x.0, high: x.1, from: LEFT, to: WIDTH - RIGHT };
    let y =
        Axis { low: if y.0 > 0.0 && y.0 < 0.4 * y.1 { 0.0 } else { y.0 }, high: y.1, from: HEIGHT - BOTTOM, to: TOP };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0} by epoch\"><text class=\"title\" \
         x=\"{LEFT}\" y=\"16\">{0}</text>",
        escape(title)
    );
    // Formatting into a string cannot fail, so the results below carry nothing.
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"right\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            number(tick)
        );
    }
    for tick in x.ticks() {
        let _ = write!(
            svg,
            "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x.at(tick),
            HEIGHT - BOTTOM + 18.0,
            number(tick)
        );
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {:.1}H{:.1}\"/>", HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut legend = WIDTH - RIGHT;
    for (i, one) in series.iter().enumerate().rev() {
        let skip = one.points.len().div_ceil(POINTS).max(1);
        let last = one.points.len() - 1;
        let kept = one.points.iter().enumerate().filter(|(n, _)| n % skip == 0 || *n == last);
        let points: Vec<String> = kept.map(|(_, p)| format!("{:.1},{:.1}", x.at(p.0), y.at(p.1))).collect();
        let _ = match points.as_slice() {
            [point] => {
                let (cx, cy) = point.split_once(',').expect("written above");
                write!(svg, "<circle class=\"dot s{i}\" cx=\"{cx}\" cy=\"{cy}\" r=\"3\"/>")
            }
            _ => write!(svg, "<polyline class=\"s{i}\" points=\"{}\"/>", points.join(" ")),
        };
        if series.len() > 1 {
            let _ = write!(svg, "<text class=\"right name s{i}\" x=\"{legend}\" y=\"16\">{}</text>", escape(&one.name));
            legend -= 8.0 * one.name.len() as f64 + 12.0;
        }
    }
    svg + "</svg>"
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
        let one = |points: &[(f64, f64)]| draw("a<b", &[Series { name: "x".into(), points: points.to_vec() }]);
        assert_eq!(one(&[]), "");
        assert!(one(&[(1.0, 0.5)]).contains("<circle") && one(&[(0.0, 0.0), (1.0, 0.0)]).contains("<polyline"));
        assert!(one(&[(1.0, 0.5)]).contains("a&lt;b") && !one(&[(1.0, 0.5)]).contains("NaN"));
    }
}
