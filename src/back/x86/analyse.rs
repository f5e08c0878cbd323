//! What instruction selection must know of a micro-kernel beforehand: where values die, which loads fold into the
//! instruction that uses them, which address expressions each loop steps.

use super::bug;
use crate::back::EmitError;
use crate::kernel::ir::{
    Address, Binary, Elem, EntityRef, Index, Inst, MicroKernel, MicroKernelParam, Op, Param, PrimaryMap, Unary, Val,
    Var,
};
use std::collections::HashMap;

/// An address without its constant part: `base + Σ coefficient · variable` in bytes; without base an integer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressExpr {
    /// The pointer parameter.
    pub base: Option<Param>,
    /// Sorted by variable, which is also the order of nesting: the last belongs to the innermost loop.
    pub terms: Vec<(Var, i64)>,
}

impl AddressExpr {
    /// Takes the variable part of an index.
    pub fn of_index(index: &Index) -> AddressExpr {
        AddressExpr { base: None, terms: index.terms.clone() }
    }

    /// Takes the variable part of an address in elements of `bytes` bytes.
    pub fn of_address(address: &Address, bytes: i64) -> AddressExpr {
        let terms = address.index.terms.iter().map(|&(v, c)| (v, c.wrapping_mul(bytes))).collect();
        AddressExpr { base: Some(address.base), terms }
    }
}

/// Finds the element type behind a pointer parameter.
pub fn pointee(micro_kernel: &MicroKernel, param: Param) -> Result<Elem, EmitError> {
    match micro_kernel.params.get(param) {
        Some(MicroKernelParam::Pointer { elem, .. }) => Ok(*elem),
        _ => Err(bug(format!("micro-kernel {}: {param} is not a pointer", micro_kernel.name))),
    }
}

/// Returns the bytes between the rows of a tile at this address.
pub fn row_bytes(micro_kernel: &MicroKernel, address: &Address, elements: u32) -> Result<i64, EmitError> {
    Ok(i64::from(elements) * pointee(micro_kernel, address.base)?.bytes() as i64)
}

/// How a load reads memory, as far as folding is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// All lanes from consecutive 32-bit words.
    Whole,
    /// One 32-bit word for every lane.
    Each,
}

/// What is known of one value.
#[derive(Debug)]
pub struct ValueInfo {
    /// The value itself, or what it is another name of (`AsInt`, `AsFloat`). Uses and definition are those of the root.
    pub root: Val,
    /// How often it is used.
    pub uses: u32,
    /// The block that defines it.
    defined_in: u32,
    /// Position and block of the last use.
    last_use: (u32, u32),
    /// A load that its only user reads as a memory operand.
    pub folded: bool,
    /// What `ToByte` gives.
    pub to_byte: bool,
    /// Uses by stores to whole numbers of fewer bits.
    narrow_stores: u32,
}

/// What is known of a micro-kernel.
#[derive(Debug)]
pub struct Info {
    /// Facts about each value.
    pub values: PrimaryMap<Val, ValueInfo>,
    /// Address expressions that the loop over `var` steps: those whose last term it is.
    pub stepped: HashMap<Var, Vec<AddressExpr>>,
    /// Address expressions without loop variables, which need code at the entry.
    pub fixed: Vec<AddressExpr>,
    /// Bytes from row to row of the tiles that are loaded and stored.
    pub pitches: Vec<i64>,
    /// Number of integer parameters' variables: all others are loop counters.
    int_params: usize,
}

struct Scan<'a> {
    micro_kernel: &'a MicroKernel,
    evex: bool,
    info: Info,
    position: u32,
    blocks: u32,
}

/// Analyses a micro-kernel for an emitter with (`evex`) or without embedded broadcasts.
pub fn analyse(micro_kernel: &MicroKernel, evex: bool) -> Result<Info, EmitError> {
    let value = |root| ValueInfo {
        root,
        uses: 0,
        defined_in: 0,
        last_use: (0, 0),
        folded: false,
        to_byte: false,
        narrow_stores: 0,
    };
    let int_params = micro_kernel.params.values().filter(|p| matches!(p, MicroKernelParam::Int { .. })).count();
    let info = Info {
        values: micro_kernel.values.keys().map(value).collect(),
        stepped: HashMap::new(),
        fixed: vec![],
        pitches: vec![],
        int_params,
    };
    let mut scan = Scan { micro_kernel, evex, info, position: 0, blocks: 0 };
    scan.block(&micro_kernel.body)?;
    let mut fold = Folding { micro_kernel, evex: scan.evex, info: scan.info, position: 0, blocks: 0 };
    fold.block(&micro_kernel.body)?;
    Ok(fold.info)
}

