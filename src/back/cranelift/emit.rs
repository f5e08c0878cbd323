//! Puts a module's functions into any Cranelift module, in memory or for an object file.

use super::cache::Piece;
use super::{MicroKernelCode, has_feature, micro_kernel, nest};
use super::{bug, failed};
use crate::back::{EmitError, x86};
use crate::kernel::ir::{EntityRef, Kernel as KernelIr, KernelId, MicroKernelId, Module as KernelModule, PrimaryMap};
use crate::lower::target::Target;
use crate::verified::Verified;
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Signature, types};
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_entity::EntitySet;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc};
use std::fmt::Write;

/// A function that was put into the module.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Its symbol.
    pub name: String,
    /// Its number in the module.
    pub id: FuncId,
    /// Bytes of machine code.
    pub bytes: usize,
    /// Its stack frames, where Cranelift compiled it just now.
    pub unwind: Option<UnwindInfo>,
}

/// What micro-kernels are compiled with.
pub(super) struct MicroKernelOptions {
    /// Fused multiply-add exists.
    pub fma: bool,
    /// `floor` and `nearest` exist for vectors.
    pub vector_round: bool,
    /// There are vectors of 128 bits: RISC-V's are an extension that is not asked for.
    pub vectors: bool,
    /// A multiply-add takes a lane of a vector as a factor.
    pub by_lane: bool,
}

pub(super) fn options(target: &Target, isa: &dyn TargetIsa) -> Result<MicroKernelOptions, EmitError> {
    if target.fma && !has_feature(isa, "has_fma") {
        let what = "the target has fused multiply-add, this machine has not";
        return Err(EmitError::Unsupported(what.into()));
    }
    let vectors = isa.name() != "riscv64";
    let by_lane = isa.name() == "aarch64";
    Ok(MicroKernelOptions { fma: target.fma, vector_round: has_feature(isa, "has_sse41"), vectors, by_lane })
}

/// What `emit` gives: the micro-kernels that are called, the kernels in their order, and the code of all in the same
/// order (micro-kernels first).
pub type EmittedModule = (Vec<Emitted>, Vec<Emitted>, Vec<Piece>);

/// Emits all kernels, and the micro-kernels that they call, into `out`, their symbols starting with `prefix`.
/// `micro_kernel_isa` compiles micro-kernels, `out`'s own ISA kernels. `kept` is the code of all functions from an
/// earlier compilation of the same module; it is used if it has as many functions.
pub fn emit<M: Module>(
    out: &mut M,
    prefix: &str,
    module: &Verified<KernelModule>,
    target: &Target,
    micro_kernel_isa: &dyn TargetIsa,
    micro_kernel_code: &MicroKernelCode,
    linkage: Linkage,
    kept: Option<Vec<Piece>>,
) -> Result<EmittedModule, EmitError> {
    let options = options(target, micro_kernel_isa)?;
    let called = called(module);
    let tiles = called.iter().any(|id| module.micro_kernels[id].has_tiles());
    let count = called.iter().count() + if tiles { 2 } else { 0 } + module.kernels.len();
    let kept = kept.filter(|k| k.len() == count).map(Vec::into_iter);
    let ids = module.micro_kernels.keys().map(|_| None).collect();
    let builder = FunctionBuilderContext::new();
    let pieces = Vec::new();
    let mut e = Emitter { out, prefix, module, options, micro_kernel_isa, ids, tiles: None, builder, kept, pieces };
    let mut micro_kernels = if tiles { e.tile_state()? } else { Vec::new() };
    for id in called.iter() {
        let place = |error: EmitError| error.within(format_args!("micro-kernel {}", module.micro_kernels[id].name));
        micro_kernels.push(e.micro_kernel(id, micro_kernel_code).map_err(place)?);
    }
    let mut kernels = Vec::new();
    for (id, kernel) in &module.kernels {
        let place = |error: EmitError| error.within(format_args!("kernel {}", kernel.name));
        kernels.push(e.kernel(id, kernel, linkage).map_err(place)?);
    }
    Ok((micro_kernels, kernels, e.pieces))
}

