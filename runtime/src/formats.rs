//! The formats of a network's layers, as files of quantised weights state them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a layer multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerFormat {
    /// Bytes with signed 8-bit weights, summed in 32 bits.
    Int8,
    /// Numbers rounded to bf16.
    Bf16,
    /// Float32.
    F32,
}

impl LayerFormat {
    /// Every format.
    pub const ALL: [LayerFormat; 3] = [LayerFormat::Int8, LayerFormat::Bf16, LayerFormat::F32];

    /// The format's word.
    pub fn name(self) -> &'static str {
        match self {
            LayerFormat::Int8 => "int8",
            LayerFormat::Bf16 => "bf16",
            LayerFormat::F32 => "f32",
        }
    }
}

/// Formats of layers, and the bytes that stand for 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// By the layer's name; layers that are not listed are float32.
    pub layers: BTreeMap<String, LayerFormat>,
    /// The byte that stands for 0, by the name of the value: `LAYER.output`, or `LAYER.input` where no layer of bytes
    /// makes it.
    pub zeros: BTreeMap<String, u8>,
}

impl Formats {
    /// Does the layer multiply bytes?
    pub fn is_int8(&self, layer: &str) -> bool {
        self.layers.get(layer) == Some(&LayerFormat::Int8)
    }

    /// The layer whose weights or biases, which are whole numbers, have this name.
    pub fn whole(&self, tensor: &str) -> Option<Whole> {
        let of = |ending: &str| tensor.strip_suffix(ending).is_some_and(|layer| self.is_int8(layer));
        match () {
            () if of(".weight") => Some(Whole::Weight),
            () if of(".bias") => Some(Whole::Bias),
            () => None,
        }
    }
}

/// What a layer of bytes has in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// From -128 to 127.
    Weight,
    /// 32 bits.
    Bias,
}
