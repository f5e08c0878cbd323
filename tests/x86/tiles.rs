//! Tiles: their arithmetic bit for bit, the registers that they take, and random micro-kernels of them.

use super::generate::Random;
use super::support::{Arg, check, expected, host_has};
use crate::support::memory::{Code, Guarded};
use ninc::back::EmitError;
use ninc::back::x86::{Features, Isa, configuration, emit, listing};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::ir::{Access, Elem, Index, MicroKernel, Outer, Param, Val};

const TILES: Features = Features { bf16: true, vnni: true, tiles: true };

/// `c += a · b`, a of `rows` and b of `columns` tiles, `steps` steps in a loop of `rounds` iterations.
struct Product {
    kind: Outer,
    rows: usize,
    columns: usize,
    steps: usize,
    rounds: usize,
    stream: bool,
    /// Sums start with those in memory.
    add: bool,
}

impl Product {
    fn elem(&self) -> Elem {
        if self.kind == Outer::Bf16 { Elem::Bf16 } else { Elem::U8 }
    }

    /// Elements of a row of a.
    fn pitch(&self) -> usize {
        self.steps * self.rounds * 64 / self.elem().bytes()
    }

    fn micro_kernel(&self) -> MicroKernel {
        let mut b = MicroKernelBuilder::new("tiles");
        let left = b.pointer("a", self.elem(), Access::Read);
        let right = b.pointer("b", Elem::I32, Access::Read);
        let out = b.pointer("c", self.kind.sums(), Access::ReadWrite);
        let place = |i: usize| 256 * self.columns * (i / self.columns) + 16 * (i % self.columns);
        let pitch = 16 * self.columns;
        let start = |b: &mut MicroKernelBuilder, i: usize| match self.add {
            true => b.load_tile(out, place(i), pitch, false),
            false => b.zero_tile(self.kind.sums()),
        };
        let init: Vec<Val> = (0..self.rows * self.columns).map(|i| start(&mut b, i)).collect();
        let sums = b.repeat("k", self.rounds, &init, |b, k, sums| {
            let mut sums = sums.to_vec();
            for step in 0..self.steps {
                let of = |p: Param, b: &mut MicroKernelBuilder, i: usize| {
                    let (at, by) = match p == left {
                        true => (i * 16 * self.pitch() + self.step() * step, self.step() * self.steps),
                        false => (256 * (step * self.columns + i), 256 * self.columns * self.steps),
                    };
                    let pitch = if p == left { self.pitch() } else { 16 };
                    b.load_tile(p, Index::from(at).plus(k, by as i64), pitch, self.stream && p == right)
                };
                let columns: Vec<Val> = (0..self.columns).map(|i| of(right, b, i)).collect();
                for m in 0..self.rows {
                    let row = of(left, b, m);
                    for (n, column) in columns.iter().enumerate() {
                        let sum = &mut sums[m * self.columns + n];
                        *sum = b.outer(self.kind, *sum, row, *column);
                    }
                }
            }
            sums
        });
        sums.iter().enumerate().for_each(|(i, sum)| b.store_tile(out, place(i), *sum, pitch));
        b.finish()
    }

    /// Elements of a that a step takes.
    fn step(&self) -> usize {
        64 / self.elem().bytes()
    }

    fn args(&self, random: &mut Random, data: Data) -> Vec<Arg> {
        let steps = self.steps * self.rounds;
        let sizes = [1024 * self.rows * steps, 1024 * self.columns * steps, 1024 * self.rows * self.columns];
        let elems = [self.elem(), self.elem(), self.kind.sums()];
        let arg = |(bytes, elem)| Arg::Memory { bytes: data.bytes(random, bytes, elem), origin: 0 };
        sizes.into_iter().zip(elems).map(arg).collect()
    }
}

/// What the numbers are like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Data {
    /// Between -2 and 2.
    Usual,
    /// Products near and among the denormal numbers.
    Tiny,
    /// Any bits: infinities, NaN, denormal numbers.
    Any,
}

