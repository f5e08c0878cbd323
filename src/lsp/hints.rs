//! The shape behind each step, as a hint in the line.

use super::document::Document;
use crate::front::diag::Span;
use crate::graph::NodeId;
use lsp_types::{InlayHint, InlayHintKind, InlayHintLabel};
use std::collections::BTreeMap;

/// The most shapes of one place: steps of a block or a repeat have one for each round.
const MOST: usize = 3;

/// The hints within a span.
pub fn hints(document: &Document, within: Span) -> Vec<InlayHint> {
    let analysis = document.analysis();
    let layers = analysis.layers.iter().zip(&analysis.trace.layers).map(|(layer, span)| (*span, layer.value));
    let blocks = analysis.trace.blocks.iter().filter_map(|called| Some((called.span, called.value?)));
    let mut ends: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (span, value) in layers.chain(blocks).filter(|(span, _)| within.start <= span.end && span.end <= within.end) {
        let shapes = ends.entry(span.end).or_default();
        let shape = shape(document, value);
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    let hint = |(end, shapes): (usize, Vec<String>)| InlayHint {
        position: document.position(end),
        label: InlayHintLabel::String(joined(&shapes)),
        kind: Some(InlayHintKind::TYPE),
        text_edits: None,
        tooltip: None,
        padding_left: Some(true),
        padding_right: None,
        data: None,
    };
    ends.into_iter().map(hint).collect()
}

/// The shape of a value.
pub fn shape(document: &Document, value: NodeId) -> String {
    format!("{:?}", document.analysis().graph.ty(value).dims)
}

/// A few shapes, one after the other.
pub fn joined(shapes: &[String]) -> String {
    let shown = shapes.iter().take(MOST).cloned().collect::<Vec<_>>().join(" · ");
    if shapes.len() > MOST { format!("{shown} · …") } else { shown }
}
