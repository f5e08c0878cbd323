//! The state of the tile registers around code that uses them. All of it sees eight whole tiles: what is smaller is
//! filled up with zeros.

use super::bug;
use crate::back::EmitError;
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

/// Writes the 64 bytes that `ldtilecfg` reads: palette 1, then 16 rows of 64 bytes in each of the eight tiles.
fn state() -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    bytes[16..32].chunks_mut(2).for_each(|columns| columns[0] = 64);
    bytes[48..56].fill(16);
    bytes
}

/// Writes the machine code of two functions without arguments: what a thread runs before micro-kernels with tiles, and
/// after them, so that no state of them is left to save when the system changes threads.
pub fn configuration() -> Result<[Vec<u8>; 2], EmitError> {
    let failed = |error| bug(format!("encoding failed: {error}"));
    let function = |instruction: Instruction| {
        let mut encoder = Encoder::new(64);
        let mut at = 0;
        for i in [instruction, Instruction::with(Code::Retnq)] {
            at += encoder.encode(&i, at as u64).map_err(failed)?;
        }
        Ok::<_, EmitError>(encoder.take_buffer())
    };
    const DATA: usize = 64;
    let state_at = MemoryOperand::with_base_displ_size(Register::RIP, DATA as i64, 8);
    let begin = Instruction::with1(Code::VEX_Ldtilecfg_m512, state_at).map_err(failed)?;
    let mut begin = function(begin)?;
    begin.resize(DATA, 0xcc);
    begin.extend(state());
    Ok([begin, function(Instruction::with(Code::VEX_Tilerelease))?])
}