impl Data {
    fn bytes(self, random: &mut Random, count: usize, elem: Elem) -> Vec<u8> {
        let mut half = || {
            let bits = random.below(1 << 16) as u16;
            match self {
                Data::Any => bits,
                Data::Usual => ((bits as f32 / 65536.0 - 0.5) * 4.0).to_bits().wrapping_shr(16) as u16,
                // Exponents 40 to 67 of 127: products from 2^-174 to 2^-120.
                Data::Tiny => bits & 0x807f | (40 + bits % 28) << 7,
            }
        };
        match elem {
            Elem::F32 if self == Data::Tiny => {
                // Sums so far: exponents up to 10, denormal ones too.
                let word = |h: u16| u32::from(h & 0x807f | (((h >> 7 & 0xff) % 11) << 7)) << 16 | u32::from(h);
                (0..count / 4).flat_map(|_| word(half()).to_le_bytes()).collect()
            }
            _ => (0..count / 2).flat_map(|_| half().to_le_bytes()).collect(),
        }
    }
}

#[test]
fn products_of_tiles_are_exact() {
    let mut random = Random(14);
    for data in [Data::Usual, Data::Tiny, Data::Any] {
        for (kind, rows, columns, steps, rounds) in
            [(Outer::Bf16, 2, 2, 1, 3), (Outer::Bf16, 1, 2, 2, 1), (Outer::Bf16, 4, 1, 1, 1), (Outer::U8I8, 2, 2, 1, 2)]
        {
            let product = Product { kind, rows, columns, steps, rounds, stream: columns == 2, add: rows != 1 };
            let args = product.args(&mut random, data);
            check(&product.micro_kernel(), &args, Isa::Avx512, TILES).unwrap();
        }
    }
}

/// Eight registers: four sums, two rows, two columns, and one tile more than there are is an error.
#[test]
fn nine_tiles_do_not_fit() {
    let product = |rows, columns| {
        let (steps, rounds) = (1, 2);
        Product { kind: Outer::Bf16, rows, columns, steps, rounds, stream: false, add: false }.micro_kernel()
    };
    assert!(emit(&product(2, 2), Isa::Avx512, TILES).is_ok());
    let error = emit(&product(3, 2), Isa::Avx512, TILES).unwrap_err();
    assert_eq!(error, EmitError::Limit("micro-kernel tiles: needs 9 tile registers, 8 exist".into()));
    let plain = Features { tiles: false, ..TILES };
    for (isa, features) in [(Isa::Avx512, plain), (Isa::Avx2, TILES)] {
        let error = emit(&product(1, 1), isa, features).unwrap_err();
        assert_eq!(error, EmitError::Unsupported("micro-kernel tiles: tiles need AMX beside AVX-512".into()));
    }
}

/// What the processor's manual asks of the configuration.
#[test]
fn the_configuration_is_eight_whole_tiles() {
    let [begin, end] = configuration().unwrap();
    assert_eq!(listing(&begin).lines().next().unwrap().trim(), "0  ldtilecfg [40h]");
    assert_eq!(listing(&end).lines().next().unwrap().trim(), "0  tilerelease");
    let state = &begin[64..];
    let columns = state[16..32].chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]]));
    assert!(state.len() == 64 && state[0] == 1 && columns.eq([64; 8]) && state[48..56] == [16; 8]);
    assert!(state[1..16].iter().chain(&state[32..48]).chain(&state[56..]).all(|byte| *byte == 0));
}

