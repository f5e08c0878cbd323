//! Forward chains: a convolution, 1x1 convolutions on top, perhaps a pooling, all in the scratch memory of one
//! iteration.

mod elems;
mod iterations;

use super::choice::{Around, Form, Rest, choose};
use super::matrix;
use super::pooling::Pooling;
use super::rows::{rows_for_large_batch, rows_for_small_batch, rows_per_iteration};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Memory};
use crate::lower::target::{Batch, Target};
use crate::lower::tile::tile;
use crate::lower::{BufferId, LowerCx, LowerError, Lowered};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::conv::{Link, links};
use crate::recipes::common::{Reduction, Stage, Window};
use crate::recipes::cpu::contraction::panels;
use crate::recipes::cpu::frame::{Frame, Rows};
use crate::recipes::cpu::tiles::{self, Unit};
use crate::recipes::cpu::winograd::{self, Layer};
use crate::types::Format;
use elems::{Elems, between_elem, run};
use iterations::{First, Iterations, Product};

/// `(x, w, [b], w, [b], …) -> y`: a convolution, then 1x1 convolutions, each with its bias and activation, then
/// perhaps a pooling, without a trip to memory in between (where their weights are small enough to stay in cache).
pub fn forward(
    cx: &mut LowerCx,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    let mut chain = links(cx, window, groups, stages)?;
    let last = chain.last().map(|l| l.geometry).ok_or_else(|| LowerError::Bug("a chain without stages".into()))?;
    let result = cx.result.ty.chw().ok_or_else(|| LowerError::Bug("a result that is not an image".into()))?;
    let pooling = match pool {
        Some((kind, window)) => {
            Some(Pooling { kind, window, channels: last.outputs, image: last.out, out: [result.1, result.2] })
        }
        None => {
            // If the first is a 1x1, all are: they get the same rows.
            let flat = chain[0].geometry.flattened().out;
            if chain[0].geometry.flattened() != chain[0].geometry {
                chain.iter_mut().for_each(|l| (l.geometry.image, l.geometry.out) = (flat, flat));
            }
            None
        }
    };
    let expected = pooling.map_or(last.out, |p| p.out);
    if result.0 != last.outputs || (expected != [result.1, result.2]) {
        return Err(LowerError::Bug(format!("{}: a convolution with the result {}", cx.name, cx.result.ty)));
    }
    let (x, y) = (cx.operands[0].buffer, cx.result.buffer);
    // A step of training on tiles needs no transforms, which read and write float32.
    let on_tiles = cx.target.trains_on_tiles() && tiles::unit_of(cx, x, &chain) == Some(Unit::Bf16);
    let narrow = [x, y].map(|buffer| cx.elem(buffer)).contains(&Elem::Bf16);
    if let ([link], None, false) = (chain.as_slice(), pooling, on_tiles || narrow) {
        let layer = Layer { x, weights: link.weights, bias: link.bias, epilogue: link.epilogue };
        if winograd::forward(cx, link.geometry, &layer) {
            return Ok(());
        }
    }
    // Weights that do not stay in cache are better read once by all images than once by each iteration. Of few images
    // an iteration has some rows, for which it reads the weights of all 1x1 convolutions that follow.
    let rest: usize = chain.iter().skip(1).map(Link::weight_bytes).sum();
    let heavy = chain.iter().any(|l| l.weight_bytes() > cx.target.cache[2] / 8)
        || cx.target.batch == Batch::Latency && rest > cx.target.cache[1];
    if heavy && chain.len() > 1 && pooling.is_none() {
        let mut from = x;
        for (i, link) in chain.iter().enumerate() {
            let to = if i + 1 == chain.len() { y } else { between(cx, i, &chain) };
            lower(cx, from, to, std::slice::from_ref(link), None);
            from = to;
        }
    } else {
        lower(cx, x, y, &chain, pooling);
    }
    Ok(())
}

/// Memory for the result of link `i`, which says what the result is exact in, so that the next link may choose tiles.
fn between(cx: &mut LowerCx, i: usize, chain: &[Link]) -> BufferId {
    let (g, round) = (&chain[i].geometry, chain[i].epilogue.round);
    let weights = cx.builder.exact.get(&chain[i + 1].weights);
    let tiled = cx.target.cpu().tiles && [round.as_ref(), weights].iter().all(|f| *f == Some(&Format::Bf16));
    let elem = if tiled { Elem::Bf16 } else { between_elem(cx, &chain[i..i + 2]) };
    let buffer = cx.temp(&format!("stage{i}"), elem, 0, g.outputs * g.out[0] * g.out[1]);
    cx.builder.exact.extend(round.map(|format| (buffer, format)));
    buffer
}

