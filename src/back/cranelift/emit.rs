//! Puts a module's functions into any Cranelift module, in memory or for an object file.

use super::cache::Piece;
use super::{MicroKernelCode, has_feature, micro_kernel, nest};
use super::{bug, failed};
use crate::back::EmitError;
use crate::kernel::ir::{EntityRef, Kernel as KernelIr, MicroKernelId, Module as KernelModule, PrimaryMap};
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
    pub name: String,
    pub id: FuncId,
    pub bytes: usize,
    /// Its stack frames, where Cranelift compiled it just now.
    pub unwind: Option<UnwindInfo>,
}

/// What micro-kernels are compiled with.
pub(super) struct MicroKernelOptions {
    pub fma: bool,
    /// `floor` and `nearest` exist for vectors.
    pub rounds: bool,
}

pub(super) fn options(target: &Target, isa: &dyn TargetIsa) -> Result<MicroKernelOptions, EmitError> {
    if target.fma && !has_feature(isa, "has_fma") {
        let what = "the target has fused multiply-add, this machine has not";
        return Err(EmitError::Unsupported(what.into()));
    }
    Ok(MicroKernelOptions { fma: target.fma, rounds: has_feature(isa, "has_sse41") })
}

/// Emits all kernels, and the micro-kernels that they call, into `out`, their symbols starting with `prefix`.
/// `micro_kernel_isa` compiles micro-kernels, `out`'s own ISA kernels. `kept` is the code of all functions from an earlier compilation of the same. Gives the micro-kernels, the kernels
/// in their order and the code of all.
pub fn emit<M: Module>(
    out: &mut M,
    prefix: &str,
    module: &Verified<KernelModule>,
    target: &Target,
    micro_kernel_isa: &dyn TargetIsa,
    micro_kernel_code: &MicroKernelCode,
    linkage: Linkage,
    kept: Option<Vec<Piece>>,
) -> Result<(Vec<Emitted>, Vec<Emitted>, Vec<Piece>), EmitError> {
    let options = options(target, micro_kernel_isa)?;
    let mut builder = FunctionBuilderContext::new();
    let count = called(module).iter().count() + module.kernels.len();
    let mut kept = kept.filter(|k| k.len() == count).map(Vec::into_iter);
    let mut pieces = Vec::new();
    let mut ids: PrimaryMap<MicroKernelId, Option<FuncId>> = module.micro_kernels.keys().map(|_| None).collect();
    let mut micro_kernels = Vec::new();
    for called in called(module).iter() {
        let micro_kernel = &module.micro_kernels[called];
        let within = |e: EmitError| e.within(format_args!("micro-kernel {}", micro_kernel.name));
        let name = format!("{prefix}micro_kernel{}_{}", called.index(), symbol(&micro_kernel.name));
        let signature = micro_kernel_signature(micro_kernel.params.len(), micro_kernel_isa);
        let id = out.declare_function(&name, Linkage::Local, &signature).map_err(|e| within(bug(e.to_string())))?;
        let (piece, unwind) = match kept.as_mut().and_then(Iterator::next) {
            Some(piece) => (piece, None),
            None => match micro_kernel_code(micro_kernel) {
                Some(bytes) => (Piece { align: 64, bytes: bytes.map_err(within)?, relocations: vec![] }, None),
                None => {
                    let mut context = Context::new();
                    context.func.signature = signature;
                    micro_kernel::build(micro_kernel, &options, micro_kernel_isa, &mut context.func, &mut builder);
                    compile(&mut context, micro_kernel_isa, id).map_err(within)?
                }
            },
        };
        let (align, bytes) = (piece.align.max(64), piece.bytes.len());
        out.define_function_bytes(id, align, &piece.bytes, &piece.relocations)
            .map_err(|e| within(bug(e.to_string())))?;
        pieces.push(piece);
        ids[called] = Some(id);
        micro_kernels.push(Emitted { name, id, bytes, unwind });
    }
    let mut kernels = Vec::new();
    for (id, kernel) in &module.kernels {
        let within = |e: EmitError| e.within(format_args!("kernel {}", kernel.name));
        let name = format!("{prefix}kernel{}_{}", id.index(), symbol(&kernel.name));
        let signature = kernel_signature(out.isa());
        let id = out.declare_function(&name, linkage, &signature).map_err(|e| within(bug(e.to_string())))?;
        let (piece, unwind) = match kept.as_mut().and_then(Iterator::next) {
            Some(piece) => (piece, None),
            None => {
                let mut context = Context::new();
                context.func.signature = signature;
                let config = out.isa().frontend_config();
                let mut reference = |micro_kernel: MicroKernelId, func: &mut cranelift_codegen::ir::Function| {
                    let id = ids[micro_kernel].expect("all called micro_kernels are declared");
                    out.declare_func_in_func(id, func)
                };
                nest::build(module, kernel, config, &mut reference, &mut context.func, &mut builder).map_err(within)?;
                compile(&mut context, out.isa(), id).map_err(within)?
            }
        };
        let bytes = piece.bytes.len();
        out.define_function_bytes(id, piece.align, &piece.bytes, &piece.relocations)
            .map_err(|e| within(bug(e.to_string())))?;
        pieces.push(piece);
        kernels.push(Emitted { name, id, bytes, unwind });
    }
    Ok((micro_kernels, kernels, pieces))
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

/// The text of all functions; calls refer to micro-kernels by number.
pub(super) fn clif(module: &KernelModule, target: &Target, isa: &dyn TargetIsa) -> Result<String, EmitError> {
    use cranelift_codegen::ir::{ExtFuncData, ExternalName, Function, UserExternalName};
    let options = options(target, isa)?;
    let mut builder = FunctionBuilderContext::new();
    let mut text = String::new();
    for called in called(module).iter() {
        let micro_kernel = &module.micro_kernels[called];
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
        nest::build(module, kernel, isa.frontend_config(), &mut reference, &mut func, &mut builder)?;
        write!(text, "; kernel {}\n{func}\n", kernel.name).expect("strings take all text");
    }
    Ok(text)
}

/// Micro-kernels that kernels call, in order of number.
fn called(module: &KernelModule) -> EntitySet<MicroKernelId> {
    let mut called = EntitySet::new();
    called.extend(module.kernels.values().flat_map(KernelIr::calls));
    called
}

/// Names become symbols of object files: other characters than letters and digits become `_`.
fn symbol(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Leaves that come as bytes follow System V on x86-64, so all do.
fn micro_kernel_signature(params: usize, isa: &dyn TargetIsa) -> Signature {
    let x86 = isa.name() == "x64";
    let mut signature = Signature::new(if x86 { CallConv::SystemV } else { isa.default_call_conv() });
    signature.params.extend((0..params).map(|_| AbiParam::new(types::I64)));
    signature
}

/// `extern "C" fn(buffers, vars, begin, end, scratch)`
fn kernel_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend((0..5).map(|_| AbiParam::new(types::I64)));
    signature
}