struct Emitter<'a, M> {
    out: &'a mut M,
    prefix: &'a str,
    module: &'a Verified<KernelModule>,
    options: MicroKernelOptions,
    micro_kernel_isa: &'a dyn TargetIsa,
    /// The functions of the micro-kernels emitted so far.
    ids: PrimaryMap<MicroKernelId, Option<FuncId>>,
    /// What runs before and behind micro-kernels with tiles, if there are any.
    tiles: Option<[FuncId; 2]>,
    builder: FunctionBuilderContext,
    /// Code of the functions to come, in order.
    kept: Option<std::vec::IntoIter<Piece>>,
    pieces: Vec<Piece>,
}

impl<M: Module> Emitter<'_, M> {
    fn kept(&mut self) -> Option<Piece> {
        self.kept.as_mut().and_then(Iterator::next)
    }

    /// The functions that set the state of tile registers and clear it.
    fn tile_state(&mut self) -> Result<Vec<Emitted>, EmitError> {
        let mut emitted = Vec::new();
        for (name, bytes) in ["tiles_begin", "tiles_end"].into_iter().zip(x86::configuration()?) {
            let name = format!("{}{name}", self.prefix);
            let signature = micro_kernel_signature(0, self.micro_kernel_isa);
            let id = self.out.declare_function(&name, Linkage::Local, &signature).map_err(|e| bug(e.to_string()))?;
            let piece = self.kept().unwrap_or(Piece { align: 64, bytes, relocations: vec![] });
            emitted.push(self.define(name, id, piece.align, piece, None)?);
        }
        self.tiles = Some([emitted[0].id, emitted[1].id]);
        Ok(emitted)
    }

    fn micro_kernel(&mut self, called: MicroKernelId, code: &MicroKernelCode) -> Result<Emitted, EmitError> {
        let (micro_kernel, isa) = (&self.module.micro_kernels[called], self.micro_kernel_isa);
        let name = format!("{}micro_kernel{}_{}", self.prefix, called.index(), symbol(&micro_kernel.name));
        let signature = micro_kernel_signature(micro_kernel.params.len(), isa);
        let id = self.out.declare_function(&name, Linkage::Local, &signature).map_err(|e| bug(e.to_string()))?;
        let (piece, unwind) = match self.kept() {
            Some(piece) => (piece, None),
            None => match code(micro_kernel) {
                Some(bytes) => (Piece { align: 64, bytes: bytes?, relocations: vec![] }, None),
                None if micro_kernel.has_tiles() => return Err(no_tiles()),
                None => {
                    let mut context = Context::new();
                    context.func.signature = signature;
                    micro_kernel::build(micro_kernel, &self.options, isa, &mut context.func, &mut self.builder);
                    compile(&mut context, isa, id)?
                }
            },
        };
        self.ids[called] = Some(id);
        let align = piece.align.max(64);
        self.define(name, id, align, piece, unwind)
    }

    fn kernel(&mut self, number: KernelId, kernel: &KernelIr, linkage: Linkage) -> Result<Emitted, EmitError> {
        let name = format!("{}kernel{}_{}", self.prefix, number.index(), symbol(&kernel.name));
        let signature = kernel_signature(self.out.isa());
        let id = self.out.declare_function(&name, linkage, &signature).map_err(|e| bug(e.to_string()))?;
        let (piece, unwind) = match self.kept() {
            Some(piece) => (piece, None),
            None => {
                let mut context = Context::new();
                context.func.signature = signature;
                let config = self.out.isa().frontend_config();
                let tiles = self.tiles.filter(|_| kernel.calls().any(|id| self.module.micro_kernels[id].has_tiles()));
                let around = tiles.map(|ids| ids.map(|id| self.out.declare_func_in_func(id, &mut context.func)));
                let mut reference = |micro_kernel: MicroKernelId, func: &mut cranelift_codegen::ir::Function| {
                    let id = self.ids[micro_kernel].expect("all called micro-kernels are declared");
                    self.out.declare_func_in_func(id, func)
                };
                let (func, builder) = (&mut context.func, &mut self.builder);
                nest::build(self.module, kernel, config, (&mut reference, around), func, builder)?;
                compile(&mut context, self.out.isa(), id)?
            }
        };
        let align = piece.align;
        self.define(name, id, align, piece, unwind)
    }

    fn define(
        &mut self,
        name: String,
        id: FuncId,
        align: u64,
        piece: Piece,
        unwind: Option<UnwindInfo>,
    ) -> Result<Emitted, EmitError> {
        let defined = self.out.define_function_bytes(id, align, &piece.bytes, &piece.relocations);
        defined.map_err(|e| bug(e.to_string()))?;
        let bytes = piece.bytes.len();
        self.pieces.push(piece);
        Ok(Emitted { name, id, bytes, unwind })
    }
}

