//! A fitted preparation as operators: in front of a network, or as a program of its own. Its numbers are parameters
//! that nothing trains, under the names that they have in files of weights.

use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::linear::Linear;
use crate::ops::prepare::{GlobalContrast, LocalContrast, PixelStep, Pixelwise};
use crate::ops::reshape::Reshape;
use crate::ops::source::{Fill, Init, Input, Param};
use crate::passes::error::PassError;
use crate::types::DType;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::range::Range;
use ninc_runtime::plan::Role;
use ninc_runtime::spec::Prepare;
use ninc_runtime::{Engine, Error};

/// Name of the result of [`alone`].
const PREPARED: &str = "prepared";

/// Puts a preparation in front of a network, whose image then is `[channels, height, width]` of this type, 0 to 255.
pub fn join(graph: &mut Graph, preparation: &Form, dtype: DType) -> Result<(), PassError> {
    let images = |&id: &NodeId| matches!(graph.op(id), Operator::Input(input) if input.role == Role::Image);
    let missing = || PassError::Network("the network has no input for images".into());
    let old = graph.ids().into_iter().find(images).ok_or_else(missing)?;
    let (name, dims) = match graph.op(old) {
        Operator::Input(input) => (input.name.clone(), input.dims.clone()),
        _ => return Err(PassError::Graph("the network's input is not an input".into())),
    };
    let prepared = add(graph, &name, preparation, dtype, preparation.dims().to_vec(), divisor(preparation, dtype))?;
    let prepared = if dims == preparation.dims() { prepared } else { graph.add(Reshape { dims }, &[prepared])? };
    graph.replace(old, prepared);
    graph.remove(old);
    Ok(())
}

/// Makes a graph that prepares images of this type and does nothing else. Where no step looks at two channels or places
/// at once, they stay planes, as callers have them: bringing them into the order of a network's memory and back would
/// cost more than the steps.
pub fn alone(preparation: &Form, dtype: DType) -> Result<Graph, PassError> {
    let [channels, height, width] = preparation.dims();
    let pixelwise = |step: &Prepare| matches!(step, Prepare::Scale { .. } | Prepare::MeanStd { .. });
    let dims = match preparation.spec().iter().all(pixelwise) && height * width > 1 {
        true => vec![channels, height * width],
        false => preparation.dims().to_vec(),
    };
    let mut graph = Graph::new("preparation");
    let prepared = add(&mut graph, "image", preparation, dtype, dims, divisor(preparation, dtype))?;
    graph.outputs.push((PREPARED.into(), prepared));
    Ok(graph)
}

/// Makes a graph that prepares pictures, whose bytes lie in memory pixel by pixel and are divided before all steps.
pub fn of_pictures(preparation: &Form, divisor: f32) -> Result<Graph, PassError> {
    let mut graph = Graph::new("preparation");
    let dims = preparation.dims().to_vec();
    let prepared = add(&mut graph, "image", preparation, DType::U8, dims, divisor)?;
    graph.outputs.push((PREPARED.into(), prepared));
    Ok(graph)
}

/// What an image of this type is divided by before all steps: bytes are pictures, other numbers mean themselves.
fn divisor(preparation: &Form, dtype: DType) -> f32 {
    let of_bytes = preparation.range().and_then(Range::divisor).unwrap_or(1.0);
    if dtype == DType::U8 { of_bytes } else { 1.0 }
}

/// Gives a program that was made of such a graph the preparation's numbers.
pub fn write(engine: &mut dyn Engine, preparation: &Preparation) -> Result<(), Error> {
    preparation.tensors().iter().try_for_each(|(name, tensor)| engine.write(name, tensor))
}

/// Adds the input `name` of values of this type and shape, divided, and what the steps make of it.
fn add(
    graph: &mut Graph,
    name: &str,
    preparation: &Form,
    dtype: DType,
    dims: Vec<usize>,
    divisor: f32,
) -> Result<NodeId, PassError> {
    let input = Input { name: name.into(), role: Role::Image, dtype, batched: true, dims: dims.clone() };
    let image = graph.add(input, &[])?;
    let mut steps = Steps { graph, image, bytes: dtype == DType::U8, pixelwise: vec![], numbers: vec![] };
    if divisor != 1.0 {
        let by = steps.graph.add(Fill { value: divisor.into(), batched: false, dims: vec![] }, &[])?;
        steps.pixelwise(PixelStep::Divide, &[by])?;
    }
    let all = preparation.shapes();
    for (i, step) in preparation.spec().iter().enumerate() {
        let own = format!("prepare.{i}.");
        let own: Vec<_> = all.iter().filter(|(name, _)| name.starts_with(&own)).collect();
        let numbers = own.iter().map(|(name, dims)| steps.graph.add(fixed(name.clone(), dims.clone()), &[]));
        let numbers = numbers.collect::<Result<Vec<NodeId>, _>>()?;
        match step {
            Prepare::Scale { .. } => steps.pixelwise(PixelStep::Scale, &numbers)?,
            Prepare::MeanStd { .. } => steps.pixelwise(PixelStep::Standardise, &numbers)?,
            Prepare::Gcn { .. } => steps.whole(GlobalContrast {}, &numbers)?,
            Prepare::Zca { .. } => {
                steps.whole(Reshape { dims: vec![dims.iter().product()] }, &[])?;
                steps.pixelwise(PixelStep::Centre, &numbers[..1])?;
                // The matrix is its own transpose.
                steps.whole(Linear {}, &numbers[1..])?;
                steps.whole(Reshape { dims: dims.clone() }, &[])?;
            }
            Prepare::Lcn => steps.whole(LocalContrast {}, &[])?,
        }
    }
    steps.flush()?;
    Ok(steps.image)
}

/// Steps on their way into a graph. Neighbours that look at one number at a time are one operator.
struct Steps<'a> {
    graph: &'a mut Graph,
    image: NodeId,
    /// Whether the image is still bytes.
    bytes: bool,
    /// Steps that wait to be added, and their fitted numbers.
    pixelwise: Vec<PixelStep>,
    numbers: Vec<NodeId>,
}

impl Steps<'_> {
    fn pixelwise(&mut self, step: PixelStep, numbers: &[NodeId]) -> Result<(), PassError> {
        if self.numbers.len() + numbers.len() > Pixelwise::MOST {
            self.flush()?;
        }
        self.pixelwise.push(step);
        self.numbers.extend(numbers);
        Ok(())
    }

    /// Adds an operator that looks at whole images of floats.
    fn whole(&mut self, op: impl Into<Operator>, numbers: &[NodeId]) -> Result<(), PassError> {
        self.flush()?;
        self.image = self.graph.add(op, &[&[self.image], numbers].concat())?;
        Ok(())
    }

    /// Adds what waits. Bytes become floats even if nothing does.
    fn flush(&mut self) -> Result<(), PassError> {
        if self.bytes || !self.pixelwise.is_empty() {
            let operands = [vec![self.image], std::mem::take(&mut self.numbers)].concat();
            self.image = self.graph.add(Pixelwise { steps: std::mem::take(&mut self.pixelwise) }, &operands)?;
            self.bytes = false;
        }
        Ok(())
    }
}

/// Makes a parameter that nothing trains.
fn fixed(name: String, dims: Vec<usize>) -> Param {
    let init = Init::Constant { value: 0.0 };
    Param { name, dims, init, trainable: false, rate: 0.0, decay: 0.0, max_norm: None, state: false }
}
