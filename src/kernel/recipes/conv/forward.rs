//! Forward chains: a convolution, 1x1 convolutions on top, perhaps a pooling, all in the scratch memory of one round.

use super::geometry::{Geometry, rows_per_round};
use super::pooling::Pooling;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, LeafId, Memory};
use crate::kernel::recipes::contraction::{
    Contraction, Count, Init, Tile, activation_registers, for_each, panel_loop, panels, pieces, tile,
};
use crate::kernel::recipes::copy::{Frame, Rows};
use crate::kernel::recipes::winograd::{self, Layer, Operands, Winograd};
use crate::kernel::recipes::{Function, Reduction, Stage, Window};
use crate::kernel::site::{Lowered, Site, Slot, Unsupported};
use crate::kernel::target::{Algorithm, Target};

/// One convolution of a chain with its operands.
struct Link {
    geometry: Geometry,
    weights: Slot,
    bias: Option<Slot>,
    activation: Option<Function>,
}

/// `(x, w, [b], w, [b], …) -> y`: a convolution, then 1x1 convolutions, each with its bias and activation, then perhaps a
/// pooling, without a trip to memory in between (where their weights are small enough to stay in cache).
pub fn forward(
    site: &mut Site,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    let mut chain = links(site, window, groups, stages)?;
    let last = chain.last().map(|l| l.geometry).ok_or_else(|| Unsupported("a chain without stages".into()))?;
    let result = site.result.ty.chw().ok_or_else(|| Unsupported("a result that is no image".into()))?;
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
        return Err(Unsupported(format!("{}: a convolution with the result {}", site.name, site.result.ty)));
    }
    let (x, y) = (site.operands[0].slot, site.result.slot);
    if let ([link], None) = (chain.as_slice(), pooling) {
        let layer = Layer { x, weights: link.weights, bias: link.bias, activation: link.activation };
        if winograd::forward(site, link.geometry, &layer) {
            return Ok(());
        }
    }
    // Weights that do not stay in cache are better read once by all images than once by each round.
    let heavy = chain.iter().any(|l| l.weight_bytes() > site.target.cache[2] / 8);
    if heavy && chain.len() > 1 && pooling.is_none() {
        let mut from = x;
        for (i, link) in chain.iter().enumerate() {
            let g = link.geometry;
            let to = match i + 1 == chain.len() {
                true => y,
                false => site.temp(&format!("stage{i}"), Elem::F32, 0, g.outputs * g.out[0] * g.out[1]),
            };
            launch(site, from, to, std::slice::from_ref(link), None);
            from = to;
        }
    } else {
        launch(site, x, y, &chain, pooling);
    }
    Ok(())
}

fn links(site: &Site, window: &Window, groups: usize, stages: &[Stage]) -> Result<Vec<Link>, Unsupported> {
    let mut operands = site.operands.iter();
    let mut take = || operands.next().ok_or_else(|| Unsupported(format!("{}: an operand is missing", site.name)));
    let mut x = take()?.ty.clone();
    let one = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
    let mut chain: Vec<Link> = Vec::new();
    for stage in stages {
        let weights = take()?;
        let bias = if stage.bias { Some(take()?.slot) } else { None };
        let (window, groups) = if chain.is_empty() { (window, groups) } else { (&one, 1) };
        let geometry = Geometry::new(&x, &weights.ty, window, groups)?;
        x = crate::types::Type::batched(&[geometry.outputs, geometry.out[0], geometry.out[1]]);
        chain.push(Link { geometry, weights: weights.slot, bias, activation: stage.activation });
    }
    Ok(chain)
}

impl Link {
    fn weight_bytes(&self) -> usize {
        let m = self.geometry.matrix();
        4 * m.taps * m.inner * self.geometry.outputs
    }

    /// A part of the kernel's name: all that decides its code.
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
            self.activation.map_or(String::new(), crate::kernel::recipes::contraction::function_name),
        )
    }
}

/// A link inside a kernel: where its operands are.
struct Product {
    geometry: Geometry,
    activation: Option<Function>,
    tile: Tile,
    weights: Memory,
    bias: Option<Memory>,
}