impl Info {
    /// Is this the last use of `value`, at `position` in `block`, so that its register may be overwritten?
    pub fn dies(&self, value: Val, position: u32, block: u32) -> bool {
        let root = &self.values[self.values[value].root];
        root.last_use == (position, block) && root.defined_in == block
    }

    /// Is all that becomes of the value its storage in fewer bits, so that the instruction that packs it may do the
    /// rest?
    pub fn only_narrow(&self, value: Val) -> bool {
        let root = &self.values[self.values[value].root];
        root.narrow_stores == root.uses
    }

    /// Is this the counter of a loop, not a parameter?
    pub fn is_loop_var(&self, var: Var) -> bool {
        var.index() >= self.int_params
    }

    /// Notes the expression, and all that it is built from on the way in from the entry.
    fn need(&mut self, mut expr: AddressExpr) {
        while let Some(&(var, _)) = expr.terms.last() {
            if !self.is_loop_var(var) {
                if !self.fixed.contains(&expr) {
                    self.fixed.push(expr);
                }
                return;
            }
            let list = self.stepped.entry(var).or_default();
            if list.contains(&expr) {
                return;
            }
            list.push(expr.clone());
            expr.terms.pop();
        }
    }
}

impl Scan<'_> {
    fn used(&mut self, value: Val, block: u32) {
        let root = self.info.values[value].root;
        let root = &mut self.info.values[root];
        root.uses += 1;
        root.last_use = (self.position, block);
    }

    fn address(&mut self, address: &Address) -> Result<(), EmitError> {
        let bytes = pointee(self.micro_kernel, address.base)?.bytes() as i64;
        self.info.need(AddressExpr::of_address(address, bytes));
        Ok(())
    }

    fn pitch(&mut self, address: &Address, elements: u32) -> Result<(), EmitError> {
        let bytes = row_bytes(self.micro_kernel, address, elements)?;
        if !self.info.pitches.contains(&bytes) {
            self.info.pitches.push(bytes);
        }
        Ok(())
    }

    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        let block = self.blocks;
        self.blocks += 1;
        for inst in body {
            self.position += 1;
            match inst {
                Inst::Let { result, op } => {
                    self.info.values[*result].defined_in = block;
                    self.info.values[*result].to_byte = matches!(op, Op::Unary { op: Unary::ToByte, .. });
                    match op {
                        Op::Unary { op: Unary::AsInt | Unary::AsFloat, value } => {
                            self.info.values[*result].root = self.info.values[*value].root;
                        }
                        _ => op.operands().for_each(|v| self.used(v, block)),
                    }
                    if let Some(from) = op.address() {
                        self.address(from)?;
                    }
                    if let Op::LoadTile { from, pitch, .. } = op {
                        self.pitch(from, *pitch)?;
                    }
                    if let Op::IndexI32 { index, .. } = op {
                        self.info.need(AddressExpr::of_index(index));
                    }
                }
                Inst::Store { to, value, .. } => {
                    self.used(*value, block);
                    if matches!(pointee(self.micro_kernel, to.base)?, Elem::U8 | Elem::I16) {
                        let root = self.info.values[*value].root;
                        self.info.values[root].narrow_stores += 1;
                    }
                    self.address(to)?;
                }
                Inst::StoreTile { to, value, pitch } => {
                    self.used(*value, block);
                    self.address(to)?;
                    self.pitch(to, *pitch)?;
                }
                Inst::Prefetch { from } => self.address(from)?,
                Inst::Loop { count, init, params, body, next, results, .. } => {
                    init.iter().for_each(|&v| self.used(v, block));
                    self.info.need(AddressExpr::of_index(count));
                    let inner = self.blocks;
                    params.iter().for_each(|v| self.info.values[*v].defined_in = inner);
                    self.block(body)?;
                    self.position += 1;
                    next.iter().for_each(|&v| self.used(v, inner));
                    results.iter().for_each(|v| self.info.values[*v].defined_in = block);
                }
            }
        }
        Ok(())
    }
}

