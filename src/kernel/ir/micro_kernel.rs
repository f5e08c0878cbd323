//! Micro-kernels: typed values, addresses and instructions.

use super::{Access, Elem, Op, Ty};
use crate::types::Format;
use cranelift_entity::{PrimaryMap, entity_impl};

/// A value; index into [`MicroKernel::values`]. Each is defined once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(u32);
entity_impl!(Val, "%");

/// An integer variable: an `Int` parameter or a loop counter. Index into [`MicroKernel::vars`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(u32);
entity_impl!(Var, "variable ");

/// A parameter; index into [`MicroKernel::params`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param(u32);
entity_impl!(Param, "parameter ");

/// A function without calls that works on vectors: what kernels call in their innermost loops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MicroKernel {
    /// Unique within a module.
    pub name: String,
    /// The parameters, at most six: they travel in registers.
    pub params: PrimaryMap<Param, MicroKernelParam>,
    /// Types of all values.
    pub values: PrimaryMap<Val, Ty>,
    /// Names of all integer variables, in the order of their definition.
    pub vars: PrimaryMap<Var, String>,
    /// Instructions in the order of their execution.
    pub body: Vec<Inst>,
    /// The product that 32 neighbouring work items (a warp) compute when all of them call this micro-kernel.
    pub warp_cooperative: Option<WarpProduct>,
}

/// A product that a warp computes. On a GPU, 32 neighbouring items that call a micro-kernel at once compute `C += A ·
/// B`, each the part that its body says, and a back end may let a matrix unit do all of it. The micro-kernel is `(a, b,
/// c)`; a and b hold numbers that are exact in `format`, term after term: `a[k][row]`, `b[k][column]`, neighbouring
/// rows and columns beside each other. Item i is lane `(g, t) = (i / 4 mod 8, i mod 4)`: its pointers are those of row
/// g and column 2t, its results those of the rows `g + 8·r` and the columns `2t + 8·v` and the next, as `c[r][v][2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WarpProduct {
    /// A and B hold only numbers of this format.
    pub format: Format,
    /// Rows of C, in units of 16.
    pub rows: u32,
    /// Columns of C, in units of 8.
    pub columns: u32,
    /// Terms of the sums, a multiple of 16.
    pub depth: u32,
    /// Elements from term to term, of a and of b.
    pub pitches: [u32; 2],
}

/// A parameter of a micro-kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MicroKernelParam {
    /// A pointer. Pointers of one call never overlap unless they are the same address with the same order of accesses
    /// (elementwise work in place).
    Pointer {
        /// Its name, for people.
        name: String,
        /// Type of the elements behind it.
        elem: Elem,
        /// What the micro-kernel does with them.
        access: Access,
    },
    /// A 64-bit integer.
    Int {
        /// The variable's name.
        name: String,
        /// The variable that holds it.
        var: Var,
    },
}

impl MicroKernelParam {
    /// Type of the elements behind a pointer.
    pub fn elem(&self) -> Option<Elem> {
        match self {
            MicroKernelParam::Pointer { elem, .. } => Some(*elem),
            MicroKernelParam::Int { .. } => None,
        }
    }
}

/// `offset + Σ coefficient · variable`, counted in elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    /// The constant part.
    pub offset: i64,
    /// Variables with their coefficients, which are not 0, sorted by variable.
    pub terms: Vec<(Var, i64)>,
}

impl From<i64> for Index {
    fn from(offset: i64) -> Index {
        Index { offset, terms: Vec::new() }
    }
}

impl From<usize> for Index {
    fn from(offset: usize) -> Index {
        (offset as i64).into()
    }
}

impl From<Var> for Index {
    fn from(var: Var) -> Index {
        Index { offset: 0, terms: vec![(var, 1)] }
    }
}

impl Index {
    /// `self + coefficient · var`
    pub fn plus(mut self, var: Var, coefficient: i64) -> Index {
        match self.terms.binary_search_by_key(&var, |t| t.0) {
            Ok(i) => {
                self.terms[i].1 += coefficient;
                if self.terms[i].1 == 0 {
                    self.terms.remove(i);
                }
            }
            Err(i) if coefficient != 0 => self.terms.insert(i, (var, coefficient)),
            Err(_) => {}
        }
        self
    }

    /// `self + elements`
    pub fn offset(mut self, elements: i64) -> Index {
        self.offset += elements;
        self
    }

    /// `self · factor`
    pub fn times(self, factor: i64) -> Index {
        let scaled = Index { offset: self.offset * factor, terms: Vec::new() };
        self.terms.into_iter().fold(scaled, |sum, (var, c)| sum.plus(var, c * factor))
    }

    /// The value, if no variable decides it.
    pub fn constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.offset)
    }

    /// Does the variable occur?
    pub fn mentions(&self, var: Var) -> bool {
        self.terms.iter().any(|t| t.0 == var)
    }

    /// The value where the variables have these values. Wraps.
    pub fn eval(&self, vars: &PrimaryMap<Var, i64>) -> i64 {
        let terms = self.terms.iter().map(|(var, c)| c.wrapping_mul(vars[*var]));
        terms.fold(self.offset, i64::wrapping_add)
    }
}

/// An element of the memory behind a pointer parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The pointer.
    pub base: Param,
    /// Elements between the pointer and it.
    pub index: Index,
}

/// An instruction of a micro-kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    /// `result = op(...)`
    Let {
        /// The value that it defines.
        result: Val,
        /// What computes it.
        op: Op,
    },
    /// Stores all lanes, or the first `count` of them.
    Store {
        /// Where the first lane goes.
        to: Address,
        /// What is stored.
        value: Val,
        /// Lanes, if not all.
        count: Option<u32>,
    },
    /// Stores the rows of a tile.
    StoreTile {
        /// Where the first one goes.
        to: Address,
        /// The tile.
        value: Val,
        /// Elements from row to row.
        pitch: u32,
    },
    /// Says that this memory will be read soon. Changes nothing, and may lie outside of the buffer.
    Prefetch {
        /// The memory.
        from: Address,
    },
    /// Runs `body` for `var` in `0..count`, not at all where `count <= 0`.
    Loop {
        /// The counter.
        var: Var,
        /// Number of iterations.
        count: Index,
        /// Values that the loop starts with.
        init: Vec<Val>,
        /// `params[i]` is `init[i]` in the first iteration, `next[i]` of the previous iteration in the others.
        params: Vec<Val>,
        /// What is repeated.
        body: Vec<Inst>,
        /// Values that the body hands to the next iteration.
        next: Vec<Val>,
        /// `results[i]` is `next[i]` of the last iteration, or `init[i]` if there is none.
        results: Vec<Val>,
    },
}

impl Inst {
    /// The address that the instruction itself loads from or stores to. A prefetch has none: it changes nothing.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Inst::Let { op, .. } => op.address(),
            Inst::Store { to, .. } | Inst::StoreTile { to, .. } => Some(to),
            Inst::Prefetch { .. } | Inst::Loop { .. } => None,
        }
    }
}
