//! From instructions, jumps and labels to bytes, with the constants behind the code.

use super::Encode;
use iced_x86::{Code, Encoder, IcedError, Instruction};

/// A line of the output, before addresses are known.
pub(super) enum Line {
    /// An instruction that jumps nowhere.
    Inst(Instruction),
    /// Jump to a label; the target is filled in by [`Encode::assemble`].
    Jump(Code, usize),
    /// Label, placed at the next multiple of the number of bytes.
    Label(usize, usize),
}

impl Encode<'_> {
    /// Encodes in two passes: all lengths are known after the first, since jumps and pool operands have fixed sizes.
    pub(super) fn assemble(mut self) -> Result<Vec<u8>, IcedError> {
        let mut labels = vec![0; 2 * self.code.loops];
        let (at, _) = self.pass(&mut labels, &[])?;
        let mut pool = vec![0; at.next_multiple_of(64)];
        let mut places = vec![0; self.code.pool.entries.len()];
        let mut order: Vec<usize> = (0..places.len()).collect();
        // The longest first: then every entry is aligned to its size.
        order.sort_by_key(|&i| std::cmp::Reverse(self.code.pool.entries[i].len()));
        for i in order {
            places[i] = pool.len() as u64;
            pool.extend_from_slice(&self.code.pool.entries[i]);
        }
        let (_, mut bytes) = self.pass(&mut labels, &places)?;
        if !places.is_empty() {
            // Never executed; a trap marks the end of the code.
            bytes.resize(at.next_multiple_of(64), 0xcc);
            bytes.extend_from_slice(&pool[bytes.len()..]);
        }
        Ok(bytes)
    }

    /// Encodes all lines. Sets the labels' addresses; uses those that the previous pass set. Returns the code's length
    /// and its bytes.
    fn pass(&mut self, labels: &mut [u64], pool: &[u64]) -> Result<(usize, Vec<u8>), IcedError> {
        for &(line, entry) in &self.pooled {
            if let Line::Inst(i) = &mut self.lines[line] {
                i.set_memory_displacement64(pool.get(entry).copied().unwrap_or(0));
            }
        }
        let mut encoder = Encoder::new(64);
        let mut at = 0;
        for line in &self.lines {
            match line {
                Line::Inst(i) => at += encoder.encode(i, at)? as u64,
                Line::Jump(code, label) => {
                    let jump = Instruction::with_branch(*code, labels[*label])?;
                    at += encoder.encode(&jump, at)? as u64;
                }
                Line::Label(label, align) => {
                    let mut missing = at.next_multiple_of(*align as u64) - at;
                    while missing > 0 {
                        let nop = NOPS[missing.min(9) as usize - 1];
                        nop.iter().for_each(|&byte| encoder.write_u8(byte));
                        at += nop.len() as u64;
                        missing -= nop.len() as u64;
                    }
                    labels[*label] = at;
                }
            }
        }
        Ok((at as usize, encoder.take_buffer()))
    }
}

/// Instructions without effect of 1 to 9 bytes, as the processor manuals recommend them.
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];
