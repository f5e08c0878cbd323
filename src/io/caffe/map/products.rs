//! Layers with weights.

use super::{Map, Mapped, View, axis};
use crate::io::caffe::proto::{
    BatchNormParameter, ConvolutionParameter, FillerParameter, InnerProductParameter, ScaleParameter,
};
use crate::io::sheet::{Arg, Args, convolution};
use crate::ops::window::{Window, conv_output};

/// Reads sizes of a window: one for both directions, one for each, or none.
fn sides(list: &[u32], [h, w]: [Option<u32>; 2], usual: Option<u32>, what: &str) -> Mapped<[usize; 2]> {
    let both = match list {
        [] => [usual; 2],
        [one] => [Some(*one); 2],
        [h, w] => [Some(*h), Some(*w)],
        _ => return Err(format!("its {what} has {} sizes, where images have two", list.len()).into()),
    };
    match [h.or(both[0]), w.or(both[1])] {
        [Some(h), Some(w)] => Ok([h as usize, w as usize]),
        _ => Err(format!("it has no {what}").into()),
    }
}

impl Map<'_> {
    /// Translates Convolution.
    pub(super) fn convolution(&mut self, i: usize, x: &View) -> Mapped {
        let p: ConvolutionParameter = self.it(i).it.convolution_param.as_deref().cloned().unwrap_or_default();
        if axis(p.axis, 1, x.shape.len() + 1)? != 1 {
            return Err("its axis is not that of the channels".into());
        }
        let (layer, [channels, height, width]) = self.picture(x)?;
        let window = Window {
            kernel: sides(&p.kernel_size, [p.kernel_h, p.kernel_w], None, "kernel_size")?,
            stride: sides(&p.stride, [p.stride_h, p.stride_w], Some(1), "stride")?,
            pad: sides(&p.pad, [p.pad_h, p.pad_w], Some(0), "pad")?,
            dilation: sides(&p.dilation, [None; 2], Some(1), "dilation")?,
        };
        let (outputs, groups) = (p.num_output.unwrap_or(0) as usize, p.group.unwrap_or(1) as usize);
        if groups == 0 || outputs == 0 || !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {channels} and {outputs} channels").into());
        }
        let size = conv_output(&window, [height, width]).map_err(|e| e.message)?;
        let (function, args) = convolution(outputs, &window, groups, false);
        let biased = p.bias_term.unwrap_or(true);
        let args = args.unless("bias", Arg::Bool(biased), Arg::Bool(true));
        let taps = (window.kernel[0] * window.kernel[1]) as f64;
        let fans = [(channels / groups) as f64 * taps, outputs as f64 * taps];
        let args = self.settings(args, i, [p.weight_filler.as_ref(), p.bias_filler.as_ref()], fans, biased);
        let dims = vec![outputs, size[0], size[1]];
        let layer = self.add(self.name(i), function, args, vec![layer], dims.clone());
        Ok(View { layer, shape: dims })
    }

    /// Translates InnerProduct.
    pub(super) fn inner_product(&mut self, i: usize, x: &View) -> Mapped {
        let p: InnerProductParameter = self.it(i).it.inner_product_param.as_deref().cloned().unwrap_or_default();
        if axis(p.axis, 1, x.shape.len() + 1)? != 1 {
            return Err("it takes a part of each image's elements together, by its axis".into());
        }
        let outputs = p.num_output.unwrap_or(0) as usize;
        if outputs == 0 {
            return Err("it has no num_output".into());
        }
        let features = x.shape.iter().product();
        let operand = self.sheet.shaped(x.layer, &[features]);
        let biased = p.bias_term.unwrap_or(true);
        let args = Args::default().with("features", Arg::Int(outputs));
        let args = args.unless("bias", Arg::Bool(biased), Arg::Bool(true));
        let fans = [features as f64, outputs as f64];
        let args = self.settings(args, i, [p.weight_filler.as_ref(), p.bias_filler.as_ref()], fans, biased);
        let layer = self.add(self.name(i), "linear", args, vec![operand], vec![outputs]);
        Ok(View { layer, shape: vec![outputs] })
    }

    /// Translates BatchNorm, with the Scale that follows it.
    pub(super) fn batch_norm(&mut self, i: usize, x: &View) -> Mapped {
        let p: BatchNormParameter = self.it(i).it.batch_norm_param.as_deref().cloned().unwrap_or_default();
        if p.use_global_stats == Some(false) {
            return Err("it normalises by the statistics of each batch (use_global_stats: false)".into());
        }
        let mut args = Args::default();
        args = args.unless("epsilon", Arg::Float(p.eps.unwrap_or(1e-5)), Arg::Float(1e-5));
        // What a new batch adds to the running statistics, where Caffe says what it leaves.
        let left = f64::from(p.moving_average_fraction.unwrap_or(0.999));
        let added = (((1.0 - left) * 1e6).round() / 1e6) as f32;
        args = args.unless("momentum", Arg::Float(added.clamp(0.0, 1.0)), Arg::Float(0.1));
        if let Some(scale) = self.norms[i] {
            args = self.rates(args, scale, false, true);
        }
        let x = self.channels(x);
        Ok(self.alike(i, "batch_norm", args, &x))
    }

    /// Translates Scale: the second half of a normalisation, or a factor and a shift for each channel.
    pub(super) fn scale(&mut self, i: usize, x: &View) -> Mapped {
        if self.norms.contains(&Some(i)) {
            return Ok(x.clone());
        }
        let p: ScaleParameter = self.it(i).it.scale_param.as_deref().cloned().unwrap_or_default();
        if axis(p.axis, 1, x.shape.len() + 1)? != 1 || p.num_axes.unwrap_or(1) != 1 {
            return Err("its factors are not one for each channel".into());
        }
        let (layer, [channels, height, width]) = match x.shape[..] {
            [features] => (self.sheet.shaped(x.layer, &[features, 1, 1]), [features, 1, 1]),
            _ => self.picture(x)?,
        };
        let window = Window { kernel: [1; 2], stride: [1; 2], pad: [0; 2], dilation: [1; 2] };
        let (_, args) = convolution(channels, &window, channels, true);
        let biased = p.bias_term.unwrap_or(false);
        let args = args.unless("bias", Arg::Bool(biased), Arg::Bool(true));
        // Without a filler the factors begin at 1.
        let one = FillerParameter { value: Some(1.0), ..FillerParameter::default() };
        let fillers = [p.filler.as_ref().or(Some(&one)), p.bias_filler.as_ref()];
        let args = self.settings(args, i, fillers, [1.0, channels as f64], biased);
        let layer = self.add(self.name(i), "conv", args, vec![layer], vec![channels, height, width]);
        Ok(View { layer, shape: x.shape.clone() })
    }

    /// Translates PReLU.
    pub(super) fn prelu(&mut self, i: usize, x: &View) -> Mapped {
        if self.it(i).it.prelu_param.as_ref().is_some_and(|p| p.channel_shared.unwrap_or(false)) {
            return Err("its channels share a slope (channel_shared), where `prelu` learns one for each".into());
        }
        let args = self.rates(Args::default(), i, true, false);
        let x = self.channels(x);
        Ok(self.alike(i, "prelu", args, &x))
    }
}
