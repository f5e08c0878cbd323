//! The locals of a function: which are taken, and which are free for another value.

use wasm_encoder::ValType;

/// The locals of a function under construction.
pub(super) struct Locals {
    /// Types of all locals, the parameters first.
    types: Vec<ValType>,
    params: usize,
    /// Locals without a value.
    free: Vec<u32>,
}

/// The free locals at some place, and how many there were in all.
pub(super) struct Mark(Vec<u32>, u32);

impl Locals {
    /// The locals of a function with these parameters.
    pub fn new(params: Vec<ValType>) -> Locals {
        Locals { params: params.len(), types: params, free: Vec::new() }
    }

    /// Takes a local of this type.
    pub fn take(&mut self, ty: ValType) -> u32 {
        match self.free.iter().rposition(|&local| self.types[local as usize] == ty) {
            Some(at) => self.free.remove(at),
            None => {
                self.types.push(ty);
                self.types.len() as u32 - 1
            }
        }
    }

    /// Gives a local back: its value is not read any more.
    pub fn give(&mut self, local: u32) {
        debug_assert!(!self.free.contains(&local), "local {local} is given back twice");
        self.free.push(local);
    }

    /// Remembers what is free.
    pub fn mark(&self) -> Mark {
        Mark(self.free.clone(), self.types.len() as u32)
    }

    /// Frees all that was taken since, and nothing else.
    pub fn return_to(&mut self, Mark(free, count): Mark) {
        self.free = free;
        self.free.extend(count..self.types.len() as u32);
    }

    /// Lists the locals behind the parameters, as runs of one type.
    pub fn runs(&self) -> Vec<(u32, ValType)> {
        self.types[self.params..].chunk_by(|a, b| a == b).map(|run| (run.len() as u32, run[0])).collect()
    }
}
