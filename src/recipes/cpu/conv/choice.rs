//! Which algorithm computes a convolution: candidates with their predicted cycles, the cheapest wins.

use crate::lower::cost::{self, Candidate, Choice};
use crate::lower::target::{Algorithm, Batch, Target};
use crate::lower::tile::tile;
use crate::lower::{LowerCx, Method};
use crate::recipes::common::conv::{Geometry, Link};
use crate::recipes::common::winograd::applies;
use crate::recipes::cpu::tiles::{self, Unit};
use crate::recipes::cpu::winograd::{Thin, Winograd};
use crate::types::Format;

/// A way to compute the first convolution of a chain.
#[derive(Clone, Debug)]
pub enum Form {
    Direct,
    /// Winograd's form, in iterations with the chain after it.
    Iterations(Winograd),
    /// Winograd's form, in launches of its own: threads share an image.
    Shared(Winograd),
    /// Winograd's form for few input channels, in iterations.
    Thin(Thin),
    /// Tiles of matrix units that multiply this, with the chain after it.
    Tiles(Unit),
}

impl Form {
    /// Returns the method, for reports.
    pub fn method(&self) -> Method {
        match self {
            Form::Direct => Method::Direct,
            Form::Iterations(form) | Form::Shared(form) => form.method(),
            Form::Thin(form) => form.method(),
            Form::Tiles(unit) => unit.method(),
        }
    }

    /// Has its result the bits of another form's?
    fn rounds_like(&self, other: &Form) -> bool {
        self.method() == other.method() && matches!(self, Form::Thin(_)) == matches!(other, Form::Thin(_))
    }
}

/// What surrounds the convolution.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Whether 1x1 convolutions or a pooling follow in the same iteration, which therefore has equal rows.
    pub chained: bool,
    /// Whether a pooling follows.
    pub pooled: bool,
    /// Most output channels in the chain.
    pub widest: usize,
    /// Whether pairs of bf16 are multiplied in one instruction.
    pub pairs: bool,
    /// What matrix units can multiply to compute the chain.
    pub tiles: Option<Unit>,
    /// The 1x1 convolutions after this one.
    pub rest: Rest,
}

/// How the 1x1 convolutions of a chain are computed where matrix units may multiply them in parts, whatever computes
/// the convolution before them. Without these units, and without a rest, all is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// What they multiply if they are split although the convolution before them is not: their image goes through
    /// memory.
    pub cut: Option<Unit>,
    /// Cycles of them after such a convolution.
    after_floats: f64,
    /// Cycles of them in one launch with a convolution that is split.
    after_split: f64,
}

impl Rest {
    /// Weighs the launches of those after `convolution`, which read their weights once for each of its iterations.
    pub fn new(cx: &mut LowerCx, convolution: &Link, rest: &[Link], iterations: usize) -> Rest {
        let found = rest.first().and_then(|first| Some((first, tiles::unit_of(cx, first.weights, rest)?)));
        let rounded = convolution.epilogue.round == Some(Format::Tf32);
        let fits = |unit| unit == Unit::Split || unit == Unit::Tf32 && rounded;
        let Some((first, unit)) = found.filter(|(_, unit)| fits(*unit)) else { return Rest::default() };
        let (target, g) = (cx.target, first.geometry);
        let sum = |cycles: &dyn Fn(&Geometry) -> f64| -> f64 { rest.iter().map(|link| cycles(&link.geometry)).sum() };
        let (whole, split) = (sum(&|g| direct(target, g, false, iterations)), sum(&|g| tiles::cycles(target, unit, g)));
        // Written, for which its lines are read first, and read again; what lies between is more than the second level
        // holds.
        let image = 3 * 4 * g.channels * g.image[0] * g.image[1];
        let apart = split + cost::stream(target, image, target.cache[1]);
        let cut = target.algorithm == Algorithm::Split || apart < whole;
        let candidate = |name: &str, cycles| Candidate { name: name.into(), cycles };
        record(cx, &g, vec![candidate("direct", whole), candidate("split, apart", apart)], cut.into());
        Rest { cut: cut.then_some(unit), after_floats: if cut { apart } else { whole }, after_split: split }
    }
}

/// Sizes of tiles for windows of `r` taps: with errors of at most six times those of the direct form, as a test of the
/// matrices measures; others only for who asks for the algorithm.
fn sizes(r: usize, asked: bool) -> &'static [usize] {
    match r {
        2 | 4 => &[2, 3],
        3 => &[2, 3, 4],
        5 => &[2, 4],
        6 | 7 if asked => &[2],
        _ => &[],
    }
}

