//! Fully connected layers as products. Weights `[out, in]` lie as `[in][out]`.

use super::conv::{images, parts};
use super::product::{Product, Row, Rows, Span};
use super::sum_parts;
use crate::kernel::ir::{Elem, Expr};
use crate::kernel::recipes::linear::weight_sizes;
use crate::kernel::recipes::{Finish, Stage};
use crate::kernel::site::{Lowered, Site};

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn forward(site: &mut Site, stage: Stage) -> Lowered {
    let (inputs, outputs) = weight_sizes(site, &site.operands[1].ty)?;
    let [x, w] = [0, 1].map(|i| site.operands[i].slot);
    let bias = if stage.bias { site.operands.get(2).map(|b| b.slot) } else { None };
    let finish = stage.finish.name();
    let with = if bias.is_some() { "_bias" } else { "" };
    let result = site.result.slot;
    Product {
        name: format!("linear_{inputs}x{outputs}{with}{finish}"),
        rows: Rows::PerImage(1),
        columns: outputs,
        groups: 1,
        parts: 1,
        span: &|_| Span { begin: 0.into(), length: inputs.into() },
        a: &|row: &Row, k, _| (&row.image * inputs + k).into(),
        b: &|k, column, _| (k * outputs + column).into(),
        c: &|row, column, _, _| &row.image * outputs + column,
        a_along_k: true,
        b_along_k: false,
        bias: bias.is_some().then_some(&|_: &Expr, column: &Expr| column.clone()),
        finish: stage.finish,
        slots: [x, w, result],
        bias_slot: bias,
    }
    .launch(site);
    Ok(())
}

/// `(w, dy) -> dx`
pub fn grad_input(site: &mut Site) -> Lowered {
    let (inputs, outputs) = weight_sizes(site, &site.operands[0].ty)?;
    let [w, dy] = [0, 1].map(|i| site.operands[i].slot);
    let result = site.result.slot;
    Product {
        name: format!("linear_grad_input_{inputs}x{outputs}"),
        rows: Rows::PerImage(1),
        columns: inputs,
        groups: 1,
        parts: 1,
        span: &|_| Span { begin: 0.into(), length: outputs.into() },
        a: &|row: &Row, k, _| (&row.image * outputs + k).into(),
        b: &|k, column, _| (column * outputs + k).into(),
        c: &|row, column, _, _| &row.image * inputs + column,
        a_along_k: true,
        b_along_k: true,
        bias: None,
        finish: Finish::NONE,
        slots: [dy, w, result],
        bias_slot: None,
    }
    .launch(site);
    Ok(())
}

/// `(x, dy) -> dw`
pub fn grad_weight(site: &mut Site) -> Lowered {
    let (inputs, outputs) = weight_sizes(site, &site.result.ty)?;
    let [x, dy] = [0, 1].map(|i| site.operands[i].slot);
    let result = site.result.slot;
    let elements = inputs * outputs;
    let parts = parts(inputs, outputs);
    let to = if parts == 1 { result } else { site.temp("partial", Elem::F32, parts * elements, 0) };
    Product {
        name: format!("linear_grad_weight_{inputs}x{outputs}_parts{parts}"),
        rows: Rows::Fixed(inputs),
        columns: outputs,
        groups: 1,
        parts,
        span: &|part| images(part, parts, 1),
        a: &|row: &Row, k, _| (k * inputs + &row.index).into(),
        b: &|k, column, _| (k * outputs + column).into(),
        c: &|row, column, _, part| part * elements + &row.index * outputs + column,
        a_along_k: false,
        b_along_k: false,
        bias: None,
        finish: Finish::NONE,
        slots: [x, dy, to],
        bias_slot: None,
    }
    .launch(site);
    if parts > 1 {
        sum_parts(site, to, result, elements, parts);
    }
    Ok(())
}
