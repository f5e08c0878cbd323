//! `ninc run`: classify pictures.

use super::classes;
use super::model_file::{self, image_dims, input, result};
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::programs::{find_weights, show_dumps, use_weights};
use ninc::prepare;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::image::picture;
use ninc_runtime::npy;
use ninc_runtime::spec::Pictures;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::train::Scores;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, Error, Feed, Tensor};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Images per run of the program.
const BATCH: usize = 64;

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    /// Pictures (png, jpg, bmp) or .npy arrays [N,C,H,W] of float32, which are used as they are
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    /// How many classes to show
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// One JSON object an image
    #[arg(long)]
    json: bool,
    /// Write the network's result, [N, …]
    #[arg(long, value_name = "OUT.npy")]
    output: Option<PathBuf>,
    /// Write any named value of the network, [N, …]
    #[arg(long, value_name = "VALUE=OUT.npy", value_parser = dump)]
    dump: Vec<(String, PathBuf)>,
}

fn dump(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((value, path)) if !value.is_empty() && !path.is_empty() => Ok((value.into(), path.into())),
        _ => Err("expected VALUE=OUT.npy".into()),
    }
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model(&args.file)?;
    let dims = input(&model)?;
    let weights_path = find_weights(args.weights.as_deref(), &model, &args.file)?;
    let wanted: Vec<String> = args.dump.iter().map(|(value, _)| value.clone()).collect();
    let pictures = args.inputs.iter().any(|path| !is_array(path));
    // Arrays are prepared images: beside them pictures are prepared by a program of their own.
    let arrays = args.inputs.iter().any(|path| is_array(path));
    let (weights, program) = Weights::read_beside(&weights_path, |fitted| {
        fitted.filter(|_| pictures).map_or(Ok(()), |fitted| of_size(fitted, &dims))?;
        global.inference_behind(&model, fitted.filter(|_| !arrays), &wanted)
    })?;
    let mut program = program?;
    // Networks without one number a class still have a result to write.
    let scored = match result(&model) {
        Ok((_, scores, _)) => Ok((scores, classes::of_weights(&model, &weights, &weights_path)?)),
        Err(e) => Err(e),
    };
    let fitted = weights.preparation.as_ref();
    show_dumps(&program.dumps)?;
    use_weights(&mut program, &weights, &weights_path)?;
    fitted.filter(|_| !arrays).map_or(Ok(()), |fitted| prepare::write(&mut *program.engine, fitted))?;
    let preparer = match fitted.filter(|_| arrays && pictures) {
        Some(preparation) => Some(Preparer::new(preparation, &global.compile_preparations()?)?),
        None => None,
    };
    let how = model_file::pictures(&model, Some(&weights));
    let images = Images::read(args, &how, &dims, fitted, preparer.as_ref())?;

    let first = model.graph.outputs.first().map(|(name, _)| name.clone());
    let name = first.ok_or_else(|| Error::new("the network has no result"))?;
    let mut names = vec![name.as_str()];
    names.extend(wanted.iter().map(String::as_str));
    let results = compute(&mut *program.engine, &images, &names)?;
    for (path, tensor) in args.output.iter().zip(&results).chain(args.dump.iter().map(|(_, p)| p).zip(&results[1..])) {
        write_atomically(path, &npy::to_bytes(tensor), &System)?;
    }
    match scored {
        Ok((scores, classes)) => show(args, &images.names, &results[0], scores, &classes),
        Err(_) if args.output.is_some() || !args.dump.is_empty() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Weights that were trained on images of another size than the network's input are an error.
fn of_size(fitted: &Form, dims: &[usize]) -> Done {
    let fitted = fitted.dims();
    if fitted.iter().product::<usize>() == dims.iter().product::<usize>() {
        return Ok(());
    }
    let message = format!("the weights were trained on images of {fitted:?}, the input is {dims:?}");
    Err(Error::new(message).with_help("whitening and means are for one size").into())
}

/// An array of prepared images, not a picture?
fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}

