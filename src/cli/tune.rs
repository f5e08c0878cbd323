//! `ninc tune`: measures the tiles of all products of a model on an OpenCL device, and its chains of convolutions as
//! one kernel and as several, or on a processor the widths of its register tiles, and keeps the best of each. None of
//! them decides a rounding, so that results stay the same to the bit.

pub mod processor;

use super::bench::measure::Run;
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::programs::initialise;
use ninc::lower::Tunable;
use ninc::lower::target::{Fusion, GroupTile, Measured, Target};
use ninc::model::Model;
use ninc::pipeline::Device;
use ninc_runtime::opencl;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `ninc tune`.
#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// Images per run [default: the recipe's batch]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
}

/// Time of all launches that were seen, and their number.
#[derive(Clone, Copy, Default)]
struct Time {
    total: Duration,
    launches: u32,
}

impl Time {
    fn add(&mut self, took: Duration) {
        self.total += took;
        self.launches += 1;
    }

    /// Returns the seconds of one launch.
    fn mean(&self) -> f64 {
        self.total.as_secs_f64() / f64::from(self.launches.max(1))
    }
}

/// What was measured of a model on a device.
#[derive(Default)]
struct Seen {
    /// Times by product and tile.
    products: BTreeMap<String, BTreeMap<GroupTile, Time>>,
    /// Times by chain and form.
    chains: BTreeMap<String, BTreeMap<Fusion, Time>>,
    /// The tile or form that the model of costs takes.
    usual: BTreeMap<String, String>,
    /// The products of each chain.
    links: BTreeMap<String, Vec<String>>,
}

/// The best form of something.
struct Best {
    form: String,
    /// Seconds of a launch.
    time: f64,
    /// The time of the form that it has without measurements, where that was measured too.
    usual: Option<f64>,
}

/// Measures, shows what was best, and keeps it for the device.
pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let cards = match global.device() {
        Device::OpenCl(_) if global.asks_for_int8() => {
            return Err(usage("GPUs do not compute int8", "leave `--precision int8` or `--device opencl` out"));
        }
        Device::OpenCl(cards) => cards,
        Device::Cpu => return processor::run(args, global),
        Device::Interp => return Err(usage("the interpreter has no tiles to tune", "leave `--device interp` out")),
    };
    let model = global.model(&args.file)?;
    let mut devices = opencl::choose(&cards)?;
    if devices.len() > 1 {
        return Err(usage("a tile is measured on one device", format!("name one at a time: --device {}", cards[0])));
    }
    let device = devices.swap_remove(0);
    let tuned = opencl::tuned(&device);
    tuned.place()?;
    let own = model.train.as_ref().map_or(1, |t| t.batch);
    let batch = args.batch.map_or(own, |b| b as usize);
    let apart = GroupTile::ALL.into_iter().filter(|t| t.items() <= device.group_items).map(|t| (t, Fusion::Never));
    let fused = Fusion::ROWS.into_iter().map(Fusion::Rows).chain([Fusion::Auto]).map(|f| (GroupTile::ALL[0], f));
    let mut seen = Seen::default();
    let forms: Vec<_> = apart.chain(fused).collect();
    let modes: &[bool] = if model.train.is_some() { &[false, true] } else { &[false] };
    for (number, &(tile, fusion)) in forms.iter().enumerate() {
        // Each takes seconds to minutes.
        let form = if fusion == Fusion::Never { tile.name() } else { fusion.name() };
        output::note(&format!("measuring {} of {}: {form}", number + 1, forms.len()));
        for &train in modes {
            let target = Target::gpu_with(tile, Arc::default()).limited(device.local_bytes, device.group_items);
            let target = target.with_gpu(|gpu| gpu.fusion = fusion);
            seen.measure(&model, global, (train, batch), target, (tile, fusion))?;
        }
    }
    let best = seen.best();
    if best.is_empty() {
        return output::line("no kernel of this model is made of tiles: there is nothing to tune");
    }
    let mut rows = vec![["product or chain", "best", "gain"].map(String::from).to_vec()];
    for (name, Best { form, time, usual }) in &best {
        let gain = usual.map_or(String::new(), |usual| format!("x{:.2}", usual / time.max(f64::MIN_POSITIVE)));
        rows.push(vec![name.clone(), form.clone(), gain]);
    }
    output::print(&output::table(&rows))?;
    let precision = global.precision();
    let best = best.into_iter().map(|(name, best)| (Measured::key(&name, precision), Some(best.form))).collect();
    let path = tuned.keep(best)?;
    output::note(&format!("kept for {} in {}", device.name, path.display()));
    Ok(())
}

impl Seen {
    /// Measures a program whose products all have the target's tile, or whose chains all have its form.
    fn measure(
        &mut self,
        model: &Model,
        global: &GlobalOptions,
        (train, batch): (bool, usize),
        target: Target,
        (given, fusion): (GroupTile, Fusion),
    ) -> Done {
        let mut program = global.for_target(model, train, target)?;
        initialise(&mut program)?;
        // A model of costs says what it takes; that needs no second measurement.
        let rounds = if fusion == Fusion::Auto { 1 } else { 5 };
        Run { model, batch, train, rounds: Some(rounds), profile: true }.measure(&mut program)?;
        self.links.append(&mut program.report.chains);
        for (kernel, took) in program.engine.profile() {
            match program.report.origins.tunable(&kernel) {
                Some(Tunable::Product { name, tile }) if fusion == Fusion::Never => {
                    if given == GroupTile::ALL[0] {
                        self.usual.insert(name.clone(), tile.name());
                    }
                    // Narrow products shrink a tile to one that has a turn of its own.
                    if *tile == given {
                        self.products.entry(name.clone()).or_default().entry(*tile).or_default().add(took);
                    }
                }
                Some(&Tunable::Chain { ref name, rows }) => {
                    let form = Fusion::Rows(rows);
                    if fusion == Fusion::Auto {
                        self.usual.insert(name.clone(), form.name());
                    } else if fusion == form {
                        self.chains.entry(name.clone()).or_default().entry(form).or_default().add(took);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the best form of each product and of each chain.
    fn best(&self) -> BTreeMap<String, Best> {
        let mut best = BTreeMap::new();
        for (product, times) in &self.products {
            best.extend(self.least(product, times.iter().map(|(tile, time)| (tile.name(), time.mean()))));
        }
        for (chain, times) in &self.chains {
            let links = self.links.get(chain).into_iter();
            let apart =
                links.filter_map(|links| links.iter().map(|l| best.get(l).map(|b| b.time)).sum::<Option<f64>>());
            let fused = times.iter().map(|(form, time)| (form.name(), time.mean()));
            let forms: Vec<_> = fused.chain(apart.map(|time| (Fusion::Never.name(), time))).collect();
            best.extend(self.least(chain, forms.into_iter()));
        }
        best
    }

    /// Returns the form that takes least time, with the name of what has it.
    fn least(&self, name: &str, forms: impl Iterator<Item = (String, f64)> + Clone) -> Option<(String, Best)> {
        let apart = Fusion::Never.name();
        let usual = self.usual.get(name).unwrap_or(&apart);
        let usual = forms.clone().find(|(form, _)| form == usual).map(|(_, time)| time);
        let (form, time) = forms.min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((name.into(), Best { form, time, usual }))
    }
}
