//! What a training starts from: nothing, weights that may belong to a similar network, or a checkpoint.

use super::Args;
use crate::cli::foreign::{ForeignOptions, folded};
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, Failure, usage};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc_runtime::Error;
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::Sets;
use ninc_runtime::finite;
use ninc_runtime::init::Parameter;
use ninc_runtime::pattern::fits_parameter;
use ninc_runtime::train::Start;
use ninc_runtime::train::job::checkpoint_path;
use ninc_runtime::train::saving;
use ninc_runtime::weights::{Weights, closest, few};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a training starts from; `resumed` is what [`checkpoint`] gave.
pub fn start(
    args: &Args,
    model: &Model,
    parameters: &[Parameter],
    resumed: Option<(Checkpoint, PathBuf)>,
    options: &ForeignOptions,
) -> Done<Start> {
    if let Some((checkpoint, path)) = resumed {
        return Ok(Start::Resume(Box::new(checkpoint), path));
    }
    match &args.options.weights {
        None => Ok(Start::Fresh),
        Some(path) => {
            let weights = args.options.renames.read(path, options)?;
            if weights.formats.is_some() {
                let message = format!("{} are quantised: whole numbers do not learn", path.display());
                return Err(usage(message, "start from the float weights that they were made from"));
            }
            let own = model.data.as_ref().map_or(&[][..], |d| &d.prepare);
            if weights.preparation.as_ref().is_some_and(|p| !p.spec().is_empty() && p.spec() != own) {
                let (path, file) = (path.display(), args.file.display());
                output::note(&format!(
                    "note: {path} learned from images prepared in another way than {file} prepares them"
                ));
            }
            folded::refuse(model, &weights, path)?;
            Ok(Start::Weights(Box::new(fit(weights, parameters, path)?)))
        }
    }
}

/// What the network's outputs stand for: as in what the training starts from, as far as its last layer comes from
/// there. Says which outputs get another meaning.
pub fn classes(args: &Args, outputs: usize, start: &Start, parameters: &[Parameter], sets: &Sets) -> Done<Classes> {
    let data = &sets.names;
    let (weights, path) = match start {
        Start::Fresh => return Ok(Classes::of_training(outputs, &[], data, "")?),
        Start::Resume(checkpoint, path) => {
            let learned = checkpoint.classes.as_ref().filter(|names| !names.is_empty()).unwrap_or(data);
            return Ok(Classes::new(outputs, learned, &path.display().to_string())?);
        }
        Start::Weights(weights) => (weights, args.options.weights.as_deref().unwrap_or(Path::new(""))),
    };
    let last = parameters.iter().rfind(|p| !p.state);
    let kept = last.is_some_and(|p| weights.tensors.contains_key(&p.name));
    let learned = if kept { &weights.classes[..] } else { &[] };
    let classes = Classes::of_training(outputs, learned, data, &path.display().to_string())?;
    let turned = learned.iter().zip(classes.names()).filter(|(old, new)| old != new);
    let turned: Vec<String> = turned.map(|(old, new)| format!("{old} becomes {new}")).collect();
    if !turned.is_empty() {
        output::note(&format!("note: outputs of {} learn other classes: {}", path.display(), turned.join(", ")));
    }
    if data.is_empty() && !learned.is_empty() {
        let named: Vec<String> = learned.iter().enumerate().map(|(label, name)| format!("{label} is {name}")).collect();
        output::note(&format!("note: labels of the data are numbers; as in {}, {}", path.display(), named.join(", ")));
    }
    Ok(classes)
}

/// The checkpoint that `--resume` goes on from, and its file.
pub fn checkpoint(args: &Args, model: &Model) -> Done<Option<(Checkpoint, PathBuf)>> {
    let Some(given) = &args.resume else { return Ok(None) };
    let path = given.clone().unwrap_or_else(|| checkpoint_path(&args.out, &model.name));
    if !path.is_file() {
        return Err(usage(
            format!("there is no checkpoint {}", path.display()),
            "start the training without --resume, or give its folder with --out",
        ));
    }
    let checkpoint = Checkpoint::read(&path).map_err(|e| {
        // One that can be read is a better way out than any advice.
        let kept = saving::kept(&args.out, &model.name).into_iter();
        match kept.map(|(_, kept)| kept).find(|kept| *kept != path && Checkpoint::read(kept).is_ok()) {
            Some(kept) => e.with_help(format!("an older one is whole: go on with --resume={}", kept.display())),
            None => e,
        }
    })?;
    Ok(Some((checkpoint, path)))
}

/// The options with which a resumed training goes on to the same bits: it is compiled for the processor that it began
/// on. Says so where that is another than this one, and where it cannot be.
pub fn as_it_began(global: &GlobalOptions, checkpoint: Option<&Checkpoint>) -> Done<GlobalOptions> {
    let Some(checkpoint) = checkpoint else { return Ok(global.clone()) };
    // Versions that did not write it added up in groups.
    let began = checkpoint.compiled_for.as_ref();
    let groups = began.is_none_or(|began| began.processor.as_ref().is_some_and(|p| !p.shares));
    if global.ranks.is_some() && groups {
        return Err(usage(
            "the training began in a version that added up in groups of images: several processes cannot continue that",
            "go on in one process, without mpirun; a training that begins now goes on in any number of them",
        ));
    }
    let Some(began) = began else { return Ok(global.in_groups()) };
    let same = match &began.processor {
        Some(processor) => global.like(processor),
        None if began.shares => global.in_device_shares(),
        None => global.clone(),
    };
    let now = same.compiled_for()?;
    if now != *began {
        output::note(&format!(
            "note: the training began with {began}; it goes on with {now}, so its results differ from those it would \
             have had"
        ));
    } else if global.compiled_for()? != *began {
        output::note(&format!(
            "note: goes on as on the processor that the training began on, to the same bits: {began}"
        ));
    }
    Ok(same)
}

