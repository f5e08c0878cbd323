//! Compiled kernels in an object file.

use super::bug;
use super::emit;
use super::unwind::{self, Frames};
use super::{Effort, MicroKernelCode, System, settings_for};
use crate::back::EmitError;
use crate::kernel::ir::Module as KernelModule;
use crate::lower::target::{Isa, Target};
use crate::verified::Verified;
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::Configurable;
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use object::write::Relocation;
use object::{BinaryFormat, RelocationEncoding, RelocationFlags, RelocationKind, SectionFlags, SectionKind, elf};
use std::sync::{Arc, Mutex, PoisonError};

/// Extensions of x86-64-v2 and v3 that Cranelift can use, by its names.
const V2: [&str; 6] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b"];
const V3: [&str; 6] = ["has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"];
/// What RISC-V's GC has beside what Cranelift takes for granted: short instructions.
const RISCV_C: [&str; 2] = ["has_zca", "has_zcd"];

/// Returns a processor to compile for: its triple, and the instructions that a target needs.
pub fn isa_for(triple: &str, target: &Target, effort: Effort) -> Result<OwnedTargetIsa, EmitError> {
    let known =
        |e: &dyn std::fmt::Display| EmitError::Unsupported(format!("Cranelift does not know the target {triple}: {e}"));
    let mut builder = isa::lookup_by_name(triple).map_err(|e| known(&e))?;
    let mut wanted = Vec::new();
    if triple.starts_with("x86_64") && (target.cpu().isa != Isa::Portable || target.fma) {
        wanted.extend(V2.into_iter().chain(V3));
    } else if triple.starts_with("riscv64gc") {
        wanted.extend(RISCV_C);
    }
    for name in wanted {
        builder.enable(name).map_err(|e| bug(format!("flag {name}: {e}")))?;
    }
    let system = match triple {
        _ if triple.contains("-windows-") => System::Windows,
        _ if triple.contains("-apple-") => System::Apple,
        _ => System::Unix,
    };
    builder.finish(settings_for(effort, system)?).map_err(|e| known(&e))
}

/// An object file under construction.
pub struct Object {
    /// Its functions and data.
    pub module: ObjectModule,
    triple: String,
    target: Target,
    /// Bytes of machine code so far.
    pub code_bytes: usize,
    /// Stack frames of all functions.
    frames: Vec<(FuncId, Frames)>,
    /// Helpers of Cranelift that the code calls for operations which the target lacks. Nothing defines them:
    /// the library would not load.
    missing: Arc<Mutex<Vec<String>>>,
}

impl Object {
    /// Starts an object; `target` is the least that all code in it needs, and kernels may be for more.
    pub fn new(name: &str, triple: &str, target: &Target) -> Result<Object, EmitError> {
        let isa = isa_for(triple, target, Effort::Kernel)?;
        let missing = Arc::new(Mutex::new(vec![]));
        let (seen, named) = (missing.clone(), cranelift_module::default_libcall_names());
        let names = move |call| {
            let name = named(call);
            if name.starts_with("__cranelift") {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
            }
            name
        };
        let builder = ObjectBuilder::new(isa, name, Box::new(names)).map_err(|e| bug(e.to_string()))?;
        let module = ObjectModule::new(builder);
        Ok(Object { module, triple: triple.into(), target: target.clone(), code_bytes: 0, frames: vec![], missing })
    }

    /// Adds a module's kernels, their symbols under `prefix`; returns them in their order.
    pub fn kernels(
        &mut self,
        prefix: &str,
        module: &Verified<KernelModule>,
        target: &Target,
        micro_kernel_code: &MicroKernelCode,
    ) -> Result<Vec<FuncId>, EmitError> {
        debug_assert!(target.cpu().isa != Isa::Portable || target.fma == self.target.fma);
        let isa = isa_for(&self.triple, target, Effort::MicroKernel)?;
        let (micro_kernels, kernels, pieces) = emit::emit(
            &mut self.module,
            prefix,
            module,
            target,
            isa.as_ref(),
            micro_kernel_code,
            Linkage::Local,
            None,
        )?;
        let ids = kernels.iter().map(|k| k.id).collect();
        for (function, piece) in micro_kernels.into_iter().chain(kernels).zip(pieces) {
            self.code_bytes += function.bytes;
            let frames = function.unwind.map_or(Frames::Code(piece.bytes), Frames::Known);
            self.frames.push((function.id, frames));
        }
        Ok(ids)
    }

