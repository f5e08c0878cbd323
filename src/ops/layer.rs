//! What the layers' `build` functions share: declarations of parameters and the making of weights.

use super::params::Param as Parameter;
use super::schema::{LayerCx, LayerError};
use super::source::{Init, Param};
use super::{Operator, check, window};
use crate::graph::NodeId;
use crate::types::Type;

/// The most numbers of a patch that `init = whiten` is fitted to: the cost grows with the square.
const MOST_WHITENED: usize = 1024;

/// Bound on channels, features and pieces that a layer may ask for.
pub const MOST_CHANNELS: i64 = 1 << 20;

/// A number of channels, features, pieces or groups.
pub const fn channels(name: &'static str, doc: &'static str) -> Parameter<usize> {
    Parameter::int(name, 1, MOST_CHANNELS, doc)
}

/// Size of a window.
pub const KERNEL: Parameter<[usize; 2]> = kernel("Size of the window.");

/// Size of a window, described in the layer's own words.
pub const fn kernel(doc: &'static str) -> Parameter<[usize; 2]> {
    Parameter::pair("kernel", 1, window::MOST, doc)
}

/// Stride of a convolution.
pub const STRIDE: Parameter<[usize; 2]> =
    Parameter::pair("stride", 1, window::MOST, "Pixels from one window to the next.").or([1, 1]);

/// Stride of a pooling: windows do not overlap unless told to.
pub const POOL_STRIDE: Parameter<Option<[usize; 2]>> =
    Parameter::pair("stride", 1, window::MOST, "Pixels from one window to the next; the kernel's size unless given.")
        .optional();

/// Padding of a window.
pub const PAD: Parameter<[usize; 2]> =
    Parameter::pair("pad", 0, window::MOST, "Pixels of padding on each side.").or([0, 0]);

/// Dilation of a window.
pub const DILATION: Parameter<[usize; 2]> =
    Parameter::pair("dilation", 1, window::MOST, "Pixels from one cell of the kernel to the next.").or([1, 1]);

/// Groups of channels.
pub const GROUPS: Parameter<usize> =
    channels("groups", "Channels are split into this many groups that do not mix.").or(1);

/// Whether a layer has a bias.
pub const BIAS: Parameter<bool> = Parameter::bool("bias", "Adds a learned constant to each channel.").or(true);

/// How a pooling rounds its size.
pub const CEIL: Parameter<bool> = Parameter::bool("ceil", "Rounds the size up; `false` rounds it down.").or(true);

/// An error about the argument of one parameter.
pub fn blame<T>(param: Parameter<T>, message: String, help: impl Into<Option<String>>) -> LayerError {
    LayerError { param: Some(param.spec.name), help: help.into(), ..LayerError::from(message) }
}

