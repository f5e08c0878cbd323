//! `ninc build`: compile into a library, say what came of it, write the dumps.

use super::classes;
use super::foreign;
use super::model_file::{self, input, picture_dims, result};
use super::opened::of_size;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, grouped, usage};
use super::preparation::{self, Data};
use super::programs::{has_parameters, parameters, show_dumps};
use super::weights::Renames;
use ninc::library::files::{self, BuildRequest, Library};
use ninc::library::header::identifier;
use ninc::library::levels::Level;
use ninc::library::systems::{self, SYSTEMS};
use ninc::library::table::Row;
use ninc::lower::target::Algorithm;
use ninc::model::Model;
use ninc::pipeline::{Device, Options, Stage};
use ninc_runtime::data::range::Range;
use ninc_runtime::formats::Formats;
use ninc_runtime::weights::Weights;
use std::path::PathBuf;
use std::time::Instant;

mod folder;
mod training;
mod unused;
mod web;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// A folder for the library, and for the dumps that `--emit` asks for; without it nothing is written
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace files there that no build wrote, or that were changed since, and the page of another network
    #[arg(long, requires = "output")]
    overwrite: bool,
    /// Show for each convolution which algorithms were weighed, the time predicted for each, and which was taken
    #[arg(long)]
    explain: bool,
    /// Trained weights: their preparation of pictures and their classes become part of the library
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data, to which `prepare` is fitted where the weights hold no preparation
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Minimum CPU level of the library: baseline, x86-64-v3, x86-64-v4 or native; x86-64-v3 and x86-64-v4 may have
    /// `+vnni` behind them (for int8), x86-64-v4 also `+bf16` and `+amx` (matrix units for int8 and bf16, with both)
    /// [default: x86-64-v3]
    #[arg(long, value_name = "LEVEL", value_parser = Level::named, conflicts_with = "fat")]
    cpu: Option<Level>,
    /// Code for several levels of processors, chosen when the network is created: all widths of vectors, and what
    /// multiplies the network's int8 or bf16
    #[arg(long)]
    fat: bool,
    /// The system that the library is for [default: this one]; `wasm32` makes a WebAssembly module with a script and a
    /// page for browsers
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// The training step too, so that a program can learn
    #[arg(long)]
    train: bool,
    /// The weights inside the library instead of a file beside it
    #[arg(long)]
    embed: bool,
    /// With `--target wasm32`: multiply-adds that round once where the browser can, which more engines lack
    #[arg(long)]
    relaxed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let mut global = global.clone();
    if args.explain {
        global.emit.push(Stage::Explain.into());
    }
    let model = global.model_on(&args.file, args.data.as_deref())?;
    let start = Instant::now();
    let triple = triple(args, &global)?;
    args.renames.need(args.weights.as_deref())?;
    let options = global.options_of_libraries()?;
    unused::check(args, &global, triple, &options)?;
    let mut compiled = None;
    let beside = |formats: Option<&Formats>| {
        let model = global.with_formats(&model, formats);
        compiled = (triple == web::TARGET).then(|| web::compile(args, model, &options));
    };
    let weights = weights(args, &model, &global, beside)?;
    if let Some(fitted) = weights.as_ref().and_then(|weights| weights.preparation.as_ref()) {
        of_size(fitted.form(), &input(&model)?)?;
    }
    let weights = weights.map(|weights| global.with_numbers(&model, weights)).transpose()?;
    let model = global.with_formats(&model, weights.as_ref().and_then(|w| w.formats.as_ref()));
    if model.formats.is_some() && args.train {
        return Err(usage("quantised weights do not learn", "build the training step from the float weights"));
    }
    training::check(args, &model, weights.as_ref())?;
    let levels = levels(args, triple, &model, &options);
    if triple != web::TARGET {
        unused::need_tiles(&levels, triple, &options)?;
    }
    let request = request(args, &global, &model, (triple, &levels), weights.as_ref())?;
    let library = match triple {
        web::TARGET => {
            let compiled = compiled.unwrap_or_else(|| web::compile(args, model.clone(), &options));
            web::build(args, global.threads_asked(), compiled, &request, &options)?
        }
        _ => files::build(&model, &request, &options)?,
    };
    global.times(&library.kernels.report);
    if let (Some(weights), Some(path)) = (&weights, &args.weights) {
        foreign::folded::check(weights, &parameters(&library.kernels.params), path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    match &args.output {
        None => show_dumps(&library.kernels.dumps)?,
        Some(folder) => {
            folder::fill(folder, &model, &library, args.overwrite)?;
            let name = identifier(&model.name);
            if name != model.name {
                output::note(&format!(
                    "note: `{}` cannot be a name in C programs: the library and its functions are called `{name}`",
                    model.name
                ));
            }
            if weights.is_none() && !args.train {
                // The example for OpenCL reads weights from a file.
                let examples = if request.opencl { "no examples for processors" } else { "no examples" };
                output::note(&format!("note: there are no weights and {examples} in it; `--weights FILE` adds both"));
            }
        }
    }
    if args.json {
        return json(&model, &library, seconds);
    }
    // With dumps on stdout, the summary would be in their way.
    if !global.emit.is_empty() && args.output.is_none() {
        return Ok(());
    }
    summary(&model, triple, &library, seconds)?;
    launches(&library.rows)
}

/// The weights, with the preparation of the model's text where they hold none. A network without parameters has them
/// without a file. `beside` runs while numbers of our own files are read, with the formats that these state.
fn weights(
    args: &Args,
    model: &Model,
    global: &GlobalOptions,
    beside: impl FnOnce(Option<&Formats>),
) -> Done<Option<Weights>> {
    let own = Some(&args.file).filter(|file| foreign::has_weights(file));
    let mut weights = match args.weights.as_ref().or(own) {
        Some(path) if foreign::is_foreign(path) => {
            foreign::with_fixed(&args.file, args.renames.read(path, &global.foreign)?)
        }
        Some(path) => {
            let (weights, ()) = Weights::read_beside(path, |_, formats| beside(formats))?;
            foreign::with_fixed(&args.file, args.renames.apply(weights, path)?)
        }
        None if !has_parameters(model) => Weights::default(),
        None if args.embed => {
            return Err(usage("--embed is about weights, and none are given", "add `--weights FILE`"));
        }
        None if args.data.is_some() => {
            return Err(usage(
                "--data is for weights that hold no preparation, and none are given",
                "add `--weights FILE`",
            ));
        }
        None => return Ok(None),
    };
    let steps = model.data.as_ref().filter(|data| !data.prepare.is_empty());
    let fits = steps.map_or(Ok(false), |spec| Ok::<_, Failure>(preparation::given(model, spec)?.is_none()))?;
    unused::data(args, weights.preparation.is_some(), fits)?;
    if weights.preparation.is_none() {
        weights.preparation = preparation::of_text(model, &args.file, Data::At(args.data.as_deref()), global)?;
        args.weights.iter().for_each(|_| preparation::note(&args.file, weights.preparation.as_ref()));
    }
    Ok(Some(weights))
}

/// Returns the system that the library is for.
fn triple<'a>(args: &'a Args, global: &GlobalOptions) -> Done<&'a str> {
    let here = systems::System::host().map_or("this machine", |system| system.triple);
    let triple = args.target.as_deref().unwrap_or(here);
    if systems::System::named(triple).is_some() {
        return match args.relaxed {
            true => Err(usage("--relaxed is about WebAssembly", format!("add `--target {}`", web::TARGET))),
            false => Ok(triple),
        };
    }
    if triple == web::TARGET {
        return web::check(args, global).map(|()| triple);
    }
    let known = SYSTEMS.map(|system| system.triple).join(", ");
    let help = format!("libraries can be built for {known}, and pages for {}", web::TARGET);
    Err(usage(format!("no library can be built for {triple}"), help))
}

