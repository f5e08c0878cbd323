//! Inference needs no dropout: inverted dropout is the identity, the classic form a constant factor.

use super::dce;
use super::error::PassError;
use crate::graph::Graph;
use crate::ops::Operator;
use crate::ops::arithmetic::Scale;

/// Replaces dropout by what it is at inference.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        let Operator::Dropout(dropout) = graph.op(id) else { continue };
        let (x, keep) = (graph.operands(id)[0], 1.0 - dropout.rate);
        let value = if dropout.inverted { x } else { graph.add(Scale { factor: keep }, &[x])? };
        graph.replace(id, value);
    }
    dce::run(graph)
}
