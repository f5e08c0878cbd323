//! `ninc inspect`: a row per layer.

use super::options::GlobalOptions;
use super::output::{self, Done, grouped};
use ninc::model::Model;
use ninc::sizes::{self, Sums};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model(&args.file)?;
    let rows = sizes::rows(&model.graph, &model.layers);
    let Sums { parameters, multiply_adds, bytes } = sizes::sums(&model.graph, model.layers.iter(), &rows);
    if args.json {
        return output::json(&serde_json::json!({
            "network": model.name,
            "layers": rows,
            "parameters": parameters,
            "multiply_adds": multiply_adds,
            "bytes": bytes,
        }));
    }
    output::print(&output::table(&cells(&model)))
}

/// Makes the table: a heading, a row per layer, the sums.
pub fn cells(model: &Model) -> Vec<Vec<String>> {
    let rows = sizes::rows(&model.graph, &model.layers);
    let Sums { parameters, multiply_adds, bytes } = sizes::sums(&model.graph, model.layers.iter(), &rows);
    let heading = ["layer", "function", "shape", "parameters", "multiply-adds", "bytes", "receptive field"];
    let mut cells = vec![heading.map(String::from).to_vec()];
    for row in &rows {
        cells.push(vec![
            row.name.clone(),
            row.function.clone(),
            format!("{:?}", row.shape),
            grouped(row.parameters),
            grouped(row.multiply_adds),
            grouped(row.bytes),
            format!("{}x{}", row.receptive_field[0], row.receptive_field[1]),
        ]);
    }
    let sums = [parameters, multiply_adds, bytes].map(grouped);
    cells.push([&["total".into(), String::new(), String::new()], &sums[..], &[String::new()]].concat());
    cells
}