/// Returns the levels of processors, from the least to the most demanding.
fn levels(args: &Args, triple: &str, model: &Model, options: &Options) -> Vec<Level> {
    let x86 = systems::System::named(triple).filter(|system| system.x86());
    let algorithm = options.target.as_ref().map_or(Algorithm::Auto, |target| target.algorithm);
    match (args.cpu, args.fat) {
        (Some(level), _) => vec![level],
        (None, fat) => match x86 {
            Some(system) if fat => Level::fat(*system, model.formats.is_some(), options.precision, algorithm),
            Some(_) => vec![Level::V3],
            None => vec![Level::BASELINE],
        },
    }
}

/// Makes the request: what to build. Pictures and classes are those of the weights, where these know them.
fn request<'a>(
    args: &Args,
    global: &GlobalOptions,
    model: &Model,
    (triple, levels): (&'a str, &'a [Level]),
    weights: Option<&'a Weights>,
) -> Done<BuildRequest<'a>> {
    let dims = input(model)?;
    let preparation = weights.and_then(|w| w.preparation.as_ref());
    let range = model_file::range(model, preparation.map(|p| p.form())).unwrap_or(Range::BYTES);
    if range.divisor().is_none() && weights.is_some() {
        output::note(&format!(
            "note: the library takes no pictures: the weights learned from numbers of {range}, and how pictures became \
             these is not known"
        ));
    }
    let picture = picture_dims(&dims, preparation.map(|p| p.dims())).ok();
    let picture = picture.filter(|_| range.divisor().is_some());
    // A page says itself why there is none.
    let said = weights.is_some() && triple != web::TARGET;
    if let Some([channels, ..]) = picture.filter(|[channels, ..]| said && !matches!(channels, 1 | 3)) {
        output::note(&format!(
            "note: there are no examples in it: decoded pictures have 1 or 3 channels, and the images have {channels}"
        ));
    }
    let classes = match (weights, &args.weights) {
        (Some(weights), Some(path)) if result(model).is_ok() => classes::of_weights(model, weights, path)?.all(),
        (Some(weights), Some(_)) => weights.classes.clone(),
        _ => classes::builtin(model),
    };
    Ok(BuildRequest {
        triple,
        levels,
        picture,
        reading: (model_file::pictures(model, weights), range.divisor().unwrap_or(1.0)),
        classes,
        weights,
        train: args.train,
        embed: args.embed,
        opencl: matches!(global.device(), Device::OpenCl(_)),
    })
}

