//! A network of Caffe as layers in one form: those of before 2015 are brought to the present one, inputs of the network
//! become layers, and the rules of the phases are applied.

use super::proto::{
    BlobShape, InputParameter, LayerParameter, NetParameter, NetStateRule, ParamSpec, V1LayerParameter,
};
use super::read::Read;
use super::text::{self, Field, Value};
use crate::io::error::ImportError;
use crate::io::sheet::identifier;
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;

/// Most layers of a network.
pub const MOST_LAYERS: usize = 20_000;

/// The number of the phase in which networks are used.
const TEST: i32 = 1;

/// Names of types, in the order in which the older format numbers them.
const TYPES: [&str; 40] = [
    "None",
    "Accuracy",
    "BNLL",
    "Concat",
    "Convolution",
    "Data",
    "Dropout",
    "EuclideanLoss",
    "Flatten",
    "HDF5Data",
    "HDF5Output",
    "Im2col",
    "ImageData",
    "InfogainLoss",
    "InnerProduct",
    "LRN",
    "MultinomialLogisticLoss",
    "Pooling",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxWithLoss",
    "Split",
    "TanH",
    "WindowData",
    "Eltwise",
    "Power",
    "SigmoidCrossEntropyLoss",
    "HingeLoss",
    "MemoryData",
    "ArgMax",
    "Threshold",
    "DummyData",
    "Slice",
    "MVN",
    "AbsVal",
    "Silence",
    "ContrastiveLoss",
    "Exp",
    "Deconvolution",
];

/// Types of layers that images come from.
pub const SOURCES: [&str; 7] = ["Input", "Data", "ImageData", "MemoryData", "HDF5Data", "DummyData", "WindowData"];

/// A layer.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// What the file says.
    pub it: LayerParameter,
    /// Fields of its text that no message of Caffe's has.
    pub unknown: Vec<String>,
}

impl Layer {
    /// Returns its type.
    pub fn kind(&self) -> &str {
        self.it.r#type()
    }

    /// Returns what people find it by.
    pub fn label(&self) -> String {
        let name = self.it.name();
        let top = || self.it.top.first().cloned().unwrap_or_default();
        if name.is_empty() { top() } else { name.into() }
    }

    /// Returns the name before its tensors' names: as an identifier, where one can be made of it.
    pub fn stem(&self) -> String {
        identifier(&self.label()).unwrap_or_else(|| self.label())
    }

    /// Do images come from it?
    pub fn is_source(&self) -> bool {
        SOURCES.contains(&self.kind())
    }

    /// Does it compute a loss?
    pub fn is_loss(&self) -> bool {
        self.kind().ends_with("Loss")
    }

    /// Is it without a part in what a network computes of images: a measure, a file that is written?
    pub fn is_measure(&self) -> bool {
        ["Accuracy", "Silence", "HDF5Output"].contains(&self.kind())
    }
}

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Net {
    /// Its name.
    pub name: String,
    /// Its layers, in the order in which they are computed.
    pub layers: Vec<Layer>,
}

/// Which layer makes each operand of a layer, and as which of its results.
pub type Links = Vec<Vec<Option<(usize, usize)>>>;

impl Net {
    /// Reads a `.prototxt`.
    pub fn of_text(bytes: &[u8]) -> Result<Net, ImportError> {
        let mut net = NetParameter::default();
        let mut layers = Vec::new();
        for field in text::parse(bytes)? {
            let mut unknown = Vec::new();
            match field.name.as_str() {
                "layer" => layers.push(Layer { it: LayerParameter::read(field, &[], &mut unknown)?, unknown }),
                "layers" => {
                    let it = upgraded(V1LayerParameter::read(field, &[], &mut unknown)?)?;
                    layers.push(Layer { it, unknown });
                }
                _ => {
                    let Field { line, name, .. } = field.clone();
                    let whole = Field { name: "net".into(), line, value: Value::Message(vec![field]) };
                    let one = NetParameter::read(whole, &[], &mut unknown)?;
                    if !unknown.is_empty() {
                        let what =
                            format!("a network has no field `{name}`: is this another file, a solver's perhaps?");
                        return Err(ImportError::Syntax { line, what });
                    }
                    net.name = one.name.or(net.name);
                    net.input.extend(one.input);
                    net.input_dim.extend(one.input_dim);
                    net.input_shape.extend(one.input_shape);
                }
            }
        }
        Net::of(net, layers)
    }

