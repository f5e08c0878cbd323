//! Register allocation: copies are coalesced where live ranges allow, then ranges take registers in order of their
//! start. Vectors and masks never spill (a demand that does not fit is an error); integers move to stack slots.

use super::liveness::{self, Range};
use super::machine::{Class, MInst, MachineCode, VReg};
use cranelift_entity::PrimaryMap;

/// Where a virtual register lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Never live.
    Nowhere,
    /// Number of a vector, mask or general register.
    Reg(u8),
    /// Stack slot of eight bytes (integers only).
    Stack(u32),
}

/// Numbers of the general registers of the System V parameters: rdi, rsi, rdx, rcx, r8, r9.
pub const PARAMS: [u8; 6] = [7, 6, 2, 1, 8, 9];
/// All registers that may hold integers, those that need no saving first. rax is the encoder's scratch, rsp the stack.
const INTS: [u8; 14] = [7, 6, 2, 1, 8, 9, 10, 11, 3, 5, 12, 13, 14, 15];

/// A class of registers that is too small for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The class.
    pub class: Class,
    /// Registers that the code needs at once.
    pub needed: usize,
    /// Registers of the class.
    pub available: usize,
}

/// Where everything lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The place of each virtual register.
    pub places: PrimaryMap<VReg, Place>,
    /// Stack slots in use.
    pub slots: u32,
}

/// Virtual registers that share one place.
struct Groups {
    parent: PrimaryMap<VReg, VReg>,
    ranges: PrimaryMap<VReg, Range>,
}

impl Groups {
    fn root(&self, mut r: VReg) -> VReg {
        while self.parent[r] != r {
            r = self.parent[r];
        }
        r
    }

    /// Joins the two if they are never live at the same time.
    fn join(&mut self, a: VReg, b: VReg) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b || self.ranges[a].overlaps(&self.ranges[b]) {
            return;
        }
        let gone = std::mem::take(&mut self.ranges[b]);
        self.ranges[a].merge(&gone);
        self.parent[b] = a;
    }
}

/// Gives every virtual register a place. An error names the class that has too few registers.
pub fn allocate(code: &MachineCode, vectors: usize) -> Result<Allocation, Shortage> {
    let depth = depths(code);
    let mut groups = Groups { parent: code.classes.keys().collect(), ranges: liveness::ranges(code) };
    coalesce(code, &depth, &mut groups);
    let mut places = code.classes.keys().map(|_| Place::Nowhere).collect();
    color(code, &groups, Class::Vector, &(0..vectors as u8).collect::<Vec<_>>(), &mut places)?;
    color(code, &groups, Class::Mask, &[1, 2, 3, 4, 5, 6, 7], &mut places)?;
    color(code, &groups, Class::Tile, &[0, 1, 2, 3, 4, 5, 6, 7], &mut places)?;
    let slots = integers(code, &depth, &groups, &mut places);
    let places = code.classes.keys().map(|r| places[groups.root(r)]).collect();
    Ok(Allocation { places, slots })
}

/// Computes the loop depth of each instruction.
fn depths(code: &MachineCode) -> Vec<u32> {
    let mut depth = 0;
    let step = |inst: &MInst| {
        match inst {
            MInst::LoopStart { .. } => depth += 1,
            MInst::LoopExit { .. } => depth -= 1,
            _ => {}
        }
        depth
    };
    code.insts.iter().map(step).collect()
}

/// Joins both sides of copies, those in the innermost loops first.
fn coalesce(code: &MachineCode, depth: &[u32], groups: &mut Groups) {
    let mut copies: Vec<(u32, VReg, VReg)> = vec![];
    for (inst, &depth) in code.insts.iter().zip(depth) {
        match *inst {
            MInst::Copy { dst, src, .. } | MInst::IntCopy { dst, src, add: 0 } => copies.push((depth, dst, src)),
            _ => {}
        }
    }
    copies.sort_by_key(|c| std::cmp::Reverse(c.0));
    for (_, dst, src) in copies {
        groups.join(dst, src);
    }
}

