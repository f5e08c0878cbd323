//! Functions of each element, normalisations without weights, and changes of shape.

use super::{Map, Mapped, View, axis};
use crate::io::sheet::{Arg, Args};
use ninc_runtime::Tensor;

/// Why a type is refused that is none of those below.
pub const UNKNOWN: &str = "the language has no counterpart of this type";

/// Types that are translated.
const KNOWN: [&str; 20] = [
    "BatchNorm",
    "Concat",
    "Convolution",
    "Dropout",
    "ELU",
    "Eltwise",
    "Flatten",
    "InnerProduct",
    "LRN",
    "PReLU",
    "Pooling",
    "Power",
    "ReLU",
    "Reshape",
    "Scale",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "TanH",
];

/// Is a type translated?
pub fn known(kind: &str) -> bool {
    KNOWN.contains(&kind)
}

impl Map<'_> {
    /// Translates a layer without weights.
    pub(super) fn simple(&mut self, i: usize, x: &View) -> Mapped {
        let none = Args::default;
        let it = &self.net.layers[i].it;
        match it.r#type() {
            "ReLU" => match it.relu_param.as_ref().map_or(0.0, |p| p.negative_slope()) {
                0.0 => Ok(self.alike(i, "relu", none(), x)),
                slope => {
                    let args = none().unless("slope", Arg::Float(slope), Arg::Float(0.01));
                    Ok(self.alike(i, "leaky_relu", args, x))
                }
            },
            "ELU" => {
                let alpha = it.elu_param.as_ref().and_then(|p| p.alpha).unwrap_or(1.0);
                Ok(self.alike(i, "elu", none().unless("alpha", Arg::Float(alpha), Arg::Float(1.0)), x))
            }
            "Sigmoid" => Ok(self.alike(i, "sigmoid", none(), x)),
            "TanH" => Ok(self.alike(i, "tanh", none(), x)),
            "Dropout" => match it.dropout_param.as_ref().and_then(|p| p.dropout_ratio).unwrap_or(0.5) {
                0.0 => Ok(x.clone()),
                rate => Ok(self.alike(i, "dropout", none().with("rate", Arg::Float(rate)), x)),
            },
            "Power" => self.power(i, x),
            "LRN" => self.lrn(i, x),
            "Softmax" => {
                let given = it.softmax_param.as_ref().and_then(|p| p.axis);
                let at = axis(given, 1, x.shape.len() + 1)?;
                if at != 1 {
                    return Err("it is taken over another axis than the channels".into());
                }
                Ok(self.softmax(self.name(i), x))
            }
            "Flatten" => {
                let p = it.flatten_param.as_deref().cloned().unwrap_or_default();
                let rank = x.shape.len() + 1;
                let (first, last) = (axis(p.axis, 1, rank)?, axis(p.end_axis, -1, rank)?);
                if first == 0 || first > last {
                    return Err("it takes images together".into());
                }
                let flat = x.shape[first - 1..last].iter().product();
                let shape = [&x.shape[..first - 1], &[flat], &x.shape[last..]].concat();
                Ok(View { layer: x.layer, shape })
            }
            "Reshape" => self.reshape(i, x),
            _ => Err(UNKNOWN.into()),
        }
    }

    /// Adds a softmax over the channels.
    pub(super) fn softmax(&mut self, name: Option<String>, x: &View) -> View {
        let x = self.channels(x);
        let dims = self.sheet.layers[x.layer].dims.clone();
        let layer = self.add(name, "softmax", Args::default(), vec![x.layer], dims);
        View { layer, shape: x.shape }
    }

    fn power(&mut self, i: usize, x: &View) -> Mapped {
        let p = self.it(i).it.power_param.as_deref().cloned().unwrap_or_default();
        let power = p.power.unwrap_or(1.0);
        if power != 1.0 {
            return Err(format!("it raises to the power of {power}").into());
        }
        Ok(self.affine(i, x, p.scale.unwrap_or(1.0), p.shift()))
    }

    /// Adds `x·scale + shift`, by numbers that the file gives and nothing learns.
    pub(super) fn affine(&mut self, i: usize, x: &View, scale: f32, shift: f32) -> View {
        if scale == 1.0 && shift == 0.0 {
            return x.clone();
        }
        let made = self.alike(i, "affine", Args::default(), x);
        let layer = &mut self.sheet.layers[made.layer];
        let count = layer.dims[0];
        for (name, value) in [("scale", scale), ("shift", shift)] {
            layer.params.insert(name, Tensor { dims: vec![count], data: vec![value; count] });
        }
        made
    }

    fn lrn(&mut self, i: usize, x: &View) -> Mapped {
        let p = self.it(i).it.lrn_param.as_deref().cloned().unwrap_or_default();
        if p.norm_region.unwrap_or(0) != 0 {
            return Err("it normalises within channels, where `lrn` does across them".into());
        }
        let size = p.local_size.unwrap_or(5) as usize;
        if size % 2 == 0 {
            return Err(format!("its local_size is {size}, where Caffe takes odd sizes only").into());
        }
        let (layer, dims) = self.picture(x)?;
        let args = Args::lrn(size, [p.alpha.unwrap_or(1.0), p.beta.unwrap_or(0.75), p.k.unwrap_or(1.0)]);
        Ok(self.alike(i, "lrn", args, &View { layer, shape: dims.to_vec() }))
    }

    fn reshape(&mut self, i: usize, x: &View) -> Mapped {
        let p = self.it(i).it.reshape_param.as_deref().cloned().unwrap_or_default();
        let target = p.shape.map(|shape| shape.dim).unwrap_or_default();
        let given = || format!("it makes {target:?} of {:?}, which does not keep images apart", x.shape);
        let own = |at: usize| x.shape.get(at).copied();
        let elements: usize = x.shape.iter().product();
        let (sizes, first) = match (p.axis.unwrap_or(0), p.num_axes.unwrap_or(-1)) {
            (1, -1) => (&target[..], 0),
            (0, -1) => {
                let batch = self.input.batch.and_then(|b| i64::try_from(b).ok());
                match target.split_first() {
                    Some((&n, rest)) if n == 0 || Some(n) == batch || (n == -1 && !rest.contains(&-1)) => (rest, 0),
                    _ => return Err(given().into()),
                }
            }
            _ => return Err("it reshapes some axes only".into()),
        };
        let known = |(at, &d): (usize, &i64)| match d {
            0 => own(first + at),
            -1 => Some(1),
            d => usize::try_from(d).ok(),
        };
        let mut shape = sizes.iter().enumerate().map(known).collect::<Option<Vec<usize>>>().ok_or_else(given)?;
        let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| *n > 0).ok_or_else(given)?;
        match sizes.iter().filter(|d| **d == -1).count() {
            0 if product == elements => {}
            1 if elements.is_multiple_of(product) => {
                let at = sizes.iter().position(|d| *d == -1).unwrap_or(0);
                shape[at] = elements / product;
            }
            _ => return Err(given().into()),
        }
        if shape.is_empty() {
            shape = vec![1];
        }
        Ok(View { layer: x.layer, shape })
    }
}
