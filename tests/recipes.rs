//! Recipes against naive code, on random and awkward shapes, for every vector width: kernels run in the kernel
//! interpreter, with garbage in working memory and iterations in reverse order; compiled code must give the same bits.

mod elementwise;
mod math;
mod movement;
mod operators;
mod pool;
mod random;
mod reduce;
mod softmax;

use crate::support::memory::Guarded;
use ninc::back::cranelift;
use ninc::kernel::interp::{Blocks, InterpError, f32_bytes, i32_bytes, run_kernel, scratch_offsets, to_f32};
use ninc::kernel::ir::{EntityRef, Module, Stmt};
use ninc::kernel::verify;
use ninc::lower::target::Target;
use ninc::lower::{Launch, LowerCx, Lowered, Operand, ProgramBuilder, Role};
use ninc::types::Type;
use ninc::verified::Verified;
use ninc_runtime::exec::Code;
use ninc_runtime::philox::Stream;
use std::sync::Once;

pub const LANES: [u32; 4] = [1, 4, 8, 16];

/// Widths for which the compiled code is compared too: Cranelift's own and one that it takes apart.
const COMPILED: [u32; 2] = [4, 8];

/// `[batch, channels, height, width]`: nothing, single elements, remainders of every width, more than one iteration an
/// image, more than one image an iteration.
pub const SHAPES: [[usize; 4]; 10] = [
    [0, 3, 4, 4],
    [1, 1, 1, 1],
    [2, 3, 5, 4],
    [3, 5, 1, 1],
    [2, 17, 6, 7],
    [5, 10, 1, 1],
    [2, 33, 3, 11],
    [1, 96, 8, 8],
    [2, 7, 31, 40],
    [70, 3, 2, 2],
];

#[derive(Clone, Debug)]
pub enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl Data {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(v) => f32_bytes(v),
            Data::I32(v) => i32_bytes(v),
            Data::U8(v) => v.clone(),
        }
    }
}

/// A recipe with its operands, in memory order.
pub struct Test<'a> {
    pub operands: Vec<(Type, Data)>,
    pub result: Type,
    pub lower: &'a dyn Fn(&mut LowerCx) -> Lowered,
}

impl Test<'_> {
    /// The result for a whole batch.
    pub fn run(&self, lanes: u32, batch: usize) -> Vec<f32> {
        self.run_group(lanes, [batch, 0, batch], &[])
    }

    /// Runs it by the recipes for a GPU, in the interpreter.
    pub fn run_gpu(&self, batch: usize) -> Vec<f32> {
        self.run_on(&Target::gpu(), [batch, 0, batch], &[])
    }

    /// The result for images `first ..` of a batch of `total`; `sums` is what it held after the group before.
    pub fn run_group(&self, lanes: u32, images: [usize; 3], sums: &[f32]) -> Vec<f32> {
        self.run_on(&Target { lanes, ..Target::portable(true) }, images, sums)
    }

    /// Runs it for any target.
    pub fn run_on(&self, target: &Target, [batch, first, total]: [usize; 3], sums: &[f32]) -> Vec<f32> {
        let lanes = target.lanes;
        let mut builder = ProgramBuilder::default();
        let mut operands = Vec::new();
        for (i, (ty, _)) in self.operands.iter().enumerate() {
            let buffer = builder.value(&format!("x{i}"), ty, Role::Input);
            operands.push(Operand { buffer, ty: ty.clone() });
        }
        let buffer = builder.value("y", &self.result, Role::Temp);
        let result = Operand { buffer, ty: self.result.clone() };
        let mut cx = LowerCx { target, name: "test".into(), operands, result, builder: &mut builder };
        (self.lower)(&mut cx).expect("the recipe takes this");
        let module = verify::verify(std::mem::take(&mut builder.module)).expect("a well-formed module");
        let mut blocks: Vec<Vec<u8>> =
            (builder.buffers.values()).map(|b| vec![0xff; (b.fixed + b.per_image * batch) * b.elem.bytes()]).collect();
        for (block, (_, data)) in blocks.iter_mut().zip(&self.operands) {
            let bytes = data.bytes();
            assert_eq!(block.len(), bytes.len(), "bytes of an operand");
            *block = bytes;
        }
        for (place, value) in blocks[buffer.index()].chunks_exact_mut(4).zip(sums) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        let launches: Vec<&Launch> = builder.prepare.iter().chain(&builder.launches).collect();
        let vars = [batch, first, total].map(|v| v as i64);
        let before = blocks.clone();
        for launch in &launches {
            interpret(&module, launch, &mut blocks, vars);
        }
        let result = to_f32(&blocks[buffer.index()]);
        if !target.is_gpu() && COMPILED.contains(&lanes) && host_rounds_once() {
            // An access outside of a buffer faults.
            let guarded = Guarded::all(&before);
            let code = cranelift::compile(&module, &Target { lanes, ..Target::host() }).expect("compiles");
            for launch in &launches {
                execute(&code, &module, launch, &guarded, vars);
            }
            let compiled = to_f32(&guarded[buffer.index()].bytes());
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            let differs = result.iter().zip(&compiled).position(|pair| !same(pair));
            assert_eq!(differs, None, "compiled and interpreted with {lanes} lanes: an element differs");
        }
        result
    }

    /// The result for the first of `LANES`; all others must be within `tolerance` (0: the same bits), a GPU's at least
    /// near it.
    pub fn every_width(&self, batch: usize, tolerance: f64) -> Vec<f32> {
        let first = self.run(LANES[0], batch);
        for lanes in &LANES[1..] {
            let other = self.run(*lanes, batch);
            if tolerance == 0.0 {
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&other), bits(&first), "{lanes} lanes");
            } else {
                close(
                    &other,
                    &first.iter().map(|&x| x.into()).collect::<Vec<_>>(),
                    tolerance,
                    &format!("{lanes} lanes"),
                );
            }
        }
        let gpu = self.run_gpu(batch);
        close(&gpu, &first.iter().map(|&x| x.into()).collect::<Vec<_>>(), tolerance.max(2e-6), "GPU");
        first
    }

    /// Compares all widths with the expected numbers, relative to the largest of them.
    pub fn check(&self, batch: usize, expected: &[f64], tolerance: f64, what: &str) {
        for lanes in LANES {
            close(&self.run(lanes, batch), expected, tolerance, &format!("{what}, {lanes} lanes, batch {batch}"));
        }
        close(&self.run_gpu(batch), expected, tolerance, &format!("{what}, GPU, batch {batch}"));
    }
}

