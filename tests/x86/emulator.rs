//! A small x86-64 emulator for what the emitter writes: it decodes the bytes, so it tests encodings too, and lets
//! AVX-512 code be tested on machines without it. Every access is checked against the regions. AVX2 code that also runs
//! natively is the test of the emulator itself.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use std::collections::HashMap;

/// Memory at an address.
pub struct Region {
    pub base: u64,
    pub bytes: Vec<u8>,
}

mod tiles;

type Vector = [u8; 64];
const CODE: u64 = 0x7000_0000_0000;
const STACK: u64 = 0x7fff_0000_0000;
const RETURN: u64 = 0xdead_0000;

struct Machine<'a> {
    general: [u64; 16],
    vectors: [Vector; 32],
    masks: [u64; 8],
    /// Rows of words, all eight whole, as `configuration` sets them.
    tiles: [tiles::Tile; 8],
    /// Sign of the last result, and whether it was 0 (all that the emitter's jumps ask for).
    flags: (bool, bool),
    regions: &'a mut [Region],
    code: &'a [u8],
    stack: Vec<u8>,
}

/// Runs the code with integer arguments until it returns.
pub fn run(code: &[u8], args: &[u64], regions: &mut [Region]) -> Result<(), String> {
    let mut m = Machine {
        general: std::array::from_fn(|i| 0x5555_0000_0000_0000 + i as u64),
        vectors: [[0xa5; 64]; 32],
        masks: [u64::MAX; 8],
        tiles: [[[0xa5a5_a5a5; 16]; 16]; 8],
        flags: (false, false),
        regions,
        code,
        stack: vec![0; 4096],
    };
    for (&value, register) in args.iter().zip([7, 6, 2, 1, 8, 9]) {
        m.general[register] = value;
    }
    m.general[4] = STACK + 4096 - 8;
    m.write(STACK + 4096 - 8, &RETURN.to_le_bytes())?;
    let saved = [3, 4, 5, 12, 13, 14, 15].map(|r| m.general[r]);
    let mut decoded: HashMap<u64, Instruction> = HashMap::new();
    let mut ip = CODE;
    for _ in 0..2_000_000 {
        let at = (ip - CODE) as usize;
        let i =
            *decoded.entry(ip).or_insert_with(|| Decoder::with_ip(64, &code[at..], ip, DecoderOptions::NONE).decode());
        if i.mnemonic() == Mnemonic::Ret {
            let back = m.read(m.general[4], 8)?;
            assert_eq!(back, RETURN.to_le_bytes(), "the return address");
            assert_eq!(saved, [3, 4, 5, 12, 13, 14, 15].map(|r| m.general[r]), "registers of the caller");
            assert!(m.vectors[..16].iter().all(|v| v[16..] == [0; 48]), "no vzeroupper");
            return Ok(());
        }
        ip = m.step(&i).map_err(|e| format!("{i} at {at:x}: {e}"))?;
    }
    Err("runs too long".into())
}

fn lane(v: &Vector, i: usize) -> u32 {
    u32::from_le_bytes(v[4 * i..4 * i + 4].try_into().unwrap())
}

fn map(n: usize, f: impl Fn(usize) -> u32) -> Vector {
    let mut out = [0; 64];
    (0..n).for_each(|i| out[4 * i..4 * i + 4].copy_from_slice(&f(i).to_le_bytes()));
    out
}

fn f(w: u32) -> f32 {
    f32::from_bits(w)
}

fn quads(n: usize, op: impl Fn(usize) -> u64) -> Vector {
    let mut out = [0; 64];
    (0..n / 2).for_each(|i| out[8 * i..8 * i + 8].copy_from_slice(&op(i).to_le_bytes()));
    out
}

fn quad(v: &Vector, i: usize) -> u64 {
    u64::from_le_bytes(v[8 * i..8 * i + 8].try_into().unwrap())
}

/// Over pairs of 16-bit words of a lane.
fn halves(w: u32, op: impl Fn(u16) -> u16) -> u32 {
    u32::from(op(w as u16)) | u32::from(op((w >> 16) as u16)) << 16
}

