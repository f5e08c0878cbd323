//! Local response normalisation across channels (Krizhevsky et al., 2012).

use super::attr::attributes;
use super::layer;
use super::schema::{Arg, Kind, LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::lrn;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const LRN: &[ParamSchema] = &[
    layer::optional("size", Kind::Int(1, layer::MOST_CHANNELS), Arg::Int(5), "Channels in the neighbourhood."),
    layer::optional("alpha", Kind::Float(0.0, 1e6), Arg::Float(1e-4), "Weight of the squares; divided by `size`."),
    layer::optional("beta", Kind::Float(0.0, 1e3), Arg::Float(0.75), "Exponent."),
    layer::optional("k", Kind::Float(1e-6, 1e6), Arg::Float(1.0), "Added to the sum of squares."),
];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let op = Lrn { size: cx.int("size"), alpha: cx.float("alpha"), beta: cx.float("beta"), k: cx.float("k") };
    let x = cx.operands[0];
    Ok(cx.graph.add(op, &[x])?)
}

/// The base of the power must stay above 0.
fn check_lrn(size: usize, alpha: f64, beta: f64, k: f64) -> Result<(), String> {
    if size == 0 {
        return Err("a neighbourhood of 0 channels".into());
    }
    if alpha >= 0.0 && k > 0.0 && (alpha + beta + k).is_finite() {
        return Ok(());
    }
    Err(format!("alpha {alpha} must be at least 0, k {k} above 0, beta {beta} a number"))
}

attributes! {
    /// `x -> x·(k + alpha/size · Σ x_j²)^-beta` over `size` neighbouring channels.
    Lrn {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
    }
}

impl OperatorDef for Lrn {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "lrn",
            doc: "Local response normalisation: x·(k + alpha/size·Σ x²)^-beta over neighbouring channels.",
            operands: (1, 1),
            params: LRN,
            weights: false,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check_lrn(self.size, self.alpha, self.beta, self.k)?;
        let [x] = check::exactly(operands)?;
        check::channels(x)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let recipe = lrn::Lrn { size: self.size, alpha: self.alpha as f32, beta: self.beta as f32, k: self.k as f32 };
        lrn::forward(site, &recipe)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        (result.elements() * self.size) as u64
    }
}

attributes! {
    /// `(x, dy) -> dx`
    LrnGrad {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
    }
}

impl OperatorDef for LrnGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check_lrn(self.size, self.alpha, self.beta, self.k)?;
        let [x, dy] = check::exactly(operands)?;
        check::channels(x)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let recipe = lrn::Lrn { size: self.size, alpha: self.alpha as f32, beta: self.beta as f32, k: self.k as f32 };
        lrn::grad(site, &recipe)
    }

    super::no_products!();
}
