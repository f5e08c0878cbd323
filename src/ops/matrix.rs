//! Products of weights as matrices `[outputs, all the rest]`: the steps of Newton–Schulz's iteration, by which the Muon
//! optimiser makes an update's singular values alike.

use super::attr::attributes;
use super::error::ShapeError;
use super::reference;
use super::{Case, OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::matrix;
use crate::types::Type;

/// Is a parameter of this shape the weight of a convolution?
pub fn is_convolution(dims: &[usize]) -> bool {
    dims.len() == 4
}

/// Rows and columns of a weight as a matrix.
fn matrix_of(ty: &Type) -> Result<[usize; 2], ShapeError> {
    check::shared(ty, "a weight")?;
    match ty.dims[..] {
        [rows, columns] => Ok([rows, columns]),
        [rows, inputs, height, width] => Ok([rows, inputs * height * width]),
        _ => Err(format!("{ty} is not a matrix of weights").into()),
    }
}

attributes! {
    /// `x[O, …] -> [O, O]`: the products of all pairs of rows.
    Gram {}
}

impl OperatorDef for Gram {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [rows, _] = matrix_of(x)?;
        check::sized(Type::shared(&[rows, rows]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, rows) = (operands[0].real(), cx.ty.dims[0]);
        let row = |i: usize| x.data.chunks_exact((x.data.len() / rows).max(1)).nth(i).unwrap_or(&[]);
        let product = |i: usize| row(i / rows).iter().zip(row(i % rows)).map(|(a, b)| a.f64() * b.f64()).sum();
        reference::result(cx, (0..rows * rows).map(product).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        matrix::gram(cx)
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        (operands[0].elements() * result.dims[0]) as u64
    }

    fn cases() -> Vec<Case> {
        let case = |dims: &[usize]| Case::new(Gram {}, 1, &[Type::shared(dims)]);
        vec![case(&[5, 7]), case(&[33, 3, 2, 2]), case(&[40, 100])]
    }
}

attributes! {
    /// `(b[O, O], x[O, …]) -> b·x`
    Times {}
}

impl OperatorDef for Times {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [b, x] = check::exactly(operands)?;
        let [rows, _] = matrix_of(x)?;
        check::weight(b, &[rows, rows], "the left matrix")?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (b, x, rows) = (operands[0].real(), operands[1].real(), cx.ty.dims[0]);
        let columns = (x.data.len() / rows).max(1);
        let term = |i: usize, k: usize| b.data[i / columns * rows + k].f64() * x.data[k * columns + i % columns].f64();
        reference::result(cx, (0..x.data.len()).map(|i| (0..rows).map(|k| term(i, k)).sum()).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        matrix::times(cx)
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        (result.elements() * operands[0].dims[0]) as u64
    }

    fn cases() -> Vec<Case> {
        let case = |dims: &[usize]| Case::new(Times {}, 1, &[Type::shared(&[dims[0], dims[0]]), Type::shared(dims)]);
        vec![case(&[5, 7]), case(&[33, 3, 2, 2]), case(&[40, 40])]
    }
}