/// The rows that a product reads, and where its results go.
struct Place {
    from: Memory,
    /// Of the first pixel.
    from_at: Expr,
    /// Elements of a row of the image or of its padded copy.
    pitch: usize,
    to: Memory,
    to_at: Expr,
}

fn launch(site: &mut Site, x: Slot, y: Slot, chain: &[Link], pooling: Option<Pooling>) {
    let winograd = winograd_form(site, chain, pooling.is_some());
    let plan = Cut::new(site, chain, pooling.is_some(), winograd.as_ref());
    let mut kernel = KernelBuilder::new(kernel_name(site, chain, &pooling, winograd.as_ref()));
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let mut args = vec![x];
    let mut products = Vec::new();
    for (i, link) in chain.iter().enumerate() {
        let g = link.geometry;
        let pixels = if i == 0 { g.out[1] } else { plan.rows * g.out[1] };
        let registers = site.target.registers.saturating_sub(activation_registers(link.activation));
        let tile = tile(&Target { registers, ..site.target.clone() }, pixels, g.tile_columns());
        let form = match &winograd {
            Some(winograd) if i == 0 => winograd.weights(site, link.weights),
            _ if g.depthwise() => link.weights,
            _ => panels(site, link.weights, g.matrix(), tile),
        };
        args.push(form);
        let weights = kernel.buffer("w", Elem::F32, Access::Read);
        let bias = link.bias.map(|slot| {
            args.push(slot);
            kernel.buffer("b", Elem::F32, Access::Read)
        });
        products.push(Product { geometry: g, activation: link.activation, tile, weights, bias });
    }
    args.push(y);
    let target = kernel.buffer("y", Elem::F32, Access::Write);

    let first = &chain[0].geometry;
    let frame = plan.frame;
    let padded = frame.map(|f| (Rows::new(site, f), kernel.scratch("padded", Elem::F32, plan.rows_in * f.pitch())));
    let widest = |skip_last: bool| {
        let inner = chain.len() - usize::from(skip_last);
        chain[..inner].iter().map(|l| l.geometry.outputs * l.geometry.out[1] * plan.rows).max().unwrap_or(0)
    };
    let len = widest(pooling.is_none());
    let buffers: Vec<Memory> =
        (0..plan.buffers).map(|i| kernel.scratch(&format!("stage{i}"), Elem::F32, len)).collect();
    let memories = winograd.as_ref().map(|w| (w, w.scratch(&mut kernel)));
    let pool_leaf = pooling.map(|p| p.leaf(site));

    let per_image = first.out[0].div_ceil(plan.rows);
    let images = Expr::BATCH * per_image;
    let mut round = |k: &mut KernelBuilder, t: Expr, block: Expr| {
        let (n, row) = (t.div(per_image), t.rem(per_image) * plan.rows);
        let [height, width] = first.image;
        let top = &row * first.window.stride[0] + -(first.window.pad[0] as i64);
        let mut place = match &padded {
            Some((rows, scratch)) => {
                rows.copy(k, source, &n, top, plan.rows_in.into(), *scratch);
                (*scratch, Expr::from(0), rows.pitch())
            }
            None => (source, (&n * height + &top) * (width * first.channels), width * first.channels),
        };
        for (i, product) in products.iter().enumerate() {
            let g = &product.geometry;
            let (to, to_at) = match i + 1 == products.len() && pooling.is_none() {
                true => (target, (&n * g.out[0] + &row) * (g.out[1] * g.outputs)),
                false => (buffers[i % 2], Expr::from(0)),
            };
            let at = Place { from: place.0, from_at: place.1, pitch: place.2, to, to_at };
            if let (0, Some((winograd, memories))) = (i, &memories) {
                let Place { from, to, to_at, .. } = at;
                let (weights, bias, activation) = (product.weights, product.bias, product.activation);
                let operands = Operands { from, weights, bias, activation, to, to_at };
                let left = &row * -1 + g.out[0];
                winograd.product(site, k, &operands, *memories, &left);
            } else if i == 0 {
                window_product(site, k, product, &at, plan.rows, (&block, plan.blocks));
            } else {
                pixel_product(site, k, product, &at, plan.rows * g.out[1]);
            }
            place = (to, Expr::from(0), 0);
        }
        if let (Some(p), Some(leaf)) = (pooling, pool_leaf) {
            p.image(k, leaf, place.0, target, &n);
        }
    };
    if plan.blocks == 1 {
        kernel.parallel("t", images, |k, t| round(k, t, 0.into()));
    } else {
        // A thread keeps its channels' weights while it goes over the images.
        kernel.parallel("block", plan.blocks, |k, block| k.serial("t", images, |k, t| round(k, t, block)));
    }
    let kernel = kernel.finish();
    site.launch(kernel, &args);
}

