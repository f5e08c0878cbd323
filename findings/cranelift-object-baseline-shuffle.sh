#!/usr/bin/env bash
# A byte shuffle compiled by Cranelift into an object file for the x86-64 baseline: the object calls the function
# `__cranelift_x86_pshufb`, which neither Cranelift's crates nor any system library defines for it.
#
# Versions: cranelift-codegen, -frontend, -module, -object 0.135.8, a stable rustc, cc, Python's ctypes.
# Input: a function that loads 16 bytes, picks every fourth one by `shuffle` and stores the first four; once for the
# baseline (SSE2), once with `has_ssse3`.
# A good engineer expects: instructions of SSE2 (shifts, packs), as for the other vector operations that the baseline
# lacks, or an error while compiling. The JIT knows the function, so tests in one process see nothing.
# Seen: compiling and `cc -shared` succeed; `dlopen` fails with "undefined symbol: __cranelift_x86_pshufb". With
# `has_ssse3` the library loads and the bytes are right.
# For ninc: libraries for the baseline narrow bytes and bf16 by `snarrow` and `unarrow`, which are SSE2; a call to any
# function of that prefix is an error when a library is written, and a test loads libraries of every level.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "shuffled"
version = "0.0.0"
edition = "2024"

[dependencies]
cranelift-codegen = { version = "=0.135.8", default-features = false, features = ["std", "unwind", "x86"] }
cranelift-frontend = "=0.135.8"
cranelift-module = "=0.135.8"
cranelift-object = "=0.135.8"
TOML
cat > src/main.rs <<'RUST'
use cranelift_codegen::ir::{AbiParam, ConstantData, InstBuilder, MemFlagsData, types};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};

fn main() {
    let mut flags = settings::builder();
    flags.set("is_pic", "true").unwrap();
    let mut isa = cranelift_codegen::isa::lookup_by_name("x86_64-unknown-linux-gnu").unwrap();
    if std::env::args().any(|word| word == "ssse3") {
        isa.enable("has_sse3").unwrap();
        isa.enable("has_ssse3").unwrap();
    }
    let isa = isa.finish(settings::Flags::new(flags)).unwrap();
    let mut module = ObjectModule::new(ObjectBuilder::new(isa, "shuffled", default_libcall_names()).unwrap());
    let mut context = module.make_context();
    let pointer = AbiParam::new(types::I64);
    context.func.signature.params.extend([pointer, pointer]);
    let mut scratch = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut scratch);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let (from, to) = (b.block_params(entry)[0], b.block_params(entry)[1]);
    let bytes = b.ins().load(types::I8X16, MemFlagsData::new(), from, 0);
    let order = [0u8, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12];
    let order = b.func.dfg.immediates.push(ConstantData::from(&order[..]));
    let picked = b.ins().shuffle(bytes, bytes, order);
    b.ins().store(MemFlagsData::new(), picked, to, 0);
    b.ins().return_(&[]);
    b.finalize(module.target_config());
    let id = module.declare_function("pick", Linkage::Export, &context.func.signature).unwrap();
    module.define_function(id, &mut context).unwrap();
    std::fs::write(std::env::args().nth(1).unwrap(), module.finish().emit().unwrap()).unwrap();
}
RUST
cargo run --quiet -- baseline.o
cargo run --quiet -- ssse3.o ssse3
for level in baseline ssse3; do cc -shared -o "$level.so" "$level.o"; done
python3 - <<'PY'
import ctypes

try:
    ctypes.CDLL("./baseline.so", mode=2)  # RTLD_NOW
    raise SystemExit("the baseline's library loads: the behaviour has changed")
except OSError as error:
    assert "__cranelift_x86_pshufb" in str(error), error
    print(error)
pick = ctypes.CDLL("./ssse3.so", mode=2).pick
result = ctypes.create_string_buffer(16)
pick(bytes(range(16)), result)
assert result.raw[:4] == bytes([0, 4, 8, 12]), result.raw
print("with has_ssse3:", list(result.raw[:4]))
PY
