//! `.eh_frame_hdr`: a table by which unwinders find a function's entry in `.eh_frame`.

use super::Part;

/// A record of `.eh_frame`: its offset, and for a function's entry the offset of the field with the function's address.
fn entries(frames: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize| frames.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut found = Vec::new();
    let mut at = 0;
    // Length, then 0 for what entries share, else the distance to that; a length of 0 ends the section.
    while let (Some(length @ 1..), Some(id)) = (word(at), word(at + 4)) {
        if id != 0 {
            found.push((at, at + 8));
        }
        at += 4 + length as usize;
    }
    found
}

/// Bytes of the table.
pub(super) fn size(frames: &Part) -> usize {
    12 + 8 * entries(&frames.bytes).len()
}

/// The table, at `address`, of resolved frames.
pub(super) fn table(frames: &Part, address: usize) -> Vec<u8> {
    let near = |to: usize, from: usize| (to as i64 - from as i64) as i32;
    let mut rows: Vec<(i32, i32)> = entries(&frames.bytes)
        .into_iter()
        .map(|(entry, field)| {
            let bytes: [u8; 4] = frames.bytes[field..field + 4].try_into().expect("four bytes");
            let function = (frames.address + field) as i64 + i64::from(i32::from_le_bytes(bytes));
            (near(function as usize, address), near(frames.address + entry, address))
        })
        .collect();
    rows.sort_unstable();
    // Version 1. `.eh_frame` is relative to its field (DW_EH_PE_pcrel | sdata4), the count is a plain number
    // (udata4), the rows are relative to the table (DW_EH_PE_datarel | sdata4).
    let mut table = vec![1, 0x1b, 0x03, 0x3b];
    table.extend(near(frames.address, address + 4).to_le_bytes());
    table.extend((rows.len() as u32).to_le_bytes());
    for (function, entry) in rows {
        table.extend(function.to_le_bytes());
        table.extend(entry.to_le_bytes());
    }
    table
}