    /// Reads a `.caffemodel`.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Net, ImportError> {
        let damaged = |e: prost::DecodeError| ImportError::NotCaffe(e.to_string());
        let mut net = NetParameter::decode(Bytes::from(bytes)).map_err(damaged)?;
        let old = std::mem::take(&mut net.layers).into_iter().map(upgraded).collect::<Result<Vec<_>, _>>()?;
        let all = old.into_iter().chain(std::mem::take(&mut net.layer));
        let layers = all.map(|it| Layer { it, unknown: vec![] }).collect();
        Net::of(net, layers)
    }

    /// Puts layers in place of the network's inputs.
    fn of(net: NetParameter, layers: Vec<Layer>) -> Result<Net, ImportError> {
        if layers.len() > MOST_LAYERS {
            return Err(ImportError::Ports(format!("it has {} layers, more than {MOST_LAYERS}", layers.len())));
        }
        if layers.is_empty() {
            return Err(ImportError::NotCaffe("it holds no layers".into()));
        }
        let count = net.input.len();
        let mut shapes = net.input_shape;
        if shapes.is_empty() && !net.input_dim.is_empty() {
            shapes = net.input_dim.chunks(4).map(|dim| BlobShape { dim: dim.to_vec() }).collect();
        }
        if shapes.len() > count || (!shapes.is_empty() && shapes.len() < count) {
            return Err(ImportError::Ports(format!("it has {count} inputs and {} shapes of inputs", shapes.len())));
        }
        let inputs = net.input.into_iter().enumerate().map(|(i, name)| {
            let shape = shapes.get(i).cloned().into_iter().collect();
            let it = LayerParameter {
                name: Some(name.clone()),
                r#type: Some("Input".into()),
                top: vec![name],
                input_param: Some(Box::new(InputParameter { shape })),
                ..LayerParameter::default()
            };
            Layer { it, unknown: vec![] }
        });
        Ok(Net { name: net.name.unwrap_or_default(), layers: inputs.chain(layers).collect() })
    }

    /// Keeps the layers with which a trained network is used: those of the phase TEST, the losses of both, for they
    /// say what the result is, and where no images come in, those that do in training.
    pub fn for_use(mut self) -> Net {
        let kept = |layer: &Layer| layer.is_loss() || meets(layer);
        let fed = self.layers.iter().any(|layer| layer.is_source() && kept(layer));
        self.layers.retain(|layer| kept(layer) || (!fed && layer.is_source()));
        self
    }

    /// Finds the makers of all operands; a result may take the name of an earlier one.
    pub fn links(&self) -> Links {
        let mut made: HashMap<&str, (usize, usize)> = HashMap::new();
        let mut links = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            links.push(layer.it.bottom.iter().map(|name| made.get(name.as_str()).copied()).collect());
            made.extend(layer.it.top.iter().enumerate().map(|(k, name)| (name.as_str(), (i, k))));
        }
        links
    }

    /// Finds for each layer `BatchNorm` the layer `Scale` that alone reads it: the second half of the normalisation.
    pub fn norms(&self, readers: &[Vec<usize>]) -> Vec<Option<usize>> {
        let second = |i: usize| {
            let &[j] = &readers[i][..] else { return None };
            let (norm, scale) = (&self.layers[i], &self.layers[j]);
            let p = scale.it.scale_param.as_deref().cloned().unwrap_or_default();
            let each = p.axis.unwrap_or(1) == 1 && p.num_axes.unwrap_or(1) == 1 && scale.it.bottom.len() == 1;
            (norm.kind() == "BatchNorm" && scale.kind() == "Scale" && each).then_some(j)
        };
        (0..self.layers.len()).map(second).collect()
    }
}

/// Lists the layers that read results of each layer.
pub fn readers(links: &Links) -> Vec<Vec<usize>> {
    let mut readers = vec![vec![]; links.len()];
    for (i, operands) in links.iter().enumerate() {
        operands.iter().flatten().for_each(|&(from, _): &(usize, usize)| readers[from].push(i));
    }
    readers
}

/// Is the layer there in the phase TEST?
fn meets(layer: &Layer) -> bool {
    let rule = |rule: &NetStateRule| {
        rule.phase.is_none_or(|phase| phase == TEST)
            && rule.min_level.is_none_or(|level| level <= 0)
            && rule.max_level.is_none_or(|level| level >= 0)
            && rule.stage.is_empty()
    };
    match &layer.it.include[..] {
        [] => !layer.it.exclude.iter().any(rule),
        rules => rules.iter().any(rule),
    }
}

/// Brings a layer of the older format to the present one.
fn upgraded(old: V1LayerParameter) -> Result<LayerParameter, ImportError> {
    if old.layer.is_some() {
        return Err(ImportError::NotCaffe(
            "its layers have the form of 2013: Caffe's `upgrade_net_proto_text` and `upgrade_net_proto_binary` bring \
             them to the present one"
                .into(),
        ));
    }
    let number = old.r#type.unwrap_or_default();
    let kind = usize::try_from(number).ok().and_then(|number| TYPES.get(number));
    let kind = kind.map_or_else(|| number.to_string(), |kind| (*kind).into());
    let count = old.blobs_lr.len().max(old.weight_decay.len());
    let spec =
        |i: usize| ParamSpec { lr_mult: old.blobs_lr.get(i).copied(), decay_mult: old.weight_decay.get(i).copied() };
    Ok(LayerParameter {
        param: (0..count).map(spec).collect(),
        name: old.name,
        r#type: Some(kind),
        bottom: old.bottom,
        top: old.top,
        loss_weight: old.loss_weight,
        blobs: old.blobs,
        include: old.include,
        exclude: old.exclude,
        transform_param: old.transform_param,
        concat_param: old.concat_param,
        convolution_param: old.convolution_param,
        data_param: old.data_param,
        dropout_param: old.dropout_param,
        dummy_data_param: old.dummy_data_param,
        eltwise_param: old.eltwise_param,
        image_data_param: old.image_data_param,
        inner_product_param: old.inner_product_param,
        lrn_param: old.lrn_param,
        memory_data_param: old.memory_data_param,
        pooling_param: old.pooling_param,
        power_param: old.power_param,
        relu_param: old.relu_param,
        softmax_param: old.softmax_param,
        slice_param: old.slice_param,
        ..LayerParameter::default()
    })
}