/// Winograd's form of the first link, where it is asked for and fits the chain.
fn winograd_form(site: &Site, chain: &[Link], pooled: bool) -> Option<Winograd> {
    let g = chain[0].geometry;
    let form = match site.target.algorithm {
        Algorithm::Winograd => Winograd::new(site, g, chain.len() > 1 || pooled)?,
        Algorithm::Auto | Algorithm::Direct => return None,
    };
    (!pooled || form.rows() == g.out[0]).then_some(form)
}

fn kernel_name(site: &Site, chain: &[Link], pooling: &Option<Pooling>, winograd: Option<&Winograd>) -> String {
    let links: String = chain.iter().map(Link::name).collect();
    let pool = pooling.map_or(String::new(), |p| p.name());
    let form = winograd.map_or(String::new(), Winograd::name);
    format!("conv_v{}{links}{pool}{form}", site.target.lanes)
}

/// How an image is cut into parallel rounds.
struct Cut {
    /// Rows of results of a round.
    rows: usize,
    /// Rows of the image that they need.
    rows_in: usize,
    /// The padded copy, where one is needed.
    frame: Option<Frame>,
    /// Scratch images between the links.
    buffers: usize,
    /// Blocks of output channels, each in rounds of its own.
    blocks: usize,
}

impl Cut {
    fn new(site: &Site, chain: &[Link], pooled: bool, winograd: Option<&Winograd>) -> Cut {
        let g = chain[0].geometry;
        let w = g.window;
        let reach = |d: usize, n: usize| (n - 1) * w.stride[d] + w.dilation[d] * (w.kernel[d] - 1) + 1;
        let frame = (w.pad != [0, 0]).then(|| Frame {
            image: g.image,
            channels: g.channels,
            left: -(w.pad[1] as i64),
            width: reach(1, g.out[1]),
        });
        let buffers = (chain.len() - usize::from(!pooled)).min(2);
        let widest = chain.iter().map(|l| l.geometry.outputs).max().unwrap_or(0);
        if let Some(w) = winograd {
            return Cut { rows: w.rows(), rows_in: w.rows_in(), frame: Some(w.frame()), buffers, blocks: 1 };
        }
        let cache = site.target.cache[1] / 2;
        let fits = |r: usize| {
            let input = frame.map_or(0, |f| reach(0, r) * f.pitch());
            4 * (input + buffers * r * g.out[1] * widest) <= cache
        };
        // One thread's share of large weights stays in its cache while it goes over the images.
        let split = chain.len() == 1 && !pooled && !g.depthwise() && chain[0].weight_bytes() > site.target.cache[2] / 8;
        let blocks = if split { chain[0].weight_bytes().div_ceil(cache).max(8) } else { 1 };
        let rows = match (pooled, split) {
            (true, _) => g.out[0],
            (false, true) => {
                (1..=g.out[0]).rev().find(|&r| g.out[0].is_multiple_of(r) && (r == 1 || fits(r))).unwrap_or(1)
            }
            (false, false) => rows_per_round(g.out[0], fits),
        };
        Cut { rows, rows_in: reach(0, rows), frame, buffers, blocks }
    }
}