/// Collects the roots of the groups of a class that are ever live, by their start.
fn members(code: &MachineCode, groups: &Groups, class: Class) -> Vec<VReg> {
    let live = |&r: &VReg| code.classes[r] == class && groups.parent[r] == r && !groups.ranges[r].is_empty();
    let mut list: Vec<VReg> = code.classes.keys().filter(live).collect();
    list.sort_by_key(|&v| groups.ranges[v].start());
    list
}

/// Colours ranges by linear scan; a second try starts with the longest ranges, which loops with holes sometimes need.
fn color(
    code: &MachineCode,
    groups: &Groups,
    class: Class,
    registers: &[u8],
    places: &mut PrimaryMap<VReg, Place>,
) -> Result<(), Shortage> {
    let mut order = members(code, groups, class);
    if scan(groups, &order, registers, places) {
        return Ok(());
    }
    order.sort_by_key(|&v| std::cmp::Reverse(groups.ranges[v].length()));
    if scan(groups, &order, registers, places) {
        return Ok(());
    }
    let needed = pressure(groups, &order).max(registers.len() + 1);
    Err(Shortage { class, needed, available: registers.len() })
}

fn scan(groups: &Groups, order: &[VReg], registers: &[u8], places: &mut PrimaryMap<VReg, Place>) -> bool {
    let mut taken: Vec<Range> = vec![Range::default(); registers.len()];
    for &v in order {
        let range = &groups.ranges[v];
        let Some(i) = taken.iter().position(|t| !t.overlaps(range)) else { return false };
        taken[i].merge(range);
        places[v] = Place::Reg(registers[i]);
    }
    true
}

/// Returns the most that is live at one point.
fn pressure(groups: &Groups, order: &[VReg]) -> usize {
    let pieces = || order.iter().flat_map(|&v| &groups.ranges[v].pieces);
    let mut events: Vec<(u32, i32)> = pieces().map(|p| (p.0, 1)).chain(pieces().map(|p| (p.1, -1))).collect();
    // At one point ends come before starts.
    events.sort_unstable();
    let mut live = 0;
    events.iter().fold(0, |most, e| {
        live += e.1;
        most.max(live)
    }) as usize
}

/// Places integers by weight: those that inner loops use get the registers, the rest a slot. Returns the number of
/// slots.
fn integers(code: &MachineCode, depth: &[u32], groups: &Groups, places: &mut PrimaryMap<VReg, Place>) -> u32 {
    let mut weight: PrimaryMap<VReg, u64> = code.classes.keys().map(|_| 0).collect();
    for (inst, &depth) in code.insts.iter().zip(depth) {
        inst.visit(|r, _| weight[groups.root(r)] += 10u64.pow(depth.min(12)));
    }
    let mut holders: Vec<Vec<VReg>> = vec![vec![]; 16];
    let mut slots = 0;
    let mut slot = || {
        slots += 1;
        Place::Stack(slots - 1)
    };
    let mut order = members(code, groups, Class::Int);
    order.sort_by_key(|&v| std::cmp::Reverse(weight[v]));
    for (&param, register) in code.params.iter().zip(PARAMS) {
        let v = groups.root(param);
        if !groups.ranges[v].is_empty() {
            places[v] = Place::Reg(register);
            holders[register as usize].push(v);
        }
    }
    for v in order {
        if places[v] != Place::Nowhere {
            continue;
        }
        let clash = |r: u8| -> u64 {
            let overlapping = holders[r as usize].iter().filter(|&&h| groups.ranges[h].overlaps(&groups.ranges[v]));
            overlapping.map(|&h| weight[h]).sum()
        };
        let best = INTS.into_iter().min_by_key(|&r| clash(r)).expect("there are registers");
        if clash(best) >= weight[v] {
            places[v] = slot();
            continue;
        }
        let (out, stay): (Vec<VReg>, Vec<VReg>) =
            holders[best as usize].iter().partition(|&&h| groups.ranges[h].overlaps(&groups.ranges[v]));
        out.into_iter().for_each(|h| places[h] = slot());
        holders[best as usize] = stay;
        holders[best as usize].push(v);
        places[v] = Place::Reg(best);
    }
    slots
}
