//! Layers of several operands, and of several results.

use super::{Map, Mapped, Value, View, axis};
use crate::io::sheet::{Arg, Args, LayerId};
use ninc_runtime::Tensor;

/// Numbers of the ways to combine elements.
const PROD: i32 = 0;
const SUM: i32 = 1;
const MAX: i32 = 2;

/// Most operands of a layer of the language.
const MOST_OPERANDS: usize = 64;

/// Most weights of a fixed choice of channels.
const MOST_WEIGHTS: usize = 1 << 22;

impl Map<'_> {
    /// Translates Concat.
    pub(super) fn concat(&mut self, i: usize, parts: &[View]) -> Mapped {
        let p = self.it(i).it.concat_param.as_deref().cloned().unwrap_or_default();
        let first = parts.first().ok_or("it has no operands")?;
        let given = p.axis.or(p.concat_dim.and_then(|axis| i32::try_from(axis).ok()));
        if axis(given, 1, first.shape.len() + 1)? != 1 {
            return Err("it joins along another axis than the channels".into());
        }
        if parts.iter().any(|part| part.shape[1..] != first.shape[1..]) {
            return Err("its operands do not fit each other".into());
        }
        if let [one] = parts {
            return Ok(one.clone());
        }
        if parts.len() > MOST_OPERANDS {
            return Err(format!("it has more than {MOST_OPERANDS} operands").into());
        }
        let channels = parts.iter().map(|part| part.shape[0]).sum();
        let flat = parts.iter().all(|part| self.sheet.layers[part.layer].dims == [part.shape[0]]);
        let mut operands = Vec::new();
        for part in parts {
            operands.push(if flat { part.layer } else { self.whole(part)? });
        }
        let shape = [&[channels], &first.shape[1..]].concat();
        let dims = if flat { vec![channels] } else { shape.clone() };
        let layer = self.add(self.name(i), "concat", Args::default(), operands, dims);
        Ok(View { layer, shape })
    }

    /// Returns a value under the shape that Caffe sees: an image or features.
    fn whole(&mut self, x: &View) -> Mapped<LayerId> {
        match x.shape.len() {
            1 | 3 => Ok(self.sheet.shaped(x.layer, &x.shape)),
            _ => Err(format!("it joins values of {:?}, which are no images", x.shape).into()),
        }
    }

    /// Translates Eltwise.
    pub(super) fn eltwise(&mut self, i: usize, parts: &[View]) -> Mapped {
        let p = self.it(i).it.eltwise_param.as_deref().cloned().unwrap_or_default();
        let [first, rest @ ..] = parts else { return Err("it has no operands".into()) };
        if rest.is_empty() || rest.iter().any(|part| part.shape != first.shape) {
            return Err("its operands do not have one shape".into());
        }
        let operation = p.operation.unwrap_or(SUM);
        if !p.coeff.is_empty() && (operation != SUM || p.coeff.len() != parts.len()) {
            return Err("its factors (coeff) do not fit its operands".into());
        }
        let mut scaled = Vec::new();
        for (k, part) in parts.iter().enumerate() {
            scaled.push(self.affine(i, part, p.coeff.get(k).copied().unwrap_or(1.0), 0.0));
            if p.coeff.get(k).is_some_and(|factor| *factor != 1.0) {
                self.unnamed(&scaled[k]);
            }
        }
        let dims = self.sheet.layers[scaled[0].layer].dims.clone();
        let layers: Vec<LayerId> = scaled.iter().map(|part| self.sheet.shaped(part.layer, &dims)).collect();
        let (first, rest) = (layers[0], &layers[1..]);
        let none = Args::default;
        let layer = match operation {
            SUM if layers.len() > MOST_OPERANDS => {
                return Err(format!("it has more than {MOST_OPERANDS} operands").into());
            }
            SUM => self.add(self.name(i), "add", none(), layers, dims),
            PROD => {
                let last = rest.len() - 1;
                let mut sum = first;
                for (k, &other) in rest.iter().enumerate() {
                    let name = self.name(i).filter(|_| k == last);
                    sum = self.add(name, "mul", none(), vec![sum, other], dims.clone());
                }
                sum
            }
            // The larger of two: a + max(b - a, 0).
            MAX => {
                let last = rest.len() - 1;
                let mut most = View { layer: first, shape: dims.clone() };
                for (k, &other) in rest.iter().enumerate() {
                    let minus = self.affine(i, &most, -1.0, 0.0);
                    self.unnamed(&minus);
                    let apart = self.add(None, "add", none(), vec![other, minus.layer], dims.clone());
                    let more = self.add(None, "relu", none(), vec![apart], dims.clone());
                    let name = self.name(i).filter(|_| k == last);
                    most.layer = self.add(name, "add", none(), vec![most.layer, more], dims.clone());
                }
                most.layer
            }
            other => return Err(format!("it combines in the unknown way {other}").into()),
        };
        Ok(View { layer, shape: parts[0].shape.clone() })
    }

    fn unnamed(&mut self, x: &View) {
        self.sheet.layers[x.layer].name = None;
    }

    /// Translates Slice: each part is a product with fixed weights that choose channels.
    pub(super) fn slice(&mut self, i: usize, x: &View) -> Mapped<Vec<Value>> {
        let p = self.it(i).it.slice_param.as_deref().cloned().unwrap_or_default();
        let given = p.axis.or(p.slice_dim.and_then(|axis| i32::try_from(axis).ok()));
        if axis(given, 1, x.shape.len() + 1)? != 1 {
            return Err("it cuts along another axis than the channels".into());
        }
        let (count, channels) = (self.it(i).it.top.len(), x.shape[0]);
        let mut ends: Vec<usize> = p.slice_point.iter().map(|&at| at as usize).collect();
        if ends.is_empty() && count > 0 && channels.is_multiple_of(count) {
            ends = (1..count).map(|k| k * channels / count).collect();
        }
        ends.push(channels);
        let increasing = ends.windows(2).all(|pair| pair[0] < pair[1]) && ends[0] > 0;
        if ends.len() != count || !increasing {
            return Err(format!("it cuts {channels} channels into {count} parts at {:?}", p.slice_point).into());
        }
        if channels.checked_mul(channels).is_none_or(|n| n > MOST_WEIGHTS) {
            return Err(format!("it cuts {channels} channels, which takes too many weights").into());
        }
        let (image, dims) = match x.shape[..] {
            [_] => (false, vec![channels]),
            [c, h, w] => (true, vec![c, h, w]),
            _ => return Err(format!("it cuts values of {:?}, which are no images", x.shape).into()),
        };
        let operand = self.sheet.shaped(x.layer, &dims);
        let mut begin = 0;
        let mut parts = Vec::new();
        for end in ends {
            let size = end - begin;
            let mut data = vec![0.0; size * channels];
            (0..size).for_each(|k| data[k * channels + begin + k] = 1.0);
            let (function, argument) = if image { ("cccp", "channels") } else { ("linear", "features") };
            let args = Args::default().with(argument, Arg::Int(size));
            let args = args.with("bias", Arg::Bool(false)).with("frozen", Arg::Bool(true));
            let shape = [&[size], &x.shape[1..]].concat();
            let layer = self.add(None, function, args, vec![operand], shape.clone());
            let wide = if image { vec![size, channels, 1, 1] } else { vec![size, channels] };
            self.sheet.layers[layer].params.insert("weight", Tensor { dims: wide, data });
            parts.push(Value::At(View { layer, shape }));
            begin = end;
        }
        Ok(parts)
    }
}
