//! The tensors of a `.caffemodel`, by the names that the layers have in the language.

use super::Channels;
use super::colours;
use super::net::{Layer, Net, readers};
use super::proto::BlobProto;
use crate::io::error::ImportError;
use crate::io::sheet::turned;
use crate::ops::check::MOST_ELEMENTS;
use bytes::Bytes;
use ninc_runtime::Tensor;
use std::collections::BTreeMap;

/// Most sizes of a blob, as Caffe bounds them.
const MOST_SIZES: usize = 32;

/// The weights of a network.
#[derive(Clone, Debug, Default)]
pub struct CaffeWeights {
    /// Tensors by name: `conv1.weight`.
    pub tensors: BTreeMap<String, Tensor>,
    /// Layers whose weights were turned from blue, green, red to red, green, blue.
    pub turned: Vec<String>,
}

/// Reads the weights of a `.caffemodel`.
pub fn weights(bytes: Vec<u8>, channels: Channels) -> Result<CaffeWeights, ImportError> {
    let net = Net::of_bytes(bytes)?;
    let links = net.links();
    let norms = net.norms(&readers(&links));
    let mut made = CaffeWeights::default();
    for (i, layer) in net.layers.iter().enumerate().filter(|(_, layer)| !layer.it.blobs.is_empty()) {
        if norms.contains(&Some(i)) {
            continue;
        }
        let name = layer.stem();
        for (suffix, tensor) in tensors(layer, norms[i].map(|scale| &net.layers[scale]))? {
            if made.tensors.insert(format!("{name}.{suffix}"), tensor).is_some() {
                return Err(ImportError::tensor(&name, "is there twice: two layers of the file have this name"));
            }
        }
    }
    if channels == Channels::Bgr {
        colours::turn(&net, &links, &norms, &mut made)?;
    }
    Ok(made)
}

/// Returns a layer's tensors by what follows its name; `scale` is the second half of a normalisation.
fn tensors(layer: &Layer, scale: Option<&Layer>) -> Result<Vec<(String, Tensor)>, ImportError> {
    let blobs = layer.it.blobs.iter().enumerate();
    let blobs: Vec<Tensor> =
        blobs.map(|(k, blob)| read(blob, &layer.label(), k)).collect::<Result<_, ImportError>>()?;
    let list = |tensor: &Tensor| Tensor { dims: vec![tensor.data.len()], data: tensor.data.clone() };
    let named = |pairs: Vec<(&str, Tensor)>| Ok(pairs.into_iter().map(|(n, t)| (n.to_string(), t)).collect());
    let wrong = |what: String| Err(ImportError::tensor(&layer.label(), what));
    match (layer.kind(), &blobs[..]) {
        ("Convolution", [weight, rest @ ..]) if rest.len() < 2 && weight.dims.len() == 4 => {
            let bias = rest.first().map(|bias| ("bias", list(bias)));
            named([("weight", weight.clone())].into_iter().chain(bias).collect())
        }
        ("InnerProduct", [weight, rest @ ..]) if rest.len() < 2 => {
            // Of old, a matrix was the last two of four sizes.
            let [ref more @ .., rows, columns] = weight.dims[..] else { return wrong("is no matrix".into()) };
            if more.iter().any(|d| *d != 1) {
                return wrong(format!("is no matrix: {:?}", weight.dims));
            }
            let transposed = layer.it.inner_product_param.as_ref().is_some_and(|p| p.transpose());
            let matrix = match transposed {
                true => Tensor { dims: vec![columns, rows], data: turned(&weight.data, rows, columns) },
                false => Tensor { dims: vec![rows, columns], data: weight.data.clone() },
            };
            let bias = rest.first().map(|bias| ("bias", list(bias)));
            named([("weight", matrix)].into_iter().chain(bias).collect())
        }
        ("PReLU", [slopes]) => named(vec![("weight", list(slopes))]),
        ("Scale", [factors, rest @ ..]) if rest.len() < 2 => {
            let weight = Tensor { dims: vec![factors.data.len(), 1, 1, 1], data: factors.data.clone() };
            let bias = rest.first().map(|bias| ("bias", list(bias)));
            named([("weight", weight)].into_iter().chain(bias).collect())
        }
        ("BatchNorm", [mean, variance, divisor]) if divisor.data.len() == 1 => {
            // Both are sums over batches, whose weights the third counts.
            let factor = if divisor.data[0] == 0.0 { 0.0 } else { 1.0 / divisor.data[0] };
            let by = |sum: &Tensor| {
                let data = sum.data.iter().map(|v| v * factor).collect();
                Tensor { dims: vec![sum.data.len()], data }
            };
            let count = mean.data.len();
            let all = |value: f32| Tensor { dims: vec![count], data: vec![value; count] };
            let second = scale.map_or_else(|| Ok(vec![]), |scale| tensors(scale, None))?;
            let of = |name: &str| second.iter().find(|(n, _)| n == name).map(|(_, tensor)| list(tensor));
            let (weight, bias) = (of("weight").unwrap_or_else(|| all(1.0)), of("bias").unwrap_or_else(|| all(0.0)));
            named(vec![("weight", weight), ("bias", bias), ("running_mean", by(mean)), ("running_var", by(variance))])
        }
        ("Convolution" | "PReLU" | "Scale" | "BatchNorm", _) => {
            let shapes: Vec<&Vec<usize>> = blobs.iter().map(|blob| &blob.dims).collect();
            wrong(format!("has blobs of the shapes {shapes:?}, which are not those of a {}", layer.kind()))
        }
        // What no layer of the language has is told by its name where the weights are compared with a network.
        _ => Ok(blobs.into_iter().enumerate().map(|(k, blob)| (k.to_string(), blob)).collect()),
    }
}

/// Reads a blob; those of before 2015 have four sizes in fields of their own.
fn read(blob: &BlobProto, name: &str, k: usize) -> Result<Tensor, ImportError> {
    let wrong = |what: String| ImportError::tensor(&format!("{name}.{k}"), what);
    let old = || [blob.num, blob.channels, blob.height, blob.width].map(|d| d.unwrap_or(0)).to_vec();
    let sizes = blob.shape.as_ref().map_or_else(old, |shape| shape.dim.clone());
    let dims: Option<Vec<usize>> = sizes.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.filter(|dims| dims.len() <= MOST_SIZES).ok_or_else(|| wrong(format!("has the shape {sizes:?}")))?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| *n <= MOST_ELEMENTS);
    let count = count.ok_or_else(|| wrong(format!("has the shape {dims:?}, which is too large")))?;
    let bytes = |parts: &[Bytes]| parts.iter().map(Bytes::len).sum::<usize>();
    let (narrow, wide) = (bytes(&blob.data), bytes(&blob.double_data));
    let mut data = Vec::new();
    match (narrow, wide) {
        (n, 0) if n as u128 == 4 * count as u128 => {
            data.reserve_exact(count);
            for part in &blob.data {
                data.extend(part.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
            }
        }
        (0, n) if n as u128 == 8 * count as u128 => {
            data.reserve_exact(count);
            for part in &blob.double_data {
                data.extend(part.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32));
            }
        }
        _ => return Err(wrong(format!("has {} bytes of numbers, but the shape {dims:?}", narrow + wide))),
    }
    match data.len() == count {
        true => Ok(Tensor { dims, data }),
        false => Err(wrong("is cut within a number".into())),
    }
}
