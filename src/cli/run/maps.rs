//! `ninc run --maps`: where in a picture the network sees each of its best classes (the paper's figure 4).

use super::BATCH;
use super::inputs::{Images, is_array};
use super::views::Look;
use crate::cli::answers;
use crate::cli::completions;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, usage};
use crate::cli::sheet;
use clap_complete::engine::ArgValueCompleter;
use ninc::graph::{Graph, NodeId};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::ops::reshape::without_reshape;
use ninc::ops::softmax::scores;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::train::Scores;
use ninc_runtime::train::views::View;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, Error, Feed, Tensor, npy};
use std::path::{Path, PathBuf};

pub mod drawing;
mod grad_cam;
mod occlusion;

/// What stands for the picture's name in the name of the file.
const NAME: &str = "{name}";
/// The name that a value gets which the text does not name.
const UNNAMED: &str = "@maps";

#[derive(clap::Args, Clone)]
pub struct MapArgs {
    /// Draw over each picture where the network sees its best classes; `.npy` instead of `.png` writes their numbers,
    /// [K, …]. With several pictures FILE holds `{name}`, which becomes the name of each
    #[arg(long, value_name = "FILE.png")]
    maps: Option<PathBuf>,
    /// Maps of this value of the network: its channels with the highest means, or where grad-cam looks
    #[arg(long, value_name = "VALUE", requires = "maps", add = ArgValueCompleter::new(completions::maps))]
    maps_of: Option<String>,
    /// How maps are found
    #[arg(long, value_enum, value_name = "WAY", default_value = "class", requires = "maps")]
    maps_by: By,
}

impl MapArgs {
    /// Are maps not asked for?
    pub fn is_none(&self) -> bool {
        self.maps.is_none()
    }
}

/// How maps are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The network's own maps, whose means are the classes' scores
    Class,
    /// Channels of a late value, weighted by how the class's score grows with them
    GradCam,
    /// What the class's probability loses where a part of the picture is covered
    Occlusion,
}

/// What is asked for, checked against the network.
pub struct Wanted {
    path: PathBuf,
    by: By,
    /// The value that maps are made of; occlusion needs none.
    value: Option<String>,
    /// Has the value a channel for each class?
    of_classes: bool,
}

/// What maps are made from.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The command's options that stand for all commands.
    pub global: &'a GlobalOptions,
    /// The network.
    pub model: &'a Model,
    /// Its weights.
    pub weights: &'a Weights,
    /// What the program does to images first.
    pub preparation: Option<&'a Preparation>,
    /// The images, and what each consists of: channels, height, width.
    pub images: (&'a Images, [usize; 3]),
    /// What each view of them gave.
    pub looks: &'a [Look],
    /// The network's results, those of all views.
    pub result: &'a Tensor,
    /// What they are.
    pub scores: Scores,
    /// The classes.
    pub classes: &'a Classes,
    /// How many classes are shown.
    pub top: usize,
    /// The file of each image's maps.
    pub files: &'a [PathBuf],
}

/// The maps of one picture.
pub struct Maps {
    /// Rows and columns of each.
    size: [usize; 2],
    /// What each is of, and its numbers.
    maps: Vec<(String, Vec<f32>)>,
}

/// Finds the maps whose means are the classes' scores, and returns the name of their value, which it gets if it has
/// none.
pub fn of_classes(model: &mut Model) -> Option<String> {
    let graph = &mut model.graph;
    let id = class_maps(graph)?;
    let name = graph.node(id).name.clone().unwrap_or_else(|| UNNAMED.into());
    graph.set_name(id, name.clone());
    Some(name)
}

impl Wanted {
    /// Finds the value that maps are made of, and gives it a name if it has none; `None` if maps are not asked for.
    pub fn new(args: &MapArgs, model: &mut Model) -> Done<Option<Wanted>> {
        let Some(path) = args.maps.clone() else { return Ok(None) };
        if !is_array(&path) {
            sheet::check_name("--maps", &path)?;
        }
        let graph = &mut model.graph;
        let own = class_maps(graph);
        let id = match (args.maps_by, &args.maps_of) {
            (By::Occlusion, None) => None,
            (By::Occlusion, Some(_)) => {
                return Err(usage("--maps-of, where --maps-by occlusion looks at no value", "leave --maps-of out"));
            }
            (_, Some(name)) => Some(named(graph, name)?),
            (By::Class, None) => Some(own.ok_or_else(|| no_class_maps(graph))?),
            (By::GradCam, None) => Some(own.or_else(|| last_image(graph)).ok_or_else(no_images)?),
        };
        let of_classes = id.is_some() && id == own;
        let value = id.map(|id| {
            let name = graph.node(id).name.clone().unwrap_or_else(|| UNNAMED.into());
            graph.set_name(id, name.clone());
            name
        });
        Ok(Some(Wanted { path, by: args.maps_by, value, of_classes }))
    }

