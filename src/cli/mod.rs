//! The command line of `ninc`: results on stdout, everything else on stderr; exit code 0, 1 for a failure, 2 for wrong
//! usage.

mod bench;
mod build;
mod check;
mod common;
mod compare;
mod devices;
mod eval;
mod fmt;
mod fold;
mod inspect;
mod output;
mod progress;
mod report;
mod run;
mod signals;
mod train;
mod tune;

use clap::{Parser, Subcommand};
use common::Common;
use output::Failure;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "ninc", version, about = "A compiler for Network-In-Network style convolutional networks")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say all that is wrong with model files, and nothing else
    Check(check::Args),
    /// Bring model files into the one layout
    Fmt(fmt::Args),
    /// A row per layer: shape, parameters, multiply-adds, bytes, receptive field
    Inspect(inspect::Args),
    /// Compile a network for inference and report the result, or write a library
    Build(build::Args),
    /// Classify pictures
    Run(run::Args),
    /// Train on data
    Train(train::Args),
    /// Test weights on data
    Eval(eval::Args),
    /// Measure the speed of inference or training
    Bench(bench::Args),
    /// Measure which tiles suit an OpenCL device, and keep the best
    Tune(tune::Args),
    /// Run a network on two devices and say which value differs first
    Compare(compare::Args),
    /// Turn weights of a network with batch normalisation into weights of the same network without it
    Fold(fold::Args),
    /// What programs can run on
    Devices(devices::Args),
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version go to stdout with code 0, errors to stderr with 2; a closed pipe changes neither.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let common = &cli.common;
    let sides = if matches!(cli.command, Command::Compare(_)) { 2 } else { 1 };
    let done = common.at_most(sides).and_then(|()| match &cli.command {
        Command::Check(args) => check::run(args, common),
        Command::Fmt(args) => fmt::run(args, common),
        Command::Inspect(args) => inspect::run(args, common),
        Command::Build(args) => build::run(args, common),
        Command::Run(args) => run::run(args, common),
        Command::Train(args) => train::run(args, common),
        Command::Eval(args) => eval::run(args, common),
        Command::Bench(args) => bench::run(args, common),
        Command::Tune(args) => tune::run(args, common),
        Command::Compare(args) => compare::run(args, common),
        Command::Fold(args) => fold::run(args, common),
        Command::Devices(args) => devices::run(args, common),
    });
    match done {
        // Who closed the pipe has read enough: `ninc inspect … | head`.
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Shown) => ExitCode::FAILURE,
        Err(Failure::Interrupted) => ExitCode::from(130),
        Err(Failure::Error(e)) => {
            output::complain(&e, common);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(e)) => {
            output::complain(&e, common);
            ExitCode::from(2)
        }
    }
}