    /// Adds constant data; at these offsets stand the addresses of functions.
    pub fn data(&mut self, name: &str, bytes: Vec<u8>, functions: &[(usize, FuncId)]) -> Result<DataId, EmitError> {
        let id = self.module.declare_data(name, Linkage::Local, false, false).map_err(|e| bug(e.to_string()))?;
        let mut data = DataDescription::new();
        data.define(bytes.into());
        data.set_align(64);
        for &(at, function) in functions {
            let reference = self.module.declare_func_in_data(function, &mut data);
            data.write_function_addr(at as u32, reference);
        }
        self.module.define_data(id, &data).map_err(|e| bug(e.to_string()))?;
        Ok(id)
    }

    /// Takes note of functions that were put into `module`.
    pub fn add(&mut self, bytes: usize, frames: Vec<(FuncId, UnwindInfo)>) {
        self.code_bytes += bytes;
        self.frames.extend(frames.into_iter().map(|(id, unwind)| (id, Frames::Known(unwind))));
    }

    /// Adds zeros that the code may change.
    pub fn zeros(&mut self, name: &str, bytes: usize, align: u64) -> Result<DataId, EmitError> {
        let id = self.module.declare_data(name, Linkage::Local, true, false).map_err(|e| bug(e.to_string()))?;
        let mut data = DataDescription::new();
        data.define_zeroinit(bytes);
        data.set_align(align);
        self.module.define_data(id, &data).map_err(|e| bug(e.to_string()))?;
        Ok(id)
    }

    /// Names data that the linker makes.
    pub fn import(&mut self, name: &str) -> Result<DataId, EmitError> {
        self.module.declare_data(name, Linkage::Import, false, false).map_err(|e| bug(e.to_string()))
    }

    /// Adds a function on integers, on x86-64 as System V calls it: bytes of machine code without relocations.
    pub fn bytes(&mut self, name: &str, params: usize, code: &[u8]) -> Result<FuncId, EmitError> {
        let mut signature = self.module.make_signature();
        let word = cranelift_codegen::ir::AbiParam::new(cranelift_codegen::ir::types::I64);
        let x86 = self.triple.starts_with("x86_64");
        if x86 {
            signature.call_conv = CallConv::SystemV;
        }
        signature.params.extend((0..params).map(|_| word));
        signature.returns.push(word);
        let id = self.module.declare_function(name, Linkage::Local, &signature).map_err(|e| bug(e.to_string()))?;
        self.module.define_function_bytes(id, 16, code, &[]).map_err(|e| bug(e.to_string()))?;
        self.code_bytes += code.len();
        self.frames.push((id, if x86 { Frames::Code(code.to_vec()) } else { Frames::None(code.len()) }));
        Ok(id)
    }

    /// Writes the object file's bytes. `at_end` is called when the code is unloaded or the program ends, where the file
    /// can say so: in ELF.
    pub fn finish(self, at_end: FuncId) -> Result<Vec<u8>, EmitError> {
        if let Some(name) = self.missing.lock().unwrap_or_else(PoisonError::into_inner).first() {
            return Err(bug(format!("the code calls {name}, a helper of Cranelift that no library has")));
        }
        let isa = isa_for(&self.triple, &self.target, Effort::Kernel)?;
        let mut product = self.module.finish();
        unwind::write(&mut product, isa.as_ref(), self.frames)?;
        if product.object.format() == BinaryFormat::Elf {
            call_at_end(&mut product, at_end)?;
        }
        product.emit().map_err(|e| bug(e.to_string()))
    }
}

/// Lists a function in `.fini_array`.
fn call_at_end(product: &mut ObjectProduct, at_end: FuncId) -> Result<(), EmitError> {
    let kind = SectionKind::Elf(elf::SHT_FINI_ARRAY);
    let section = product.object.add_section(vec![], b".fini_array".to_vec(), kind);
    product.object.section_mut(section).flags =
        SectionFlags::Elf { sh_flags: u64::from(elf::SHF_ALLOC | elf::SHF_WRITE) };
    let offset = product.object.append_section_data(section, &[0; 8], 8);
    let symbol = product.function_symbol(at_end);
    let flags =
        RelocationFlags::Generic { kind: RelocationKind::Absolute, encoding: RelocationEncoding::Generic, size: 64 };
    let relocation = Relocation { offset, symbol, addend: 0, flags };
    product.object.add_relocation(section, relocation).map_err(|e| bug(e.to_string()))
}
