//! The command line of `ninc`: results on stdout, everything else on stderr; exit code 0, 1 for a failure, 2 for wrong
//! usage.

mod answers;
mod bench;
mod beside;
mod build;
mod check;
mod classes;
mod command_line;
mod compare;
mod completions;
mod contents;
mod devices;
pub mod embedded;
mod eval;
mod export;
mod fmt;
mod fold;
mod foreign;
mod glob;
mod graph;
mod help;
mod import;
mod inspect;
mod lsp;
mod man;
mod meaning;
mod model_file;
mod named;
mod new;
mod numbers;
mod opened;
mod options;
mod output;
mod preparation;
mod programs;
mod progress;
mod quantize;
mod report;
mod run;
mod serve;
mod sheet;
mod signals;
mod sweep;
mod train;
mod tta;
mod tune;
mod weights;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use ninc_runtime::image::profile;
use options::GlobalOptions;
use output::Failure;
use std::ffi::OsString;

#[derive(Parser)]
#[command(
    name = "ninc",
    version,
    disable_help_subcommand = true,
    about = "A compiler for Network-In-Network style convolutional networks"
)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a model file that suits a folder of pictures
    New(new::Args),
    /// Say all that is wrong with model files, and nothing else
    Check(check::Args),
    /// Bring model files into the one layout
    Fmt(fmt::Args),
    /// A row per layer: shape, parameters, multiply-adds, bytes, receptive field
    Inspect(inspect::Args),
    /// Draw a network: SVG, Graphviz, or a page
    Graph(graph::Args),
    /// Compile a network for inference and report the result, or write a library
    Build(build::Args),
    /// Classify pictures
    Run(run::Args),
    /// Answer over HTTP: classify pictures and arrays that programs and a page send
    ///
    /// Ctrl-C or SIGTERM stops it: it takes nothing new, answers what it has, however long that takes, and ends. A
    /// second one ends it at once.
    Serve(serve::Args),
    /// Train on data
    Train(train::Args),
    /// Train all combinations of parameters, with several seeds, and write a table
    Sweep(sweep::Args),
    /// Test weights on data
    Eval(eval::Args),
    /// Measure the speed of inference or training
    Bench(bench::Args),
    /// Measure which tiles suit this processor or an OpenCL device, and keep the best
    Tune(tune::Args),
    /// Run a network on two devices and say which value differs first
    Compare(compare::Args),
    /// Turn weights of a network with batch normalisation into weights of the same network without it
    Fold(fold::Args),
    /// Turn float weights into bytes where that costs little accuracy
    Quantize(quantize::Args),
    /// Turn a network of another program (ONNX, Caffe) into a model file with its weights
    Import(import::Args),
    /// Write a network with its weights as an ONNX file
    Export(export::Args),
    /// List what a file of weights holds, rename its tensors, make its numbers smaller
    Weights(weights::Args),
    /// What programs can run on
    Devices(devices::Args),
    /// Serve an editor: diagnostics, shapes, completion, names (Language Server Protocol over stdin and stdout)
    Lsp(lsp::Args),
    /// Print what a shell needs to complete commands, options, files and names of a model
    Completions(completions::Args),
    /// Write manual pages
    Man(man::Args),
    /// Explain a command, a layer or another word of model files, or the code of a message
    Help(help::Args),
}

/// Does what these words ask for, the program's own name first, and returns its exit code.
pub fn main(words: Vec<OsString>) -> u8 {
    completions::answer(Cli::command, &words);
    signals::limit_is_an_error();
    let parsed = Cli::command().try_get_matches_from(words);
    let (cli, given) = match parsed.and_then(|given| Ok((Cli::from_arg_matches(&given)?, given))) {
        Ok(parsed) => parsed,
        Err(e) => {
            // Help and version go to stdout with code 0, errors to stderr with 2; a closed pipe changes neither.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    let global = &cli.global;
    let sides = if matches!(cli.command, Command::Compare(_)) { 2 } else { 1 };
    let speed = matches!(cli.command, Command::Bench(_) | Command::Tune(_));
    if matches!(cli.command, Command::Serve(_) | Command::Train(_) | Command::Sweep(_)) {
        signals::begin();
    }
    let may = meaning::check(&given);
    let may = may.and_then(|()| global.at_most(sides));
    let may = may.and_then(|()| if speed { Ok(()) } else { global.refuse_int8() });
    let done = may.and_then(|()| match &cli.command {
        Command::New(args) => new::run(args, global),
        Command::Check(args) => check::run(args, global),
        Command::Fmt(args) => fmt::run(args, global),
        Command::Inspect(args) => inspect::run(args, global),
        Command::Build(args) => build::run(args, global),
        Command::Run(args) => run::run(args, global),
        Command::Serve(args) => serve::run(args, global),
        Command::Train(args) => train::run(args, global),
        Command::Sweep(args) => sweep::run(args, global),
        Command::Eval(args) => eval::run(args, global),
        Command::Bench(args) => bench::run(args, global),
        Command::Tune(args) => tune::run(args, global),
        Command::Compare(args) => compare::run(args, global),
        Command::Fold(args) => fold::run(args, global),
        Command::Quantize(args) => quantize::run(args, global),
        Command::Import(args) => import::run(args, global),
        Command::Export(args) => export::run(args, global),
        Command::Weights(args) => weights::run(args, global),
        Command::Devices(args) => devices::run(args, global),
        Command::Lsp(args) => lsp::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args, Cli::command()),
        Command::Help(args) => help::run(args, Cli::command()),
        Command::Graph(args) => graph::run(args, global),
    });
    if let Some(note) = profile::note() {
        output::note(&format!("note: {note}"));
    }
    match done {
        // Who closed the pipe has read enough: `ninc inspect … | head`.
        Ok(()) | Err(Failure::Closed) => 0,
        Err(Failure::Shown) => 1,
        Err(Failure::Interrupted) => 130,
        Err(Failure::Error(e)) => {
            output::complain(&e, global.color_stderr());
            1
        }
        Err(Failure::Usage(e)) => {
            output::complain(&e, global.color_stderr());
            2
        }
    }
}
