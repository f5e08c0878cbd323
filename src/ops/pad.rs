//! Explicit padding and its gradient.

use super::attr::attributes;
use super::layer::{self, blame};
use super::schema::{Arg, Kind, LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, check, window};
use crate::graph::NodeId;
use crate::kernel::recipes::movement;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const SIDE: Kind = Kind::Int(0, window::MOST);
const PAD: &[ParamSchema] = &[
    layer::positional(layer::optional("pixels", SIDE, Arg::Int(0), "Pixels on every side that is not given.")),
    layer::optional("top", SIDE, Arg::None, "Rows above."),
    layer::optional("bottom", SIDE, Arg::None, "Rows below."),
    layer::optional("left", SIDE, Arg::None, "Columns to the left."),
    layer::optional("right", SIDE, Arg::None, "Columns to the right."),
    layer::optional("value", Kind::Float(-1e30, 1e30), Arg::Float(0.0), "What the new pixels hold."),
];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let side = |name| cx.int(if cx.given(name) { name } else { "pixels" });
    let (top, bottom, left, right) = (side("top"), side("bottom"), side("left"), side("right"));
    if top + bottom + left + right == 0 {
        return Err(blame(
            "pixels",
            "this adds no pixels".into(),
            Some("pad(pixels = 1) adds one on every side".to_string()),
        ));
    }
    let (value, x) = (cx.float("value"), cx.operands[0]);
    Ok(cx.graph.add(Pad { top, bottom, left, right, value }, &[x])?)
}

attributes! {
    /// `x[C, H, W] -> [C, top + H + bottom, left + W + right]`, `value` around.
    Pad {
        top: usize,
        bottom: usize,
        left: usize,
        right: usize,
        value: f64,
    }
}

impl OperatorDef for Pad {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "pad",
            doc: "Adds pixels around the image.",
            operands: (1, 1),
            params: PAD,
            weights: false,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        let sum = |a: usize, b: usize, c: usize| a.checked_add(b)?.checked_add(c);
        let (height, width) = (sum(self.top, height, self.bottom), sum(self.left, width, self.right));
        let (Some(height), Some(width)) = (height, width) else {
            return Err("too many pixels of padding".into());
        };
        check::sized(Type::batched(&[channels, height, width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        movement::pad(site, self.top, self.left, self.value as f32)
    }

    super::no_products!();
}

attributes! {
    /// `x -> [C, height, width]` from row `top`, column `left`.
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    }
}

impl OperatorDef for Crop {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        let within = |begin: usize, len: usize, size: usize| begin.checked_add(len).is_some_and(|end| end <= size);
        if !within(self.top, self.height, height) || !within(self.left, self.width, width) {
            let Crop { top, left, height, width } = self;
            return Err(format!("{height}·{width} pixels from row {top}, column {left} are not all inside {x}"));
        }
        check::sized(Type::batched(&[channels, self.height, self.width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        movement::crop(site, self.top, self.left)
    }

    super::no_products!();
}
