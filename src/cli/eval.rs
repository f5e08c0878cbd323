//! `ninc eval`: test weights on data.

use super::foreign;
use super::model_file::{input, load_split, pictures, result};
use super::options::GlobalOptions;
use super::output::{self, Done, grouped, usage};
use super::preparation;
use super::programs::{find_weights, show_dumps, use_weights};
use super::tta::TtaArgs;
use super::weights::Renames;
use super::{classes, contents};
use ninc_runtime::classes::Classes;
use ninc_runtime::data::batches::Source;
use ninc_runtime::data::look::Look;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::{Dataset, Pixels, Sets, channel_order};
use ninc_runtime::train::evaluate::{Evaluation, evaluate_views};
use std::path::PathBuf;

mod answers;
mod maps;
mod report;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// The weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images per run of the program
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,
    /// Which images to test on; `all` where one folder or file holds those of training and test
    #[arg(long, value_enum, default_value = "test", value_name = "PART")]
    part: Part,
    /// How often the class is among the K highest scores too
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Write the result as one page for a browser, with the confusion and the worst mistakes as pictures
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    tta: TtaArgs,
    #[command(flatten)]
    cache: contents::DataCache,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Part {
    Train,
    Valid,
    Test,
    All,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Train => "training",
            Part::Valid => "validation",
            Part::Test => "test",
            Part::All => "whole",
        }
    }

    fn of(self, sets: &Sets) -> Done<Dataset> {
        let lacks = || usage("the data have no validation part", "`valid` in `data` makes one: `valid = 0.1`");
        let apart = || usage("the parts of the data are apart", "test on one of them: --part train, valid or test");
        match self {
            Part::Train => Ok(sets.train.clone()),
            Part::Valid => sets.valid.clone().ok_or_else(lacks),
            Part::Test => Ok(sets.test.clone()),
            Part::All => sets.all().ok_or_else(apart),
        }
    }
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model_on(&args.file, args.data.as_deref())?;
    let (name, scores, outputs) = result(&model)?;
    let weights_path = find_weights(args.weights.as_deref(), &model, &args.file)?;
    let weights = args.renames.read_if_any(weights_path.as_ref(), &global.foreign)?;
    let from = weights_path.as_ref().unwrap_or(&args.file);
    let weights = global.with_numbers(&model, foreign::with_fixed(&args.file, weights))?;
    let model = global.with_formats(&model, weights.formats.as_ref());
    let (sets, place) = load_split(&model, &args.file, args.data.as_deref(), pictures(&model, Some(&weights)), false)?;
    let report: Vec<_> = args.report.iter().map(|path| ("--report", path.as_path())).collect();
    let read = [Some(&args.file), Some(from), place.as_ref()].into_iter().flatten().map(PathBuf::as_path);
    output::not_read(&report, &read.collect::<Vec<_>>())?;
    args.report.iter().try_for_each(|path| output::has_place(path))?;
    let classes = classes::of_weights(&model, &weights, from)?;
    let set = classes.relabel(&args.part.of(&sets)?, &sets.names)?;
    set.check(args.part.word(), &input(&model)?, outputs)?;
    if args.part == Part::Test && sets.is_split() && classes::own_files(&model) {
        note_split(&set, &sets);
    }
    contents::look([&set], Look::Heads, global)?;
    args.cache.open();
    classes::note_absent(&classes, args.part.word(), &set, &sets.names);
    let given = (&weights, weights_path.is_some());
    let preparation = preparation::of_weights(&model, &args.file, given, &sets.train, global)?;
    preparation.check(&set)?;
    note_order(&set, &preparation)?;
    let mut program = global.inference_of(&model, Some(&preparation), set.images.dtype(), &[])?;
    show_dumps(&program.dumps)?;
    use_weights(&mut program, &weights, from)?;
    let source = Source::plain(&set, None, args.batch as usize)?;
    let views = args.tta.views(set.images.dims)?;
    let evaluation = evaluate_views(&mut *program.engine, &source, &name, scores, views)?;
    let text = TtaArgs::text(views);
    let top = args.top.map(|k| k as usize);
    if let Some(path) = &args.report {
        let tested = report::Tested {
            name: &model.name,
            file: &args.file,
            weights: from,
            data: place.map_or("built in".into(), |path| path.display().to_string()),
            part: args.part.word(),
            set: &set,
            classes: &classes,
            evaluation: &evaluation,
            views: text.as_deref(),
            top,
            machine: global.machine(),
        };
        let maps = maps::draw(global, &model, (&weights, &preparation), views, &tested)?;
        report::write(path, &tested, maps.as_ref())?;
        output::note(&format!("report: {}", path.display()));
    }
    print(args, &evaluation, text.as_deref(), &classes)
}

/// Says that data of one folder or file were cut, and which part of them is tested.
fn note_split(set: &Dataset, sets: &Sets) {
    let (some, all) = (grouped(set.len() as u64), output::counted(sets.train.labels.len(), "image"));
    output::note(&format!("note: {some} of {all} are tested, those that training keeps apart; `--part all` takes all"));
}

/// Notes arrays whose colours look as if they came in another order than those that the network learned from.
fn note_order(set: &Dataset, preparation: &Preparation) -> Done {
    if set.images.dims[0] != 3 || matches!(set.images.pixels, Pixels::Files(..)) {
        return Ok(());
    }
    let mut image = vec![0.0; set.images.size()];
    let means = (0..set.len()).map(|item| set.copy(item, &mut image).map(|()| channel_order::means(&image)));
    preparation::note_order("the data", preparation, &means.collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

/// Prints the result as the user asked for it.
fn print(args: &Args, evaluation: &Evaluation, views: Option<&str>, classes: &Classes) -> Done {
    let top = args.top.map(|k| k as usize);
    if args.json {
        let mut answers = answers::json(evaluation, classes, top);
        if let Some(views) = views {
            answers["views"] = views.into();
        }
        return output::json(&answers);
    }
    let percent = |part: f64| format!("{:.2} %", part * 100.0);
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let mut rows = vec![
        row("images", grouped(evaluation.count as u64)),
        row("loss", format!("{:.4}", evaluation.loss)),
        row("accuracy", percent(evaluation.accuracy)),
        row("top 5", percent(evaluation.top5)),
    ];
    rows.extend(views.map(|views| row("views", views.into())));
    rows.extend(top.map(|k| row(&format!("top {k}"), percent(evaluation.top(k)))));
    output::print(&(output::table(&rows) + &answers::text(evaluation, classes)))
}
