//! A drawing as an SVG: light or dark as the viewer prefers.

use super::layout::layout;
use super::{Drawing, Frame, Line};
use ninc_runtime::words::{escape, grouped};
use std::fmt::Write;

/// Heights of a heading, of a line, and of the space between ranks.
const HEADING: f64 = 24.0;
const LINE: f64 = 17.0;
const BETWEEN: f64 = 44.0;
/// Width of a character, about.
const CHARACTER: f64 = 7.1;
/// Space around the whole, and within a frame.
const MARGIN: f64 = 20.0;
const PADDING: f64 = 10.0;
/// Room for the stack of maps in a frame.
const MAPS: f64 = 58.0;
/// Heading and legend above the network.
const TOP: f64 = 62.0;

const STYLE: &str = "
    .ground { fill: #ffffff } .text { fill: #1d2433 } .quiet { fill: #5a6478 }
    .frame { fill: #f4f6fa; stroke: #8994a9 } .cost { fill: #d9772b } .bar { fill: #dfe4ec }
    .edge { fill: none; stroke: #6b7689 } .tip { fill: #6b7689 } .plate { fill: #ffffff }
    .map { fill: #ffffff; stroke: #4f6bb3 }
    @media (prefers-color-scheme: dark) {
      .ground, .plate { fill: #161a22 } .text { fill: #e6e9ef } .quiet { fill: #a2abbb }
      .frame { fill: #212734; stroke: #5d687c } .cost { fill: #e8944d } .bar { fill: #353e4f }
      .edge { stroke: #97a1b3 } .tip { fill: #97a1b3 } .map { fill: #212734; stroke: #8fa8ea }
    }
    text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif; font-size: 12px }
    .title { font-weight: 600 } .large { font-size: 17px; font-weight: 600 }
";

/// Writes it. Frames are kernels; the bar in a frame is its part of the multiply-adds; the stack of maps is as large as
/// its value, on a scale of logarithms.
pub fn svg(drawing: &Drawing) -> String {
    let (texts, heights): (Vec<f64>, Vec<f64>) = drawing.frames.iter().map(size).unzip();
    let layout = layout(drawing, &texts, |shape| label_width(&label(shape)));
    let mut tops = vec![0.0; layout.ranks];
    let mut tallest = vec![0.0f64; layout.ranks];
    layout.frames.iter().zip(&heights).for_each(|(&(_, rank), &height)| tallest[rank] = tallest[rank].max(height));
    let mut y = MARGIN + TOP;
    for (top, tallest) in tops.iter_mut().zip(&tallest) {
        *top = y;
        y += tallest + BETWEEN;
    }
    let mut leaving = vec![0; drawing.frames.len()];
    drawing.edges.iter().for_each(|edge| leaving[edge.from] += 1);
    let total: u64 = drawing.frames.iter().map(|f| f.cost).sum();
    let parameters: u64 = drawing.frames.iter().flat_map(|f| &f.rows).map(|line| line.row.parameters).sum();
    let heading = format!("{} multiply-adds an image, {} parameters", grouped(total), grouped(parameters));
    let least = heading.chars().count().max(58) as f64 * CHARACTER;
    let (width, height) = (layout.width.max(least) + 2.0 * MARGIN, y - BETWEEN + MARGIN);
    let shift = MARGIN + (width - 2.0 * MARGIN - layout.width) / 2.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" style=\"--own:{width:.0}px\" role=\"img\">\n  \
         <title>{}</title>\n  <style>{STYLE}  </style>\n  \
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>",
        escape(&drawing.name)
    );
    let _ = writeln!(out, "  {}", text(MARGIN, MARGIN + 14.0, "text large", &drawing.name));
    let _ = writeln!(out, "  {}", text(MARGIN, MARGIN + 33.0, "quiet", &heading));
    let what = if drawing.kernels { "kernel" } else { "layer" };
    let legend = &format!("A frame is a {what}, its bar the part of all multiply-adds.");
    let _ = writeln!(out, "  {}", text(MARGIN, MARGIN + 49.0, "quiet", legend));
    for (edge, way) in drawing.edges.iter().zip(&layout.edges) {
        let bottom = |frame: usize| tops[layout.frames[frame].1] + heights[frame];
        let point = |&(x, rank): &(f64, usize)| (x + shift, tops[rank]);
        let mut path = format!("M{:.1} {:.1}", way[0].0 + shift, bottom(edge.from));
        let mut from = (way[0].0 + shift, bottom(edge.from));
        for (step, to) in way[1..].iter().map(point).enumerate() {
            curve(&mut path, from, to);
            from = to;
            // Straight through the rank that is only passed.
            if step + 2 < way.len() {
                from.1 += tallest[way[step + 1].1];
                let _ = write!(path, " L{:.1} {:.1}", from.0, from.1);
            }
        }
        let (x, y) = from;
        let _ = writeln!(out, "  <path class=\"edge\" d=\"{path}\"/>");
        let _ = writeln!(out, "  <path class=\"tip\" d=\"M{x:.1} {y:.1} l-4 -7 h8 z\"/>");
    }
    for (edge, way) in drawing.edges.iter().zip(&layout.edges) {
        let only = leaving[edge.from] == 1;
        let bottom = tops[layout.frames[edge.from].1] + heights[edge.from];
        let (before, last) = (way[way.len() - 2], way[way.len() - 1]);
        // Where lines are apart: below the frame that only this one leaves, beside a long line, or above its end.
        let (x, y) = match way.len() {
            _ if only => (way[0].0 + (way[1].0 - way[0].0) * 0.18, bottom + BETWEEN * 0.4),
            2 => (last.0 + (before.0 - last.0) * 0.32, tops[last.1] - BETWEEN * 0.42),
            length => (way[length / 2].0, tops[way[length / 2].1] + tallest[way[length / 2].1] / 2.0),
        };
        shape_of_edge(&mut out, &edge.shape, x + shift, y);
    }
    for ((frame, &(x, rank)), (&width, &height)) in
        drawing.frames.iter().zip(&layout.frames).zip(texts.iter().zip(&heights))
    {
        draw(&mut out, frame, (x + shift - width / 2.0, tops[rank]), (width, height));
    }
    out += "</svg>\n";
    out
}

/// Continues a path from one point down to another.
fn curve(path: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let half = (to_y - y) / 2.0;
    let _ = match (x - to_x).abs() < 0.5 {
        true => write!(path, " L{to_x:.1} {to_y:.1}"),
        false => write!(path, " C{x:.1} {:.1} {to_x:.1} {:.1} {to_x:.1} {to_y:.1}", y + half, to_y - half),
    };
}

fn label(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ")
}

fn label_width(label: &str) -> f64 {
    label.chars().count() as f64 * CHARACTER * 0.9 + 6.0
}

/// The shape on an edge, on a plate that keeps lines away.
fn shape_of_edge(out: &mut String, shape: &[usize], middle: f64, at: f64) {
    let label = label(shape);
    let width = label_width(&label);
    let left = middle - width / 2.0;
    let _ = writeln!(
        out,
        "  <rect class=\"plate\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"15\" rx=\"3\"/>",
        at - 10.5
    );
    let _ = writeln!(
        out,
        "  <text class=\"quiet\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{:.1}\">{label}</text>",
        at + 1.0
    );
}

fn name(frame: &Frame) -> String {
    match frame.share {
        0.0 => frame.title.clone(),
        share => format!("{}  {}", frame.title, percent(share)),
    }
}

/// The name of a layer, where the heading does not say it.
fn own_name<'l>(frame: &Frame, line: &'l Line) -> &'l str {
    if line.name == frame.title { "" } else { &line.name }
}

fn percent(share: f64) -> String {
    if share < 0.0005 { "< 0.1 %".into() } else { format!("{:.1} %", 100.0 * share) }
}

/// Width and height of a frame.
fn size(frame: &Frame) -> (f64, f64) {
    let letters = |text: &str| text.chars().count() as f64 * CHARACTER;
    let title = letters(&name(frame)) * 1.06;
    let lines = frame.rows.iter().map(|line| letters(&line.what) + letters(own_name(frame, line)) + 18.0);
    let maps = if frame.rows.is_empty() { 0.0 } else { MAPS };
    let width = lines.fold(title.max(60.0), f64::max) + 2.0 * PADDING + maps;
    let bar = if frame.cost > 0 { 9.0 } else { 0.0 };
    let rows = HEADING + LINE * frame.rows.len() as f64 + bar + 6.0;
    (width, if frame.rows.is_empty() { HEADING + 6.0 } else { rows.max(52.0) })
}

fn draw(out: &mut String, frame: &Frame, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let round = if frame.rows.is_empty() { height / 2.0 } else { 6.0 };
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"");
    let _ = writeln!(out, "  <g>\n    <rect class=\"frame\" {place} rx=\"{round}\"/>");
    if frame.rows.is_empty() {
        let _ = writeln!(
            out,
            "    <text class=\"text title\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n  </g>",
            x + width / 2.0,
            y + 19.0,
            escape(&frame.title)
        );
        return;
    }
    maps(out, &frame.shape, x + PADDING, y + height / 2.0);
    let left = x + PADDING + MAPS;
    let _ = writeln!(out, "    {}", text(left, y + 17.0, "text title", &name(frame)));
    for (i, line) in frame.rows.iter().enumerate() {
        let at = y + HEADING + LINE * (i as f64 + 0.7);
        let _ = writeln!(out, "    {}", text(left, at, "text", &line.what));
        let _ = writeln!(
            out,
            "    <text class=\"quiet\" text-anchor=\"end\" x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            x + width - PADDING,
            escape(own_name(frame, line))
        );
    }
    if frame.cost > 0 {
        let (room, at) = (width - PADDING * 2.0 - MAPS, y + height - 10.0);
        let _ = writeln!(
            out,
            "    <rect class=\"bar\" x=\"{left:.1}\" y=\"{at:.1}\" width=\"{room:.1}\" height=\"4\" rx=\"2\"/>"
        );
        let _ = writeln!(
            out,
            "    <rect class=\"cost\" x=\"{left:.1}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"4\" rx=\"2\"/>",
            (room * frame.share).max(1.0)
        );
    }
    out.push_str("  </g>\n");
}

/// A stack of maps, as the paper draws values: large as the image, deep as its channels; features are a narrow column.
fn maps(out: &mut String, shape: &[usize], x: f64, middle: f64) {
    let (channels, side) = match *shape {
        [channels, height, width] => (channels, height.max(width)),
        [features] => (features, 1),
        _ => return,
    };
    let size = if side <= 1 { 5.0 } else { (6.0 + 3.4 * (side as f64).log2()).min(34.0) };
    let sheets = ((channels as f64).log2() / 1.6).round().clamp(1.0, 6.0) as usize;
    let step = if side <= 1 { 5.0 } else { 2.5 };
    let deep = step * (sheets - 1) as f64;
    for i in 0..sheets {
        let offset = step * i as f64;
        // One pixel: a row of cells. Else sheets behind each other, the first in front.
        let (dx, dy) = if side <= 1 { (offset, 0.0) } else { (deep - offset, offset - deep / 2.0) };
        let _ = writeln!(
            out,
            "    <rect class=\"map\" x=\"{:.1}\" y=\"{:.1}\" width=\"{size:.1}\" height=\"{size:.1}\"/>",
            x + dx,
            middle - size / 2.0 + dy
        );
    }
}

fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" xml:space=\"preserve\">{}</text>", escape(text))
}
