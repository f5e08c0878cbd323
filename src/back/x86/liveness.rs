//! Live ranges of virtual registers, with their holes, by one backward walk over structured code.

use super::machine::{MInst, MachineCode, Touch, VReg};

/// Half-open pieces `[from, to)` in rising order. Instruction `i` reads at point `2i` and writes at `2i + 1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    pub pieces: Vec<(u32, u32)>,
}

impl Range {
    pub fn overlaps(&self, other: &Range) -> bool {
        let (mut i, mut j) = (0, 0);
        while i < self.pieces.len() && j < other.pieces.len() {
            let (a, b) = (self.pieces[i], other.pieces[j]);
            if a.0 < b.1 && b.0 < a.1 {
                return true;
            }
            if a.1 <= b.1 { i += 1 } else { j += 1 }
        }
        false
    }

    /// Both together; they must not overlap.
    pub fn merge(&mut self, other: &Range) {
        self.pieces.extend_from_slice(&other.pieces);
        self.pieces.sort_unstable();
    }

    pub fn start(&self) -> u32 {
        self.pieces.first().map_or(0, |p| p.0)
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn length(&self) -> u32 {
        self.pieces.iter().map(|p| p.1 - p.0).sum()
    }
}

/// A set of virtual registers.
#[derive(Clone, PartialEq)]
struct Set(Vec<u64>);

impl Set {
    fn has(&self, r: VReg) -> bool {
        self.0[r.0 as usize / 64] >> (r.0 % 64) & 1 == 1
    }

    fn add(&mut self, r: VReg) {
        self.0[r.0 as usize / 64] |= 1 << (r.0 % 64);
    }

    fn remove(&mut self, r: VReg) {
        self.0[r.0 as usize / 64] &= !(1 << (r.0 % 64));
    }

    fn union(&mut self, other: &Set) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn members(&self) -> impl Iterator<Item = VReg> + '_ {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(w, &bits)| (0..64).filter(move |b| bits >> b & 1 == 1).map(move |b| VReg((w * 64 + b) as u32)))
    }
}

struct Walk<'a> {
    code: &'a MachineCode,
    /// Index of the `LoopStart` for the `LoopEnd` at an index.
    starts: Vec<usize>,
    ranges: Vec<Range>,
    /// Where the piece that is open (we walk backwards) ends.
    end: Vec<u32>,
}

/// Live ranges of all virtual registers.
pub fn ranges(code: &MachineCode) -> Vec<Range> {
    let count = code.classes.len();
    let mut starts = vec![0; code.insts.len()];
    let mut by_id = vec![0; code.loops];
    for (i, inst) in code.insts.iter().enumerate() {
        match inst {
            MInst::LoopStart { id, .. } => by_id[*id] = i,
            MInst::LoopEnd { id, .. } => starts[i] = by_id[*id],
            _ => {}
        }
    }
    let mut walk = Walk { code, starts, ranges: vec![Range::default(); count], end: vec![0; count] };
    let mut live = Set(vec![0; count.div_ceil(64)]);
    walk.block(0, code.insts.len(), &mut live, true);
    // What is still live at the top are the parameters: they exist from point 0 on.
    for r in live.members() {
        let end = walk.end[r.0 as usize];
        walk.ranges[r.0 as usize].pieces.push((0, end));
    }
    for range in &mut walk.ranges {
        range.pieces.reverse();
    }
    walk.ranges
}

impl Walk<'_> {
    /// Walks `from..to` backwards; `live` goes from the live set behind it to the one before it.
    fn block(&mut self, from: usize, to: usize, live: &mut Set, record: bool) {
        let mut i = to;
        while i > from {
            i -= 1;
            match &self.code.insts[i] {
                MInst::LoopEnd { .. } => {
                    let start = self.starts[i];
                    self.whole_loop(start, i, live, record);
                    i = start;
                }
                inst => self.step(i, inst, live, record),
            }
        }
    }

    /// The back edge keeps alive at the end what the top needs.
    fn whole_loop(&mut self, start: usize, end: usize, live: &mut Set, record: bool) {
        let after = live.clone();
        let mut top = live.clone();
        self.step(end, &self.code.insts[end], &mut top, false);
        self.block(start + 1, end, &mut top, false);
        // One more round closes it: in structured code all that the top needs is known after the first.
        let mut bottom = after.clone();
        bottom.union(&top);
        if record {
            for r in bottom.members().filter(|&r| !after.has(r)) {
                self.end[r.0 as usize] = 2 * end as u32 + 2;
            }
            *live = bottom;
            self.step(end, &self.code.insts[end], live, true);
            self.block(start + 1, end, live, true);
        } else {
            *live = top;
        }
        // The guard may skip the loop, so what lives behind it also lives before it.
        if record {
            for r in after.members().filter(|&r| !live.has(r)) {
                self.end[r.0 as usize] = 2 * start as u32 + 1;
            }
        }
        live.union(&after);
    }

    fn step(&mut self, i: usize, inst: &MInst, live: &mut Set, record: bool) {
        let point = 2 * i as u32;
        // Writes first, since the walk is backwards.
        inst.visit(|r, touch| {
            if touch == Touch::Def {
                let end = if live.has(r) { self.end[r.0 as usize] } else { point + 2 };
                live.remove(r);
                if record {
                    self.ranges[r.0 as usize].pieces.push((point + 1, end));
                }
            }
        });
        inst.visit(|r, touch| {
            if touch != Touch::Def && !live.has(r) {
                live.add(r);
                if record {
                    // A modified register that nobody reads later still holds the result for a moment.
                    self.end[r.0 as usize] = point + if touch == Touch::Modify { 2 } else { 1 };
                }
            }
        });
    }
}