/// Lowers a chain by the algorithm that suits it.
fn lower(cx: &mut LowerCx, x: BufferId, y: BufferId, chain: &[Link], pooling: Option<Pooling>) {
    let Some((first, rest)) = chain.split_first() else { return };
    let widest = chain.iter().map(|l| l.geometry.outputs).max().unwrap_or(0);
    let pairs = Elems::new(cx, [x, y], chain, (pooling.is_some(), &Form::Direct)).of(cx, chain, 0)[1] == Elem::I32;
    let tiles = if pooling.is_none() { tiles::unit_of(cx, x, chain) } else { None };
    let parts = pooling.is_none() && tiles != Some(Unit::Bf16);
    let after = if parts {
        let iterations = first.geometry.out[0].div_ceil(Cut::new(cx, chain, false, &Form::Direct).rows);
        Rest::new(cx, first, rest, iterations)
    } else {
        Rest::default()
    };
    let chained = after.cut.is_none() && !rest.is_empty() || pooling.is_some();
    let around = Around { tiles, rest: after, chained, pooled: pooling.is_some(), widest, pairs };
    let form = choose(cx, &first.geometry, around);
    match form {
        Form::Tiles(unit) => tiles::forward(cx, unit, x, y, chain),
        form if let Some(unit) = after.cut => {
            let to = between(cx, 0, chain);
            single(cx, [x, to], first, &form);
            tiles::forward(cx, unit, to, y, rest);
        }
        Form::Shared(_) => {
            let to = if rest.is_empty() { y } else { between(cx, 0, chain) };
            single(cx, [x, to], first, &form);
            if let Some(next) = rest.first() {
                let flat = next.geometry.flattened().out;
                let geometry = |l: &Link| Geometry { image: flat, out: flat, ..l.geometry };
                let rest: Vec<Link> = rest.iter().map(|l| Link { geometry: geometry(l), ..*l }).collect();
                launch(cx, to, y, &rest, None, &Form::Direct);
            }
        }
        form => launch(cx, x, y, chain, pooling, &form),
    }
}

/// Launches one convolution.
fn single(cx: &mut LowerCx, [x, y]: [BufferId; 2], link: &Link, form: &Form) {
    match form {
        Form::Shared(form) => {
            form.launch_small_batch(cx, &link.name(), [x, y], link.weights, link.bias, link.epilogue);
        }
        form => launch(cx, x, y, std::slice::from_ref(link), None, form),
    }
}

impl Link {
    fn weight_bytes(&self) -> usize {
        let m = matrix(&self.geometry);
        4 * m.taps * m.inner * self.geometry.outputs
    }

    /// Returns a part of the kernel's name, which tells what decides its code.
    fn name(&self) -> String {
        let g = &self.geometry;
        let w = &g.window;
        format!(
            "_{}x{}x{}_{}x{}s{}x{}p{}x{}d{}x{}g{}_{}{}{}",
            g.channels,
            g.image[0],
            g.image[1],
            w.kernel[0],
            w.kernel[1],
            w.stride[0],
            w.stride[1],
            w.pad[0],
            w.pad[1],
            w.dilation[0],
            w.dilation[1],
            g.groups,
            g.outputs,
            if self.bias.is_some() { "_bias" } else { "" },
            self.epilogue.name(),
        )
    }
}

fn launch(cx: &mut LowerCx, x: BufferId, y: BufferId, chain: &[Link], pooling: Option<Pooling>, form: &Form) {
    let plan = Cut::new(cx, chain, pooling.is_some(), form);
    let elems = Elems::new(cx, [x, y], chain, (pooling.is_some(), form));
    let mut kernel = KernelBuilder::new(kernel_name(cx, chain, &pooling, form) + &elems.name());
    let source = kernel.buffer("x", elems.image, Access::Read);
    let mut args = vec![x];
    let mut products = Vec::new();
    for (i, link) in chain.iter().enumerate() {
        let g = link.geometry;
        let pixels = if i == 0 { g.out[1] } else { plan.rows * g.out[1] };
        let registers = cx.target.registers.saturating_sub(link.epilogue.registers());
        let tile = tile(&Target { registers, ..cx.target.clone() }, pixels, g.tile_columns());
        let elems = elems.of(cx, chain, i);
        args.push(match form {
            Form::Iterations(form) if i == 0 => form.weights(cx, link.weights),
            Form::Thin(form) if i == 0 => form.weights(cx, link.weights),
            _ if g.depthwise() => link.weights,
            _ => panels(cx, link.weights, matrix(&g), tile, (elems[1] == Elem::I32).then(|| run(&g))),
        });
        let weights = kernel.buffer("w", elems[1], Access::Read);
        let bias = link.bias.map(|buffer| {
            args.push(buffer);
            kernel.buffer("b", Elem::F32, Access::Read)
        });
        products.push(Product { geometry: g, epilogue: link.epilogue, tile, weights, bias, elems });
    }
    args.push(y);
    let target = kernel.buffer("y", elems.result, Access::Write);

    // The last pair of an odd row reaches one element further.
    let padded = plan.frame.map(|f| {
        let rows = Rows::between(cx, f, [elems.image, elems.padded]);
        (rows, kernel.scratch("padded", elems.padded, elems.length(plan.rows_in * f.pitch())))
    });
    let widest = |skip_last: bool| {
        let inner = chain.len() - usize::from(skip_last);
        chain[..inner].iter().map(|l| l.geometry.outputs * l.geometry.out[1] * plan.rows).max().unwrap_or(0)
    };
    let len = widest(pooling.is_none());
    let group = if let Form::Iterations(form) = form { form.images() } else { 1 };
    let len = |i: usize| if i == 0 { len * group } else { len };
    let buffers: Vec<Memory> =
        (0..plan.buffers).map(|i| kernel.scratch(&format!("stage{i}"), elems.between, elems.length(len(i)))).collect();
    let first = match form {
        Form::Iterations(form) => First::Winograd(form, form.scratch(&mut kernel)),
        Form::Thin(form) => First::Thin(form, form.scratch(&mut kernel)),
        Form::Direct | Form::Shared(_) | Form::Tiles(_) => First::Direct,
    };
    let pooling = pooling.map(|p| (p, p.micro_kernel(cx)));
    let iterations = Iterations { cut: plan, products, first, source, target, padded, buffers, pooling };
    iterations.write(cx, &mut kernel);
    let kernel = kernel.finish();
    cx.launch(form.method(), kernel, &args);
}

