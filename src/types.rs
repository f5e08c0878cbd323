//! Types of the values that flow through a graph, and how they lie in memory.
//!
//! A value is described as the language does: per image, without the batch. `batched` says whether there is one per image.

use std::fmt;

/// Element type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F32,
    /// Labels and random keys; never differentiated.
    I32,
}

/// The type of one value: `f32[N, 3, 32, 32]` is `batched` with `dims = [3, 32, 32]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    pub dtype: DType,
    /// One per image of the (symbolic) batch?
    pub batched: bool,
    /// `[channels, height, width]`, `[features]`, `[]`; for weights PyTorch's order (OIHW, `[out, in]`).
    pub dims: Vec<usize>,
}

impl Type {
    /// A float value, one per image.
    pub fn batched(dims: &[usize]) -> Type {
        Type { dtype: DType::F32, batched: true, dims: dims.to_vec() }
    }

    /// A float value shared by all images: a parameter, an optimiser state, a hyper-parameter.
    pub fn shared(dims: &[usize]) -> Type {
        Type { dtype: DType::F32, batched: false, dims: dims.to_vec() }
    }

    /// An integer value.
    pub fn ints(batched: bool, dims: &[usize]) -> Type {
        Type { dtype: DType::I32, batched, dims: dims.to_vec() }
    }

    /// Elements per image (batched) or in all (shared).
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Logical dimensions for a batch of `n`: the batch first if there is one.
    pub fn full_dims(&self, n: usize) -> Vec<usize> {
        let mut dims = Vec::with_capacity(self.dims.len() + 1);
        if self.batched {
            dims.push(n);
        }
        dims.extend(&self.dims);
        dims
    }

    /// `(channels, height, width)` of a batched image; `[features]` counts as `(features, 1, 1)`.
    pub fn chw(&self) -> Option<(usize, usize, usize)> {
        match (self.batched, self.dims.as_slice()) {
            (true, &[c, h, w]) => Some((c, h, w)),
            (true, &[c]) => Some((c, 1, 1)),
            _ => None,
        }
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

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
        })
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
