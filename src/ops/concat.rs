//! Concatenation along channels and its gradient.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::movement;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    Ok(cx.graph.add(Concat {}, &cx.operands)?)
}

/// The type with other channels.
fn with_channels(ty: &Type, channels: usize) -> Type {
    let mut ty = ty.clone();
    ty.dims[0] = channels;
    ty
}

attributes! {
    /// `(a, b, …) -> channels of a, then of b, …`
    Concat {}
}

impl OperatorDef for Concat {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "concat",
            doc: "Channels of the first value, then of the second, …; height and width must agree.",
            operands: (2, 64),
            params: &[],
            weights: false,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [first, rest @ ..] = operands else {
            return Err("no operands".into());
        };
        let mut channels = check::channels(first)?;
        for ty in rest {
            let more = check::channels(ty)?;
            if ty.dims[1..] != first.dims[1..] {
                return Err(format!("cannot join {first} and {ty}: only the channels may differ"));
            }
            channels = channels.checked_add(more).ok_or("too many channels")?;
        }
        check::sized(with_channels(first, channels))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        movement::concat(site)
    }

    super::no_products!();
}

attributes! {
    /// Channels `begin .. begin + len`.
    Slice {
        begin: usize,
        len: usize,
    }
}

impl OperatorDef for Slice {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let channels = check::channels(x)?;
        if self.begin.checked_add(self.len).is_none_or(|end| end > channels) {
            return Err(format!("channels {} + {} are beyond the {channels} of {x}", self.begin, self.len));
        }
        check::sized(with_channels(x, self.len))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        movement::slice(site, self.begin)
    }

    super::no_products!();
}