/// The second walk, with the counts of the first: decides which loads fold.
struct Folding<'a> {
    micro_kernel: &'a MicroKernel,
    evex: bool,
    info: Info,
    position: u32,
    blocks: u32,
}

/// What an operation can do with a memory operand.
#[derive(Clone, Copy)]
struct Memory {
    /// There is a form for one lane that reads four bytes only.
    scalar: bool,
}

impl Folding<'_> {
    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        let block = self.blocks;
        self.blocks += 1;
        // Loads of this block that no store and no loop has followed yet.
        let mut loads: HashMap<Val, Fold> = HashMap::new();
        for inst in body {
            self.position += 1;
            match inst {
                Inst::Let { result, op } => {
                    if let Some(fold) = self.load_kind(op)?
                        && self.info.values[*result].uses == 1
                    {
                        loads.insert(*result, fold);
                    }
                    if let Some(v) = self.choose(op, block, &loads) {
                        self.info.values[v].folded = true;
                    }
                }
                Inst::Store { .. } | Inst::StoreTile { .. } => loads.clear(),
                Inst::Prefetch { .. } => {}
                Inst::Loop { body, .. } => {
                    loads.clear();
                    self.block(body)?;
                    self.position += 1;
                }
            }
        }
        Ok(())
    }

    fn load_kind(&self, op: &Op) -> Result<Option<Fold>, EmitError> {
        let words =
            |p: &Address| Ok::<_, EmitError>(matches!(pointee(self.micro_kernel, p.base)?, Elem::F32 | Elem::I32));
        Ok(match op {
            Op::Load { from, count: None, .. } if words(from)? => Some(Fold::Whole),
            Op::Broadcast { from, .. } if words(from)? => Some(Fold::Each),
            Op::LoadPacked { .. } => Some(Fold::Whole),
            Op::BroadcastPacked { .. } => Some(Fold::Each),
            _ => None,
        })
    }

    fn fits(&self, v: Val, loads: &HashMap<Val, Fold>, memory: Memory) -> bool {
        let lanes = self.micro_kernel.values[v].lanes;
        match loads.get(&v) {
            None => false,
            Some(_) if lanes == 1 => memory.scalar || self.evex,
            Some(Fold::Whole) => lanes >= 4,
            Some(Fold::Each) => self.evex,
        }
    }

    /// Finds the operand of `op` that becomes its memory operand, if any.
    fn choose(&self, op: &Op, block: u32, loads: &HashMap<Val, Fold>) -> Option<Val> {
        let float = |v: Val| self.micro_kernel.values[v].elem == Elem::F32;
        let fits = |v: Val, scalar: bool| self.fits(v, loads, Memory { scalar });
        match *op {
            Op::Binary { op, left, right } => {
                if matches!(op, Binary::MulHighU | Binary::SumHalves) || left == right {
                    return None;
                }
                if op.of_halves() {
                    // No memory operand of theirs is one word for all lanes.
                    let whole = matches!(loads.get(&right), Some(Fold::Whole));
                    return (whole && self.micro_kernel.values[right].lanes >= 4).then_some(right);
                }
                let scalar = float(left);
                let swaps = op.commutes();
                if fits(right, scalar) { Some(right) } else { (swaps && fits(left, scalar)).then_some(left) }
            }
            Op::Fma { a, b, c } => {
                let dies = |v: Val| self.info.dies(v, self.position, block) && !loads.contains_key(&v);
                let distinct = a != b && a != c && b != c;
                if distinct && fits(b, true) {
                    Some(b)
                } else if distinct && fits(a, true) {
                    Some(a)
                } else {
                    (distinct && fits(c, true) && (dies(a) || dies(b))).then_some(c)
                }
            }
            Op::Compare { left, right, .. } => {
                // Without masks the integer comparisons negate or swap their operands: not worth it.
                let ok = self.evex || float(left);
                (ok && left != right && fits(right, false)).then_some(right)
            }
            Op::Select { mask: _, then, otherwise } => (then != otherwise && fits(then, false)).then_some(then),
            Op::Unary { op: Unary::Sqrt, value } => fits(value, true).then_some(value),
            Op::Unary { op: Unary::ToInt | Unary::ToFloat, value } => fits(value, false).then_some(value),
            // The broadcast instruction reads one word itself.
            Op::Splat { value, .. } => loads.contains_key(&value).then_some(value),
            _ => None,
        }
    }
}
