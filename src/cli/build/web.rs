//! `ninc build --target wasm32`: what a page needs beyond a library's request.

use super::Args;
use crate::cli::model_file;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, usage};
use crate::cli::run::maps::of_classes;
use ninc::library::files::{BuildRequest, Library};
use ninc::library::web::{self, Page};
use ninc::model::Model;
use ninc::pipeline::{Kernels, Options, Stage};
use ninc_runtime::Result;
use ninc_runtime::train::Scores;

pub use ninc::library::web::TARGET;

/// The most threads of a page.
const MOST_THREADS: u16 = 32;

/// Refuses options that a page has no use for.
pub fn check(args: &Args, global: &GlobalOptions) -> Done {
    let many = global.threads_asked().is_some_and(|threads| threads > MOST_THREADS);
    let given = [
        (many, "--threads", "a page has at most 32 threads"),
        (args.cpu.is_some(), "--cpu", "a page runs on any processor: leave it out"),
        (args.fat, "--fat", "a page runs on any processor: leave it out"),
        (args.train, "--train", "pages only classify; build the training step for another target"),
        (args.embed, "--embed", "the weights are inside the module anyway: leave it out"),
    ];
    match given.into_iter().find(|(given, ..)| *given) {
        Some((_, option, help)) => Err(usage(format!("{option} does not go with --target {TARGET}"), help)),
        None => Ok(()),
    }
}

/// A network that is compiled for a page.
pub struct Compiled {
    /// The network, in which the value of the maps has a name.
    model: Model,
    maps: Option<String>,
    kernels: Result<Kernels>,
}

/// Compiles a network for a page. What is wrong with it is said when the page is built, behind what is wrong with the
/// weights, beside which this runs.
pub fn compile(args: &Args, mut model: Model, options: &Options) -> Compiled {
    let maps = of_classes(&mut model);
    let kernels = web::compile(&model, args.relaxed, maps.as_deref(), options);
    Compiled { model, maps, kernels }
}

/// Builds the module, its script and the page.
pub fn build(
    args: &Args,
    threads: Option<u16>,
    compiled: Compiled,
    request: &BuildRequest,
    options: &Options,
) -> Done<Library> {
    let Compiled { model, maps, kernels } = compiled;
    if request.weights.is_none() {
        return Err(usage("a page needs trained weights, and none are given", "add `--weights FILE`"));
    }
    if request.opencl {
        return Err(usage(format!("--device opencl does not go with --target {TARGET}"), "leave it out"));
    }
    if options.emit.iter().any(|what| *what == Stage::Clif.into() || *what == Stage::Asm.into()) {
        return Err(usage(
            format!("--target {TARGET} has neither Cranelift's IR nor machine code of this processor"),
            format!("look at the module with another program: `wasm-tools print {}.wasm`", model.name),
        ));
    }
    let (_, scores, _) = model_file::result(&model)?;
    let scores = match scores {
        Scores::Logits => "logits",
        Scores::Probabilities => "probabilities",
        Scores::LogProbabilities => "log_probabilities",
    };
    if web::picture(request).is_none() {
        let why = match request.picture {
            Some([channels, ..]) => format!("decoded pictures have 1 or 3 channels, and the images have {channels}"),
            None => "the network takes no pictures, only numbers, by `NAME.js`".into(),
        };
        output::note(&format!("note: there is no page in it: {why}"));
    }
    let threads = usize::from(threads.unwrap_or(1).max(1));
    if threads > 1 {
        output::note(
            "note: a page with threads needs two headers from its server: Cross-Origin-Opener-Policy: same-origin and \
             Cross-Origin-Embedder-Policy: require-corp",
        );
    }
    let page = Page { relaxed: args.relaxed, threads, maps: maps.as_deref(), path: args.weights.as_deref(), scores };
    Ok(web::build(&model, request, &page, options, kernels?)?)
}