/// 16 threads at once, each interrupted by signals whose handler works on vectors, and a forked child.
#[test]
#[allow(unsafe_code)]
fn threads_signals_and_children_have_tiles_of_their_own() {
    use std::sync::atomic::{AtomicU64, Ordering};
    if !host_has(Isa::Avx512, TILES) {
        eprintln!("skipped: this machine has no tiles");
        return;
    }
    let product = Product { kind: Outer::Bf16, rows: 2, columns: 2, steps: 2, rounds: 8, stream: true, add: false };
    let micro_kernel = product.micro_kernel();
    let (args, after) = expected(&micro_kernel, &product.args(&mut Random(3), Data::Usual));
    let [begin, end] = configuration().unwrap();
    let code = emit(&micro_kernel, Isa::Avx512, TILES).unwrap();
    let functions = || [&begin, &code, &end].map(|code| Code::new(code));
    let buffers = || -> Vec<Guarded> {
        let bytes = args.iter().map(|arg| match arg {
            Arg::Memory { bytes, .. } => bytes,
            Arg::Int(_) => unreachable!("three pointers"),
        });
        bytes.map(|bytes| Guarded::new(bytes, true)).collect()
    };
    let right = |[begin, code, end]: &[Code; 3]| {
        let buffers = buffers();
        begin.call(&[]);
        code.call(&buffers.iter().map(Guarded::address).collect::<Vec<_>>());
        end.call(&[]);
        buffers[2].bytes() == after[2]
    };
    extern "C" fn handler(signal: i32) {
        let numbers: [f32; 64] = std::array::from_fn(|i| (i as i32 + signal) as f32);
        std::hint::black_box(numbers.iter().map(|x| x.sqrt()).sum::<f32>());
    }
    // SAFETY: the handler touches nothing but its own stack; the signal is ignored by default.
    unsafe { libc::signal(libc::SIGURG, handler as *const () as usize) };
    let numbers: [AtomicU64; 16] = std::array::from_fn(|_| AtomicU64::new(0));
    let worker = &|number: &AtomicU64| {
        // SAFETY: it only asks which thread this is.
        number.store(unsafe { libc::pthread_self() }, Ordering::Relaxed);
        let functions = functions();
        (0..60).all(|_| right(&functions))
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = numbers.iter().map(|number| scope.spawn(move || worker(number))).collect();
        for round in 0..200 {
            let number = numbers[round % numbers.len()].load(Ordering::Relaxed);
            if number != 0 {
                // SAFETY: no thread has been joined yet, so that its number is still its own.
                unsafe { libc::pthread_kill(number, libc::SIGURG) };
            }
            std::thread::yield_now();
        }
        assert!(workers.into_iter().all(|worker| worker.join().unwrap()), "a thread's result");
    });
    let [begin, code, end] = functions();
    let buffers = buffers();
    let addresses: Vec<u64> = buffers.iter().map(Guarded::address).collect();
    // SAFETY: the child calls nothing that takes a lock: machine code, a comparison of its memory, `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        begin.call(&[]);
        code.call(&addresses);
        end.call(&[]);
        // SAFETY: the memory is as long as the result, and nobody else in this process changes it.
        let got = unsafe { std::slice::from_raw_parts(addresses[2] as *const u8, after[2].len()) };
        unsafe { libc::_exit(if got == after[2] { 7 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is ours and not waited for elsewhere.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 7), "the child's result");
}

fn random(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random(seed);
        let mut pick = |n: u64| random.below(n as usize);
        let kind = [Outer::Bf16, Outer::Bf16, Outer::U8I8][pick(3)];
        let (rows, columns) = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (3, 1), (1, 3)][pick(7)];
        let (steps, rounds, stream, add) = (1 + pick(3), pick(4), pick(2) == 1, pick(2) == 1);
        let data = [Data::Usual, Data::Tiny, Data::Any][pick(3)];
        let product = Product { kind, rows, columns, steps, rounds, stream, add };
        let args = product.args(&mut random, data);
        let run = || check(&product.micro_kernel(), &args, Isa::Avx512, TILES).unwrap();
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_tiles_agree() {
    random(0..8);
}

#[test]
#[ignore = "takes minutes; run by hand after changes to tiles"]
fn a_hundred_thousand_tiles_agree() {
    random(1000..101_000);
}
