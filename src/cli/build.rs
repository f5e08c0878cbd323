//! `ninc build`: compile for inference, say what came of it, write the dumps.

use super::common::{Common, show_dumps};
use super::output::{self, Done, grouped};
use ninc::graph::text;
use ninc::pipeline::Stage;
use ninc_runtime::Error;
use ninc_runtime::store::{System, write_atomically};
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    /// A folder for the dumps that `--emit` asks for; without it they go to stdout
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Show for each convolution which algorithms were weighed, the time predicted for each, and which was taken
    #[arg(long)]
    explain: bool,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, common: &Common) -> Done {
    let mut common = common.clone();
    if args.explain {
        common.emit.push(Stage::Explain.into());
    }
    let model = common.model(&args.file)?;
    let start = Instant::now();
    let program = common.inference(&model, &[])?;
    let seconds = start.elapsed().as_secs_f64();
    match &args.output {
        None => show_dumps(&program)?,
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
            for dump in &program.dumps {
                let name = format!("{}.{}", model.name, dump.what.to_string().replace(':', "-"));
                write_atomically(&folder.join(name), dump.text.as_bytes(), &System)?;
            }
            let path = folder.join(format!("{}.graph", model.name));
            if program.dumps.is_empty() {
                write_atomically(&path, text::print(&model.graph).as_bytes(), &System)?;
            }
        }
    }
    let report = &program.report;
    let arena = program.engine.arena_bytes(1);
    if args.json {
        return output::json(&serde_json::json!({
            "network": model.name,
            "layers": model.layers.len(),
            "launches": report.launches,
            "multiply_adds": report.multiply_adds,
            "parameters": report.parameters,
            "arena_bytes": arena,
            "compile_seconds": seconds,
        }));
    }
    // With dumps on stdout, the summary would be in their way.
    if !program.dumps.is_empty() && args.output.is_none() {
        return Ok(());
    }
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let rows = [
        row("network", model.name.clone()),
        row("layers", model.layers.len().to_string()),
        row("kernel launches", report.launches.to_string()),
        row("multiply-adds", grouped(report.multiply_adds)),
        row("parameters", grouped(report.parameters as u64)),
        row("arena bytes", format!("{} for one image", grouped(arena as u64))),
        row("compile time", format!("{:.0} ms", seconds * 1e3)),
    ];
    output::print(&output::table(&rows))
}