/// Takes parameters out of the training.
pub fn freeze(model: &mut Model, patterns: &[String]) -> Done {
    let mut parameters = Vec::new();
    for id in model.graph.ids() {
        if let Operator::Param(param) = model.graph.op(id) {
            parameters.push((id, param.name.clone(), param.trainable));
        }
    }
    for pattern in patterns {
        let fitting: Vec<_> = parameters.iter().filter(|(_, name, _)| fits_parameter(pattern, name)).collect();
        if fitting.is_empty() {
            let names: Vec<&str> = parameters.iter().map(|(_, name, _)| name.as_str()).collect();
            let help = match closest(pattern, &names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("parameters: {}", names.join(", ")),
            };
            return Err(usage(format!("--freeze {pattern} fits no layer or parameter"), help));
        }
        if fitting.iter().all(|(_, _, trained)| !trained) {
            let names: Vec<&str> = fitting.iter().map(|(_, name, _)| name.as_str()).collect();
            return Err(usage(
                format!("--freeze {pattern} freezes nothing: no training step changes {} by gradients", few(&names)),
                "leave it out; the statistics of a batch normalisation stay where its layer is frozen: `--freeze NAME`",
            ));
        }
        for (id, ..) in fitting {
            if let Some(param) = model.graph.param_mut(*id) {
                param.trainable = false;
            }
        }
    }
    let trained = |id| matches!(model.graph.op(id), Operator::Param(p) if p.trainable);
    if !patterns.is_empty() && !model.graph.ids().into_iter().any(trained) {
        return Err(usage("--freeze leaves nothing to train", "name fewer layers"));
    }
    Ok(())
}

/// Says what the patterns have frozen.
pub fn tell_frozen(model: &Model, patterns: &[String]) {
    let parameters = model.graph.ids().into_iter().filter_map(|id| match model.graph.op(id) {
        Operator::Param(param) if !param.state => Some(param.name.as_str()),
        _ => None,
    });
    let (frozen, others): (Vec<&str>, Vec<&str>) =
        parameters.partition(|name| patterns.iter().any(|pattern| fits_parameter(pattern, name)));
    if !patterns.is_empty() {
        let all = frozen.len() + others.len();
        output::note(&format!("frozen: {} of {all} parameters: {}", frozen.len(), few(&frozen)));
    }
}

/// Keeps what the network takes, and says what starts from it; of everything unless it all fits.
fn fit(mut weights: Weights, parameters: &[Parameter], path: &Path) -> Done<Weights> {
    let mut rows = vec![["parameter", "shape", "start"].map(String::from).to_vec()];
    let mut row = |name: &str, dims: &[usize], what: String| rows.push(vec![name.into(), format!("{dims:?}"), what]);
    let (mut loaded, mut differ) = (0, 0);
    for parameter in parameters.iter().filter(|p| !p.state) {
        match weights.tensors.get(&parameter.name) {
            Some(tensor) if tensor.dims == parameter.dims => {
                loaded += 1;
                row(&parameter.name, &parameter.dims, "loaded".into());
            }
            other => {
                differ += 1;
                let why = match (other, weights.others.get(&parameter.name)) {
                    (Some(tensor), _) => format!("the file's has the shape {:?}", tensor.dims),
                    (None, Some(kind)) => format!("the file's is of {kind}, not of floats"),
                    (None, None) => "not in the file".into(),
                };
                row(&parameter.name, &parameter.dims, format!("initialised: {why}"));
            }
        }
    }
    let wanted: BTreeMap<&str, &[usize]> =
        parameters.iter().filter(|p| !p.state).map(|p| (p.name.as_str(), p.dims.as_slice())).collect();
    for (name, tensor) in weights.tensors.iter().filter(|(name, _)| !wanted.contains_key(name.as_str())) {
        differ += 1;
        row(name, &tensor.dims, "skipped: not in the network".into());
    }
    if loaded == 0 {
        // The usual check knows how to say what does not fit.
        weights.check(parameters, path).map_err(|e| {
            let help = format!(
                "{} --rename OLD=NEW gives layers of the file the network's names",
                e.help.clone().unwrap_or_default()
            );
            Failure::Error(Error { message: e.message, help: Some(help.trim().into()) })
        })?;
    }
    if differ > 0 {
        output::note(output::table(&rows).trim_end());
    }
    let part = if loaded == wanted.len() { "all".into() } else { format!("{loaded} of") };
    output::note(&format!("{part} {} parameters start from {}", wanted.len(), path.display()));
    weights.tensors.retain(|name, tensor| wanted.get(name.as_str()).is_some_and(|dims| *dims == tensor.dims));
    finite::weights(&weights.tensors, path)?;
    Ok(weights)
}
