//! `ninc tune`: measures the tiles of all products of a model on an OpenCL device, and keeps the best of each. Tiles decide no
//! rounding, so that results stay the same to the bit.

use super::bench::measure::Run;
use super::common::{Common, initialise};
use super::output::{self, Done, usage};
use ninc::kernel::target::{GroupTile, Target};
use ninc::model::Model;
use ninc::pipeline::Device;
use ninc_runtime::opencl;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    /// Images per run; the recipe's batch unless said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
}

/// A product: the time that all its launches took with each tile, and the tile that it has unmeasured.
#[derive(Default)]
struct Times {
    tiles: BTreeMap<GroupTile, Duration>,
    usual: Option<GroupTile>,
}

pub fn run(args: &Args, common: &Common) -> Done {
    let Device::OpenCl(cards) = common.device() else {
        let help = "add `--device opencl`; on processors a model of costs chooses, which `ninc build --explain` shows";
        return Err(usage("only OpenCL devices have tiles to tune", help));
    };
    let model = common.model(&args.file)?;
    let mut devices = opencl::choose(&cards)?;
    if devices.len() > 1 {
        return Err(usage("a tile is measured on one device", format!("name one at a time: --device {}", cards[0])));
    }
    let device = devices.swap_remove(0);
    let own = model.train.as_ref().map_or(1, |t| t.batch);
    let batch = args.batch.map_or(own, |b| b as usize);
    let mut times = BTreeMap::new();
    for train in [false, true] {
        if !train || model.train.is_some() {
            for tile in GroupTile::ALL.into_iter().filter(|t| t.items() <= device.group_items) {
                let target = Target::gpu_with(tile, Arc::default()).limited(device.local_bytes, device.group_items);
                time(&model, common, train, batch, target, &mut times)?;
            }
        }
    }
    let mut rows = vec![["product", "tile", "gain"].map(String::from).to_vec()];
    let mut best = BTreeMap::new();
    for (product, Times { tiles, usual }) in &times {
        let Some((tile, time)) = tiles.iter().min_by_key(|(_, time)| **time) else { continue };
        let before = usual.and_then(|usual| tiles.get(&usual)).unwrap_or(time).as_secs_f64();
        let gain = before / time.as_secs_f64().max(f64::MIN_POSITIVE);
        rows.push(vec![product.clone(), tile.name(), format!("x{gain:.2}")]);
        best.insert(product.clone(), tile.name());
    }
    if best.is_empty() {
        return output::line("no kernel of this model is made of tiles: there is nothing to tune");
    }
    output::print(&output::table(&rows))?;
    let path = opencl::keep_tuned(&device, best)?;
    output::note(&format!("kept for {} in {}", device.name, path.display()));
    Ok(())
}

/// Measures a program whose products all have the target's tile.
fn time(
    model: &Model,
    common: &Common,
    train: bool,
    batch: usize,
    target: Target,
    times: &mut BTreeMap<String, Times>,
) -> Done {
    let tile = target.gpu.as_ref().map(|gpu| gpu.tile);
    let mut program = common.for_target(model, train, target)?;
    initialise(&mut program)?;
    Run { model, batch, train, rounds: Some(5), profile: true }.measure(&mut program)?;
    for (kernel, took) in program.engine.profile() {
        // A product's kernel is called by its shape and its tile.
        let Some((product, name)) = kernel.rsplit_once("_tile") else { continue };
        let Some(found) = GroupTile::named(name) else { continue };
        let times = times.entry(product.into()).or_default();
        if tile == Some(GroupTile::ALL[0]) {
            times.usual = Some(found);
        }
        // Narrow products shrink a tile to one that has a turn of its own.
        if Some(found) == tile {
            *times.tiles.entry(found).or_default() += took;
        }
    }
    Ok(())
}
