//! Broadcasts of four neighbours in memory as one load: on ARM a multiply-add takes a lane of a vector as its factor,
//! so that a row of a register tile costs one load for four terms of its sums.

use super::micro_kernel::Gen;
use crate::kernel::ir::*;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use std::collections::{BTreeMap, HashMap};

/// The broadcasts of one straight piece of code that are done by such loads.
#[derive(Default)]
pub(super) struct Neighbours {
    /// For each broadcast where its group of four starts, and its lane.
    lanes: HashMap<Val, (Address, u8)>,
    /// Groups that are loaded.
    loaded: HashMap<(Param, Index), Value>,
}

impl Neighbours {
    /// Finds them in code without loops and stores: what a group loads at its first broadcast is then what memory
    /// holds at the last one.
    pub fn of(body: &[Inst], elem: impl Fn(Param) -> Elem) -> Neighbours {
        let mut found = Neighbours::default();
        if !body.iter().all(|inst| matches!(inst, Inst::Let { .. } | Inst::Prefetch { .. })) {
            return found;
        }
        // By pointer and terms: the broadcasts by their constants.
        let mut by_pointer: BTreeMap<(Param, Vec<(Var, i64)>), BTreeMap<i64, Vec<Val>>> = BTreeMap::new();
        for inst in body {
            if let Inst::Let { result, op: Op::Broadcast { from, ty } } = inst
                && ty.lanes >= 4
                && ty.elem == Elem::F32
                && elem(from.base) == Elem::F32
            {
                let same = by_pointer.entry((from.base, from.index.terms.clone())).or_default();
                same.entry(from.index.offset).or_default().push(*result);
            }
        }
        for ((base, terms), mut places) in by_pointer {
            while let Some(&first) = places.keys().next() {
                let group: Vec<_> = (first..first + 4).map_while(|at| places.get(&at)).collect();
                if group.len() == 4 {
                    let start = Address { base, index: Index { offset: first, terms: terms.clone() } };
                    for (lane, values) in group.into_iter().enumerate() {
                        found.lanes.extend(values.iter().map(|&value| (value, (start.clone(), lane as u8))));
                    }
                    (first..first + 4).for_each(|at| _ = places.remove(&at));
                } else {
                    places.remove(&first);
                }
            }
        }
        found
    }
}

impl Gen<'_, '_> {
    /// Emits a broadcast that is a lane of a group, in the form that Cranelift's multiply-adds take as their factor.
    pub fn neighbour(&mut self, result: Val) -> Option<Value> {
        let (start, lane) = self.neighbours.lanes.get(&result)?.clone();
        let key = (start.base, start.index.clone());
        let vector = match self.neighbours.loaded.get(&key) {
            Some(&vector) => vector,
            None => {
                let (pointer, offset) = self.address(&start);
                let flags = MemFlagsData::new().with_notrap();
                let vector = self.b.ins().load(types::I8X16, flags, pointer, offset);
                self.neighbours.loaded.insert(key, vector);
                vector
            }
        };
        let bytes = self.shuffle(vector, vector, std::array::from_fn(|i| 4 * lane + (i % 4) as u8));
        Some(self.cast(types::F32X4, bytes))
    }
}