    /// The value that the network's program must give for maps.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref().filter(|_| self.by == By::Class)
    }

    /// Makes and writes the maps.
    pub fn write(&self, run: &Run, engine: &mut dyn Engine) -> Done {
        let (images, dims) = run.images;
        let all = self.make(run, engine)?;
        for ((maps, path), i) in all.iter().zip(run.files).zip(0..) {
            match is_array(path) {
                true => write_atomically(path, &npy::to_bytes(&maps.tensor()), &System)?,
                false => drawing::sheet(&images.shown(i), dims, maps).save(path)?,
            }
        }
        Ok(())
    }

    /// Makes the maps of each image: the mean of those of all views, as they lie in the picture as it is.
    pub fn make(&self, run: &Run, engine: &mut dyn Engine) -> Done<Vec<Maps>> {
        let (images, dims) = run.images;
        let probabilities = probabilities(run);
        let best: Vec<Vec<usize>> = probabilities.iter().map(|p| answers::best(p, run.top)).collect();
        let label = |image: usize, class: usize| {
            format!("{} {:.1}%", run.classes.name(class), probabilities[image][class] * 100.0)
        };
        let mut of_view = |run: &Run| match (self.by, &self.value) {
            (By::GradCam, Some(name)) => grad_cam::maps(run, name, &best, &label),
            (By::Occlusion, _) => occlusion::maps(run, engine, &self::probabilities(run), &best, &label),
            _ => Err(nothing()),
        };
        match (self.by, &self.value) {
            (By::Class, Some(name)) => {
                let values: Vec<_> = run.looks.iter().filter_map(|l| Some((&l.view, l.value.as_ref()?))).collect();
                let value = mean(&values, dims).ok_or_else(nothing)?;
                let one = |i: usize| match self.of_classes {
                    true => channels(&value, i, &best[i], |class| label(i, class)),
                    false => channels(&value, i, &strongest(&value, i, run.top), |c| format!("{name} {c}")),
                };
                Ok((0..images.names.len()).map(one).collect())
            }
            _ => views_mean(run, &mut of_view),
        }
    }

    /// The file of each picture, which is none of those that the command reads or writes otherwise.
    pub fn files(&self, names: &[String], outputs: &[(&str, &Path)], read: &[&Path]) -> Done<Vec<PathBuf>> {
        let path = self.path.to_string_lossy();
        if names.len() > 1 && !path.contains(NAME) {
            return Err(usage(
                format!("{} pictures, and one file for their maps", names.len()),
                "write {name} where the picture's name belongs: --maps maps-{name}.png",
            ));
        }
        let files: Vec<_> = names.iter().map(|name| PathBuf::from(path.replace(NAME, &stem(name)))).collect();
        let maps = files.iter().map(|path| ("--maps", path.as_path()));
        output::not_read(&maps.chain(outputs.iter().copied()).collect::<Vec<_>>(), read)?;
        Ok(files)
    }
}

/// The classes' probabilities of each image.
fn probabilities(run: &Run) -> Vec<Vec<f64>> {
    let scored = run.result.data.chunks_exact(run.classes.outputs());
    scored.map(|scored| run.scores.probabilities(scored)).collect()
}

fn nothing() -> output::Failure {
    Error::new("the program gives nothing to make maps of").into()
}

/// The mean of what views gave of a value [N, C, H, W] for images of `dims`, as it lies in the images as they are.
pub fn mean(views: &[(&View, &Tensor)], [_, height, width]: [usize; 3]) -> Option<Tensor> {
    let (_, first) = views.first()?;
    let [.., rows, columns] = first.dims[..] else { return None };
    let mut sums = vec![0.0f64; first.data.len()];
    for (view, value) in views {
        let maps = value.data.chunks_exact(rows * columns);
        for (sums, map) in sums.chunks_exact_mut(rows * columns).zip(maps) {
            let map = view.undone(map, columns, [height, width]);
            sums.iter_mut().zip(map).for_each(|(sum, v)| *sum += view.weight * f64::from(v));
        }
    }
    Some(Tensor { dims: first.dims.clone(), data: sums.into_iter().map(|v| v as f32).collect() })
}

