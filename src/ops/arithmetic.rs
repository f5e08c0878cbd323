//! Elementwise arithmetic.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::elementwise;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

/// All operands must have one type; the message names the first that differs.
fn equal_operands(cx: &LayerCx, what: &str) -> Result<(), LayerError> {
    let first = cx.operand_type(0);
    for i in 1..cx.operands.len() {
        let other = cx.operand_type(i);
        if other != first {
            let message = format!("cannot {what} {first} and {other}: the shapes differ");
            let help = match (first.dims.as_slice(), other.dims.as_slice()) {
                (&[c, h, w], &[d, y, x]) if c != d && (h, w) == (y, x) => {
                    Some(format!("`cccp(channels = {c})` brings the second to {c} channels"))
                }
                _ => None,
            };
            return Err(LayerError { param: None, message, help });
        }
    }
    Ok(())
}

fn build_add(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    equal_operands(cx, "add")?;
    let mut sum = cx.operands[0];
    for i in 1..cx.operands.len() {
        sum = cx.graph.add(Add {}, &[sum, cx.operands[i]])?;
    }
    Ok(sum)
}

fn build_mul(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    equal_operands(cx, "multiply")?;
    Ok(cx.graph.add(Mul {}, &cx.operands)?)
}

fn equal_floats(operands: &[Type]) -> Result<Type, String> {
    let [a, b] = check::exactly(operands)?;
    check::floats(a)?;
    check::same(a, b)?;
    Ok(a.clone())
}

/// A constant as part of a kernel's tag: its bits, so that equal tags mean equal code.
pub fn bits(value: f64) -> String {
    format!("{:08x}", (value as f32).to_bits())
}

attributes! {
    /// `(a, b) -> a + b`, equal types.
    Add {}
}

impl OperatorDef for Add {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "add",
            doc: "Sum of values of one shape; also written `x + y`.",
            operands: (2, 64),
            params: &[],
            weights: false,
            build: build_add,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        equal_floats(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "add", |b, v, _| b.add(v[0], v[1]))
    }

    super::no_products!();
}

attributes! {
    /// `(a, b) -> a·b`, equal types.
    Mul {}
}

impl OperatorDef for Mul {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "mul",
            doc: "Product, element by element, of two values of one shape.",
            operands: (2, 2),
            params: &[],
            weights: false,
            build: build_mul,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        equal_floats(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "mul", |b, v, _| b.mul(v[0], v[1]))
    }

    super::no_products!();
}

attributes! {
    /// `x -> factor·x`
    Scale {
        factor: f64,
    }
}

impl OperatorDef for Scale {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        check::floats(x)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let factor = self.factor as f32;
        elementwise::map(site, &format!("scale_{}", bits(self.factor)), |b, v, lanes| {
            let factor = b.f32(factor, lanes);
            b.mul(v[0], factor)
        })
    }

    super::no_products!();
}

attributes! {
    /// `(a, b) -> a + weight·(b - a)`: running averages.
    Mix {
        weight: f64,
    }
}

impl OperatorDef for Mix {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        equal_floats(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let weight = self.weight as f32;
        elementwise::map(site, &format!("mix_{}", bits(self.weight)), |b, v, lanes| {
            let weight = b.f32(weight, lanes);
            let difference = b.sub(v[1], v[0]);
            b.fma(weight, difference, v[0])
        })
    }

    super::no_products!();
}

attributes! {
    /// `(x, s[] shared) -> s·x`
    ScaleBy {}
}

impl OperatorDef for ScaleBy {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, s] = check::exactly(operands)?;
        check::floats(x)?;
        check::scalar(s, "the factor")?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "scale_by", |b, v, _| b.mul(v[0], v[1]))
    }

    super::no_products!();
}
