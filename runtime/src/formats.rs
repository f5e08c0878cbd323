//! The formats of a network's layers, as files of quantised weights state them.

use crate::Tensor;
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
    /// By the layer's name: how many terms of its sums may be added in 16 bits, whatever the bytes are, 2 or 4, as
    /// [`narrow`] finds. Layers that are not listed promise nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub narrow: BTreeMap<String, u8>,
}

/// The most that the positive weights of terms added in 16 bits may sum to, and the negative ones below 0: 255 times
/// this is within 16 bits.
pub const MOST_NARROW: i32 = 128;

/// The channels whose terms are added in 16 bits, `terms` (2 or 4) at a time, of the eight that begin at a multiple of
/// eight: two neighbours, or two with those four further, as instructions add words of four bytes.
pub fn narrow_groups(terms: usize) -> &'static [&'static [usize]] {
    match terms {
        2 => &[&[0, 1], &[2, 3], &[4, 5], &[6, 7]],
        _ => &[&[0, 1, 4, 5], &[2, 3, 6, 7]],
    }
}

/// May `terms` (2 or 4) terms be grouped where weights have these dimensions, `[O, C, kh, kw]`? A group is of one place
/// of the window.
pub fn may_be_narrow(dims: &[usize], terms: usize) -> bool {
    dims[2..].iter().product::<usize>() == 1 || dims[1].is_multiple_of(2 * terms)
}

/// How many terms of the sums may be added in 16 bits whatever the bytes are: 4 or 2, else 1. Weights are whole,
/// `[O, C, kh, kw]`.
pub fn narrow(weight: &Tensor) -> usize {
    let [_, channels, ref window @ ..] = weight.dims[..] else { return 1 };
    let places = window.iter().product::<usize>();
    let fits = |terms: usize| {
        may_be_narrow(&weight.dims, terms)
            && weight.data.chunks(channels * places).all(|row| {
                let of = |place: usize, channel: usize| match channel < channels {
                    true => row[channel * places + place] as i32,
                    false => 0,
                };
                let group = |place: usize, first: usize, group: &[usize]| {
                    let weights = group.iter().map(|i| of(place, first + i));
                    let (more, less) = weights.fold((0, 0), |(more, less), w| (more + w.max(0), less + w.min(0)));
                    more <= MOST_NARROW && less >= -MOST_NARROW
                };
                let firsts = (0..channels).step_by(8);
                firsts
                    .flat_map(|first| (0..places).map(move |place| (place, first)))
                    .all(|(place, first)| narrow_groups(terms).iter().all(|own| group(place, first, own)))
            })
    };
    [4, 2].into_iter().find(|&terms| fits(terms)).unwrap_or(1)
}

impl Formats {
    /// Does the layer multiply bytes?
    pub fn is_int8(&self, layer: &str) -> bool {
        self.layers.get(layer) == Some(&LayerFormat::Int8)
    }

    /// Writes them as files of weights have them.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("plain data becomes JSON")
    }

    /// States how much room a layer's weights leave.
    pub fn state_narrow(&mut self, layer: &str, weight: &Tensor) {
        let terms = narrow(weight);
        if terms > 1 {
            self.narrow.insert(layer.into(), terms as u8);
        }
    }

    /// Says what is wrong where a layer's weights do not leave the room in 16 bits that is stated for them.
    pub fn broken(&self, tensors: &BTreeMap<String, Tensor>) -> Option<String> {
        let wrong = |(layer, &terms): (&String, &u8)| {
            let weight = tensors.get(&format!("{layer}.weight"))?;
            let fits = [2, 4].contains(&terms) && self.is_int8(layer) && narrow(weight) >= terms.into();
            (!fits)
                .then(|| format!("its weights of `{layer}` leave no room to add {terms} terms in 16 bits, as it says"))
        };
        self.narrow.iter().find_map(wrong)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dims: &[usize], data: &[f32]) -> usize {
        narrow(&Tensor { dims: dims.to_vec(), data: data.to_vec() })
    }

    #[test]
    fn room_is_counted_by_sign_and_group() {
        let mut row = [0.0; 16];
        (row[0], row[1], row[4], row[5]) = (64.0, 64.0, -128.0, 0.0);
        assert_eq!(of(&[1, 16, 1, 1], &row), 4);
        row[5] = 1.0;
        assert_eq!(of(&[1, 16, 1, 1], &row), 2, "129 in a group of four");
        row[1] = 65.0;
        assert_eq!(of(&[1, 16, 1, 1], &row), 1, "129 in a pair");
        // Not in the same group: the next word's lower half, and its upper one.
        assert_eq!(of(&[1, 8, 1, 1], &[128.0, 0.0, 127.0, 0.0, 0.0, 0.0, 0.0, 1.0]), 4);
        assert_eq!(of(&[1, 8, 1, 1], &[128.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), 2);
        // The second output counts too, and fewer channels than a group.
        assert_eq!(of(&[2, 3, 1, 1], &[1.0, 1.0, 1.0, 127.0, 2.0, 0.0]), 1);
        assert_eq!(of(&[2, 3, 1, 1], &[1.0, 1.0, 1.0, 127.0, 1.0, 127.0]), 4);
    }

    #[test]
    fn groups_lie_in_one_place_of_the_window() {
        // Two places: [channel][place].
        assert_eq!(of(&[1, 8, 1, 2], &[100.0; 16]), 1);
        let mut apart = [0.0; 16];
        (apart[0], apart[3]) = (100.0, 100.0);
        assert_eq!(of(&[1, 8, 1, 2], &apart), 4, "one at each place");
        apart[2] = 100.0;
        assert_eq!(of(&[1, 8, 1, 2], &apart), 1);
        // Terms of neighbouring places would meet where channels fill no words.
        assert_eq!(of(&[1, 3, 1, 2], &[1.0; 6]), 1);
        assert_eq!(of(&[1, 4, 1, 2], &[1.0; 8]), 2);
        assert_eq!(of(&[1, 3, 1, 1], &[1.0; 3]), 4);
    }
}