/// The first product of a chain: panels of output channels outermost, their weights stay in cache over the rows.
fn window_product(site: &mut Site, k: &mut KernelBuilder, p: &Product, at: &Place, rows: usize, block: (&Expr, usize)) {
    let (g, w, width) = (&p.geometry, &p.geometry.window, p.tile.columns());
    let groups = if g.depthwise() { 1 } else { g.groups };
    let columns = g.outputs / groups;
    let panels = columns.div_ceil(width);
    let depth = w.kernel[0] * w.kernel[1] * g.inner();
    for_each(k, "g", groups, |k, group| {
        panel_loop(k, columns, width, block, |k, panel, size| {
            let column = &group * columns + &panel * width;
            let weights = match g.depthwise() {
                true => p.weights.at(&column),
                false => p.weights.at((&group * panels + &panel) * (depth * width)),
            };
            let channel = if g.depthwise() { column.clone() } else { &group * g.inner() };
            k.serial("r", rows, |k, r| {
                pieces(k, "m", g.out[1], p.tile.rows, |k, m, height| {
                    let leaf = window_leaf(site, p, at.pitch, height, size);
                    let from = &at.from_at + &r * (w.stride[0] * at.pitch) + &m * (w.stride[1] * g.channels) + &channel;
                    let to = &at.to_at + (&r * g.out[1] + &m) * g.outputs + &column;
                    call(k, leaf, at.from.at(from), weights.clone(), at.to.at(to), p.bias.map(|b| b.at(&column)));
                });
            });
        });
    });
}

/// Contraction over the window: kh sums of kw·C consecutive terms where the taps of a row are neighbours.
fn window_leaf(site: &mut Site, p: &Product, pitch: usize, rows: usize, columns: usize) -> LeafId {
    let (g, w) = (&p.geometry, &p.geometry.window);
    let ([kh, kw], inner) = (w.kernel, g.inner());
    let step = if g.depthwise() { g.outputs } else { p.tile.columns() };
    let together = g.groups == 1 && w.dilation[1] == 1;
    let counts = if together { [kh, 1, kw * inner] } else { [kh, kw, inner] };
    let contraction = Contraction {
        lanes: p.tile.lanes,
        rows,
        columns,
        counts: counts.map(Count::Fixed),
        a: [w.dilation[0] * pitch, w.dilation[1] * g.channels, 1].map(|s| s as i64),
        a_row: (w.stride[1] * g.channels) as i64,
        a_columns: g.depthwise(),
        b: [kw * inner * step, inner * step, step].map(|s| s as i64),
        b_padded: !g.depthwise(),
        c_row: g.outputs as i64,
        c_vector: p.tile.lanes.into(),
        init: if p.bias.is_some() { Init::Bias } else { Init::Zero },
        activation: p.activation,
    };
    contraction.leaf(site.module())
}

/// A 1x1 product between scratch images: all pixels of the round are alike.
fn pixel_product(site: &mut Site, k: &mut KernelBuilder, p: &Product, at: &Place, pixels: usize) {
    let (g, width) = (&p.geometry, p.tile.columns());
    panel_loop(k, g.outputs, width, (&0.into(), 1), |k, panel, size| {
        let column = &panel * width;
        pieces(k, "m", pixels, p.tile.rows, |k, m, height| {
            let contraction = Contraction {
                lanes: p.tile.lanes,
                rows: height,
                columns: size,
                counts: [1, 1, g.channels].map(Count::Fixed),
                a: [0, 0, 1],
                a_row: g.channels as i64,
                a_columns: false,
                b: [0, 0, width as i64],
                b_padded: true,
                c_row: g.outputs as i64,
                c_vector: p.tile.lanes.into(),
                init: if p.bias.is_some() { Init::Bias } else { Init::Zero },
                activation: p.activation,
            };
            let leaf = contraction.leaf(site.module());
            let from = at.from.at(&at.from_at + &m * g.channels);
            let weights = p.weights.at(&panel * (g.channels * width));
            let to = at.to.at(&at.to_at + &m * g.outputs + &column);
            call(k, leaf, from, weights, to, p.bias.map(|b| b.at(&column)));
        });
    });
}

fn call(k: &mut KernelBuilder, leaf: LeafId, a: Arg, b: Arg, c: Arg, bias: Option<Arg>) {
    let mut args = vec![a, b, c];
    args.extend(bias);
    k.call(leaf, args);
}