/// All images as the program takes them, and what each is called.
struct Images {
    names: Vec<String>,
    values: Vec<f32>,
    size: usize,
}

impl Images {
    fn read(
        args: &Args,
        pictures: &Pictures,
        dims: &[usize],
        preparation: Option<&Preparation>,
        preparer: Option<&Preparer>,
    ) -> Done<Images> {
        let size: usize = dims.iter().product();
        let mut images = Images { names: vec![], values: vec![], size };
        for path in &args.inputs {
            let shown = path.display().to_string();
            if is_array(path) {
                let tensor = npy::read(path)?;
                let count = count(&tensor, dims, path)?;
                images
                    .names
                    .extend((0..count).map(|i| if count == 1 { shown.clone() } else { format!("{shown}[{i}]") }));
                images.values.extend(tensor.data);
                continue;
            }
            // A network on flat features still gets pictures of the shape that its training data had.
            let shape = preparation.map_or_else(|| image_dims(dims), |p| Ok(p.dims()))?;
            let mut pixels = picture(path, shape, pictures)?;
            if preparation.is_none() {
                output::note("note: the weights hold no data preparation; pixels are used as 0 to 255");
            }
            if let Some(preparer) = preparer {
                preparer.apply(&mut pixels)?;
            }
            images.names.push(shown);
            images.values.extend(pixels);
        }
        if images.names.is_empty() {
            return Err(usage("the arrays hold no images", "give at least one image"));
        }
        Ok(images)
    }
}

/// Images in an array: `[N, …]`, or one without the N.
fn count(tensor: &Tensor, dims: &[usize], path: &Path) -> Done<usize> {
    if tensor.dims == dims {
        return Ok(1);
    }
    match tensor.dims.split_first() {
        Some((&count, rest)) if rest == dims => Ok(count),
        _ => Err(Error::new(format!(
            "{} has the shape {:?}, but the input is [N] + {dims:?}",
            path.display(),
            tensor.dims
        ))
        .into()),
    }
}

fn compute(engine: &mut dyn Engine, images: &Images, names: &[&str]) -> Done<Vec<Tensor>> {
    let input = ninc_runtime::train::step_inputs::image(engine.inputs())?.name.clone();
    let mut all: Vec<Tensor> = Vec::new();
    for some in images.values.chunks(BATCH * images.size) {
        let count = some.len() / images.size;
        let results = engine.run(count, &[(&input, Feed::F32(some))], names)?;
        match all.is_empty() {
            true => all = results,
            false => {
                for (whole, part) in all.iter_mut().zip(results) {
                    // Values that are not one per image are the same for every batch.
                    if whole.dims.first() != Some(&0) && whole.data.len() % count.max(1) == 0 && !part.dims.is_empty() {
                        whole.dims[0] += part.dims[0];
                        whole.data.extend(part.data);
                    }
                }
            }
        }
    }
    Ok(all)
}

fn show(args: &Args, images: &[String], result: &Tensor, scores: Scores, classes: &Classes) -> Done {
    let (name, outputs) = (|output| classes.name(output), classes.outputs());
    for (image, scored) in images.iter().zip(result.data.chunks_exact(outputs)) {
        let probabilities = scores.probabilities(scored);
        let mut order: Vec<usize> = (0..outputs).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        order.truncate(args.top.max(1));
        if args.json {
            let top: Vec<_> = order
                .iter()
                .map(|&c| json!({ "class": c, "name": name(c), "probability": probabilities[c] }))
                .collect();
            output::json(&json!({ "input": image, "top": top }))?;
            continue;
        }
        output::line(image)?;
        let width = order.iter().map(|&c| name(c).chars().count()).max().unwrap_or(0);
        for class in order {
            output::line(&format!("  {:<width$}  {:6.2} %", name(class), probabilities[class] * 100.0))?;
        }
    }
    Ok(())
}
