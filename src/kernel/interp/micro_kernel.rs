//! Runs one micro-kernel. Every lane is a 32-bit word, whatever its type.

use super::ops::{Lanes, to_bf16};
use super::tile::Tile;
use super::{Blocks, InterpError};
use crate::kernel::error::Place;
use crate::kernel::ir::*;

/// An argument of a micro-kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroKernelArg {
    /// A place in a block of the memory.
    Pointer {
        /// Number of the block.
        block: usize,
        /// Offset in bytes.
        byte: i64,
    },
    /// An integer.
    Int(i64),
}

/// Runs a micro-kernel that the verifier accepts.
pub fn run_micro_kernel(
    micro_kernel: &MicroKernel,
    args: &[MicroKernelArg],
    memory: &mut dyn Blocks,
) -> Result<(), InterpError> {
    let place = || Place::MicroKernel(micro_kernel.name.clone());
    let mut vars: PrimaryMap<Var, i64> = micro_kernel.vars.keys().map(|_| 0).collect();
    for (param, arg) in micro_kernel.params.values().zip(args) {
        match (param, arg) {
            (MicroKernelParam::Int { var, .. }, MicroKernelArg::Int(value)) => vars[*var] = *value,
            (MicroKernelParam::Pointer { .. }, MicroKernelArg::Pointer { .. }) => {}
            _ => return Err(InterpError::Argument.within(place())),
        }
    }
    let values = micro_kernel.values.keys().map(|_| [0; 16]).collect();
    let tiles = micro_kernel.values.keys().map(|_| None).collect();
    let mut run = Run { micro_kernel, args, memory, vars, values, tiles };
    run.block(&micro_kernel.body).map_err(|e| e.within(place()))
}

/// A call that is running.
pub(super) struct Run<'a> {
    micro_kernel: &'a MicroKernel,
    args: &'a [MicroKernelArg],
    pub(super) memory: &'a mut dyn Blocks,
    pub(super) vars: PrimaryMap<Var, i64>,
    values: PrimaryMap<Val, Lanes>,
    /// The values that are tiles.
    pub(super) tiles: PrimaryMap<Val, Option<Box<Tile>>>,
}

/// What a loop hands to its next iteration.
type Carried = (Lanes, Option<Box<Tile>>);

impl Run<'_> {
    fn block(&mut self, body: &[Inst]) -> Result<(), InterpError> {
        for inst in body {
            match inst {
                Inst::Let { result, op } if self.ty(*result).is_tile() => {
                    self.tiles[*result] = Some(Box::new(self.tile(op)?));
                }
                Inst::Let { result, op } => {
                    let lanes = self.micro_kernel.values[*result].lanes as usize;
                    let mut value = self.op(op)?;
                    value[lanes..].fill(0);
                    self.values[*result] = value;
                }
                Inst::Store { to, value, count } => self.store(to, *value, *count)?,
                Inst::StoreTile { to, value, pitch } => self.store_tile(to, *value, *pitch)?,
                Inst::Prefetch { .. } => {}
                Inst::Loop { var, count, init, params, body, next, results } => {
                    let mut carried: Vec<Carried> = init.iter().map(|v| self.carried(*v)).collect();
                    for i in 0..count.eval(&self.vars) {
                        self.vars[*var] = i;
                        self.assign(params, &carried);
                        self.block(body)?;
                        carried.clear();
                        carried.extend(next.iter().map(|v| self.carried(*v)));
                    }
                    self.assign(results, &carried);
                }
            }
        }
        Ok(())
    }

    fn carried(&self, value: Val) -> Carried {
        (self.values[value], self.tiles[value].clone())
    }

    fn assign(&mut self, to: &[Val], values: &[Carried]) {
        for (v, (lanes, tile)) in to.iter().zip(values) {
            self.values[*v] = *lanes;
            self.tiles[*v].clone_from(tile);
        }
    }

    pub(super) fn ty(&self, value: Val) -> Ty {
        self.micro_kernel.values[value]
    }

    pub(super) fn get(&self, value: Val) -> Lanes {
        self.values[value]
    }

    /// Block, byte offset and element type of an address.
    pub(super) fn place(&self, address: &Address) -> (usize, i64, Elem) {
        let MicroKernelParam::Pointer { elem, .. } = self.micro_kernel.params[address.base] else {
            unreachable!("the verifier wants a pointer here")
        };
        let MicroKernelArg::Pointer { block, byte } = self.args[address.base.index()] else {
            unreachable!("checked at the start")
        };
        (block, byte.wrapping_add(address.index.eval(&self.vars).wrapping_mul(elem.bytes() as i64)), elem)
    }

    /// `count` consecutive elements, widened to words.
    pub(super) fn load(&self, from: &Address, count: usize) -> Result<Lanes, InterpError> {
        let (block, byte, elem) = self.place(from);
        let bytes = elem.bytes();
        let mut lanes = [0; 16];
        for i in 0..count {
            let word = self.memory.load(block, byte + (i * bytes) as i64, bytes)?;
            lanes[i] = match elem {
                Elem::Bf16 => word << 16,
                Elem::I16 => word as u16 as i16 as i32 as u32,
                Elem::I8 => word as u8 as i8 as i32 as u32,
                _ => word,
            };
        }
        Ok(lanes)
    }

    pub(super) fn load_packed(&self, from: &Address, count: usize) -> Result<Lanes, InterpError> {
        let (block, byte, _) = self.place(from);
        let mut lanes = [0; 16];
        for i in 0..count {
            lanes[i] = self.memory.load(block, byte + 4 * i as i64, 4)?;
        }
        Ok(lanes)
    }

    fn store(&mut self, to: &Address, value: Val, count: Option<u32>) -> Result<(), InterpError> {
        let (block, byte, elem) = self.place(to);
        let bytes = elem.bytes();
        let lanes = self.get(value);
        for i in 0..count.unwrap_or(self.ty(value).lanes) as usize {
            let word = if elem == Elem::Bf16 { to_bf16(lanes[i]) } else { lanes[i] };
            self.memory.store(block, byte + (i * bytes) as i64, bytes, word)?;
        }
        Ok(())
    }
}
