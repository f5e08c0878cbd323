//! Layers of Caffe to layers of the language. Shapes are Caffe's; changes of shape cost nothing until a layer needs
//! the value as it lies.

mod joins;
mod pool;
mod products;
mod results;
mod settings;
mod simple;

use super::Channels;
use super::input::{self, Input};
use super::net::{Layer, Links, Net, readers};
use crate::io::error::{ImportError, Reason};
use crate::io::sheet::{self, Args, LayerId, Sheet, identifier};
use ninc_runtime::Tensor;
use std::collections::BTreeMap;

/// A value of the network with its sizes as Caffe has them, without the batch. They are the elements of the layer's
/// value in the same order, perhaps under another shape.
#[derive(Clone, Debug, PartialEq)]
struct View {
    layer: LayerId,
    shape: Vec<usize>,
}

/// What a result of a layer stands for.
#[derive(Clone, Debug)]
enum Value {
    /// A value of the network.
    At(View),
    /// Labels, or what is computed with them.
    Label,
    /// A result of a layer that has no counterpart.
    Failed,
}

type Mapped<T = View> = Result<T, Reason>;

/// What a network becomes.
pub struct Made {
    /// Its layers.
    pub sheet: Sheet,
    /// Its input.
    pub input: Input,
    /// What should be known of it.
    pub notes: Vec<String>,
}

/// A network under translation.
struct Map<'n> {
    net: &'n Net,
    links: Links,
    readers: Vec<Vec<usize>>,
    /// For each layer `BatchNorm`, the layer `Scale` that is its second half.
    norms: Vec<Option<usize>>,
    sheet: Sheet,
    input: Input,
    /// The results of each layer.
    values: Vec<Vec<Value>>,
    reasons: BTreeMap<usize, String>,
    notes: Vec<String>,
}

/// Translates a network; `file` names it where it has no name, `open` are the sizes for an input that leaves some open.
pub fn map(net: &Net, file: &str, open: Option<&[usize]>, channels: Channels) -> Result<Made, ImportError> {
    let (source, top) = source(net)?;
    let input = input::input(&net.layers[source], top, open, channels)?;
    let links = net.links();
    let readers = readers(&links);
    let norms = net.norms(&readers);
    let name = identifier(&net.name).or_else(|| identifier(file)).unwrap_or_else(|| "imported".into());
    let sheet = Sheet { name, ..Sheet::default() };
    let values = vec![vec![]; net.layers.len()];
    let notes = input.note.clone().into_iter().collect();
    let reasons = BTreeMap::new();
    let mut map = Map { net, links, readers, norms, sheet, input, values, reasons, notes };
    map.image(source, top);
    for i in 0..net.layers.len() {
        if !net.layers[i].is_source() {
            map.values[i] = map.results_of(i);
        }
    }
    map.results()?;
    Ok(Made { sheet: map.sheet, input: map.input, notes: map.notes })
}

/// Finds the one value that images come as.
fn source(net: &Net) -> Result<(usize, usize), ImportError> {
    let mut found = Vec::new();
    for (i, layer) in net.layers.iter().enumerate().filter(|(_, layer)| layer.is_source()) {
        // The second result of layers that read examples is their labels.
        let several = ["Input", "DummyData"].contains(&layer.kind());
        let tops = layer.it.top.iter().enumerate().take(if several { usize::MAX } else { 1 });
        found.extend(tops.filter(|(_, name)| *name != "label").map(|(k, name)| (i, k, name.as_str())));
    }
    match found[..] {
        [(i, k, _)] => Ok((i, k)),
        [] => Err(ImportError::Ports("it has no input: no layer of images, no `input`".into())),
        _ => {
            let names: Vec<&str> = found.iter().map(|(_, _, name)| *name).collect();
            let message = format!("it has {} inputs ({}), where a network has one", names.len(), names.join(", "));
            Err(ImportError::Ports(message))
        }
    }
}