fn kernel_name(cx: &LowerCx, chain: &[Link], pooling: &Option<Pooling>, form: &Form) -> String {
    let links: String = chain.iter().map(Link::name).collect();
    let pool = pooling.map_or(String::new(), |p| p.name());
    let form = match form {
        Form::Iterations(form) | Form::Shared(form) => form.name(),
        Form::Thin(form) => form.name(),
        Form::Direct | Form::Tiles(_) => String::new(),
    };
    format!("conv_v{}{links}{pool}{form}", cx.target.lanes)
}

/// How an image is cut into parallel iterations.
struct Cut {
    /// Rows of results of an iteration.
    rows: usize,
    /// Rows of the image that they need.
    rows_in: usize,
    /// The padded copy, where one is needed.
    frame: Option<Frame>,
    /// Scratch images between the links.
    buffers: usize,
    /// Blocks of output channels, each in iterations of its own.
    blocks: usize,
}

impl Cut {
    fn new(cx: &LowerCx, chain: &[Link], pooled: bool, form: &Form) -> Cut {
        let g = chain[0].geometry;
        let w = g.window;
        let frame = (w.pad != [0, 0]).then(|| Frame {
            image: g.image,
            channels: g.channels,
            left: -(w.pad[1] as i64),
            width: w.reach(1, g.out[1]),
        });
        let buffers = (chain.len() - usize::from(!pooled)).min(2);
        let widest = chain.iter().map(|l| l.geometry.outputs).max().unwrap_or(0);
        let iterations = |rows, rows_in, frame, buffers| Cut { rows, rows_in, frame: Some(frame), buffers, blocks: 1 };
        match form {
            // Results of a group wait in a scratch memory that the links after it must not use.
            Form::Iterations(w) if w.images() > 1 => {
                return iterations(w.rows(), w.rows_in(), w.frame(), if chain.len() > 1 { 3 } else { 0 });
            }
            Form::Iterations(w) => return iterations(w.rows(), w.rows_in(), w.frame(), buffers),
            Form::Thin(w) => return iterations(w.rows(), w.rows_in(), w.frame(), buffers),
            Form::Direct | Form::Shared(_) | Form::Tiles(_) => {}
        }
        let cache = cx.target.cache[1] / 2;
        let fits = |r: usize| {
            let input = frame.map_or(0, |f| w.reach(0, r) * f.pitch());
            4 * (input + buffers * r * g.out[1] * widest) <= cache
        };
        // One thread's share of large weights stays in its cache while it goes over the images.
        let small = cx.target.batch == Batch::Latency;
        let cut = |rows| if small { rows_for_small_batch(rows, fits) } else { rows_per_iteration(rows, fits) };
        let single = chain.len() == 1 && !pooled && !g.depthwise();
        let heavy = chain[0].weight_bytes() > cx.target.cache[2] / 8;
        // An image of few rows is dealt out by channels as well.
        let split = single && (heavy || small && g.out[0] / cut(g.out[0]) < 8);
        let blocks = match (split, small) {
            (false, _) => 1,
            (true, true) => g.columns().div_ceil(tile(cx.target, g.out[1], g.tile_columns()).columns()),
            (true, false) => chain[0].weight_bytes().div_ceil(cache).max(8),
        };
        let rows = match (pooled, split) {
            (true, _) => g.out[0],
            (false, true) => rows_for_large_batch(g.out[0], fits),
            (false, false) => cut(g.out[0]),
        };
        Cut { rows, rows_in: w.reach(0, rows), frame, buffers, blocks }
    }
}