impl Machine<'_> {
    fn place(&mut self, at: u64, len: usize) -> Result<&mut [u8], String> {
        if (STACK..STACK + 4096).contains(&at) {
            let from = (at - STACK) as usize;
            return self.stack.get_mut(from..from + len).ok_or_else(|| "beyond the stack".into());
        }
        let region = self.regions.iter_mut().find(|r| at >= r.base && at < r.base + (1 << 31));
        let region = region.ok_or_else(|| format!("access to {at:x}"))?;
        let from = (at - region.base) as usize;
        let size = region.bytes.len();
        region.bytes.get_mut(from..from + len).ok_or_else(|| format!("access to {from}..{} of {size}", from + len))
    }

    fn read(&mut self, at: u64, len: usize) -> Result<Vec<u8>, String> {
        if at >= CODE && at < CODE + self.code.len() as u64 {
            let from = (at - CODE) as usize;
            return self.code.get(from..from + len).map(<[u8]>::to_vec).ok_or_else(|| "beyond the pool".into());
        }
        self.place(at, len).map(|b| b.to_vec())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), String> {
        self.place(at, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn address(&self, i: &Instruction) -> u64 {
        if i.is_ip_rel_memory_operand() {
            return i.ip_rel_memory_address();
        }
        let part = |r: Register| if r == Register::None { 0 } else { self.general[r.number()] };
        let index = part(i.memory_index()).wrapping_mul(i.memory_index_scale().into());
        part(i.memory_base()).wrapping_add(index).wrapping_add(i.memory_displacement64())
    }

    /// Bit per 32-bit lane that the instruction may touch.
    fn write_mask(&self, i: &Instruction) -> u64 {
        match i.op_mask() {
            Register::None => u64::MAX,
            k => self.masks[k.number()],
        }
    }

    fn general_operand(&mut self, i: &Instruction, n: u32) -> Result<u64, String> {
        Ok(match i.op_kind(n) {
            OpKind::Register => {
                let r = i.op_register(n);
                let value = self.general[r.number()];
                if r.size() == 4 { value & 0xffff_ffff } else { value }
            }
            OpKind::Memory => {
                let bytes = self.read(self.address(i), i.memory_size().size())?;
                bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
            }
            _ => i.immediate(n),
        })
    }

    fn set_general(&mut self, i: &Instruction, value: u64) -> Result<(), String> {
        if i.op_kind(0) == OpKind::Memory {
            return self.write(self.address(i), &value.to_le_bytes());
        }
        let r = i.op_register(0);
        self.general[r.number()] = if r.size() == 4 { value & 0xffff_ffff } else { value };
        Ok(())
    }

    /// A vector operand; lanes that a mask excludes are not read from memory (`element` bytes each).
    fn vector(&mut self, i: &Instruction, n: u32, element: usize) -> Result<Vector, String> {
        let mut out = [0; 64];
        match i.op_kind(n) {
            OpKind::Register if i.op_register(n).is_k() => unreachable!("a mask as a vector"),
            OpKind::Register => out = self.vectors[i.op_register(n).number()],
            OpKind::Memory if i.is_broadcast() => {
                let size = i.memory_size().element_size();
                let bytes = self.read(self.address(i), size)?;
                out.chunks_mut(size).for_each(|c| c.copy_from_slice(&bytes));
            }
            OpKind::Memory => {
                let (at, size) = (self.address(i), i.memory_size().size());
                let mask = if i.mnemonic() == Mnemonic::Vblendmps { u64::MAX } else { self.write_mask(i) };
                if mask == u64::MAX {
                    out[..size].copy_from_slice(&self.read(at, size)?);
                } else {
                    for e in (0..size / element).filter(|e| mask >> e & 1 == 1) {
                        let bytes = self.read(at + (e * element) as u64, element)?;
                        out[e * element..(e + 1) * element].copy_from_slice(&bytes);
                    }
                }
            }
            kind => return Err(format!("operand kind {kind:?}")),
        }
        Ok(out)
    }

    /// Writes `lanes` lanes; lanes behind are cleared, masked lanes are kept or cleared.
    fn set_vector(&mut self, i: &Instruction, lanes: usize, value: Vector) {
        let number = i.op_register(0).number();
        let (old, mask) = (self.vectors[number], self.write_mask(i));
        let kept = |l: usize| if i.zeroing_masking() { 0 } else { lane(&old, l) };
        self.vectors[number] = map(lanes, |l| if mask >> l & 1 == 1 { lane(&value, l) } else { kept(l) });
    }

    fn step(&mut self, i: &Instruction) -> Result<u64, String> {
        let next = i.next_ip();
        match i.mnemonic() {
            Mnemonic::Jne => return Ok(if self.flags.1 { next } else { i.near_branch64() }),
            Mnemonic::Jle => {
                let taken = self.flags.0 || self.flags.1;
                return Ok(if taken { i.near_branch64() } else { next });
            }
            _ if i.cpuid_features().iter().any(|f| tiles::FEATURES.contains(f)) => self.tile_step(i)?,
            Mnemonic::Nop => {}
            Mnemonic::Vzeroupper => self.vectors[..16].iter_mut().for_each(|v| v[16..].fill(0)),
            Mnemonic::Kmovw => {
                let value = match i.op1_register() {
                    r if r.is_k() => self.masks[r.number()],
                    r => self.general[r.number()],
                };
                self.masks[i.op0_register().number()] = value & 0xffff;
            }
            _ if i.op_count() == 0 => return Err("unknown".into()),
            _ => {
                let vector = (0..i.op_count()).any(|n| i.op_register(n).is_vector_register());
                if vector { self.vector_step(i)? } else { self.general_step(i)? }
            }
        }
        Ok(next)
    }

    fn general_step(&mut self, i: &Instruction) -> Result<(), String> {
        let flags = |v: u64| ((v as i64) < 0, v == 0);
        match i.mnemonic() {
            Mnemonic::Push => {
                self.general[4] -= 8;
                let value = self.general[i.op0_register().number()];
                self.write(self.general[4], &value.to_le_bytes())?;
            }
            Mnemonic::Pop => {
                let bytes = self.read(self.general[4], 8)?;
                self.general[4] += 8;
                self.general[i.op0_register().number()] = u64::from_le_bytes(bytes.try_into().unwrap());
            }
            Mnemonic::Mov => {
                let value = self.general_operand(i, 1)?;
                self.set_general(i, value)?;
            }
            Mnemonic::Lea => {
                let value = self.address(i);
                self.set_general(i, value)?;
            }
            Mnemonic::Imul => {
                let first = self.general_operand(i, if i.op_count() == 3 { 1 } else { 0 })?;
                let second = self.general_operand(i, if i.op_count() == 3 { 2 } else { 1 })?;
                self.set_general(i, first.wrapping_mul(second))?;
            }
            Mnemonic::Add | Mnemonic::Sub => {
                let (a, b) = (self.general_operand(i, 0)?, self.general_operand(i, 1)?);
                let sum = if i.mnemonic() == Mnemonic::Add { a.wrapping_add(b) } else { a.wrapping_sub(b) };
                self.set_general(i, sum)?;
                self.flags = flags(sum);
            }
            Mnemonic::Dec => {
                let value = self.general_operand(i, 0)?.wrapping_sub(1);
                self.set_general(i, value)?;
                self.flags = flags(value);
            }
            Mnemonic::Test => {
                let both = self.general_operand(i, 0)? & self.general_operand(i, 1)?;
                self.flags = flags(both);
            }
            // Only ever against 0.
            Mnemonic::Cmp => {
                assert_eq!(self.general_operand(i, 1)?, 0);
                let value = self.general_operand(i, 0)?;
                self.flags = flags(value);
            }
            _ => return Err("unknown".into()),
        }
        Ok(())
    }

    fn vector_step(&mut self, i: &Instruction) -> Result<(), String> {
        use Mnemonic::*;
        let registers = (0..i.op_count()).map(|n| i.op_register(n)).filter(|r| r.is_vector_register());
        let bytes = registers.map(|r| r.size()).max().unwrap_or(16);
        let n = bytes / 4;
        let m = i.mnemonic();
        if i.op0_kind() == OpKind::Memory {
            return self.store(i, n);
        }
        if m == Vmovd {
            let low = self.general_operand(i, 1)? as u32;
            self.set_vector(i, 4, map(1, |_| low));
            return Ok(());
        }
        if let Some(value) = self.widths(i, n)? {
            self.set_vector(i, n, value);
            return Ok(());
        }
        let element = if i.memory_size().size() < 4 { i.memory_size().size() } else { 4 };
        let last = if i.op_kind(i.op_count() - 1) == OpKind::Immediate8 { i.op_count() - 2 } else { i.op_count() - 1 };
        let imm = if last + 1 < i.op_count() { i.immediate(last + 1) as u32 } else { 0 };
        if matches!(m, Vcmpps | Vpcmpd) && i.op0_register().is_k() {
            let (a, b) = (self.vector(i, 1, 4)?, self.vector(i, 2, 4)?);
            let holds = |l| {
                if m == Vcmpps {
                    float_compare(imm, lane(&a, l), lane(&b, l))
                } else {
                    int_compare(imm, lane(&a, l), lane(&b, l))
                }
            };
            self.masks[i.op0_register().number()] = (0..n).fold(0, |k, l| k | u64::from(holds(l)) << l);
            return Ok(());
        }
        if m == Vblendmps {
            let (a, b) = (self.vector(i, 1, 4)?, self.vector(i, 2, 4)?);
            let mask = self.write_mask(i);
            let value = map(n, |l| if mask >> l & 1 == 1 { lane(&b, l) } else { lane(&a, l) });
            self.vectors[i.op0_register().number()] = value;
            return Ok(());
        }
        if last == 1 {
            let a = self.vector(i, 1, element)?;
            let value = one(i, n, &a, imm).ok_or("unknown with one source")?;
            self.set_vector(i, n, value);
            return Ok(());
        }
        let d = self.vectors[i.op0_register().number()];
        let (a, b) =
            (self.vector(i, 1, 4)?, if last == 3 || m == Vmaskmovps { [0; 64] } else { self.vector(i, 2, element)? });
        let value = match m {
            Vblendvps => {
                let (b, k) = (self.vector(i, 2, 4)?, self.vector(i, 3, 4)?);
                map(n, |l| if lane(&k, l) >> 31 == 1 { lane(&b, l) } else { lane(&a, l) })
            }
            Vmaskmovps => {
                let at = self.address(i);
                let mut value = [0; 64];
                for l in (0..n).filter(|&l| lane(&a, l) >> 31 == 1) {
                    value[4 * l..4 * l + 4].copy_from_slice(&self.read(at + 4 * l as u64, 4)?);
                }
                value
            }
            Vpinsrw | Vpinsrb => {
                let size = if m == Vpinsrw { 2 } else { 1 };
                let mut value = a;
                value[imm as usize * size..][..size].copy_from_slice(&b[..size]);
                value
            }
            _ => two(m, n, &d, &a, &b, imm).ok_or("unknown with two sources")?,
        };
        let scalar = matches!(
            m,
            Vaddss | Vsubss | Vmulss | Vdivss | Vmaxss | Vminss | Vsqrtss | Vfmadd132ss | Vfmadd213ss | Vfmadd231ss
        );
        let upper = if matches!(m, Vfmadd132ss | Vfmadd213ss | Vfmadd231ss) { d } else { a };
        let value = if scalar { map(4, |l| if l == 0 { lane(&value, 0) } else { lane(&upper, l) }) } else { value };
        self.set_vector(i, n, value);
        Ok(())
    }

    /// Instructions whose source has another width than the result.
    fn widths(&mut self, i: &Instruction, n: usize) -> Result<Option<Vector>, String> {
        use Mnemonic::*;
        Ok(Some(match i.mnemonic() {
            Vpmovzxwd => {
                let v = self.vector(i, 1, 2)?;
                map(n, |l| u32::from(u16::from_le_bytes([v[2 * l], v[2 * l + 1]])))
            }
            Vpmovsxwd => {
                let v = self.vector(i, 1, 2)?;
                map(n, |l| i16::from_le_bytes([v[2 * l], v[2 * l + 1]]) as i32 as u32)
            }
            Vpmovzxbd => {
                let v = self.vector(i, 1, 1)?;
                map(n, |l| v[l].into())
            }
            Vpmovsxbd => {
                let v = self.vector(i, 1, 1)?;
                map(n, |l| v[l] as i8 as i32 as u32)
            }
            Vbroadcastss => {
                let v = self.vector(i, 1, 4)?;
                map(n, |_| lane(&v, 0))
            }
            Vpbroadcastw => {
                let v = self.vector(i, 1, 2)?;
                map(n, |_| u32::from_le_bytes([v[0], v[1], v[0], v[1]]))
            }
            Vpbroadcastb => {
                let v = self.vector(i, 1, 1)?;
                map(n, |_| u32::from_le_bytes([v[0]; 4]))
            }
            Vextractf128 | Vextractf32x4 => {
                let (v, from) = (self.vector(i, 1, 4)?, 4 * i.immediate(2) as usize);
                map(4, |l| lane(&v, from + l))
            }
            Vextractf64x4 => {
                let (v, from) = (self.vector(i, 1, 4)?, 8 * i.immediate(2) as usize);
                map(8, |l| lane(&v, from + l))
            }
            Vcvtne2ps2bf16 => {
                // The second source fills the lower half.
                let (high, low) = (self.vector(i, 1, 4)?, self.vector(i, 2, 4)?);
                let half = |v: &Vector, l: usize| bf16(lane(v, l % n)) | bf16(lane(v, l % n + 1)) << 16;
                map(n, |l| half(if 2 * l < n { &low } else { &high }, 2 * l))
            }
            Vcvtneps2bf16 => {
                let v = self.vector(i, 1, 4)?;
                map(n / 2, |l| bf16(lane(&v, 2 * l)) | bf16(lane(&v, 2 * l + 1)) << 16)
            }
            _ => return Ok(None),
        }))
    }

    fn store(&mut self, i: &Instruction, n: usize) -> Result<(), String> {
        use Mnemonic::*;
        let at = self.address(i);
        let mask = self.write_mask(i);
        let last = i.op_count() - 1;
        let source = if i.op_kind(last) == OpKind::Immediate8 { last - 1 } else { last };
        let v = self.vectors[i.op_register(source).number()];
        let (size, from, count) = match i.mnemonic() {
            Vmovups => (4, 0, n),
            Vmovss => (4, 0, 1),
            Vmovsd => (4, 0, 2),
            Vpextrw => (2, 2 * i.immediate(last) as usize, 1),
            Vpextrb => (1, i.immediate(last) as usize, 1),
            Vextractf64x4 => (4, 32 * i.immediate(last) as usize, 8),
            Vpmovdw => (2, 0, n),
            Vpmovdb => (1, 0, n),
            Vmaskmovps => {
                let k = self.vectors[i.op_register(1).number()];
                for l in (0..n).filter(|&l| lane(&k, l) >> 31 == 1) {
                    self.write(at + 4 * l as u64, &v[4 * l..4 * l + 4])?;
                }
                return Ok(());
            }
            _ => return Err("unknown store".into()),
        };
        let step = if matches!(i.mnemonic(), Vpmovdw | Vpmovdb) { 4 } else { size };
        for l in (0..count).filter(|l| mask >> l & 1 == 1) {
            self.write(at + (l * size) as u64, &v[from + l * step..][..size])?;
        }
        Ok(())
    }
}

/// The sum of the products of two pairs of signed 16-bit numbers.
fn pair(x: u32, y: u32) -> u32 {
    let product = |s: u32| (x >> s) as i16 as i32 * ((y >> s) as i16 as i32);
    product(0).wrapping_add(product(16)) as u32
}

/// In each half, the sum of the products of two unsigned bytes with signed ones, saturated.
fn byte_pairs(x: u32, y: u32) -> u32 {
    let product = |s: u32| (x >> s) as u8 as i32 * i32::from((y >> s) as i8);
    let half = |s: u32| (product(s) + product(s + 8)).clamp(-0x8000, 0x7fff) as u32 & 0xffff;
    half(0) | half(16) << 16
}

/// Signed numbers of `from` bytes as numbers of half as many: in each 128 bits those of `a`, then those of `b`.
fn packed(lanes: usize, a: &Vector, b: &Vector, from: usize, saturated: fn(i32) -> i32) -> Vector {
    let mut out = [0; 64];
    for quarter in (0..4 * lanes).step_by(16) {
        for (k, source) in [a, b].into_iter().enumerate() {
            for (l, number) in source[quarter..quarter + 16].chunks(from).enumerate() {
                let sign = if number[from - 1] > 127 { 0xff } else { 0 };
                let mut wide = [sign; 4];
                wide[..from].copy_from_slice(number);
                let narrow = saturated(i32::from_le_bytes(wide)).to_le_bytes();
                out[quarter + 8 * k + l * from / 2..][..from / 2].copy_from_slice(&narrow[..from / 2]);
            }
        }
    }
    out
}

fn bf16(w: u32) -> u32 {
    match f(w) {
        x if x.is_nan() => w >> 16 | 0x40,
        x if x.is_subnormal() => w >> 16 & 0x8000,
        _ => w.wrapping_add(0x7fff + (w >> 16 & 1)) >> 16,
    }
}

fn float_compare(predicate: u32, a: u32, b: u32) -> bool {
    let (a, b) = (f(a), f(b));
    match predicate {
        0x00 => a == b,
        0x03 => a.is_nan() || b.is_nan(),
        0x04 => a != b,
        0x11 => a < b,
        0x12 => a <= b,
        0x1d => a >= b,
        0x1e => a > b,
        _ => panic!("predicate {predicate}"),
    }
}

fn int_compare(predicate: u32, a: u32, b: u32) -> bool {
    let (a, b) = (a as i32, b as i32);
    [a == b, a < b, a <= b, false, a != b, a >= b, a > b, true][predicate as usize]
}

fn one(i: &Instruction, n: usize, a: &Vector, imm: u32) -> Option<Vector> {
    use Mnemonic::*;
    let each = |op: &dyn Fn(u32) -> u32| map(n, |l| op(lane(a, l)));
    Some(match i.mnemonic() {
        Vmovups | Vmovaps => *a,
        Vmovss => map(1, |_| lane(a, 0)),
        Vmovsd => map(2, |l| lane(a, l)),
        Vsqrtps => each(&|w| f(w).sqrt().to_bits()),
        Vcvttps2dq => each(&|w| match f(w) {
            x if (-2147483648.0..2147483648.0).contains(&x) => x as i32 as u32,
            _ => 0x8000_0000,
        }),
        Vcvtps2dq => each(&|w| match f(w).round_ties_even() {
            x if (-2147483648.0..2147483648.0).contains(&x) => x as i32 as u32,
            _ => 0x8000_0000,
        }),
        Vcvtdq2ps => each(&|w| (w as i32 as f32).to_bits()),
        Vroundps | Vrndscaleps => each(&|w| match imm {
            8 => f(w).round_ties_even().to_bits(),
            9 => f(w).floor().to_bits(),
            _ => panic!("rounding mode {imm}"),
        }),
        Vpslld => each(&|w| w << imm),
        Vpsrld => each(&|w| w >> imm),
        Vpsrad => each(&|w| (w as i32 >> imm) as u32),
        Vpsrlq => quads(n, |l| quad(a, l) >> imm),
        Vpsllw => each(&|w| halves(w, |h| h << imm)),
        Vpsrlw => each(&|w| halves(w, |h| h >> imm)),
        Vpsraw => each(&|w| halves(w, |h| (h as i16 >> imm) as u16)),
        Vpshufd => map(n, |l| lane(a, (l & !3) + (imm as usize >> (2 * (l & 3)) & 3))),
        _ => return None,
    })
}

fn two(m: Mnemonic, n: usize, d: &Vector, a: &Vector, b: &Vector, imm: u32) -> Option<Vector> {
    use Mnemonic::*;
    let floats = |op: &dyn Fn(f32, f32) -> f32| map(n, |l| op(f(lane(a, l)), f(lane(b, l))).to_bits());
    let each = |op: &dyn Fn(u32, u32) -> u32| map(n, |l| op(lane(a, l), lane(b, l)));
    let fma =
        |x: &Vector, y: &Vector, z: &Vector| map(n, |l| f(lane(x, l)).mul_add(f(lane(y, l)), f(lane(z, l))).to_bits());
    let all = |holds: bool| if holds { u32::MAX } else { 0 };
    let shifted = |w: u32, by: u32, op: fn(u32, u32) -> u32| if by < 32 { op(w, by) } else { 0 };
    Some(match m {
        Vaddps | Vaddss => floats(&|x, y| x + y),
        Vsubps | Vsubss => floats(&|x, y| x - y),
        Vmulps | Vmulss => floats(&|x, y| x * y),
        Vdivps | Vdivss => floats(&|x, y| x / y),
        Vmaxps | Vmaxss => floats(&|x, y| if x > y { x } else { y }),
        Vminps | Vminss => floats(&|x, y| if x < y { x } else { y }),
        Vsqrtss => map(n, |l| f(lane(b, l)).sqrt().to_bits()),
        Vfmadd132ps | Vfmadd132ss => fma(d, b, a),
        Vfmadd213ps | Vfmadd213ss => fma(a, d, b),
        Vfmadd231ps | Vfmadd231ss => fma(a, b, d),
        Vpand | Vpandd => each(&|x, y| x & y),
        Vpor | Vpord => each(&|x, y| x | y),
        Vpxor | Vpxord | Vxorps => each(&|x, y| x ^ y),
        Vpaddd => each(&u32::wrapping_add),
        Vpsubd => each(&u32::wrapping_sub),
        Vpmulld => each(&u32::wrapping_mul),
        Vpmaxsd => each(&|x, y| (x as i32).max(y as i32) as u32),
        Vpminsd => each(&|x, y| (x as i32).min(y as i32) as u32),
        Vpmuludq => quads(n, |l| (quad(a, l) & 0xffff_ffff) * (quad(b, l) & 0xffff_ffff)),
        Vpmaddwd => each(&pair),
        Vpmaddubsw => each(&byte_pairs),
        Vpaddw => each(&|x, y| (x.wrapping_add(y) & 0xffff) | (x >> 16).wrapping_add(y >> 16) << 16),
        Vpdpwssd => map(n, |l| lane(d, l).wrapping_add(pair(lane(a, l), lane(b, l)))),
        Vpsllvd => each(&|x, y| shifted(x, y, |x, y| x << y)),
        Vpsrlvd => each(&|x, y| shifted(x, y, |x, y| x >> y)),
        Vpsravd => each(&|x, y| (x as i32 >> y.min(31)) as u32),
        Vpcmpeqd => each(&|x, y| all(x == y)),
        Vpcmpgtd => each(&|x, y| all(x as i32 > y as i32)),
        Vcmpps => each(&|x, y| all(float_compare(imm, x, y))),
        Vpackusdw => packed(n, a, b, 4, |w| w.clamp(0, 0xffff)),
        Vpackssdw => packed(n, a, b, 4, |w| w.clamp(-0x8000, 0x7fff)),
        Vpackuswb => packed(n, a, b, 2, |w| w.clamp(0, 0xff)),
        Vpermt2d => map(n, |l| {
            let from = lane(a, l) as usize % (2 * n);
            if from < n { lane(d, from) } else { lane(b, from - n) }
        }),
        Vpunpckldq => map(n, |l| lane(if l % 2 == 0 { a } else { b }, l / 4 * 4 + l % 4 / 2)),
        Vpunpckhdq => map(n, |l| lane(if l % 2 == 0 { a } else { b }, l / 4 * 4 + l % 4 / 2 + 2)),
        Vperm2i128 => map(n, |l| {
            let half = imm >> (4 * (l / 4));
            lane(if half & 2 == 0 { a } else { b }, (half & 1) as usize * 4 + l % 4)
        }),
        Vpermd => map(n, |l| lane(b, lane(a, l) as usize % n)),
        // Exact products; sums round one by one, the odd element first; denormal numbers count as 0.
        Vdpbf16ps => map(n, |l| {
            let flush = |x: f32| if x.is_subnormal() { 0.0 * x } else { x };
            let (x, y) = (lane(a, l), lane(b, l));
            let odd = tiles::flushed(flush(f(x & 0xffff_0000)), flush(f(y & 0xffff_0000)), flush(f(lane(d, l))));
            flush(tiles::flushed(flush(f(x << 16)), flush(f(y << 16)), flush(odd))).to_bits()
        }),
        Vpdpbusd => map(n, |l| {
            let (x, y) = (lane(a, l).to_le_bytes(), lane(b, l).to_le_bytes());
            let sum: i32 = x.into_iter().zip(y).map(|(u, s)| i32::from(u) * i32::from(s as i8)).sum();
            lane(d, l).wrapping_add(sum as u32)
        }),
        _ => return None,
    })
}
