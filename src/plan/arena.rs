//! Memory of the arena: buffers whose lifetimes do not overlap may share it.

/// A buffer's lifetime: from the launch that first writes it to the one that last uses it, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Number of the first launch.
    pub first: usize,
    /// Number of the last launch.
    pub last: usize,
}

impl Lifetime {
    /// Do the two share a launch?
    pub fn overlaps(self, other: Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Gives each `(part, size, lifetime)` an offset and returns the size of the whole. Large ones come first; each goes
/// into the smallest gap, between those already placed that live at the same time, which holds it, or after them.
pub fn assign<T: Copy>(parts: &[(T, usize, Lifetime)], mut place: impl FnMut(T, usize)) -> usize {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(parts[i].1), i));
    let mut placed: Vec<(usize, usize, Lifetime)> = Vec::new();
    let mut total = 0;
    for i in order {
        let (part, size, life) = parts[i];
        let mut gap: Option<(usize, usize)> = None;
        let mut end = 0;
        // `placed` is sorted by offset.
        for &(offset, other, lives) in placed.iter().filter(|p| p.2.overlaps(life)) {
            if offset >= end + size && gap.is_none_or(|(_, room)| offset - end < room) {
                gap = Some((end, offset - end));
            }
            end = end.max(offset + other);
            debug_assert!(lives.overlaps(life));
        }
        let offset = gap.map_or(end, |g| g.0);
        place(part, offset);
        total = total.max(offset + size);
        let at = placed.partition_point(|p| p.0 <= offset);
        placed.insert(at, (offset, size, life));
    }
    total
}