impl Map<'_> {
    /// Makes the input; other results of such layers are labels.
    fn image(&mut self, source: usize, top: usize) {
        for (i, layer) in self.net.layers.iter().enumerate().filter(|(_, layer)| layer.is_source()) {
            self.values[i] = vec![Value::Label; layer.it.top.len()];
        }
        let dims = self.input.dims.clone();
        let dims = if let [c, l] = dims[..] { vec![c, 1, l] } else { dims };
        let name = self.net.layers[source].it.top.get(top).and_then(|name| identifier(name));
        let name = name.filter(|name| name != "data").unwrap_or_else(|| "image".into());
        self.add(Some(name), "input", Args::default(), vec![], dims);
        let shape = self.input.dims.clone();
        self.values[source][top] = Value::At(View { layer: 0, shape });
    }

    /// Translates a layer, and keeps the reason where it has no counterpart.
    fn results_of(&mut self, i: usize) -> Vec<Value> {
        let layer = &self.net.layers[i];
        let before = self.sheet.layers.len();
        let made = self.layer(i).and_then(|made| Ok(self.sheet.writable(before).map(|()| made)?)).and_then(|made| {
            let more = |name: &str, k: usize| {
                let read = |j: &usize| self.links[*j].contains(&Some((i, k)));
                self.readers[i].iter().any(read).then(|| name.to_string())
            };
            let further = layer.it.top.iter().enumerate().skip(made.len()).find_map(|(k, name)| more(name, k));
            match further {
                Some(name) => Err(format!("its further result `{name}` is used").into()),
                None => Ok(made),
            }
        });
        made.unwrap_or_else(|reason| {
            if let Reason::Own(reason) = reason {
                self.reasons.insert(i, reason);
            }
            vec![Value::Failed; layer.it.top.len()]
        })
    }

    fn layer(&mut self, i: usize) -> Mapped<Vec<Value>> {
        let layer = &self.net.layers[i];
        if layer.is_loss() || layer.is_measure() {
            return Ok(vec![Value::Label; layer.it.top.len()]);
        }
        let mut operands = Vec::new();
        for (link, name) in self.links[i].iter().zip(&layer.it.bottom) {
            let made = link.and_then(|(from, k)| self.values[from].get(k));
            operands.push(made.cloned().ok_or_else(|| format!("it reads `{name}`, which nothing before it makes"))?);
        }
        if operands.iter().any(|value| matches!(value, Value::Failed)) {
            return Err(Reason::Upstream);
        }
        if operands.iter().any(|value| matches!(value, Value::Label)) {
            return Ok(vec![Value::Label; layer.it.top.len()]);
        }
        if !layer.unknown.is_empty() {
            return Err(format!("its `{}` is no field that Caffe has", layer.unknown.join("`, `")).into());
        }
        let views: Vec<View> =
            operands.into_iter().filter_map(|v| if let Value::At(v) = v { Some(v) } else { None }).collect();
        match (layer.kind(), &views[..]) {
            ("Concat", _) => self.concat(i, &views),
            ("Eltwise", _) => self.eltwise(i, &views),
            ("Split", [x]) => return Ok(vec![Value::At(x.clone()); layer.it.top.len()]),
            ("Slice", [x]) => return self.slice(i, x),
            ("Scale", [x]) => self.scale(i, x),
            ("Scale", [_, _]) => Err("it multiplies two values, of which one is spread over the other".into()),
            (_, [x]) => self.one(i, x),
            (kind, _) if !simple::known(kind) => Err(simple::UNKNOWN.into()),
            _ => Err(format!("it has {} operands, where it takes one", views.len()).into()),
        }
        .map(|view| vec![Value::At(view)])
    }

    /// Translates a layer of one operand.
    fn one(&mut self, i: usize, x: &View) -> Mapped {
        match self.net.layers[i].kind() {
            "Convolution" => self.convolution(i, x),
            "InnerProduct" => self.inner_product(i, x),
            "BatchNorm" => self.batch_norm(i, x),
            "PReLU" => self.prelu(i, x),
            "Pooling" => self.pooling(i, x),
            _ => self.simple(i, x),
        }
    }

    fn it(&self, i: usize) -> &Layer {
        &self.net.layers[i]
    }

    /// Returns the name of a layer in the language.
    fn name(&self, i: usize) -> Option<String> {
        identifier(&self.it(i).label())
    }

    /// Adds a layer without tensors.
    fn add(
        &mut self,
        name: Option<String>,
        function: &'static str,
        args: Args,
        operands: Vec<LayerId>,
        dims: Vec<usize>,
    ) -> LayerId {
        let params: BTreeMap<&'static str, Tensor> = BTreeMap::new();
        self.sheet.add(sheet::Layer { function, args, operands, name, params, dims, ..sheet::Layer::default() })
    }

    /// Adds a layer that takes each element for itself, or each channel.
    fn alike(&mut self, i: usize, function: &'static str, args: Args, x: &View) -> View {
        let dims = self.sheet.layers[x.layer].dims.clone();
        let layer = self.add(self.name(i), function, args, vec![x.layer], dims);
        View { layer, shape: x.shape.clone() }
    }

    /// Returns a value whose layer has the channels that Caffe sees.
    fn channels(&mut self, x: &View) -> View {
        if self.sheet.layers[x.layer].dims[0] == x.shape[0] {
            return x.clone();
        }
        let shape = match x.shape[..] {
            [c, ref rest @ ..] if rest.len() > 1 => {
                vec![c, rest[..rest.len() - 1].iter().product(), rest[rest.len() - 1]]
            }
            [c, l] => vec![c, 1, l],
            _ => x.shape.clone(),
        };
        View { layer: self.sheet.shaped(x.layer, &shape), shape: x.shape.clone() }
    }

    /// Returns an image with its channels, rows and columns.
    fn picture(&mut self, x: &View) -> Mapped<(LayerId, [usize; 3])> {
        let [c, h, w] = x.shape[..] else {
            return Err(format!("it works on images, and {:?} flows in", x.shape).into());
        };
        Ok((self.sheet.shaped(x.layer, &x.shape), [c, h, w]))
    }
}

/// Reads an axis, counted from the batch on or, below 0, from the end.
fn axis(given: Option<i32>, usual: i32, rank: usize) -> Mapped<usize> {
    let given = given.unwrap_or(usual);
    let axis = if given < 0 { given + rank as i32 } else { given };
    let found = usize::try_from(axis).ok().filter(|axis| *axis < rank);
    Ok(found.ok_or_else(|| format!("its axis is {given}, of {rank}"))?)
}
