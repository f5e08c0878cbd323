//! Where the time goes: a row per kernel.

use super::super::options::GlobalOptions;
use super::super::output;
use ninc::kernel::count::{self, Work};
use ninc::kernel::ir::Module;
use ninc::pipeline::Program;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Kernels with less than this part of the time are not shown.
const SMALLEST: f64 = 1e-3;

/// A kernel of the profile.
pub struct Row {
    kernel: String,
    /// How it computes its result.
    algorithm: String,
    /// The micro-kernel that does most of the arithmetic.
    micro_kernel: String,
    /// Rows and columns of that one's register tile, where there is one.
    tile: Option<String>,
    launches: usize,
    /// Milliseconds of a run.
    ms: f64,
    /// Their part of the whole run.
    share: f64,
    /// Billions of operations a second as executed, and their part of the measured peak.
    gflops: f64,
    of_peak: Option<f64>,
    /// Bytes of the launch's buffers.
    bytes: usize,
}

/// Counts the floating-point operations of a run as the kernels execute them, from their loops.
pub fn executed(program: &Program, batch: usize) -> Option<u64> {
    let compiled = program.compiled.as_ref()?;
    let plan = compiled.plan.for_batch(batch);
    let prepare = if plan.prepare_each_run { &plan.prepare[..] } else { &[] };
    let launches = prepare.iter().chain(&plan.launches);
    let mut known = HashMap::new();
    let flops = launches.map(|l| {
        *known.entry(l.kernel).or_insert_with(|| {
            let name = &plan.kernels[l.kernel].name;
            compiled.work(name, batch).map_or(0, |(work, _)| flops(program, name, work))
        })
    });
    Some(flops.sum())
}

/// Operations of the network's numbers, where several products of their parts stand for one.
fn flops(program: &Program, kernel: &str, work: Work) -> u64 {
    work.flops() / program.report.origins.products(kernel) as u64
}

/// Lists launches by how and on which units they compute.
pub fn units(program: &Program, batch: usize, global: &GlobalOptions) -> Vec<Vec<String>> {
    let mut rows = vec![["launches", "algorithm", "units"].map(str::to_string).to_vec()];
    let Some(compiled) = &program.compiled else { return rows };
    let plan = compiled.plan.for_batch(batch);
    let mut counts: Vec<(usize, String, String)> = Vec::new();
    for launch in &plan.launches {
        let name = &plan.kernels[launch.kernel].name;
        let kernel = compiled.module.kernels.values().find(|kernel| kernel.name == *name);
        let called = kernel.into_iter().flat_map(|kernel| kernel.calls());
        let tiles = called.into_iter().any(|id| compiled.module.micro_kernels[id].has_tiles());
        let unit = if tiles { "matrix units (AMX)".into() } else { format!("vectors ({})", global.isa_name()) };
        let method = program.report.origins.method(name);
        match counts.iter_mut().find(|(_, m, u)| *m == method && *u == unit) {
            Some((count, ..)) => *count += 1,
            None => counts.push((1, method, unit)),
        }
    }
    rows.extend(counts.into_iter().map(|(count, method, unit)| vec![count.to_string(), method, unit]));
    rows
}

/// Lists all kernels of the profile, slowest first. `rounds` is how many runs it has seen.
pub fn rows(program: &Program, batch: usize, rounds: usize, peak: Option<f64>) -> Vec<Row> {
    let mut times: Vec<(String, usize, f64)> = Vec::new();
    for (name, time) in program.engine.profile() {
        let seconds = time.as_secs_f64() / rounds.max(1) as f64;
        match times.iter_mut().find(|t| t.0 == name) {
            Some(row) => (row.1, row.2) = (row.1 + 1, row.2 + seconds),
            None => times.push((name, 1, seconds)),
        }
    }
    let total: f64 = times.iter().map(|t| t.2).sum();
    times.retain(|t| t.2 > SMALLEST * total);
    times.sort_by(|a, b| b.2.total_cmp(&a.2));
    let row = |(kernel, launches, seconds): (String, usize, f64)| {
        let compiled = program.compiled.as_ref();
        let found =
            compiled.and_then(|c| Some((c.work(&kernel, batch)?, main_micro_kernel(&c.module, &kernel, batch)?)));
        let ((work, bytes), micro_kernel) = found.unwrap_or(((Work::default(), 0), String::new()));
        let gflops = launches as f64 * flops(program, &kernel, work) as f64 / seconds / 1e9;
        let of_peak = peak.map(|p| gflops / p);
        let origins = &program.report.origins;
        Row {
            algorithm: origins.method(&kernel),
            tile: origins.tiles.get(&micro_kernel).map(|t| format!("{}x{}", t.rows, t.columns())),
            kernel,
            micro_kernel,
            launches,
            ms: seconds * 1e3,
            share: seconds / total,
            gflops,
            of_peak,
            bytes,
        }
    };
    times.into_iter().map(row).collect()
}

/// Returns the name of the micro-kernel that does most of a kernel's work.
fn main_micro_kernel(module: &Module, kernel: &str, batch: usize) -> Option<String> {
    let kernel = module.kernels.values().find(|k| k.name == kernel)?;
    let micro_kernel = count::main_micro_kernel(&count::by_micro_kernel(module, kernel, batch))?;
    Some(module.micro_kernels[micro_kernel].name.clone())
}

/// Writes the rows as a table of text.
pub fn table(rows: &[Row], unit: &str) -> String {
    let heading = ["ms", "share", unit, "of peak", "MB", "launches", "algorithm", "tile", "kernel", "micro-kernel"];
    let mut cells = vec![heading.map(str::to_string).to_vec()];
    for row in rows {
        cells.push(vec![
            format!("{:.3}", row.ms),
            format!("{:.1}%", 100.0 * row.share),
            format!("{:.1}", row.gflops),
            row.of_peak.map_or("-".into(), |p| format!("{:.0}%", 100.0 * p)),
            format!("{:.2}", row.bytes as f64 / 1e6),
            row.launches.to_string(),
            row.algorithm.clone(),
            row.tile.clone().unwrap_or_default(),
            shortened(&row.kernel, 60),
            shortened(&row.micro_kernel, 48),
        ]);
    }
    output::table(&cells)
}

/// Cuts a name to its beginning, for which the table has room.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.into();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}

/// Converts the rows for `--json`.
pub fn json(rows: &[Row]) -> Value {
    let row = |r: &Row| {
        json!({
            "kernel": r.kernel, "algorithm": r.algorithm, "micro_kernel": r.micro_kernel, "tile": r.tile,
            "launches": r.launches, "ms": r.ms, "share": r.share,
            "gflops": r.gflops, "of_peak": r.of_peak, "bytes": r.bytes,
        })
    };
    rows.iter().map(row).collect()
}
