//! How a training step gets faster with several processes: measured, where `mpirun` has started them, or predicted.

use super::super::options::GlobalOptions;
use super::super::output::{self, Done, usage};
use super::super::programs::initialise;
use super::measure::Run;
use super::{Args, batch_of};
use ninc::model::Model;
use ninc::pipeline::Program;
use ninc_runtime::Error;
use ninc_runtime::exec::bundles;
use ninc_runtime::plan::Plan;
use ninc_runtime::shares::{self, images_of, nodes, of_rank};
use std::time::Duration;

/// A network of processes, as `--plan` describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    ranks: usize,
    /// Seconds until a message arrives.
    latency: f64,
    /// Bytes a second that a rank sends.
    bandwidth: f64,
}

/// A cluster as `--plan` takes it.
const FORM: &str = "ranks=64,latency=2us,bandwidth=12GB/s";

/// Reads a cluster; an error says the form.
pub fn cluster(text: &str) -> Result<Cluster, String> {
    read(text).map_err(|problem| format!("{problem}; give it as `{FORM}`"))
}

fn read(text: &str) -> Result<Cluster, String> {
    let mut cluster = Cluster { ranks: 0, latency: -1.0, bandwidth: 0.0 };
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=VALUE"))?;
        let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(value.len());
        let (number, unit) = value.split_at(end);
        let what = if name.trim() == "ranks" { "a number of ranks" } else { "a number with a unit" };
        let number: f64 = number.parse().map_err(|_| format!("`{value}` is not {what}"))?;
        let factor = |units: &[(&str, f64)]| {
            let found = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
            let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            found.ok_or_else(|| format!("`{unit}` is not a unit of {name}: {}", known.join(", ")))
        };
        match name.trim() {
            "ranks" if unit.is_empty() && (1.0..=65536.0).contains(&number) && number.fract() == 0.0 => {
                cluster.ranks = number as usize;
            }
            "ranks" => return Err(format!("`{value}` is not a number of ranks from 1 to 65536")),
            "latency" => cluster.latency = number * factor(&[("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)])?,
            "bandwidth" => {
                let units = [("MB/s", 1e6), ("GB/s", 1e9), ("Mbit/s", 1.25e5), ("Gbit/s", 1.25e8)];
                cluster.bandwidth = number * factor(&units)?;
            }
            other => return Err(format!("`{other}` is not one of ranks, latency, bandwidth")),
        }
    }
    match cluster {
        Cluster { ranks: 0, .. } => Err("it lacks ranks=N".into()),
        Cluster { latency, .. } if latency < 0.0 => Err("it lacks latency=TIME".into()),
        Cluster { bandwidth, .. } if bandwidth <= 0.0 => Err("it lacks bandwidth=BYTES/s".into()),
        cluster => Ok(cluster),
    }
}

/// One row of the table.
struct Row {
    ranks: usize,
    /// Seconds of a step, of exchanges in it, and of those that nothing hides.
    step: f64,
    exchanged: f64,
    waited: f64,
    /// Bytes that a rank sends in a step.
    bytes: f64,
}

fn print(batch: usize, rows: &[Row]) -> Done {
    let heading = ["ranks", "images/s", "efficiency", "ms/step", "MB/step", "ms exchanged", "ms not hidden"];
    let mut table = vec![heading.map(String::from).to_vec()];
    let alone = rows.first().map_or(0.0, |row| row.step);
    for row in rows {
        table.push(vec![
            row.ranks.to_string(),
            format!("{:.1}", batch as f64 / row.step),
            format!("{:.1} %", 100.0 * alone / row.step / row.ranks as f64),
            format!("{:.3}", row.step * 1e3),
            format!("{:.3}", row.bytes / 1e6),
            format!("{:.3}", row.exchanged * 1e3),
            format!("{:.3}", row.waited * 1e3),
        ]);
    }
    output::print(&output::table(&table))
}

/// Rounds that take some seconds.
fn rounds(args: &Args, step: f64) -> u32 {
    args.rounds.unwrap_or((8.0 / step.max(1e-6)).clamp(5.0, 30.0) as u32)
}

fn program(global: &GlobalOptions, model: &Model) -> Done<Program> {
    let mut program = global.silent().training(model)?;
    initialise(&mut program)?;
    Ok(program)
}

fn run<'a>(model: &'a Model, batch: usize, rounds: Option<u32>) -> Run<'a> {
    Run { model, batch, train: true, rounds, profile: false }
}

/// Measures a step of one process, with the threads of a rank, and of all ranks together.
pub fn measure(args: &Args, global: &GlobalOptions, model: &Model) -> Done {
    if args.json || args.profile || args.save.is_some() || args.compare.is_some() {
        return Err(usage("several processes measure how they scale, as a table", "measure a kernel in one process"));
    }
    let Some(ranks) = &global.ranks else { return Err(Error::new("one process does not scale").into()) };
    let batch = batch_of(args, model);
    let mut alone = 0.0;
    if ranks.rank() == 0 {
        let mut program = program(&global.alone(), model)?;
        let first = run(model, batch, Some(1)).measure(&mut program)?.median();
        alone = run(model, batch, Some(rounds(args, first))).measure(&mut program)?.median();
    }
    // The others wait for it, and all make the same number of rounds.
    let alone = ranks.from_first(f64::to_ne_bytes(alone).to_vec())?;
    let alone = f64::from_ne_bytes(*alone.first_chunk::<8>().unwrap_or(&[0; 8]));
    let rounds = rounds(args, alone);
    let mut program = program(global, model)?;
    run(model, batch, Some(1)).measure(&mut program)?;
    let before = ranks.cost();
    let mut measured = run(model, batch, Some(rounds));
    let times = measured.measure(&mut program)?;
    let (after, steps) = (ranks.cost(), f64::from(rounds) + super::measure::WARM as f64);
    let each = |before: Duration, after: Duration| (after - before).as_secs_f64() / steps;
    let one = Row { ranks: 1, step: alone, exchanged: 0.0, waited: 0.0, bytes: 0.0 };
    let all = Row {
        ranks: ranks.count(),
        step: times.median(),
        exchanged: each(before.busy, after.busy),
        waited: each(before.waited, after.waited),
        bytes: (after.bytes - before.bytes) as f64 / steps,
    };
    let threads = output::counted(global.threads(), "thread");
    output::line(&format!("{}: steps of {batch} images, {threads} a rank", model.name))?;
    print(batch, &[one, all])
}