/// The cheapest form for the target, by the cost model or as the user asked.
pub fn choose(cx: &mut LowerCx, g: &Geometry, around: Around) -> Form {
    let target = cx.target;
    let mut found = weigh(target, g, around);
    let mut taken = cheapest(target, &found, around);
    if let Some(plain) = target.rounds_like() {
        let mut others = weigh(&plain, g, around);
        let decided = others.swap_remove(cheapest(&plain, &others, around));
        let fits = found.iter().enumerate().filter(|(_, (.., form))| form.rounds_like(&decided.2));
        let cheapest = fits.min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1)).map(|(at, _)| at);
        // Where no form with its bits fits these tiles, it keeps its own.
        taken = cheapest.unwrap_or_else(|| {
            found.push(decided);
            found.len() - 1
        });
    }
    if found.len() == 1 {
        return Form::Direct;
    }
    let list = found.iter().map(|(name, cycles, _)| Candidate { name: name.clone(), cycles: *cycles });
    record(cx, g, list.collect(), taken);
    found.swap_remove(taken).2
}

/// All forms with their names and predicted cycles, the direct one first.
fn weigh(target: &Target, g: &Geometry, around: Around) -> Vec<(String, f64, Form)> {
    let asked = target.algorithm == Algorithm::Winograd;
    let mut found = vec![("direct".to_string(), direct(target, g, around.pairs, 1), Form::Direct)];
    let direct_only = target.algorithm == Algorithm::Direct || target.batch == Batch::Training && !asked;
    if !direct_only && applies(g) {
        sizes(g.window.kernel[0], asked).iter().for_each(|&m| found.extend(candidates(target, g, m, around)));
    }
    let rest = around.rest;
    found.iter_mut().for_each(|(_, cycles, _)| *cycles += rest.after_floats);
    let tiles = around.tiles.filter(|_| !(asked && found.len() > 1));
    found.extend(
        tiles.map(|unit| (unit.word().into(), tiles::cycles(target, unit, g) + rest.after_split, Form::Tiles(unit))),
    );
    found
}

/// The index of the form that is taken: one that the user asked for wherever it applies.
fn cheapest(target: &Target, found: &[(String, f64, Form)], around: Around) -> usize {
    let asked = target.algorithm == Algorithm::Winograd;
    let first = match around.tiles {
        Some(Unit::Split | Unit::Tf32) if target.algorithm == Algorithm::Split => found.len() - 1,
        tiles => usize::from(asked && tiles.is_none()),
    };
    let cheapest = |a: &usize, b: &usize| found[*a].1.total_cmp(&found[*b].1);
    (first..found.len()).min_by(cheapest).unwrap_or(0)
}

fn record(cx: &mut LowerCx, g: &Geometry, candidates: Vec<Candidate>, taken: usize) {
    let [kh, kw] = g.window.kernel;
    let batch = if cx.target.batch == Batch::Latency { "few images" } else { "batches" };
    let shape = format!("{}x{}x{} {kh}x{kw} to {}", g.channels, g.image[0], g.image[1], g.outputs);
    let what = format!("{}: {shape}, {batch}", cx.name);
    cx.builder.choices.push(Choice { what, candidates, taken });
}

/// The forms with tiles of `m` x `m` results that fit.
fn candidates(target: &Target, g: &Geometry, m: usize, around: Around) -> Vec<(String, f64, Form)> {
    let (g, r) = (*g, g.window.kernel[0]);
    let mut found = Vec::new();
    if let Some(thin) = Thin::new(target, g, m, around.chained).filter(|_| !around.pooled) {
        found.push((format!("F({m}, {r}) few channels"), cost::operations(thin.operations()), Form::Thin(thin)));
    }
    if target.batch == Batch::Latency
        && !around.pooled
        && let Some(form) = Winograd::small_batch(target, g, m)
    {
        let cycles = form.cycles(target, 1) + cost::launches(2);
        found.push((format!("F({m}, {r}) {} shared", form.cut_name()), cycles, Form::Shared(form)));
        return found;
    }
    let group = Winograd::group(target, g, m).filter(|_| !around.pooled && target.batch == Batch::Throughput);
    let row_bytes = if around.chained { 4 * g.out[1] * around.widest } else { 0 };
    let rows = || {
        let form = Winograd::iterations(target, g, m, around.chained, row_bytes);
        form.or_else(|| Winograd::iterations(target, g, m, around.chained, 0))
    };
    if let Some(form) = group.or_else(rows).filter(|form| !around.pooled || form.rows() == g.out[0]) {
        let per_image = if form.images() > 1 { 1 } else { g.out[0].div_ceil(form.rows()) };
        let cycles = form.cycles(target, per_image) / form.images() as f64;
        found.push((format!("F({m}, {r}) {}", form.cut_name()), cycles, Form::Iterations(form)));
    }
    found
}

/// Cycles of the direct form of an image, which reads all weights `reads` times.
fn direct(target: &Target, g: &Geometry, pairs: bool, reads: usize) -> f64 {
    let k = g.window.kernel[0] * g.window.kernel[1] * g.inner();
    // Pairs: two terms in a multiply-add.
    let k = if pairs { k.div_ceil(2) } else { k };
    let columns = g.tile_columns();
    let row = cost::product(target, tile(target, g.out[1], columns), g.out[1], columns, k);
    let groups = if g.depthwise() { 1 } else { g.groups };
    let weights = 4 * k * g.outputs;
    (row * (g.out[0] * groups) as f64).max(cost::stream(target, reads * weights, weights))
}