/// Compiled code gives the interpreter's bits only where the machine has fused multiply-add.
fn host_rounds_once() -> bool {
    static SAID: Once = Once::new();
    let fma = Target::host().fma;
    if !fma {
        SAID.call_once(|| eprintln!("skipped: compiled recipes, because this machine has no fused multiply-add"));
    }
    fma
}

fn iterations(module: &Module, launch: &Launch, vars: [i64; 3]) -> i64 {
    let kernel = &module.kernels[launch.kernel];
    let [Stmt::For { end, .. }] = kernel.body.as_slice() else { panic!("{} is not a parallel loop", kernel.name) };
    assert_iterations_fit(&kernel.name, |batch| end.eval(&kernel.start([batch, 0, batch])));
    end.eval(&kernel.start(vars))
}

fn interpret(module: &Module, launch: &Launch, blocks: &mut [Vec<u8>], vars: [i64; 3]) {
    let args: Vec<usize> = launch.args.iter().map(|s| s.index()).collect();
    for i in (0..iterations(module, launch, vars)).rev() {
        run_kernel(module, launch.kernel, blocks, &args, vars, i..i + 1).expect("a sound kernel");
    }
}

/// Executes compiled code, after `interpret` of the same launch.
#[allow(unsafe_code)]
fn execute(code: &dyn Code, module: &Verified<Module>, launch: &Launch, blocks: &[Guarded], vars: [i64; 3]) {
    let pointers: Vec<*mut u8> = launch.args.iter().map(|s| blocks[s.index()].pointer()).collect();
    let kernel = &module.kernels[launch.kernel];
    let (_, bytes) = scratch_offsets(kernel.scratch.values().map(|s| (s.elem, s.len)));
    // Behind what a thread has lies a page that may not be touched.
    let scratch = Guarded::new(&vec![0xff; bytes], true);
    let end = iterations(module, launch, vars);
    // SAFETY: the interpreter ran the same launch on blocks of these sizes and found no access outside of them.
    unsafe { code.call(launch.kernel.index(), pointers.as_ptr(), vars.as_ptr(), 0, end, scratch.pointer()) };
}

/// The planner knows iterations as `fixed + each · ceil(batch / images)`.
fn assert_iterations_fit(name: &str, iterations: impl Fn(i64) -> i64) {
    let fixed = iterations(0);
    let each = iterations(1) - fixed;
    let images = (1..).take_while(|&b| b < 5000 && iterations(b) == fixed + each).count().max(1) as i64;
    for batch in 0..300 {
        let fits = fixed + each * ((batch + images - 1) / images);
        assert_eq!(iterations(batch), fits, "iterations of {name} for a batch of {batch}");
    }
}

/// Each number within `tolerance`, relative to the largest of the expected ones.
pub fn close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    // Below its least normal number a float32 may be 0.
    near(got, expected, tolerance * largest + f64::from(f32::MIN_POSITIVE), what);
}

/// Each number within `bound` of the expected one.
pub fn near(got: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: elements");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let same = f64::from(g) == e || g.is_nan() && e.is_nan();
        assert!(same || (f64::from(g) - e).abs() <= bound, "{what}: element {i} is {g}, expected {e}");
    }
}

/// Repeatable numbers for tests.
pub struct Draw(Stream);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(Stream::new(seed, 0, 0))
    }

    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.normal()).collect()
    }

    /// Whole numbers from -3 to 3: sums are exact and maxima are shared.
    pub fn small(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.below(7) as f32 - 3.0).collect()
    }

    pub fn positive(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.unit() + 0.1).collect()
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }
}

pub fn floats(ty: &Type, data: Vec<f32>) -> (Type, Data) {
    (ty.clone(), Data::F32(data))
}

/// Blocks for a single micro-kernel.
pub struct Memory(pub Vec<Vec<u8>>);

impl Blocks for Memory {
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError> {
        self.0.as_slice().load(block, at, bytes)
    }

    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError> {
        self.0.as_mut_slice().store(block, at, bytes, value)
    }
}
