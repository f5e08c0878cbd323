//! What must hold between a network and its `data` and `train` sections, so that the commands can do what they ask for.

use super::ast::{Name, Section};
use super::codes;
use super::data::{AUGMENT, PREPARE, SOURCE, examples, source_name};
use super::diag::{Diagnostic, Span};
use super::expand::Expanded;
use super::sink::Diagnostics;
use super::train::CLASS_WEIGHTS;
use crate::graph::NodeId;
use crate::ops::Operator;
use crate::ops::check::shape;
use ninc_runtime::data::zca;
use ninc_runtime::spec::{Augment, ClassWeights, DataSpec, Prepare, Recipe, Source};
use std::collections::HashSet;

/// Commands feed a network one batch of images.
pub fn one_input(expanded: &Expanded, sink: &mut Diagnostics) {
    if let [(first, _), (second, _), ..] = expanded.inputs.as_slice() {
        let message = "a network has one input, this is another";
        let d = Diagnostic::error(codes::SEVERAL_INPUTS, second.span, message).label(first.span, "the first is here");
        sink.report(d.help("make one array of both outside, with the channels of both"));
    }
}

/// Reports every softmax and cross entropy over one class: the probability is 1 and the loss 0 whatever comes in.
pub fn one_class(expanded: &Expanded, sink: &mut Diagnostics) {
    for layer in &expanded.layers {
        let of_classes = matches!(layer.function.as_str(), "softmax" | "log_softmax" | "cross_entropy");
        let classes = layer.operands.first().and_then(|&x| expanded.graph.ty(x).dims.first().copied());
        if of_classes && classes == Some(1) {
            let message =
                format!("`{}` over one class says nothing: the probability of the only class is 1", layer.name);
            let d = Diagnostic::error(codes::ONE_CLASS, place(expanded, layer.value), message);
            sink.report(d.help("give it a channel or feature for each class, two for yes and no, or use `sigmoid`"));
        }
    }
}

/// Where a value comes from.
fn place(expanded: &Expanded, value: NodeId) -> Span {
    expanded.places.get(&value).copied().unwrap_or_default()
}

/// Can the network be trained as the section `train` asks?
pub fn trainable(section: &Section, expanded: &Expanded, sink: &mut Diagnostics) {
    if let [(first, _), (second, _), ..] = expanded.scope.outputs.as_slice() {
        let message = "a network that is trained has one output, this is another";
        let d = Diagnostic::error(codes::CONFLICT, second.span, message).label(first.span, "the first is here");
        sink.report(d.help("train it with one of them, or leave `train` out"));
    }
    let [(_, result)] = expanded.graph.outputs.as_slice() else { return };
    let ty = expanded.graph.ty(*result);
    let refuse = |message: String, help: &str| {
        let d = Diagnostic::error(codes::NOT_TRAINABLE, section.word, message).help(help);
        match expanded.places.get(result) {
            Some(span) => d.label(*span, "the result"),
            None => d,
        }
    };
    match ty.classes() {
        Some(1) => {
            let message = "a network with one output for all classes cannot be trained: its loss is always 0".into();
            sink.report(refuse(message, "give the last layer a feature for each class, two for yes and no"));
        }
        Some(_) => {}
        None => {
            let message =
                format!("training needs one number for each class, but the result has the shape {}", shape(ty));
            let help = match ty.dims.is_empty() {
                true => "end the network before its own loss: training compares its result with the labels",
                false => "end the network with `global_avg_pool |> softmax`, or leave `train` out",
            };
            sink.report(refuse(message, help));
        }
    }
    if !learns(expanded, *result) {
        let message = "there is nothing to train: the result depends on no parameter that is not frozen".into();
        sink.report(refuse(message, "add a layer with weights, or leave `train` out"));
    }
}

/// Is there a class weight for each output?
pub fn class_weights(section: &Section, recipe: &Recipe, expanded: &Expanded, sink: &mut Diagnostics) {
    let (Some(ClassWeights::Each(weights)), [(_, id)]) = (&recipe.class_weights, expanded.graph.outputs.as_slice())
    else {
        return;
    };
    let (given, outputs) = (weights.len(), expanded.graph.ty(*id).elements());
    if given != outputs {
        let message = format!("`class_weights` has {given} numbers, but the network has {outputs} outputs");
        let d = Diagnostic::error(codes::DATA_SHAPE, entry(section, CLASS_WEIGHTS.spec.name), message);
        sink.report(d.help("give one for each output, in their order, or write `class_weights = balanced`"));
    }
}

/// Does a result depend on a parameter that training changes?
fn learns(expanded: &Expanded, result: NodeId) -> bool {
    let (mut seen, mut stack) = (HashSet::new(), vec![result]);
    while let Some(id) = stack.pop() {
        if matches!(expanded.graph.op(id), Operator::Param(param) if param.trainable) {
            return true;
        }
        if seen.insert(id) {
            stack.extend(expanded.graph.operands(id));
        }
    }
    false
}

/// Do the data fit the network's input and result?
pub fn data(section: &Section, data: &DataSpec, expanded: &Expanded, sink: &mut Diagnostics) {
    let [(input, id)] = expanded.inputs.as_slice() else { return };
    let dims = &expanded.graph.ty(*id).dims;
    let image = match (&data.source, dims.as_slice()) {
        (Source::Folder { .. }, &[channels @ (1 | 3), height, width]) => Some([channels, height, width]),
        (Source::Folder { .. }, _) => {
            let message =
                format!("pictures have 1 or 3 channels, a height and a width, but `{}` is {dims:?}", input.text);
            let d = Diagnostic::error(codes::DATA_SHAPE, entry(section, SOURCE), message);
            sink.report(d.label(input.span, "the input").help("write for example `input image: [3, 64, 64]`"));
            return;
        }
        (Source::Npz, &[channels, height, width]) => Some([channels, height, width]),
        _ => examples(&data.source).map(|(dims, _)| dims),
    };
    built_in(section, data, (input, *id), expanded, sink);
    if let Some(image) = image {
        prepare(section, &data.prepare, image, sink);
    }
    if data.source != Source::Npz {
        channel_order(section, &data.prepare, sink);
    }
}

