//! What a recipe may know of the machine that its code will run on. Never the number of threads: nothing that decides
//! a rounding may depend on it.

/// Which instructions leaf functions are encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Cranelift, 128-bit vectors, any processor it knows.
    Portable,
    /// 256-bit vectors, 16 registers.
    Avx2,
    /// 512-bit vectors, 32 registers.
    Avx512,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub isa: Isa,
    /// Float32 lanes of a vector register.
    pub lanes: u32,
    /// Vector registers.
    pub registers: u32,
    /// A fused multiply-add exists.
    pub fma: bool,
    /// VDPBF16PS exists.
    pub bf16: bool,
    /// VPDPBUSD exists.
    pub vnni: bool,
    /// Data cache sizes in bytes: first level and second level of a core, third level shared.
    pub cache: [usize; 3],
}

impl Target {
    /// 128-bit vectors with or without fused multiply-add, common cache sizes.
    pub fn portable(fma: bool) -> Target {
        Target {
            isa: Isa::Portable,
            lanes: 4,
            registers: 16,
            fma,
            bf16: false,
            vnni: false,
            cache: [32 << 10, 1 << 20, 16 << 20],
        }
    }
}
