//! Fully connected layers: products whose rows are images.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr};
use crate::lower::tile::{Tile, tile};
use crate::lower::{BufferId, LowerCx, Lowered};
use crate::recipes::common::loops::{image_tiles, panel_loop, piece};
use crate::recipes::common::names::elem_letters;
use crate::recipes::common::{Epilogue, Stage, weight_sizes};
use crate::recipes::cpu::contraction::{Contraction, Count, Init, Matrix, panels, transposed_panels};
use crate::recipes::cpu::frame::zero_rows;
use crate::recipes::cpu::tiles::{self, linear::Layer};

/// Rows that the choice of a tile assumes where they are images.
const IMAGES: usize = 64;
/// From this many panels on, iterations are panels; below, they are blocks of images.
const PANELS: usize = 8;

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn forward(cx: &mut LowerCx, stage: Stage) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[1].ty)?;
    let [x, w] = [0, 1].map(|i| cx.operands[i].buffer);
    let bias = if stage.bias { cx.operands.get(2).map(|b| b.buffer) } else { None };
    if tiles::linear::forward(cx, &Layer { x, weights: w, bias, depth: inputs, columns: outputs, stage }) {
        return Ok(());
    }
    let tile = tile(cx.target, IMAGES, outputs);
    let matrix = Matrix { taps: 1, inner: inputs, groups: 1, columns: outputs };
    // Without a copy there is nothing after the last image.
    let narrow = cx.target.cpu().bf16 && [x, w].map(|s| cx.elem(s)) == [Elem::Bf16; 2] && inputs.is_multiple_of(2);
    let weights = panels(cx, w, matrix, tile, narrow.then_some(inputs));
    product(cx, &Product { x, weights, bias, depth: inputs, columns: outputs, tile, stage });
    Ok(())
}

/// `(w, dy) -> dx`
pub fn grad_input(cx: &mut LowerCx) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[0].ty)?;
    if tiles::linear::grad_input(cx, [inputs, outputs]) {
        return Ok(());
    }
    let [w, x] = [0, 1].map(|i| cx.operands[i].buffer);
    let tile = tile(cx.target, IMAGES, inputs);
    let matrix = Matrix { taps: 1, inner: inputs, groups: 1, columns: outputs };
    let weights = transposed_panels(cx, w, matrix, tile);
    let stage = Stage::default();
    product(cx, &Product { x, weights, bias: None, depth: outputs, columns: inputs, tile, stage });
    Ok(())
}

/// `y[n, columns] = activation(x[n, depth] · weights + bias)`
struct Product {
    x: BufferId,
    weights: BufferId,
    bias: Option<BufferId>,
    depth: usize,
    columns: usize,
    tile: Tile,
    stage: Stage,
}

