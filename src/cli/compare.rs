//! `ninc compare`: one network on two devices, two networks, or a network and values that another program computed,
//! value by value, up to the first that differs.
//!
//! A network computes twice: once as it runs at its best, which gives the results, and once with every layer's value
//! kept, which says where a difference begins. Keeping a value may keep layers from being fused, so the first run is
//! the one that judges.

use super::options::{GlobalOptions, number};
use super::output::{Done, Failure};
use super::weights::Renames;
use images::Images;
use ninc_runtime::{Error, Tensor};
use rows::Row;
use sides::Plan;
use std::path::PathBuf;

mod images;
mod network;
mod reference;
mod rows;
mod sides;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin, NAME.onnx or NAME.prototxt, or right values, NAME.npz: arrays by the names that `inspect`
    /// lists, the image by the input's name
    file: PathBuf,
    /// Another network, which is compared with the first on the same images, or right values: values of the same name
    /// with each other
    other: Option<PathBuf>,
    /// The weights; without it they are looked for as `run` does, and where there are none, one network is as it
    /// starts. For two networks it may stand twice, in their order; .onnx files have theirs
    #[arg(long)]
    weights: Vec<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data whose test images are used; without it, random numbers unless the data need no file
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images to compare on [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    images: Option<u32>,
    /// Gradients too, with respect to parameters and image, of layers as they are at inference. In an .npz they are
    /// called `grad/NAME`; they are of the mean cross-entropy with the array `labels`, without it of the sum of the
    /// result's numbers, before a softmax. Networks are compared by the cross-entropy of the lowest class
    #[arg(long)]
    grad: bool,
    /// Differences up to this part of a value's largest number are rounding
    #[arg(long, default_value_t = 1e-4, value_name = "PART", value_parser = number(0.0, 1.0))]
    tolerance: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let sides = sides::read(args, global)?;
    let names = match &args.other {
        Some(other) => [&args.file, other].map(|file| file.display().to_string()),
        None => [global.side(0).describe(), global.side(1).describe()],
    };
    let mut images = Images::find(args, &sides, &names)?;
    let plan = Plan::of(&sides, &names, args.grad)?;
    let compare = |wanted: &[String], a: &[Tensor], b: &[Tensor]| {
        rows::compare(&names, wanted, (a, b), plan.strict, args.tolerance)
    };

    let [a, b] = sides.each_ref().map(|side| side.values(&images, &plan.layers, &plan.layers));
    let mut rows = compare(&plan.layers, &a?, &b?)?;
    let layers = rows.len();
    let [a, b] = [0, 1].map(|i| sides[i].values(&images, &[], &plan.results[i]));
    let (a, b) = (a?, b?);
    rows.extend(compare(&plan.results[0], &a, &b)?);
    let values = rows.len();
    if args.grad {
        images.count_as_lowest(&sides, &a);
        let [a, b] = sides.each_ref().map(|side| side.gradients(&images));
        let (wanted, a, b) = sides::common_gradients(&names, a?, b?, plan.strict)?;
        rows.extend(compare(&wanted, &a, &b)?);
    }
    let of = (rows.len() > values).then(|| images.gradients_of());
    rows::show(args.json, &rows, &names, args.tolerance, of)?;
    let Some(first) = rows.iter().position(|row| row.differs) else { return Ok(()) };
    let Row { name, difference, part, .. } = &rows[first];
    let between = format!("between {} and {} by more than {}", names[0], names[1], args.tolerance);
    let by = format!("{difference:.2e}, {part:.2e} of the largest number");
    let fused = args.other.is_none() && layers > 0 && (layers..values).contains(&first);
    let (message, help) = match fused {
        true => (
            format!("the result `{name}` differs {between} ({by}), though every layer agrees on its own"),
            "what is fused together computes something else: `ninc build FILE --emit opt` shows it",
        ),
        false => {
            let before = if first == 0 { "no value comes before it" } else { "values before it agree" };
            (format!("`{name}` is the first value that differs {between}: {by}"), before)
        }
    };
    Err(Failure::Error(Error::new(message).with_help(help)))
}
