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
    /// [`narrow`] finds it. Layers that are not listed promise nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub narrow: BTreeMap<String, u8>,
}

/// The most that the positive weights of terms added in 16 bits may sum to, and the negative ones below 0: 255 times
/// this is within 16 bits.
pub const MOST_NARROW: i32 = 128;

/// The terms that are added in 16 bits, `terms` (2 or 4) at a time, of eight that begin at a multiple of eight: two
/// neighbours, or two with those four further, as instructions add words of four bytes.
fn of_eight(terms: usize) -> &'static [&'static [usize]] {
    match terms {
        2 => &[&[0, 1], &[2, 3], &[4, 5], &[6, 7]],
        _ => &[&[0, 1, 4, 5], &[2, 3, 6, 7]],
    }
}

/// The places of an output's weights, `[C, kh, kw]`, whose terms are added in 16 bits, `terms` (2 or 4) at a time.
/// Terms lie row after row of the window, in a row place after place, there channel after channel.
pub fn narrow_groups(dims: [usize; 3], terms: usize) -> Vec<Vec<usize>> {
    let [channels, height, width] = dims;
    let row = channels * width;
    let mut groups = Vec::new();
    for (y, first) in (0..height).flat_map(|y| (0..row).step_by(8).map(move |first| (y, first))) {
        for own in of_eight(terms) {
            let terms = own.iter().map(|i| first + i).filter(|&term| term < row);
            groups.push(terms.map(|term| (term % channels * height + y) * width + term / channels).collect());
        }
    }
    groups
}

/// How many terms of the sums may be added in 16 bits whatever the bytes are: 4 or 2, else 1. Weights are whole,
/// `[O, C, kh, kw]`.
pub fn narrow(weight: &Tensor) -> usize {
    let [_, channels, height, width] = weight.dims[..] else { return 1 };
    let terms_of_sums = channels * height * width;
    let fits = |terms: usize| {
        let groups = narrow_groups([channels, height, width], terms);
        let fits = |row: &[f32], group: &[usize]| {
            let weights = group.iter().map(|&i| row[i] as i32);
            let (more, less) = weights.fold((0, 0), |(more, less), w| (more + w.max(0), less + w.min(0)));
            more <= MOST_NARROW && less >= -MOST_NARROW
        };
        let mut rows = weight.data.chunks(terms_of_sums.max(1));
        rows.all(|row| groups.iter().all(|group| fits(row, group)))
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

    /// Says what is wrong with weights of layers of bytes: those that are not bytes, or do not leave the room in 16
    /// bits that is stated for them. Shapes are another's to check.
    pub fn broken(&self, tensors: &BTreeMap<String, Tensor>) -> Option<String> {
        let tensor = |layer: &str, what: &str| tensors.get(&format!("{layer}.{what}"));
        for layer in self.layers.keys().filter(|layer| self.is_int8(layer)) {
            let whole = |w: &f32, least: f32, most: f32| w.trunc() == *w && (least..=most).contains(w);
            let wrong = |what: &str, least: f32, most: f32| {
                tensor(layer, what).is_some_and(|tensor| !tensor.data.iter().all(|w| whole(w, least, most)))
            };
            if wrong("weight", -128.0, 127.0) {
                let what = "are not whole numbers from -128 to 127, and it is in int8";
                return Some(format!("weights of `{layer}` {what}"));
            }
            // As float32 the largest number of 32 bits is 2³¹, which biases stay below.
            if wrong("bias", -2147483648.0, 2147483520.0) {
                return Some(format!("biases of `{layer}` are not whole numbers of 32 bits, and it is in int8"));
            }
        }
        for (layer, &terms) in &self.narrow {
            if ![2, 4].contains(&terms) || !self.is_int8(layer) {
                return Some(format!("it states room to add {terms} terms of `{layer}` in 16 bits, which cannot be"));
            }
            if tensor(layer, "weight").is_some_and(|weight| weight.dims.len() == 4 && narrow(weight) < terms.into()) {
                return Some(format!("weights of `{layer}` leave no room to add {terms} terms in 16 bits, as it says"));
            }
        }
        None
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
    fn weights_that_are_not_bytes_are_named() {
        let layers = [("a", LayerFormat::Int8), ("b", LayerFormat::F32)];
        let mut formats = Formats { layers: layers.map(|(name, f)| (name.into(), f)).into(), ..Formats::default() };
        let with = |formats: &Formats, name: &str, dims: &[usize], data: Vec<f32>| {
            formats.broken(&BTreeMap::from([(name.to_string(), Tensor { dims: dims.to_vec(), data })]))
        };
        let said =
            |text: Option<String>, part: &str| assert!(text.clone().is_some_and(|t| t.contains(part)), "{text:?}");
        for wrong in [128.0, -129.0, 0.5, 3e9, f32::NAN, f32::INFINITY] {
            said(with(&formats, "a.weight", &[1, 2, 1, 1], vec![1.0, wrong]), "weights of `a` are not whole numbers");
            assert_eq!(with(&formats, "b.weight", &[1, 2, 1, 1], vec![1.0, wrong]), None, "floats");
        }
        said(with(&formats, "a.bias", &[1], vec![2147483648.0]), "biases of `a`");
        said(with(&formats, "a.bias", &[1], vec![0.25]), "biases of `a`");
        assert_eq!(with(&formats, "a.bias", &[1], vec![-1073741824.0]), None);
        formats.narrow.insert("a".into(), 4);
        assert_eq!(with(&formats, "a.weight", &[1, 2, 1, 1], vec![127.0, 1.0]), None);
        said(with(&formats, "a.weight", &[1, 2, 1, 1], vec![127.0, 2.0]), "leave no room to add 4 terms");
        assert_eq!(with(&formats, "a.weight", &[1, 2, 0, 1], vec![]), None, "shapes are checked elsewhere");
        for terms in [0, 1, 3, 255] {
            formats.narrow.insert("a".into(), terms);
            said(formats.broken(&BTreeMap::new()), "which cannot be");
        }
        formats.narrow = [("b".to_string(), 2)].into();
        said(formats.broken(&BTreeMap::new()), "`b` in 16 bits, which cannot be");
    }

    #[test]
    fn groups_lie_in_rows_of_the_window() {
        // Channel after channel at each place: in memory [channel][row][place].
        assert_eq!(
            narrow_groups([2, 2, 3], 2),
            [vec![0, 6], vec![1, 7], vec![2, 8], vec![], vec![3, 9], vec![4, 10], vec![5, 11], vec![],]
        );
        assert_eq!(narrow_groups([3, 1, 3], 4), [vec![0, 3, 4, 7], vec![6, 1, 2, 5], vec![8], vec![]]);
        let mut row = [0.0; 9];
        (row[0], row[7]) = (100.0, 29.0);
        assert_eq!(of(&[1, 3, 1, 3], &row), 2);
        row[7] = 28.0;
        assert_eq!(of(&[1, 3, 1, 3], &row), 4);
    }
}
