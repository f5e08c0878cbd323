//! A drawing as a page with the layers' figures beside it.

use super::Drawing;
use super::svg::svg;
use ninc_runtime::words::{escape, grouped};
use std::fmt::Write;

const STYLE: &str = "
  :root { color-scheme: light dark; --ground: #fff; --text: #1d2433; --line: #d5dae3 }
  @media (prefers-color-scheme: dark) { :root { --ground: #161a22; --text: #e6e9ef; --line: #353e4f } }
  body { margin: 0; padding: 1rem; background: var(--ground); color: var(--text); font: 14px/1.45 system-ui, sans-serif;
    display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; justify-content: center }
  .picture, .figures { overflow-x: auto; max-width: 100% }
  svg { display: block; max-width: max(100%, calc(.75 * var(--own))); height: auto }
  table { border-collapse: collapse }
  th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
";

/// Writes it: one file without scripts.
pub fn page(drawing: &Drawing) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n<div class=\"picture\" tabindex=\"0\">{}</div>\n\
         <div class=\"figures\" tabindex=\"0\"><table>\n\
         <tr><th>layer<th>function<th class=\"number\">shape<th class=\"number\">parameters\
         <th class=\"number\">multiply-adds\
         <th class=\"number\">receptive field\n",
        escape(&drawing.name),
        svg(drawing)
    );
    for line in drawing.frames.iter().flat_map(|frame| &frame.rows) {
        let row = &line.row;
        let shape = row.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
        let [height, width] = row.receptive_field;
        let numbers = [shape, grouped(row.parameters), grouped(row.multiply_adds), format!("{height} × {width}")];
        let numbers: String = numbers.iter().map(|n| format!("<td class=\"number\">{n}")).collect();
        let _ = writeln!(out, "<tr><td>{}<td>{}{numbers}", escape(&line.name), escape(&line.what));
    }
    out += "</table></div>\n</html>\n";
    out
}