fn product(cx: &mut LowerCx, p: &Product) {
    let (depth, columns, width, rows) = (p.depth, p.columns, p.tile.columns(), p.tile.rows);
    let elems = [p.x, p.weights, cx.result.buffer].map(|buffer| cx.elem(buffer));
    // Rows of a panel: pairs have two terms each.
    let length = if elems[1] == Elem::I32 { depth / 2 } else { depth };
    let epilogue = p.stage.epilogue.name();
    let with = if p.bias.is_some() { "_bias" } else { "" };
    let kinds = elem_letters("_", &elems);
    let name = format!("linear_v{}_{depth}x{columns}_{width}{with}{epilogue}{kinds}", cx.target.lanes);
    let mut kernel = KernelBuilder::new(name);
    let x = kernel.buffer("x", elems[0], Access::Read);
    let weights = kernel.buffer("w", elems[1], Access::Read);
    let bias = p.bias.map(|_| kernel.buffer("b", Elem::F32, Access::Read));
    let y = kernel.buffer("y", elems[2], Access::Write);
    let mut panel = |k: &mut KernelBuilder, images: [&Expr; 2], panel: Expr, size: usize| {
        image_tiles(k, images[0], images[1], rows, |k, n, height| {
            let contraction = Contraction {
                elems,
                lanes: p.tile.lanes,
                rows: height,
                columns: size,
                counts: [1, 1, depth].map(Count::Fixed),
                a: [0, 0, 1],
                a_row: depth as i64,
                a_columns: false,
                b: [0, 0, width as i64],
                b_padded: true,
                next: 0,
                a_ahead: 0,
                c_row: columns as i64,
                c_vector: p.tile.lanes.into(),
                init: if bias.is_some() { Init::Bias } else { Init::Zero },
                epilogue: p.stage.epilogue,
            };
            let column = &panel * width;
            let mut args = vec![x.at(&n * depth), weights.at(&panel * (length * width)), y.at(&n * columns + &column)];
            args.extend(bias.map(|b| b.at(&column)));
            k.call(cx.micro_kernel(contraction), args);
        });
    };
    let count = columns.div_ceil(width);
    if count >= PANELS {
        kernel.parallel("p", count, |k, index| {
            piece(k, &index, columns, width, |k, size| panel(k, [&0.into(), &Expr::BATCH], index.clone(), size));
        });
    } else {
        let block = 4 * rows;
        kernel.parallel("t", Expr::BATCH.ceil_div(block as i64), |k, t| {
            let begin = t * block;
            let end = (&begin + block).min(Expr::BATCH);
            panel_loop(k, columns, width, (&0.into(), 1), |k, index, size| panel(k, [&begin, &end], index, size));
        });
    }
    let mut args = vec![p.x, p.weights];
    args.extend(p.bias);
    args.push(cx.result.buffer);
    let kernel = kernel.finish();
    cx.launch("linear", kernel, &args);
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.result.ty)?;
    if tiles::linear::grad_weight(cx, [inputs, outputs]) {
        return Ok(());
    }
    let args = [cx.operands[0].buffer, cx.operands[1].buffer, cx.result.buffer];
    let tile = tile(cx.target, inputs, outputs);
    let name = format!("linear_grad_weight_v{}_{inputs}x{outputs}", tile.lanes);
    let mut kernel = KernelBuilder::new(name);
    let x = kernel.buffer("x", Elem::F32, Access::Read);
    let dy = kernel.buffer("dy", Elem::F32, Access::Read);
    let dw = kernel.buffer("dw", Elem::F32, Access::ReadWrite);
    let panels = outputs.div_ceil(tile.columns());
    kernel.parallel("t", inputs.div_ceil(tile.rows) * panels, |k, t| {
        let [r, p] = [t.div(panels), t.rem(panels)];
        piece(k, &r, inputs, tile.rows, |k, rows| {
            piece(k, &p, outputs, tile.columns(), |k, columns| {
                let contraction = Contraction {
                    elems: [Elem::F32; 3],
                    lanes: tile.lanes,
                    rows,
                    columns,
                    counts: [Count::Fixed(1), Count::Fixed(1), Count::Given],
                    a: [0, 0, inputs as i64],
                    a_row: 1,
                    a_columns: false,
                    b: [0, 0, outputs as i64],
                    b_padded: false,
                    next: 0,
                    a_ahead: 0,
                    c_row: outputs as i64,
                    c_vector: tile.lanes.into(),
                    init: Init::Add,
                    epilogue: Epilogue::NONE,
                };
                let (row, column) = (&r * tile.rows, &p * tile.columns());
                let unroll = contraction.unroll();
                let args = [
                    x.at(&row),
                    dy.at(&column),
                    dw.at(&row * outputs + &column),
                    Arg::Int(Expr::BATCH.div(unroll)),
                    Arg::Int(Expr::BATCH.rem(unroll)),
                ];
                k.when(cx.images_before().equals(0), |k| {
                    k.call(zero_rows(cx, [rows, columns], outputs), [args[2].clone()])
                });
                k.call(cx.micro_kernel(contraction), args);
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch_accumulating("linear_grad_weight", kernel, &args);
    Ok(())
}
