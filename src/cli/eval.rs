//! `ninc eval`: test weights on data.

use super::model_file::{input, load_data, result};
use super::options::GlobalOptions;
use super::output::{self, Done};
use super::programs::{find_weights, show_dumps, use_weights};
use ninc_runtime::data::batches::Source;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::train::evaluate;
use ninc_runtime::weights::Weights;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    /// The weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    /// File or folder of the data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images per run of the program
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model(&args.file)?;
    let (name, scores, classes) = result(&model)?;
    let sets = load_data(&model, &args.file, args.data.as_deref())?;
    sets.test.check("test", &input(&model)?, classes)?;
    let weights_path = find_weights(args.weights.as_deref(), &model, &args.file)?;
    let weights = Weights::read(&weights_path)?;
    let preparation = match &weights.preparation {
        Some(preparation) => preparation.clone(),
        None => {
            output::note("note: the weights hold no data preparation; it is fitted anew on the training part");
            let spec = model.data.as_ref().map(|d| d.prepare.as_slice()).unwrap_or_default();
            Preparation::fit(spec, &sets.train, &global.compile_preparations()?)?
        }
    };
    preparation.check(&sets.test)?;
    let mut program = global.inference_of(&model, Some(&preparation), &[])?;
    show_dumps(&program.dumps)?;
    use_weights(&mut program, &weights, &weights_path)?;
    let source = Source::plain(&sets.test, None, args.batch as usize)?;
    let evaluation = evaluate(&mut *program.engine, &source, &name, scores)?;
    if args.json {
        return output::json(&evaluation);
    }
    let percent = |part: f64| format!("{:.2} %", part * 100.0);
    let row = |name: &str, value: String| vec![name.to_string(), value];
    output::print(&output::table(&[
        row("images", evaluation.count.to_string()),
        row("loss", format!("{:.4}", evaluation.loss)),
        row("accuracy", percent(evaluation.accuracy)),
        row("top 5", percent(evaluation.top5)),
    ]))
}