/// Prints the result for programs.
fn json(model: &Model, library: &Library, seconds: f64) -> Done {
    let report = &library.kernels.report;
    output::json(&serde_json::json!({
        "network": model.name,
        "layers": model.layers.len(),
        "launches": library.rows.len(),
        "multiply_adds": report.multiply_adds,
        "parameters": report.parameters,
        "arena_bytes": library.kernels.plan.arena_bytes(1),
        "code_bytes": library.code_bytes,
        "kernels": library.rows,
        "compile_seconds": seconds,
    }))
}

/// Prints the totals of a network.
fn summary(model: &Model, triple: &str, library: &Library, seconds: f64) -> Done {
    let report = &library.kernels.report;
    let arena = library.kernels.plan.arena_bytes(1);
    let row = |name: &str, value: String| vec![name.to_string(), value];
    // What is not for this machine says how far such libraries were tried.
    let system = systems::System::named(triple).filter(|system| !system.is_native());
    let system = system.map(|system| row("system", format!("{triple} (tests of ninc: {})", system.tested.words())));
    let rows = [
        row("network", model.name.clone()),
        row("layers", model.layers.len().to_string()),
        row("kernel launches", library.rows.len().to_string()),
        row("multiply-adds", grouped(report.multiply_adds)),
        row("parameters", grouped(report.parameters as u64)),
        row("arena bytes", format!("{} for one image", grouped(arena as u64))),
        row("code bytes", grouped(library.code_bytes as u64)),
        row("compile time", format!("{:.0} ms", seconds * 1e3)),
    ];
    let rows: Vec<_> = rows.into_iter().chain(system).collect();
    output::print(&output::table(&rows))
}

/// Prints the table of launches.
fn launches(launches: &[Row]) -> Done {
    let heads = ["result", "algorithm", "tile", "executed", "bytes", "of peak"];
    let mut rows = vec![heads.map(String::from).to_vec()];
    for r in launches {
        let (tile, work) = (r.tile.clone().unwrap_or_default(), grouped(r.executed));
        let share = r.of_peak.map_or(String::new(), |share| format!("{share:.2}"));
        rows.push(vec![r.result.clone(), r.algorithm.clone(), tile, work, grouped(r.bytes), share]);
    }
    output::print(&format!("\n{}", output::table(&rows)))
}
