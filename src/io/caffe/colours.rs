//! Colours of images: Caffe's tools read blue, green, red. Weights that read them are turned to red, green, blue.

use super::net::{Layer, Links, Net};
use super::weights::CaffeWeights;
use crate::io::error::ImportError;
use ninc_runtime::Tensor;

/// Types whose results have the channels of their operand.
const EACH_CHANNEL: [&str; 14] = [
    "ReLU",
    "PReLU",
    "ELU",
    "Sigmoid",
    "TanH",
    "Power",
    "Pooling",
    "LRN",
    "Dropout",
    "Split",
    "BatchNorm",
    "Scale",
    "Eltwise",
    "Flatten",
];

/// What the channels of a value are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Channels {
    /// The image's colours.
    Colours,
    /// Some of them, among others or in another order.
    Mixed,
    /// Anything else.
    Others,
}

/// Turns the weights of layers that read colours; `norms` are the second halves of normalisations.
pub fn turn(net: &Net, links: &Links, norms: &[Option<usize>], made: &mut CaffeWeights) -> Result<(), ImportError> {
    let mut channels = vec![Channels::Others; net.layers.len()];
    // Where no layer gives images, they are what the first layer reads that nothing makes.
    let fed = net.layers.iter().any(Layer::is_source);
    let absent = |i: usize| links[i].iter().zip(&net.layers[i].it.bottom).find(|(link, _)| link.is_none());
    let image = (0..links.len()).find_map(absent).map(|(_, name)| name).filter(|_| !fed);
    for (i, layer) in net.layers.iter().enumerate() {
        let of = |(link, name): (&Option<(usize, usize)>, &String)| match link {
            Some((from, 0)) if net.layers[*from].is_source() => Channels::Colours,
            Some((from, _)) => channels[*from],
            None if Some(name) == image => Channels::Colours,
            None => Channels::Others,
        };
        let operands: Vec<Channels> = links[i].iter().zip(&layer.it.bottom).map(of).collect();
        let apart = layer.is_source() || layer.is_loss() || layer.is_measure();
        if apart || operands.iter().all(|own| *own == Channels::Others) {
            continue;
        }
        let whole = operands.iter().all(|own| *own == Channels::Colours);
        channels[i] = match layer.kind() {
            "Convolution" | "InnerProduct" => Channels::Others,
            kind if whole && EACH_CHANNEL.contains(&kind) => Channels::Colours,
            _ => Channels::Mixed,
        };
        if layer.it.blobs.is_empty() || norms.contains(&Some(i)) {
            continue;
        }
        let name = layer.stem();
        let turned = match layer.kind() {
            _ if !whole => None,
            "Convolution" => convolution(layer, &name, made),
            "InnerProduct" => features(layer, links[i].first().map(|link| (net, *link)), &name, made),
            _ if channels[i] == Channels::Colours => Some(each(&name, made)),
            _ => None,
        };
        let wrong = "reads the colours of an image, blue, green, red in Caffe, in a way that cannot be turned: \
                     `--channels rgb` takes the weights as they are";
        if turned.ok_or_else(|| ImportError::tensor(&name, wrong))? {
            made.turned.push(name);
        }
    }
    Ok(())
}

/// Turns the weights of a convolution that reads three channels; `None` where its groups are in the way.
fn convolution(layer: &Layer, name: &str, made: &mut CaffeWeights) -> Option<bool> {
    let groups = layer.it.convolution_param.as_ref().map_or(1, |p| p.group.unwrap_or(1) as usize);
    let weight = made.tensors.get_mut(&format!("{name}.weight"))?;
    match (weight.dims.get(1)?.checked_mul(groups)?, groups) {
        (3, 1) => {
            reverse(weight, 1);
            Some(true)
        }
        (3, _) => None,
        _ => Some(false),
    }
}

/// Turns the weights of a layer that reads all numbers of an image; `None` where nobody says how many colours it has.
fn features(
    layer: &Layer,
    source: Option<(&Net, Option<(usize, usize)>)>,
    name: &str,
    made: &mut CaffeWeights,
) -> Option<bool> {
    let weight = made.tensors.get_mut(&format!("{name}.weight"))?;
    let [outputs, inputs] = weight.dims[..] else { return None };
    let of = |(net, link): (&Net, Option<(usize, usize)>)| {
        let (from, top) = link?;
        let shapes = net.layers[from].it.input_param.as_ref().map(|p| &p.shape[..])?;
        shapes.get(top).or(shapes.first())?.dim.get(1).copied()
    };
    match source.and_then(of) {
        Some(3) if inputs.is_multiple_of(3) && layer.it.bottom.len() == 1 => {
            weight.dims = vec![outputs, 3, inputs / 3];
            reverse(weight, 1);
            weight.dims = vec![outputs, inputs];
            Some(true)
        }
        Some(3) => None,
        None if inputs.is_multiple_of(3) => None,
        _ => Some(false),
    }
}

/// Turns what a layer has for each of three channels.
fn each(name: &str, made: &mut CaffeWeights) -> bool {
    let mut turned = false;
    for suffix in ["weight", "bias", "running_mean", "running_var"] {
        if let Some(own) = made.tensors.get_mut(&format!("{name}.{suffix}")).filter(|own| own.dims[0] == 3) {
            reverse(own, 0);
            turned = true;
        }
    }
    turned
}

/// Reverses the order along an axis.
fn reverse(tensor: &mut Tensor, axis: usize) {
    let inner: usize = tensor.dims[axis + 1..].iter().product();
    let size = tensor.dims[axis];
    for part in tensor.data.chunks_mut((inner * size).max(1)) {
        let old = part.to_vec();
        (0..size).for_each(|k| part[k * inner..][..inner].copy_from_slice(&old[(size - 1 - k) * inner..][..inner]));
    }
}

#[cfg(test)]
mod tests {
    use super::reverse;
    use ninc_runtime::Tensor;

    #[test]
    fn an_axis_is_reversed() {
        let mut tensor = Tensor { dims: vec![2, 3, 2], data: (0..12u8).map(f32::from).collect() };
        reverse(&mut tensor, 1);
        assert_eq!(tensor.data, [4.0, 5.0, 2.0, 3.0, 0.0, 1.0, 10.0, 11.0, 8.0, 9.0, 6.0, 7.0]);
        reverse(&mut tensor, 0);
        assert_eq!(tensor.data[..6], [10.0, 11.0, 8.0, 9.0, 6.0, 7.0]);
    }
}