/// The means of the maps that `of_view` finds in each view.
fn views_mean(run: &Run, of_view: &mut dyn FnMut(&Run) -> Done<Vec<Maps>>) -> Done<Vec<Maps>> {
    let (images, dims) = run.images;
    let mut seen = Vec::new();
    for look in run.looks {
        let other = images.view(&look.view, dims);
        let images = (other.as_ref().unwrap_or(images), dims);
        seen.push((&look.view, of_view(&Run { images, result: &look.result, ..*run })?));
    }
    let one = |i: usize| {
        let planes: Vec<(&View, Tensor)> = seen.iter().map(|(view, maps)| (*view, maps[i].tensor())).collect();
        let planes: Vec<(&View, &Tensor)> = planes.iter().map(|(view, planes)| (*view, planes)).collect();
        let mean = mean(&planes, dims).ok_or_else(nothing)?;
        let (_, first) = seen.first().ok_or_else(nothing)?;
        let Maps { size, ref maps } = first[i];
        let planes = mean.data.chunks_exact(size[0] * size[1]);
        Ok(Maps {
            size,
            maps: maps.iter().zip(planes).map(|((label, _), map)| (label.clone(), map.to_vec())).collect(),
        })
    };
    (0..images.names.len()).map(one).collect()
}

impl Maps {
    /// Returns rows and columns of each, and what each is of with its numbers.
    pub fn into_parts(self) -> ([usize; 2], Vec<(String, Vec<f32>)>) {
        (self.size, self.maps)
    }

    fn tensor(&self) -> Tensor {
        let data = self.maps.iter().flat_map(|(_, map)| map.iter().copied()).collect();
        Tensor { dims: [&[self.maps.len()][..], &self.size].concat(), data }
    }
}

/// The picture's name without folders and ending; images of an array are counted.
fn stem(name: &str) -> String {
    let (file, number) = match name.strip_suffix(']').and_then(|rest| rest.rsplit_once(".npy[")) {
        Some((file, number)) => (format!("{file}.npy"), format!("-{number}")),
        None => (name.into(), String::new()),
    };
    let stem = Path::new(&file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or(file) + &number
}

/// These channels of an image's value [N, C, H, W].
pub fn channels(value: &Tensor, image: usize, which: &[usize], label: impl Fn(usize) -> String) -> Maps {
    let size = [value.dims[2], value.dims[3]];
    let plane = size[0] * size[1];
    let map = |&c: &usize| (label(c), value.data[(image * value.dims[1] + c) * plane..][..plane].to_vec());
    Maps { size, maps: which.iter().map(map).collect() }
}

/// The channels with the highest means.
fn strongest(value: &Tensor, image: usize, count: usize) -> Vec<usize> {
    let plane = value.dims[2] * value.dims[3];
    let all = &value.data[image * value.dims[1] * plane..][..value.dims[1] * plane];
    let sums: Vec<f64> = all.chunks_exact(plane).map(|c| c.iter().copied().map(f64::from).sum()).collect();
    answers::best(&sums, count)
}

/// Is the value of an image one of planes?
fn is_image(graph: &Graph, id: NodeId) -> bool {
    let ty = graph.ty(id);
    ty.batched && matches!(ty.dims[..], [_, height, width] if height * width > 1)
}

/// What a final global average pooling takes the means of.
fn class_maps(graph: &Graph) -> Option<NodeId> {
    let scores = scores(graph, graph.outputs.first()?.1);
    let pooled = without_reshape(graph, scores);
    let Operator::GlobalAvgPool(_) = graph.op(pooled) else { return None };
    graph.operands(pooled).first().copied().filter(|&id| is_image(graph, id))
}

/// The last value with rows and columns on the way to the result.
fn last_image(graph: &Graph) -> Option<NodeId> {
    let mut id = graph.outputs.first()?.1;
    while !is_image(graph, id) {
        id = *graph.operands(id).first()?;
    }
    Some(id).filter(|&id| !matches!(graph.op(id), Operator::Input(_)))
}

/// Finds the value of this name, which must be one of planes.
fn named(graph: &Graph, name: &str) -> Done<NodeId> {
    let help = || {
        let images = graph.order().into_iter().filter(|&id| is_image(graph, id));
        let names: Vec<&str> = images.filter_map(|id| graph.node(id).name.as_deref()).collect();
        format!("values with maps: {}", names.join(", "))
    };
    let missing = || Error::new(format!("the network has no value `{name}`")).with_help(help());
    let id = graph.named(name).ok_or_else(missing)?;
    match is_image(graph, id) {
        true => Ok(id),
        false => {
            Err(Error::new(format!("`{name}` is {}, without rows and columns", graph.ty(id))).with_help(help()).into())
        }
    }
}

fn no_class_maps(graph: &Graph) -> output::Failure {
    let pooled = graph.outputs.first().map(|&(_, id)| without_reshape(graph, scores(graph, id)));
    let why = match pooled.is_some_and(|id| matches!(graph.op(id), Operator::GlobalAvgPool(_))) {
        true => "those before its global average pooling are of one place each",
        false => "it does not end in a global average pooling",
    };
    usage(
        format!("the network has no maps of its classes: {why}"),
        "--maps-by grad-cam or occlusion finds maps for any network; --maps-of shows a value's channels",
    )
}

fn no_images() -> output::Failure {
    usage("no value of the network has rows and columns", "--maps-by occlusion needs none")
}
