//! A network that is compared: its weights, values and gradients.

use super::Args;
use super::images::Images;
use super::rows::without_ones;
use super::sides::Gradients;
use crate::cli::foreign;
use crate::cli::model_file::{image_dims, input};
use crate::cli::options::GlobalOptions;
use crate::cli::output::{Done, usage};
use crate::cli::preparation;
use crate::cli::programs::{find_weights, initialise, use_weights};
use ninc::graph::NodeId;
use ninc::model::{Layer, Model};
use ninc::pipeline::GRADIENTS;
use ninc::prepare;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::plan::Role;
use ninc_runtime::spec::Source;
use ninc_runtime::train::step_inputs;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Feed, Tensor};
use std::path::{Path, PathBuf};

/// Weights and the file that they came from.
pub type Given = (PathBuf, Weights);

/// A network with what it is computed by.
#[derive(Clone)]
pub struct Network {
    /// Its file.
    pub file: PathBuf,
    /// Its text.
    pub model: Model,
    /// Its weights; without them it is as it starts.
    pub given: Option<Given>,
    /// What computes it.
    pub options: GlobalOptions,
    /// What is done to images of 0 to 255 for it, where that is other than for the network beside it.
    pub own: Option<Preparation>,
}

impl Network {
    /// Reads a network, with the weights that were given next or lie where `run` would find them. Only one that is
    /// compared with itself can do without.
    pub fn read<'a>(
        args: &Args,
        file: &Path,
        global: &GlobalOptions,
        side: usize,
        left: &mut impl Iterator<Item = &'a PathBuf>,
    ) -> Done<Network> {
        let model = global.model_on(file, args.data.as_deref())?;
        let given = if foreign::has_weights(file) { None } else { left.next() };
        let given = match find_weights(given.map(PathBuf::as_path), &model, file) {
            Ok(path) => {
                let read = |path: PathBuf| {
                    let weights = args.renames.read(&path, &global.foreign)?;
                    Ok((path, foreign::with_fixed(file, weights)))
                };
                path.map(read).transpose()
            }
            Err(_) if given.is_none() && args.other.is_none() => Ok(None),
            Err(e) => Err(e),
        }?;
        Ok(Network { file: file.to_path_buf(), model, given, options: global.side(side), own: None })
    }

    /// The same network, computed in another way.
    pub fn with(&self, options: GlobalOptions) -> Network {
        Network { options, ..self.clone() }
    }

    /// The preparation that the network states, where that takes no data; a file of another program without one states
    /// none.
    pub fn stated(&self) -> Done<Option<Preparation>> {
        if let Some(stated) = self.given.as_ref().and_then(|(_, weights)| weights.preparation.as_ref()) {
            return Ok(Some(stated.clone()));
        }
        let steps = self.model.data.as_ref().filter(|spec| !spec.prepare.is_empty());
        match steps {
            Some(spec) => preparation::given(&self.model, spec),
            None if foreign::says_preparation(&self.file) => {
                Ok(Some(Preparation::without_steps(image_dims(&input(&self.model)?)?)?))
            }
            None => Ok(None),
        }
    }

    /// Do its data come with this program?
    pub fn embedded(&self) -> bool {
        self.model.data.as_ref().is_some_and(|spec| spec.source == Source::Digits)
    }

    /// What is done to the images first.
    fn preparation<'a>(&'a self, images: &'a Images) -> Option<&'a Preparation> {
        self.own.as_ref().or(images.preparation.as_ref())
    }

    /// Names of its results.
    pub fn results(&self) -> Vec<String> {
        self.model.graph.outputs.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Names of its layers.
    pub fn layers(&self) -> impl Iterator<Item = String> {
        self.model.layers.iter().map(|layer| layer.name.clone())
    }

    /// Names of its layers, and of its blocks, each of which is the value of its last layer.
    pub fn layers_and_blocks(&self) -> impl Iterator<Item = String> {
        let block = |layer: &Layer| self.model.graph.node(layer.value).name.clone().filter(|name| *name != layer.name);
        self.model.layers.iter().flat_map(move |layer| [Some(layer.name.clone()), block(layer)]).flatten()
    }

    /// The value of a layer, or of a block.
    fn value(&self, name: &str) -> Option<NodeId> {
        let layer = self.model.layers.iter().find(|layer| layer.name == name).map(|layer| layer.value);
        layer.or_else(|| self.model.graph.named(name))
    }

    /// The sizes of a layer's value for each image, dimensions of 1 apart.
    pub fn sizes(&self, name: &str) -> Option<Vec<usize>> {
        self.value(name).map(|value| without_ones(&self.model.graph.ty(value).dims))
    }

    /// Computes values; `kept` are kept for it.
    pub fn values(&self, images: &Images, kept: &[String], names: &[String]) -> Done<Vec<Tensor>> {
        let formats = self.given.as_ref().and_then(|(_, weights)| weights.formats.as_ref());
        let mut own = self.options.with_formats(&self.model, formats);
        // Layers at the end of a block have its name in the graph, not their own.
        let values = kept.iter().filter_map(|name| Some((name.clone(), self.value(name)?)));
        own.graph.outputs.extend(values);
        let feed = images.values.feed();
        let mut program = self.options.inference_of(&own, self.preparation(images), feed.dtype(), &[])?;
        match &self.given {
            Some((path, weights)) => {
                use_weights(&mut program, &self.options.with_numbers(&self.model, weights.clone())?, path)?;
            }
            None => initialise(&mut program)?,
        }
        let port = step_inputs::image(program.engine.inputs())?.clone();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(program.engine.run(images.count, &[(&port.name, feed)], &names)?)
    }

    /// Computes gradients, in float32.
    pub fn gradients(&self, images: &Images) -> Done<Gradients> {
        if self.options.precision().is_some() {
            return Err(usage("--grad compares gradients in float32", "leave --precision out"));
        }
        let quantised = self.given.as_ref().is_some_and(|(_, weights)| weights.formats.is_some());
        if quantised && !self.options.asks_for_floats() {
            return Err(usage(
                "--grad needs gradients, and quantised weights have none",
                "--precision f32 takes the numbers that their whole ones stand for",
            ));
        }
        let feed = images.values.feed();
        let preparation = self.preparation(images);
        let form = preparation.map(|preparation| (preparation.form(), feed.dtype()));
        let mut program = self.options.gradients(&self.model, images.labels.is_some(), form)?;
        match &self.given {
            // The network's own program has checked them; this one lacks what no gradient depends on.
            Some((_, weights)) => {
                self.options.with_numbers(&self.model, weights.clone())?.load_into(&mut *program.engine)?;
            }
            None => initialise(&mut program)?,
        }
        let engine = &mut *program.engine;
        preparation.map_or(Ok(()), |preparation| prepare::write(engine, preparation))?;
        let image = step_inputs::image(engine.inputs())?.name.clone();
        let labels = engine.inputs().iter().find(|port| port.role == Role::Labels).map(|port| port.name.clone());
        let mut inputs = vec![(image.as_str(), feed)];
        if let (Some(name), Some(labels)) = (&labels, &images.labels) {
            inputs.push((name, Feed::I32(labels)));
        }
        // Two networks that prepare images in different ways have no gradient of an image in common.
        let image_too = |name: &String| self.own.is_none() || *name != format!("{GRADIENTS}{image}");
        let names: Vec<String> = engine.outputs().iter().map(|port| port.name.clone()).filter(image_too).collect();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let values = engine.run(images.count, &inputs, &wanted)?;
        Ok(names.into_iter().zip(values).collect())
    }
}
