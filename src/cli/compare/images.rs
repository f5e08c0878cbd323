//! The images that both sides see.

use super::Args;
use super::network::Network;
use super::reference::Reference;
use super::rows::without_ones;
use super::sides::Side;
use crate::cli::classes;
use crate::cli::model_file::{input, input_name, load_data, result};
use crate::cli::output::{self, Done, usage};
use crate::cli::preparation;
use ninc_runtime::data::Values;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::philox::Stream;
use ninc_runtime::weights::{Weights, few};
use ninc_runtime::{Error, Tensor};

/// Images, and their classes where they are known.
pub struct Images {
    /// Their numbers.
    pub values: Values,
    /// How many they are.
    pub count: usize,
    /// What is done to them first; without it they are prepared already.
    pub preparation: Option<Preparation>,
    /// The class that the loss counts each as.
    pub labels: Option<Vec<i32>>,
    /// Whether those are the file's.
    given: bool,
}

impl Images {
    /// Finds the images: those of a file of values, of the data, or random ones.
    pub fn find(args: &Args, sides: &[Side; 2], names: &[String; 2]) -> Done<Images> {
        let (mut networks, mut references) = (vec![], vec![]);
        for (side, name) in sides.iter().zip(names) {
            match side {
                Side::Network(network) => networks.push((&**network, name)),
                Side::Reference(reference) => references.push((reference, name)),
            }
        }
        if let Some((_, file)) = references.first() {
            let given = [("--data", args.data.is_some()), ("--images", args.images.is_some())];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return Err(usage(
                    format!("{option} does nothing here: the images are those of {file}"),
                    "leave it out",
                ));
            }
        }
        Ok(match (&networks[..], &references[..]) {
            ([(network, name), ..], [(reference, file), ..]) => of_reference(network, name, reference, file)?,
            ([(a, first), (b, second)], _) => {
                let (own, other) = (input(&a.model)?, input(&b.model)?);
                if own.iter().product::<usize>() != other.iter().product::<usize>() {
                    let message = format!("{first} takes images of {own:?}, {second} of {other:?}");
                    return Err(Error::new(message).into());
                }
                // Numbers of 0 to 255 are anybody's.
                let raw = a.own.is_some();
                of_network(args, if raw && !a.embedded() && b.embedded() { b } else { a }, raw)?
            }
            _ => Images::new(Values::Floats(vec![]), 0, None),
        })
    }

    fn new(values: Values, count: usize, preparation: Option<Preparation>) -> Images {
        Images { values, count, preparation, labels: None, given: false }
    }

    /// Counts each image as the class that scores lowest, where results are of classes and no file says another: the
    /// loss is steep there, while that of the right class may be all rounding.
    pub fn count_as_lowest(&mut self, sides: &[Side; 2], results: &[Tensor]) {
        let classes = sides.each_ref().map(|side| match side {
            Side::Network(network) => result(&network.model).ok().map(|(_, _, classes)| classes),
            Side::Reference(_) => None,
        });
        let ([Some(a), Some(b)], Some(scores)) = (classes, results.first()) else { return };
        if a == b {
            let lowest = |scores: &[f32]| (0..a).min_by(|&i, &j| scores[i].total_cmp(&scores[j])).unwrap_or(0) as i32;
            self.labels = Some(scores.data.chunks_exact(a).map(lowest).collect());
        }
    }

    /// What gradients are of.
    pub fn gradients_of(&self) -> &'static str {
        match (&self.labels, self.given) {
            (Some(_), true) => "mean cross-entropy with the labels",
            (Some(_), false) => "mean cross-entropy, each image counted as the class that scores lowest",
            (None, _) => "sum of the result's numbers, before a softmax",
        }
    }
}

/// The images in a file of values, under the input's name, and their `labels`.
fn of_reference(network: &Network, name: &str, reference: &Reference, file: &str) -> Done<Images> {
    let (dims, image) = (input(&network.model)?, input_name(&network.model)?);
    let array = reference.get(&image).ok_or_else(|| {
        let known: Vec<&str> = reference.names().collect();
        Error::new(format!("{file} has no array `{image}`, the input of {name}: it has {}", few(&known)))
            .with_help("the values beside it are those of the images in it, prepared as the network takes them")
    })?;
    let count = array.dims.first().copied().unwrap_or(0);
    if count == 0 || without_ones(&array.dims[1..]) != without_ones(&dims) {
        let shape: Vec<String> = dims.iter().map(usize::to_string).collect();
        let message = format!("`{image}` in {file} has the shape {:?}, not [N, {}]", array.dims, shape.join(", "));
        return Err(Error::new(message).with_help(format!("`{image}` is what {name} takes")).into());
    }
    let given = reference.get(Reference::LABELS);
    let labels = given.map(|array| labels(array, count, result(&network.model)?.2, file)).transpose()?;
    Ok(Images { labels, given: given.is_some(), ..Images::new(Values::Floats(array.data.clone()), count, None) })
}

/// One class for each image.
fn labels(array: &Tensor, count: usize, outputs: usize, file: &str) -> Done<Vec<i32>> {
    let whole = |v: &&f32| v.fract() == 0.0 && **v >= 0.0 && (**v as usize) < outputs;
    if without_ones(&array.dims) != without_ones(&[count]) || array.data.iter().any(|v| !whole(&v)) {
        let message = format!("`{}` in {file} is not a class for each of {count} images", Reference::LABELS);
        return Err(Error::new(message).with_help("classes are whole numbers from 0").into());
    }
    Ok(array.data.iter().map(|&v| v as i32).collect())
}

/// Prepared images, or with `raw` or of data those of 0 to 255 with their preparation.
fn of_network(args: &Args, network: &Network, raw: bool) -> Done<Images> {
    let Network { file, model, given, options, .. } = network;
    let size: usize = input(model)?.iter().product();
    let count = args.images.unwrap_or(4) as usize;
    if args.data.is_none() && !network.embedded() {
        let mut random = Stream::new(1, 0, 0);
        let mut number = || if raw { random.below(256) as f32 } else { random.normal() };
        let values = Values::Floats((0..count * size).map(|_| number()).collect());
        return Ok(Images::new(values, count, None));
    }
    let sets = load_data(model, file, args.data.as_deref(), given.as_ref().map(|(_, weights)| weights))?;
    let none = Weights::default();
    let weights = given.as_ref().map_or((&none, false), |(_, weights)| (weights, true));
    let preparation = preparation::of_weights(model, file, weights, &sets.train, options)?;
    sets.test.check("test", &input(model)?, usize::MAX)?;
    if let Some((path, weights)) = given.as_ref().filter(|_| result(model).is_ok()) {
        // Images of any class show differences: it is enough to say that these are others.
        if let Err(e) = classes::of_weights(model, weights, path)?.relabel(&sets.test, &sets.names) {
            output::note(&format!("note: {}", e.message));
        }
    }
    preparation.check(&sets.test)?;
    let count = count.min(sets.test.len());
    Ok(Images::new(sets.test.values(0..count)?, count, Some(preparation)))
}
