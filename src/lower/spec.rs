//! Micro-kernels as values: a specification says all that decides the code and builds it, and equal specifications
//! share what they built.

use super::tile::Tile;
use crate::kernel::build::MicroKernelBuilder;
use std::any::{Any, TypeId};
use std::fmt::{self, Display};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// All that decides a micro-kernel's code, as a value that builds it. It displays as the micro-kernel's name, which
/// is made for people and need not say everything: two specifications of one name are two micro-kernels.
pub trait MicroKernelSpec: Eq + Hash + Display + Send + Sync + 'static {
    /// Writes the micro-kernel.
    fn build(&self, b: &mut MicroKernelBuilder);

    /// The register tile of results, of a product of matrices.
    fn tile(&self) -> Option<Tile> {
        None
    }
}

/// A float constant of a specification; two are equal where their bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Constant(u32);

impl From<f32> for Constant {
    fn from(value: f32) -> Constant {
        Constant(value.to_bits())
    }
}

impl Constant {
    /// The number.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// Shows the bits in hexadecimal, for names.
impl Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A function together with the parameters that it reads. The function captures nothing (the compiler rejects one
/// that does), so that its type and the parameters are all that it depends on: these are compared and hashed.
#[derive(Clone, Copy)]
pub struct Pure<P, F> {
    params: P,
    function: F,
}

impl<P, F: Stateless> Pure<P, F> {
    /// `function` gets a reference to `params` as its first argument.
    pub fn new(params: P, function: F) -> Pure<P, F> {
        const { assert!(size_of::<F>() == 0, "a function that captures something must take it as a parameter") };
        Pure { params, function }
    }

    /// The function and its parameters.
    pub fn parts(&self) -> (&P, F) {
        (&self.params, self.function)
    }
}

impl<P: PartialEq, F> PartialEq for Pure<P, F> {
    fn eq(&self, other: &Pure<P, F>) -> bool {
        self.params == other.params
    }
}

impl<P: Eq, F> Eq for Pure<P, F> {}

impl<P: Hash, F> Hash for Pure<P, F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.params.hash(state);
    }
}

/// What a specification's parameters are: comparable values.
pub trait Params: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Params for T {}

/// What a function in a specification is: no more than its code.
pub trait Stateless: Copy + Send + Sync + 'static {}

impl<T: Copy + Send + Sync + 'static> Stateless for T {}

/// A specification made of a name, parameters and a function of them that builds the micro-kernel.
pub struct Code<P, F> {
    name: String,
    build: Pure<P, F>,
}

/// The micro-kernel that `build(params, builder)` writes. `build` captures nothing, see [`Pure`].
pub fn code<P, F>(name: impl Into<String>, params: P, build: F) -> Code<P, F>
where
    F: Fn(&P, &mut MicroKernelBuilder) + Stateless,
{
    Code { name: name.into(), build: Pure::new(params, build) }
}

impl<P, F> MicroKernelSpec for Code<P, F>
where
    P: Params,
    F: Fn(&P, &mut MicroKernelBuilder) + Stateless,
{
    fn build(&self, b: &mut MicroKernelBuilder) {
        let (params, build) = self.build.parts();
        build(params, b);
    }
}

impl<P, F> Display for Code<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<P: PartialEq, F> PartialEq for Code<P, F> {
    fn eq(&self, other: &Code<P, F>) -> bool {
        self.build == other.build
    }
}

impl<P: Eq, F> Eq for Code<P, F> {}

impl<P: Hash, F> Hash for Code<P, F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.build.hash(state);
    }
}

/// A specification of any type as the key of a table: equal to another of the same type and value.
#[derive(Clone)]
pub(super) struct Key(Arc<dyn AnyKey>);

impl Key {
    pub(super) fn new<T: Eq + Hash + Send + Sync + 'static>(value: Arc<T>) -> Key {
        Key(value)
    }
}

trait AnyKey: Any + Send + Sync {
    fn equals(&self, other: &dyn Any) -> bool;
    fn feed(&self, state: &mut dyn Hasher);
}

impl<T: Eq + Hash + Send + Sync + 'static> AnyKey for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }

    fn feed(&self, mut state: &mut dyn Hasher) {
        TypeId::of::<T>().hash(&mut state);
        self.hash(&mut state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        let other: &dyn Any = &*other.0;
        self.0.equals(other)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.feed(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_equal_by_their_bits() {
        assert_ne!(Constant::from(0.0), Constant::from(-0.0));
        assert_eq!(Constant::from(f32::NAN), Constant::from(f32::NAN));
    }
}