fn compile(context: &mut Context, isa: &dyn TargetIsa, id: FuncId) -> Result<(Piece, Option<UnwindInfo>), EmitError> {
    let code = context.compile(isa, &mut ControlPlane::default()).map_err(|e| failed(e.inner))?;
    let bytes = code.code_buffer().to_vec();
    let align = u64::from(code.buffer.alignment).max(u64::from(isa.function_alignment().minimum));
    let found = code.buffer.relocs().to_vec();
    let unwind = code.create_unwind_info(isa).map_err(failed)?;
    let relocations = found.iter().map(|r| ModuleReloc::from_mach_reloc(r, &context.func, id)).collect();
    Ok((Piece { align, bytes, relocations }, unwind))
}

fn no_tiles() -> EmitError {
    EmitError::Unsupported("Cranelift has no tiles".into())
}

/// Writes the text of all functions; calls refer to micro-kernels by number.
pub(super) fn clif(module: &KernelModule, target: &Target, isa: &dyn TargetIsa) -> Result<String, EmitError> {
    use cranelift_codegen::ir::{ExtFuncData, ExternalName, Function, UserExternalName};
    let options = options(target, isa)?;
    let mut builder = FunctionBuilderContext::new();
    let mut text = String::new();
    for called in called(module).iter() {
        let micro_kernel = &module.micro_kernels[called];
        if micro_kernel.has_tiles() {
            writeln!(text, "; micro_kernel {} {}: code of our own\n", called.index(), micro_kernel.name)
                .expect("strings take all text");
            continue;
        }
        let mut func = Function::new();
        func.signature = micro_kernel_signature(micro_kernel.params.len(), isa);
        micro_kernel::build(micro_kernel, &options, isa, &mut func, &mut builder);
        write!(text, "; micro_kernel {} {}\n{func}\n", called.index(), micro_kernel.name)
            .expect("strings take all text");
    }
    for kernel in module.kernels.values() {
        let mut func = Function::new();
        func.signature = kernel_signature(isa);
        let mut reference = |micro_kernel: MicroKernelId, func: &mut Function| {
            let name = func.declare_imported_user_function(UserExternalName::new(0, micro_kernel.as_u32()));
            let params = module.micro_kernels[micro_kernel].params.len();
            let signature = func.import_signature(micro_kernel_signature(params, isa));
            func.import_function(ExtFuncData {
                name: ExternalName::user(name),
                signature,
                colocated: true,
                patchable: false,
            })
        };
        nest::build(module, kernel, isa.frontend_config(), (&mut reference, None), &mut func, &mut builder)?;
        write!(text, "; kernel {}\n{func}\n", kernel.name).expect("strings take all text");
    }
    Ok(text)
}

/// Collects the micro-kernels that kernels call, in order of number.
fn called(module: &KernelModule) -> EntitySet<MicroKernelId> {
    let mut called = EntitySet::new();
    called.extend(module.kernels.values().flat_map(KernelIr::calls));
    called
}

/// Makes a symbol of object files of a name: other characters than letters and digits become `_`.
fn symbol(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Returns the signature of micro-kernels: System V's on x86-64, which those that come as bytes follow.
fn micro_kernel_signature(params: usize, isa: &dyn TargetIsa) -> Signature {
    let x86 = isa.name() == "x64";
    let mut signature = Signature::new(if x86 { CallConv::SystemV } else { isa.default_call_conv() });
    signature.params.extend((0..params).map(|_| AbiParam::new(types::I64)));
    signature
}

/// Returns the signature of kernels: `extern "C" fn(buffers, vars, begin, end, scratch)`.
fn kernel_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend((0..5).map(|_| AbiParam::new(types::I64)));
    signature
}
