//! A drawing as a text for Graphviz.

use super::Drawing;
use ninc_runtime::words::grouped;
use std::fmt::Write;

/// Writes it: kernels are boxes with a line for each layer, wider lines where more is computed.
pub fn dot(drawing: &Drawing) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph \"{}\" {{", quoted(&drawing.name));
    out += "    node [shape=box, style=rounded, fontname=\"Helvetica\"];\n";
    out += "    edge [fontname=\"Helvetica\", fontsize=10];\n";
    for (i, frame) in drawing.frames.iter().enumerate() {
        let mut label = quoted(&frame.title);
        for line in &frame.rows {
            let _ = write!(label, "\\l{}  {}", quoted(&line.what), quoted(&line.name));
        }
        if frame.cost > 0 {
            let _ = write!(label, "\\l{} multiply-adds", grouped(frame.cost));
        }
        let end = if frame.rows.is_empty() { "" } else { "\\l" };
        let width = 1.0 + 5.0 * frame.share;
        let _ = writeln!(out, "    n{i} [label=\"{label}{end}\", penwidth={width:.2}];");
    }
    for edge in &drawing.edges {
        let shape = edge.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        let _ = writeln!(out, "    n{} -> n{} [label=\"{shape}\"];", edge.from, edge.to);
    }
    out += "}\n";
    out
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