/// Predicts steps on a cluster from those of this process.
pub fn plan(args: &Args, global: &GlobalOptions, model: &Model, cluster: Cluster) -> Done {
    let batch = batch_of(args, model);
    let mut program = program(global, model)?;
    let plan = program.compiled.as_ref().map(|compiled| compiled.plan.clone());
    let shared = plan.filter(|plan| plan.shares.is_some());
    let plan = shared.ok_or_else(|| usage("only a processor's training is shared", "leave out --device"))?;
    let whole = run(model, batch, args.rounds).measure(&mut program)?.median();
    let (count, size) = (shares::count(batch), shares::images(batch));
    // Threads compute a share each at a time. Another batch with shares of the same size says what a step costs beside
    // its shares.
    let abreast = global.threads().min(count);
    let turns = count.div_ceil(abreast);
    let less = (turns * 9).div_ceil(16);
    let mut turn = whole / turns as f64;
    if less < turns && shares::images(less * abreast * size) == size {
        let part = run(model, less * abreast * size, args.rounds).measure(&mut program)?.median();
        turn = ((whole - part) / (turns - less) as f64).clamp(0.0, turn);
    }
    let beside = whole - turn * turns as f64;
    let mut rows = vec![Row { ranks: 1, step: whole, exchanged: 0.0, waited: 0.0, bytes: 0.0 }];
    let mut ranks = 2;
    while rows.last().is_some_and(|row| row.ranks < cluster.ranks) {
        let most = Cluster { ranks: ranks.min(cluster.ranks), ..cluster };
        rows.push(predicted(&plan, batch, (beside, turn, abreast), most));
        ranks *= 2;
    }
    let network = format!("{} us, {} GB/s", cluster.latency * 1e6, cluster.bandwidth / 1e9);
    let threads = output::counted(global.threads(), "thread");
    output::line(&format!("{}: predicted steps of {batch} images, {threads} a rank, {network}", model.name))?;
    print(batch, &rows)?;
    let full = of_rank(count, 0, cluster.ranks);
    if images_of(full, batch).is_empty() || count < cluster.ranks {
        output::note(&format!(
            "note: a batch of {batch} has {count} shares, so more ranks than that have no work: take a larger batch"
        ));
    }
    Ok(())
}

/// Predicts a step of several processes from two times in seconds: `beside` passes outside shares, and `turn` while one
/// process computes `abreast` shares at once.
fn predicted(plan: &Plan, batch: usize, (beside, turn, abreast): (f64, f64, usize), cluster: Cluster) -> Row {
    let (count, Cluster { ranks, latency, bandwidth }) = (shares::count(batch), cluster);
    let messages = bundles(plan);
    let length: usize = messages.iter().sum();
    let most = (0..ranks).map(|rank| of_rank(count, rank, ranks).len()).max().unwrap_or(0);
    let held = (0..ranks).map(|rank| nodes(of_rank(count, rank, ranks)).len()).max().unwrap_or(0);
    let own = length as f64 / ranks as f64;
    let bytes = held as f64 * (length as f64 - own) + own * (ranks - 1) as f64;
    let each = 2.0 * (ranks - 1) as f64 * latency;
    let exchanged = bytes / bandwidth + messages.len() as f64 * each;
    // Sums that are complete before the last share ends travel during its backward pass, two thirds of a turn's time.
    // Where images wait for statistics of the batch, nothing travels beside computation.
    let beside_shares = if plan.shares.as_ref().is_some_and(|shares| shares.whole) { 0.0 } else { turn * 2.0 / 3.0 };
    let last = messages.last().map_or(0.0, |last| bytes * *last as f64 / length.max(1) as f64 / bandwidth + each);
    let waited = (exchanged - beside_shares).max(last) + each;
    // With fewer shares than threads, several threads compute one.
    let turns = if most < abreast { most as f64 / abreast as f64 } else { most.div_ceil(abreast) as f64 };
    Row { ranks, step: beside + turn * turns + waited, exchanged, waited, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read_with_their_units() {
        let right = Cluster { ranks: 64, latency: 2e-6, bandwidth: 12e9 };
        let found = cluster(FORM).expect("well-formed");
        assert!(found.ranks == 64 && (found.latency - right.latency).abs() < 1e-12 && found.bandwidth == 12e9);
        for wrong in [
            "ranks=64",
            "ranks=0,latency=1us,bandwidth=1GB/s",
            "latency=2us,bandwidth=12GB/s",
            "ranks=2,x=1",
            "ranks=2,latency=2m,bandwidth=1GB/s",
            "ranks=1.5,latency=1us,bandwidth=1GB/s",
            "ranks=2,latency=1us,bandwidth=0GB/s",
        ] {
            assert!(cluster(wrong).is_err_and(|said| said.contains(FORM)), "{wrong}");
        }
        let said = cluster("ranks=x,latency=1us,bandwidth=1GB/s").expect_err("no number");
        assert!(said.starts_with("`x` is not a number of ranks; give it as `ranks="), "{said}");
    }
}