/// Warns of ImageNet's means in Caffe's order: pictures are read as red, green, blue.
fn channel_order(section: &Section, steps: &[Prepare], sink: &mut Diagnostics) {
    const IMAGENET: [f64; 3] = [0.485, 0.456, 0.406];
    let backwards = |mean: &Vec<f64>| {
        let near = |scale: f64| (0..3).all(|i| (mean[i] / scale / IMAGENET[2 - i] - 1.0).abs() < 0.01);
        mean.len() == 3 && (near(1.0) || near(255.0))
    };
    if steps.iter().any(|step| matches!(step, Prepare::MeanStd { mean: Some(mean), .. } if backwards(mean))) {
        let message = "these are ImageNet's means of blue, green and red, but pictures are read as red, green, blue";
        let d = Diagnostic::warning(codes::CHANNEL_ORDER, entry(section, PREPARE), message);
        sink.report(d.help("turn the list around, and the first layer's weights where they are Caffe's or OpenCV's"));
    }
}

/// Mirroring a border takes an image that is larger than it.
pub fn mirrored(section: &Section, data: &DataSpec, expanded: &Expanded, sink: &mut Diagnostics) {
    let [(_, id)] = expanded.inputs.as_slice() else { return };
    let &[_, height, width] = expanded.graph.ty(*id).dims.as_slice() else { return };
    let border = |step: &Augment| match step {
        Augment::PadCrop { pixels, reflect: true } => *pixels,
        _ => 0,
    };
    let (widest, least) = (data.augment.iter().map(border).max().unwrap_or(0), height.min(width));
    if widest >= least {
        let message = format!("a border of {widest} pixels cannot be mirrored in images of {height} x {width}");
        let d = Diagnostic::error(codes::DATA_SHAPE, entry(section, AUGMENT), message);
        sink.report(d.help(format!("take {} pixels at most, or leave `mode = reflect` out", least.saturating_sub(1))));
    }
}

/// Warns of changes of colours that grey images do not have.
pub fn colourless(section: &Section, data: &DataSpec, expanded: &Expanded, sink: &mut Diagnostics) {
    let colours = |step: &Augment| match step {
        Augment::ColorJitter { saturation, hue, .. } => *saturation > 0.0 || *hue > 0.0,
        _ => false,
    };
    let [(_, id)] = expanded.inputs.as_slice() else { return };
    if let (true, [1, _, _]) = (data.augment.iter().any(colours), expanded.graph.ty(*id).dims.as_slice()) {
        let message = "grey images have no colours: `saturation` and `hue` change nothing of them";
        sink.report(Diagnostic::warning(codes::UNUSED, entry(section, AUGMENT), message).help("leave them out"));
    }
}

/// The value of a key, or the section's word where it is not there.
fn entry(section: &Section, key: &str) -> Span {
    section.entries.iter().find(|e| e.key.text == key).map_or(section.word, |e| e.value.span)
}

/// Sources whose images have one size and one number of classes.
fn built_in(
    section: &Section,
    data: &DataSpec,
    (input, id): (&Name, NodeId),
    expanded: &Expanded,
    sink: &mut Diagnostics,
) {
    let Some((dims, classes)) = examples(&data.source) else { return };
    let (source, graph, place) = (source_name(&data.source), &expanded.graph, entry(section, SOURCE));
    let Name { text: name, span } = input;
    if graph.ty(id).dims != dims {
        let given = shape(graph.ty(id));
        let message = format!("`{source}` gives images of the shape {dims:?}, but `{name}` is {given}");
        let d = Diagnostic::error(codes::DATA_SHAPE, place, message).label(*span, "the input");
        sink.report(d.help(format!("write `input {name}: {dims:?}`")));
    }
    if let [(_, id)] = graph.outputs.as_slice()
        && graph.ty(*id).elements() < classes
    {
        let given = shape(graph.ty(*id));
        let message = format!("`{source}` has {classes} classes, but the result has the shape {given}");
        let mut d = Diagnostic::error(codes::DATA_SHAPE, place, message);
        if let Some(span) = expanded.places.get(id) {
            d = d.label(*span, "the result");
        }
        sink.report(d.help("give the last layer a channel or feature for each class"));
    }
}

/// Do the steps fit images of this size?
fn prepare(section: &Section, steps: &[Prepare], image: [usize; 3], sink: &mut Diagnostics) {
    let mut refuse = |message: String, help: &str| {
        sink.report(Diagnostic::error(codes::DATA_SHAPE, entry(section, PREPARE), message).help(help));
    };
    for step in steps {
        match step {
            Prepare::MeanStd { mean, std } => {
                for (name, numbers) in [("mean", mean), ("std", std)] {
                    let Some(count) = numbers.as_ref().map(Vec::len).filter(|&n| n != 1 && n != image[0]) else {
                        continue;
                    };
                    let what =
                        format!("`{name}` of mean_std has {count} numbers, but the images' channels are {}", image[0]);
                    refuse(what, "give one number, or one for each channel");
                }
            }
            Prepare::Zca { .. } if image.iter().product::<usize>() > zca::LARGEST => {
                let size: usize = image.iter().product();
                let what = format!("zca on images of {size} numbers: more than {} do not fit in memory", zca::LARGEST);
                refuse(what, "use smaller images, or gcn and mean_std alone");
            }
            _ => {}
        }
    }
}
