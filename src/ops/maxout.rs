//! Maxout (Goodfellow et al., 2013): the maximum over `pieces` consecutive channels.

use super::attr::attributes;
use super::layer::{self, blame};
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const MAXOUT: &[ParamSchema] = &[layer::positional(layer::required(
    "pieces",
    layer::CHANNELS,
    "Consecutive channels that one channel of the result is made of.",
))];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (channels, pieces, x) = (check::channels(&cx.operand_type(0))?, cx.int("pieces"), cx.operands[0]);
    if channels % pieces != 0 {
        return Err(blame("pieces", format!("{channels} channels do not divide into pieces of {pieces}"), None));
    }
    Ok(cx.graph.add(Maxout { pieces }, &[x])?)
}

/// Type of the result.
fn reduced(x: &Type, pieces: usize) -> Result<Type, String> {
    let channels = check::channels(x)?;
    if pieces == 0 || channels % pieces != 0 {
        return Err(format!("{channels} channels do not divide into pieces of {pieces}"));
    }
    let mut ty = x.clone();
    ty.dims[0] = channels / pieces;
    Ok(ty)
}

attributes! {
    /// `x[C·pieces, …] -> y[C, …]`
    Maxout {
        pieces: usize,
    }
}

impl OperatorDef for Maxout {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "maxout",
            doc: "Maximum over `pieces` consecutive channels.",
            operands: (1, 1),
            params: MAXOUT,
            weights: false,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        reduced(x, self.pieces)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    MaxoutGrad {
        pieces: usize,
    }
}

impl OperatorDef for MaxoutGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        check::gradient(&reduced(x, self.pieces)?, dy)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    super::no_products!();
}
