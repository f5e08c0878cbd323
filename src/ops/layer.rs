//! What the layers' `build` functions share: argument declarations and the making of parameters.

use super::schema::{Arg, Kind, LayerCx, LayerError, ParamSchema};
use super::source::{Init, Param};
use super::{check, window};
use crate::graph::NodeId;
use crate::types::Type;

/// Bound on channels, features and pieces that a layer may ask for.
pub const MOST_CHANNELS: i64 = 1 << 20;

pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> ParamSchema {
    ParamSchema { name, kind, default: None, doc, positional: false }
}

pub const fn optional(name: &'static str, kind: Kind, default: Arg, doc: &'static str) -> ParamSchema {
    ParamSchema { name, kind, default: Some(default), doc, positional: false }
}

/// May be given without its name.
pub const fn positional(mut param: ParamSchema) -> ParamSchema {
    param.positional = true;
    param
}

pub const CHANNELS: Kind = Kind::Int(1, MOST_CHANNELS);

pub const fn kernel(doc: &'static str) -> ParamSchema {
    required("kernel", Kind::Pair(1, window::MOST), doc)
}

pub const fn stride() -> ParamSchema {
    optional("stride", Kind::Pair(1, window::MOST), Arg::Ints(&[1, 1]), "Pixels from one window to the next.")
}

/// Poolings do not overlap unless told to.
pub const fn pool_stride() -> ParamSchema {
    optional(
        "stride",
        Kind::Pair(1, window::MOST),
        Arg::None,
        "Pixels from one window to the next; the kernel's size unless given.",
    )
}

pub const fn pad() -> ParamSchema {
    optional("pad", Kind::Pair(0, window::MOST), Arg::Ints(&[0, 0]), "Pixels of padding on each side.")
}

pub const fn dilation() -> ParamSchema {
    optional(
        "dilation",
        Kind::Pair(1, window::MOST),
        Arg::Ints(&[1, 1]),
        "Pixels from one cell of the kernel to the next.",
    )
}

pub const fn groups() -> ParamSchema {
    optional("groups", CHANNELS, Arg::Int(1), "Channels are split into this many groups that do not mix.")
}

pub const fn bias() -> ParamSchema {
    optional("bias", Kind::Bool, Arg::Bool(true), "Adds a learned constant to each channel.")
}

pub const fn ceil() -> ParamSchema {
    optional("ceil", Kind::Bool, Arg::Bool(true), "Rounds the size up; `false` rounds it down.")
}

/// An error about one argument.
pub fn blame(param: &'static str, message: String, help: impl Into<Option<String>>) -> LayerError {
    LayerError { param: Some(param), message, help: help.into() }
}

impl LayerCx<'_> {
    /// Type of the value that flows in.
    pub fn operand_type(&self, i: usize) -> Type {
        self.graph.ty(self.operands[i]).clone()
    }

    /// `[channels, height, width]` of the first operand.
    pub fn image(&self) -> Result<[usize; 3], LayerError> {
        let ty = self.operand_type(0);
        check::image(&ty).map_err(|message| {
            let vector = ty.batched && ty.dims.len() == 1;
            let help = vector.then(|| format!("`reshape(shape = [{}, 1, 1])` makes an image of it", ty.dims[0]));
            LayerError { param: None, message, help }
        })
    }

    /// Features of the first operand.
    pub fn features(&self) -> Result<usize, LayerError> {
        let ty = self.operand_type(0);
        check::features(&ty).map_err(|message| {
            let image = ty.batched && ty.dims.len() > 1;
            LayerError { param: None, message, help: image.then(|| "flatten first: `|> flatten`".to_string()) }
        })
    }

    /// The window that the arguments describe.
    pub fn window(&self) -> window::Window {
        let kernel = self.pair("kernel");
        let or = |name: &str, value| if self.given(name) { self.pair(name) } else { value };
        window::Window {
            kernel,
            stride: or("stride", kernel),
            pad: or("pad", [0, 0]),
            dilation: or("dilation", [1, 1]),
        }
    }

    /// A learned weight `NAME.suffix` under the layer's settings.
    pub fn weight(&mut self, suffix: &str, dims: &[usize]) -> Result<NodeId, LayerError> {
        let init = self.settings.init;
        self.weight_from(suffix, dims, init)
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
        let init = Init::Constant { value };
        Ok(self.graph.add(
            Param {
                name,
                dims: dims.to_vec(),
                init,
                trainable: false,
                rate: 0.0,
                decay: 0.0,
                max_norm: None,
                state: false,
            },
            &[],
        )?)
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
        let param = Param { name, dims: dims.to_vec(), init, trainable, rate, decay, max_norm, state: false };
        Ok(self.graph.add(param, &[])?)
    }
}
