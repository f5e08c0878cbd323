//! Live ranges of virtual registers, with their holes, by one backward walk over structured code.

use super::machine::{MInst, MachineCode, Touch, VReg};
use cranelift_entity::{EntitySet, PrimaryMap};

/// Half-open pieces `[from, to)` in rising order. Instruction `i` reads at point `2i` and writes at `2i + 1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// Start and end of each piece.
    pub pieces: Vec<(u32, u32)>,
}

impl Range {
    /// Do the two share a point?
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

    /// Joins the other range to this one; they must not overlap.
    pub fn merge(&mut self, other: &Range) {
        self.pieces.extend_from_slice(&other.pieces);
        self.pieces.sort_unstable();
    }

    /// Returns the first point; 0 for an empty range.
    pub fn start(&self) -> u32 {
        self.pieces.first().map_or(0, |p| p.0)
    }

    /// Is it never live?
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the number of points.
    pub fn length(&self) -> u32 {
        self.pieces.iter().map(|p| p.1 - p.0).sum()
    }
}

struct Walk<'a> {
    code: &'a MachineCode,
    /// Index of the `LoopStart` for the `LoopEnd` at an index.
    starts: Vec<usize>,
    ranges: PrimaryMap<VReg, Range>,
    /// Where the piece that is open (we walk backwards) ends.
    end: PrimaryMap<VReg, u32>,
}

/// Computes the live ranges of all virtual registers.
pub fn ranges(code: &MachineCode) -> PrimaryMap<VReg, Range> {
    let mut starts = vec![0; code.insts.len()];
    let mut by_id = vec![0; code.loops];
    for (i, inst) in code.insts.iter().enumerate() {
        match inst {
            MInst::LoopStart { id, .. } => by_id[*id] = i,
            MInst::LoopEnd { id, .. } => starts[i] = by_id[*id],
            _ => {}
        }
    }
    let ranges = code.classes.keys().map(|_| Range::default()).collect();
    let end = code.classes.keys().map(|_| 0).collect();
    let mut walk = Walk { code, starts, ranges, end };
    let mut live = EntitySet::new();
    walk.block(0, code.insts.len(), &mut live, true);
    // What is still live at the top are the parameters: they exist from point 0 on.
    for r in live.iter() {
        let end = walk.end[r];
        walk.ranges[r].pieces.push((0, end));
    }
    for range in walk.ranges.values_mut() {
        range.pieces.reverse();
    }
    walk.ranges
}

impl Walk<'_> {
    /// Walks `from..to` backwards; `live` goes from the live set behind it to the one before it.
    fn block(&mut self, from: usize, to: usize, live: &mut EntitySet<VReg>, record: bool) {
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

    /// Walks a loop backwards. Its back edge keeps alive at the end what the top needs.
    fn whole_loop(&mut self, start: usize, end: usize, live: &mut EntitySet<VReg>, record: bool) {
        let after = live.clone();
        let mut top = live.clone();
        self.step(end, &self.code.insts[end], &mut top, false);
        self.block(start + 1, end, &mut top, false);
        // One more pass closes it: in structured code all that the top needs is known after the first.
        let mut bottom = after.clone();
        bottom.extend(top.iter());
        if record {
            for r in bottom.iter().filter(|&r| !after.contains(r)) {
                self.end[r] = 2 * end as u32 + 2;
            }
            *live = bottom;
            self.step(end, &self.code.insts[end], live, true);
            self.block(start + 1, end, live, true);
        } else {
            *live = top;
        }
        // The guard may skip the loop, so what lives behind it also lives before it.
        if record {
            for r in after.iter().filter(|&r| !live.contains(r)) {
                self.end[r] = 2 * start as u32 + 1;
            }
        }
        live.extend(after.iter());
    }

    fn step(&mut self, i: usize, inst: &MInst, live: &mut EntitySet<VReg>, record: bool) {
        let point = 2 * i as u32;
        // Writes first, since the walk is backwards.
        inst.visit(|r, touch| {
            if touch == Touch::Def {
                let end = if live.contains(r) { self.end[r] } else { point + 2 };
                live.remove(r);
                if record {
                    self.ranges[r].pieces.push((point + 1, end));
                }
            }
        });
        inst.visit(|r, touch| {
            if touch != Touch::Def && !live.contains(r) {
                live.insert(r);
                if record {
                    // A modified register that nobody reads later still holds the result for a moment.
                    self.end[r] = point + if touch == Touch::Modify { 2 } else { 1 };
                }
            }
        });
    }
}
