//! A network of bytes whose weights are those that a training would start from, with ranges of random images: the speed
//! of int8 without weights.

use super::super::model_file::input;
use super::super::options::GlobalOptions;
use super::super::output::Done;
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::pipeline::{Options, Program};
use ninc::quantize::ranges::Method;
use ninc::quantize::{Image, Network, Quantised};
use ninc::types::DType;
use ninc_runtime::formats::LayerFormat;
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::philox::Stream;
use ninc_runtime::train::step_inputs;
use ninc_runtime::{Feed, Tensor, weights};
use std::collections::BTreeMap;

/// Images that ranges are measured on.
const IMAGES: usize = 4;

/// The program, with its weights.
pub fn program(model: &Model, global: &GlobalOptions) -> Done<Program> {
    let (model, tensors) = of_bytes(model, global)?;
    let mut program = global.inference(&model, &[])?;
    weights::load(&tensors, &mut *program.engine)?;
    Ok(program)
}

/// The network with formats, and its weights. Layers that cannot multiply bytes stay float32.
pub fn of_bytes(model: &Model, global: &GlobalOptions) -> Done<(Model, BTreeMap<String, Tensor>)> {
    let Quantised { formats, tensors } = quantised(model, global)?;
    Ok((Model { formats: Some(formats), ..model.clone() }, tensors))
}

fn quantised(model: &Model, global: &GlobalOptions) -> Done<Quantised> {
    let mut network = Network::new(model, &fresh(model))?;
    let options = Options { emit: vec![], ..global.options()? };
    let mut random = Stream::new(1, 0, 0);
    let size = input(model)?.iter().product::<usize>();
    let images: Vec<f32> = (0..IMAGES * size).map(|_| random.normal()).collect();
    let image = Image { preparation: None, dtype: DType::F32 };
    network.calibrate(&image, &options, &mut |engine, names, take| {
        let input = step_inputs::image(engine.inputs())?.name.clone();
        take(engine.run(IMAGES, &[(&input, Feed::F32(&images))], names)?)
    })?;
    let layers = network.layers().into_iter().map(|name| (name, LayerFormat::Int8)).collect();
    Ok(network.quantised(&layers, Method::MinMax)?)
}

/// Parameters as a training would start with them.
fn fresh(model: &Model) -> BTreeMap<String, Tensor> {
    let graph = &model.graph;
    let parameter = |id| match graph.op(id) {
        Operator::Param(p) => {
            Some(Parameter { name: p.name.clone(), dims: p.dims.clone(), init: p.init, state: p.state })
        }
        _ => None,
    };
    let all = graph.ids().into_iter().filter_map(parameter);
    all.map(|parameter| (parameter.name.clone(), init::values(&parameter, 1))).collect()
}
