//! Options that would change nothing in what is built: refused, because whoever gives them expects something.

use super::{Args, web};
use crate::cli::foreign;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{Done, usage};
use ninc::library::levels::Level;
use ninc::library::systems::System;
use ninc::lower::target::Algorithm;
use ninc::pipeline::{Device, Options};

/// Refuses options that the target or the files have no use for.
pub fn check(args: &Args, global: &GlobalOptions, triple: &str, options: &Options) -> Done {
    let page = triple == web::TARGET;
    let kind = if page { "page" } else { "library" };
    if let Some(option) = global.about_this_machine().filter(|_| page || args.cpu != Some(Level::NATIVE)) {
        let help = match page {
            true => "leave it out: a page runs on any processor",
            false => "`--cpu LEVEL` says what a library may use, `--cpu native` all that this machine has",
        };
        return Err(usage(format!("{option} is about this machine, and the {kind} is not built for it alone"), help));
    }
    if global.device() == Device::Interp {
        return Err(usage(format!("--device interp changes nothing in a {kind}"), "leave it out"));
    }
    if page && splits(options) {
        return Err(usage(
            format!("--algorithm split does not go with --target {triple}: WebAssembly has no matrix units"),
            "leave it out",
        ));
    }
    let files = [Some(&args.file), args.weights.as_ref()];
    if global.foreign.channels.is_some() && !files.into_iter().flatten().any(|file| foreign::is_of_caffe(file)) {
        return Err(usage("--channels is for files of Caffe, and none is given", "leave it out"));
    }
    Ok(())
}

/// Refuses data to which nothing is fitted: `held` says that the weights hold their preparation, and `fits` that the
/// text's has steps to be fitted.
pub fn data(args: &Args, held: bool, fits: bool) -> Done {
    // Data say what a network of another program does not.
    if args.data.is_none() || foreign::is(&args.file) {
        return Ok(());
    }
    let why = match (held, fits) {
        (true, _) => "and these hold one",
        (false, false) => "and the model has no steps that are fitted",
        (false, true) => return Ok(()),
    };
    Err(usage(format!("--data is for weights that hold no preparation, {why}"), "leave it out"))
}

fn splits(options: &Options) -> bool {
    options.target.as_ref().is_some_and(|target| target.algorithm == Algorithm::Split)
}

/// Refuses `--algorithm split` for levels without matrix units.
pub fn need_tiles(levels: &[Level], triple: &str, options: &Options) -> Done {
    let Some(target) = options.target.as_ref().filter(|_| splits(options)) else { return Ok(()) };
    if levels.iter().any(|level| level.has_tiles(target)) {
        return Ok(());
    }
    if !System::named(triple).is_some_and(System::has_tiles) {
        return Err(usage(
            format!("--algorithm split needs matrix units for bf16 (AMX), which no library for {triple} can use"),
            "leave it out, or build for Linux on x86-64",
        ));
    }
    Err(usage(
        "--algorithm split needs matrix units for bf16 (AMX), and the library is for processors without",
        format!("build it for those that have them: --cpu {}, or --fat", Level::V4_AMX.name()),
    ))
}
