//! Recipes against naive code, on random and awkward shapes, for every vector width: kernels run in the kernel
//! interpreter, with garbage in working memory and rounds in reverse order.

mod elementwise;
mod math;
mod movement;
mod pool;
mod random;
mod reduce;
mod softmax;

use ninc::kernel::interp::{f32_bytes, i32_bytes, run_kernel, to_f32};
use ninc::kernel::ir::Stmt;
use ninc::kernel::site::{Draft, Launch, Lowered, Operand, Role, Site};
use ninc::kernel::target::Target;
use ninc::kernel::verify;
use ninc::types::Type;
use ninc_runtime::philox::Stream;

pub const LANES: [u32; 4] = [1, 4, 8, 16];

/// `[batch, channels, height, width]`: nothing, single elements, tails of every width, more than one round an image,
/// more than one image a round.
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
}

impl Data {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(v) => f32_bytes(v),
            Data::I32(v) => i32_bytes(v),
        }
    }
}

/// A recipe with its operands, in memory order.
pub struct Test<'a> {
    pub operands: Vec<(Type, Data)>,
    pub result: Type,
    pub lower: &'a dyn Fn(&mut Site) -> Lowered,
}

impl Test<'_> {
    /// The result for a whole batch.
    pub fn run(&self, lanes: u32, batch: usize) -> Vec<f32> {
        self.run_group(lanes, [batch, 0, batch])
    }

    /// The result for images `first ..` of a batch of `total`.
    pub fn run_group(&self, lanes: u32, [batch, first, total]: [usize; 3]) -> Vec<f32> {
        let target = Target { lanes, ..Target::portable(true) };
        let mut draft = Draft::default();
        let mut operands = Vec::new();
        for (i, (ty, _)) in self.operands.iter().enumerate() {
            let slot = draft.value(&format!("x{i}"), ty, Role::Input);
            operands.push(Operand { slot, ty: ty.clone() });
        }
        let slot = draft.value("y", &self.result, Role::Temp);
        let result = Operand { slot, ty: self.result.clone() };
        let mut site = Site { target: &target, name: "test".into(), operands, result, draft: &mut draft };
        (self.lower)(&mut site).expect("the recipe takes this");
        draft.module = verify::verify(draft.module.clone()).expect("a well-formed module").clone();
        let mut blocks: Vec<Vec<u8>> =
            (draft.buffers.iter()).map(|b| vec![0xff; (b.fixed + b.per_image * batch) * b.elem.bytes()]).collect();
        for (block, (_, data)) in blocks.iter_mut().zip(&self.operands) {
            let bytes = data.bytes();
            assert_eq!(block.len(), bytes.len(), "bytes of an operand");
            *block = bytes;
        }
        for launch in draft.prepare.iter().chain(&draft.launches) {
            launch_reversed(&draft, launch, &mut blocks, [batch, first, total]);
        }
        to_f32(&blocks[slot.0 as usize])
    }

    /// The result for the first of `LANES`; all others must be within `tolerance` (0: the same bits).
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
        first
    }

    /// Compares all widths with the expected numbers, relative to the largest of them.
    pub fn check(&self, batch: usize, expected: &[f64], tolerance: f64, what: &str) {
        for lanes in LANES {
            close(&self.run(lanes, batch), expected, tolerance, &format!("{what}, {lanes} lanes, batch {batch}"));
        }
    }
}

fn launch_reversed(draft: &Draft, launch: &Launch, blocks: &mut [Vec<u8>], vars: [usize; 3]) {
    let kernel = &draft.module.kernels[launch.kernel];
    let [Stmt::For { end, .. }] = kernel.body.as_slice() else { panic!("{} is no parallel loop", kernel.name) };
    assert_rounds_fit(&kernel.name, |batch| end.eval(&[batch, 0, batch]));
    let vars = vars.map(|v| v as i64);
    let args: Vec<usize> = launch.args.iter().map(|s| s.0 as usize).collect();
    for round in (0..end.eval(&vars)).rev() {
        run_kernel(&draft.module, launch.kernel, blocks, &args, vars, round..round + 1).expect("a sound kernel");
    }
}

/// The planner knows rounds as `fixed + each · ceil(batch / images)`.
fn assert_rounds_fit(name: &str, rounds: impl Fn(i64) -> i64) {
    let fixed = rounds(0);
    let each = rounds(1) - fixed;
    let images = (1..).take_while(|&b| b < 5000 && rounds(b) == fixed + each).count().max(1) as i64;
    for batch in 0..300 {
        let fits = fixed + each * ((batch + images - 1) / images);
        assert_eq!(rounds(batch), fits, "rounds of {name} for a batch of {batch}");
    }
}

/// Each number within `tolerance` of the expected one, relative to it or to the largest.
pub fn close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: elements");
    let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let same = g as f64 == e || g.is_nan() && e.is_nan();
        let near = (g as f64 - e).abs() <= tolerance * largest.max(1e-30);
        assert!(same || near, "{what}: element {i} is {g}, expected {e}");
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
