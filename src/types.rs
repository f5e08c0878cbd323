//! Types of the values that flow through a graph, and how they lie in memory.
//!
//! A type describes one image; the batch dimension is implicit. `batched` is true if the value exists once per image.

pub use ninc_runtime::plan::DType;
use std::fmt;

/// Number formats narrower than float32 that products may multiply. A value that is rounded to one is still a float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 8 significant bits: the upper half of a float32.
    Bf16,
    /// 11 significant bits.
    Tf32,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 2] = [Format::Bf16, Format::Tf32];

    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Bf16 => "bf16",
            Format::Tf32 => "tf32",
        }
    }

    /// Returns the bits at the end of a float32 that it lacks. Exponents are those of float32.
    pub fn lacks(self) -> u32 {
        match self {
            Format::Bf16 => 16,
            Format::Tf32 => 13,
        }
    }

    /// Rounds to the nearest number of this format, ties to even; infinite beyond the largest one, a NaN stays one.
    pub fn round(self, value: f64) -> f64 {
        if value.is_nan() {
            return value;
        }
        let (bits, lacks) = ((value as f32).to_bits(), self.lacks());
        let half = (1 << (lacks - 1)) - 1;
        let rounded = bits.wrapping_add(half + (bits >> lacks & 1)) & (u32::MAX << lacks);
        f64::from(f32::from_bits(rounded))
    }
}

/// The type of one value: `f32[N, 3, 32, 32]` is `batched` with `dims = [3, 32, 32]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// What an element is.
    pub dtype: DType,
    /// Whether the value exists once per image of the (symbolic) batch.
    pub batched: bool,
    /// `[channels, height, width]`, `[features]`, `[]`; for weights PyTorch's order (OIHW, `[out, in]`).
    pub dims: Vec<usize>,
}

impl Type {
    /// Makes a float type, one value per image.
    pub fn batched(dims: &[usize]) -> Type {
        Type { dtype: DType::F32, batched: true, dims: dims.to_vec() }
    }

    /// Makes a float type shared by all images: a parameter, an optimiser state, a hyper-parameter.
    pub fn shared(dims: &[usize]) -> Type {
        Type { dtype: DType::F32, batched: false, dims: dims.to_vec() }
    }

    /// Makes a type of integers.
    pub fn ints(batched: bool, dims: &[usize]) -> Type {
        Type { dtype: DType::I32, batched, dims: dims.to_vec() }
    }

    /// Makes a type of bytes, one value per image: a picture.
    pub fn bytes(dims: &[usize]) -> Type {
        Type { dtype: DType::U8, ..Type::batched(dims) }
    }

    /// Returns the elements per image (batched) or in all (shared).
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Returns the logical dimensions for a batch of `n`: the batch first if there is one.
    pub fn full_dims(&self, n: usize) -> Vec<usize> {
        let mut dims = Vec::with_capacity(self.dims.len() + 1);
        if self.batched {
            dims.push(n);
        }
        dims.extend(&self.dims);
        dims
    }

    /// Returns `(channels, height, width)` of a batched image; `[features]` counts as `(features, 1, 1)`.
    pub fn chw(&self) -> Option<(usize, usize, usize)> {
        match (self.batched, self.dims.as_slice()) {
            (true, &[c, h, w]) => Some((c, h, w)),
            (true, &[c]) => Some((c, 1, 1)),
            _ => None,
        }
    }

    /// How many classes there are, where a value is one number for each class of each image: `[classes]`, or
    /// `[classes, 1, 1]`.
    pub fn classes(&self) -> Option<usize> {
        self.chw().and_then(|(classes, height, width)| (height == 1 && width == 1).then_some(classes))
    }

    /// The order in which the logical dimensions (`dims`, batch left out) lie in memory, outermost first.
    ///
    /// Images are NHWC; convolution weights `[out, in, kh, kw]` are HWIO; linear weights `[out, in]` are `[in][out]`;
    /// unshared weights `[positions, out, in, kh, kw]` are `[positions][kh][kw][in][out]`. So the innermost dimension
    /// is always the channel that a vector runs along.
    pub fn memory_order(&self) -> Vec<usize> {
        match (self.batched, self.dims.len()) {
            (true, 3) => vec![1, 2, 0],
            (false, 4) => vec![2, 3, 1, 0],
            (false, 2) => vec![1, 0],
            (false, 5) => vec![0, 3, 4, 2, 1],
            (_, rank) => (0..rank).collect(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        let mut parts: Vec<String> = self.dims.iter().map(|d| d.to_string()).collect();
        if self.batched {
            parts.insert(0, "N".into());
        }
        write!(f, "{}]", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    /// Ties, the largest numbers, the smallest ones, and NaN.
    #[test]
    fn rounds_to_nearest_even() {
        let of = |bits: u32| f64::from(f32::from_bits(bits));
        for (value, want) in [
            (0x3f80_8000, 0x3f80_0000),
            (0x3f81_8000, 0x3f82_0000),
            (0x3f80_8001, 0x3f81_0000),
            (0xbf80_7fff, 0xbf80_0000),
            (0x7f7f_7fff, 0x7f7f_0000),
            (0x7f7f_8000, 0x7f80_0000),
            (0x0000_8001, 0x0001_0000),
            (0xff80_0000, 0xff80_0000),
        ] {
            assert_eq!(Format::Bf16.round(of(value)), of(want), "{value:#x}");
        }
        for (value, want) in [
            (0x3f80_1000, 0x3f80_0000),
            (0x3f80_3000, 0x3f80_4000),
            (0x3f80_1001, 0x3f80_2000),
            (0x7f7f_f000, 0x7f80_0000),
        ] {
            assert_eq!(Format::Tf32.round(of(value)), of(want), "{value:#x}");
        }
        assert!(Format::ALL.iter().all(|format| format.round(f64::NAN).is_nan()));
    }
}