impl LayerCx<'_> {
    /// Type of the value that flows in.
    pub fn operand_type(&self, i: usize) -> Type {
        self.graph.ty(self.operands[i]).clone()
    }

    /// `[channels, height, width]` of the first operand.
    pub fn image(&self) -> Result<[usize; 3], LayerError> {
        let ty = self.operand_type(0);
        check::image(&ty).map_err(|error| {
            let vector = ty.batched && ty.dims.len() == 1;
            let help = vector.then(|| format!("`reshape(shape = [{}, 1, 1])` makes an image of it", ty.dims[0]));
            LayerError { help, ..LayerError::from(error) }
        })
    }

    /// Features of the first operand.
    pub fn features(&self) -> Result<usize, LayerError> {
        let ty = self.operand_type(0);
        check::features(&ty).map_err(|error| {
            let image = ty.batched && ty.dims.len() > 1;
            let help = image.then(|| "flatten first: `|> flatten`".to_string());
            LayerError { help, ..LayerError::from(error) }
        })
    }

    /// The window that the arguments describe; the parameters that a layer does not have are at their defaults.
    pub fn window(&self) -> window::Window {
        let kernel = self.get(KERNEL);
        let stride = self.get(POOL_STRIDE).unwrap_or(kernel);
        window::Window { kernel, stride, pad: self.get(PAD), dilation: self.get(DILATION) }
    }

    /// A learned weight `NAME.suffix` under the layer's settings.
    pub fn weight(&mut self, suffix: &str, dims: &[usize]) -> Result<NodeId, LayerError> {
        let init = self.settings.init;
        match init {
            Init::Dirac => self.passes_on(dims)?,
            Init::Whiten { .. } => self.whitens(suffix, dims)?,
            _ => {}
        }
        self.weight_from(suffix, dims, init)
    }

    /// Can a weight of this shape begin as the identity?
    fn passes_on(&self, dims: &[usize]) -> Result<(), LayerError> {
        let message = match dims.len() {
            2 | 4 if self.get(GROUPS) == 1 => return Ok(()),
            2 | 4 => "`init = dirac` passes each channel on to one output, which groups would keep from it",
            _ => "`init = dirac` is for convolutions and linear layers",
        };
        Err(LayerError { help: Some("take another `init`".into()), ..LayerError::from(message.to_string()) })
    }

    /// Can a weight of this shape be fitted to patches of the images?
    fn whitens(&self, suffix: &str, dims: &[usize]) -> Result<(), LayerError> {
        let of_images = matches!(self.graph.op(self.operands[0]), Operator::Input(_));
        let refuse =
            |message: String, help: &str| Err(LayerError { help: Some(help.into()), ..LayerError::from(message) });
        let &[filters, channels, height, width] = dims else {
            return refuse("`init = whiten` is for convolutions".into(), "take another `init`");
        };
        if !of_images || suffix != "weight" || self.get(GROUPS) != 1 {
            let message = "`init = whiten` is fitted to patches of the images, so it is for a `conv` without groups \
                           that reads the input itself";
            return refuse(message.into(), "take another `init`, as for example `init = dirac`");
        }
        let size = channels * height * width;
        let most = 2 * size;
        if filters % 2 == 1 || filters > most || size > MOST_WHITENED {
            let message = format!(
                "`init = whiten` makes an eigenvector and its negative each, at most {most} filters for patches of \
                 {channels} x {height} x {width}, not {filters}"
            );
            let large = format!("`init = whiten` takes patches of at most {MOST_WHITENED} numbers, not {size}");
            return refuse(
                if size > MOST_WHITENED { large } else { message },
                &format!("write for example `conv(channels = {}, kernel = 2, init = whiten)`", 8 * channels),
            );
        }
        Ok(())
    }

    /// A learned weight that has a start of its own.
    pub fn weight_from(&mut self, suffix: &str, dims: &[usize], init: Init) -> Result<NodeId, LayerError> {
        let (rate, decay, max_norm) = (self.settings.rate, self.settings.decay, self.settings.max_norm);
        self.param(suffix, dims, init, (rate, decay), max_norm)
    }

    /// A learned bias, 0 at the start.
    pub fn bias(&mut self, suffix: &str, dims: &[usize]) -> Result<NodeId, LayerError> {
        let multipliers = (self.settings.bias_rate, self.settings.bias_decay);
        self.param(suffix, dims, Init::Constant { value: 0.0 }, multipliers, None)
    }

    /// Something kept with the weights that the optimiser leaves alone.
    pub fn statistic(&mut self, suffix: &str, dims: &[usize], value: f64) -> Result<NodeId, LayerError> {
        let name = format!("{}.{suffix}", self.name);
        let param = Param::new(name, dims, Init::Constant { value });
        Ok(self.graph.add(Param { trainable: false, rate: 0.0, decay: 0.0, ..param }, &[])?)
    }

    /// A learned parameter with `(rate, decay)` multipliers.
    pub fn param(
        &mut self,
        suffix: &str,
        dims: &[usize],
        init: Init,
        (rate, decay): (f64, f64),
        max_norm: Option<f64>,
    ) -> Result<NodeId, LayerError> {
        let name = format!("{}.{suffix}", self.name);
        let trainable = !self.settings.frozen;
        let param = Param { trainable, rate, decay, max_norm, ..Param::new(name, dims, init) };
        Ok(self.graph.add(param, &[])?)
    }
}
