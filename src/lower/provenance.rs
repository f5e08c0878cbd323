//! Where kernels come from: what reports show and what tuning measures, so that nobody reads it from a name.

use super::target::{Batch, GroupTile};
use super::tile::Tile;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// How a kernel computes its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// A convolution, or a gradient of one, as sums over its window.
    Direct,
    /// A convolution, or a gradient of one, by Winograd's F(results, taps).
    Winograd {
        /// Results per side of a tile.
        results: usize,
        /// Taps per side of the window.
        taps: usize,
    },
    /// Sums of products of float32 in parts.
    Split {
        /// Products of bf16 that are computed for one of float32.
        products: usize,
    },
    /// Any other kernel, by what it does.
    Other(String),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Method::Direct => f.write_str("direct"),
            Method::Winograd { results, taps } => write!(f, "winograd F({results},{taps})"),
            Method::Split { .. } => f.write_str("split"),
            Method::Other(what) => f.write_str(what),
        }
    }
}

impl From<&str> for Method {
    fn from(what: &str) -> Method {
        Method::Other(what.into())
    }
}

/// What `ninc tune` measures of a kernel, by the name that the result is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tunable {
    /// A product in tiles of a work group.
    Product {
        /// Shape and epilogue of the product.
        name: String,
        /// The tile that it has.
        tile: GroupTile,
    },
    /// A chain of products in one kernel.
    Chain {
        /// Shapes and epilogues of the products.
        name: String,
        /// Pixels of a work group.
        rows: usize,
    },
}

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// How it computes its result.
    pub method: Method,
    /// What can be measured of it, on a GPU.
    pub tunable: Option<Tunable>,
}

impl<M: Into<Method>> From<M> for Provenance {
    fn from(method: M) -> Provenance {
        Provenance { method: method.into(), tunable: None }
    }
}

/// The provenance of all kernels of a program. Names are unique in it.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Provenance by the kernel's name.
    pub kernels: HashMap<String, Provenance>,
    /// Register tiles of the micro-kernels that multiply matrices, by name.
    pub tiles: HashMap<String, Tile>,
    /// What processors' kernels with register tiles compute, by name and the batches that the launch is for: the keys
    /// of [`Widths`](super::target::Widths).
    pub widths: BTreeMap<(Batch, String), String>,
}

impl Origins {
    /// How the kernel of this name computes its result, in words.
    pub fn method(&self, kernel: &str) -> String {
        self.kernels.get(kernel).map_or(String::new(), |p| p.method.to_string())
    }

    /// Products that stand for one of the network's in the kernel of this name.
    pub fn products(&self, kernel: &str) -> usize {
        match self.kernels.get(kernel).map(|p| &p.method) {
            Some(Method::Split { products }) => *products,
            _ => 1,
        }
    }

    /// What can be measured of the kernel of this name.
    pub fn tunable(&self, kernel: &str) -> Option<&Tunable> {
        self.kernels.get(kernel)?.tunable.as_ref()
    }
}
