//! Event files for TensorBoard: scalars in the two messages that it needs, framed as TFRecords.
//!
//! A record is its length (u64), the masked CRC-32C of these 8 bytes, the data, and the masked CRC-32C of the data
//! (tensorflow/core/lib/io/record_writer.h). The data is an `Event` (tensorflow/core/util/event.proto): `wall_time` = 1
//! (double), `step` = 2 (int64), `file_version` = 3 (string), `summary` = 5; a `Summary` has `value` = 1, and a value
//! `tag` = 1 (string) and `simple_value` = 2 (float).

use super::append_log::AppendLog;
use crate::Result;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns where the events of a training lie: TensorBoard shows each folder below `--logdir` as a run.
pub fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join("tensorboard").join(name).join("events.out.tfevents.ninc")
}

/// An event file of TensorBoard.
pub struct Events {
    file: AppendLog,
}

impl Events {
    /// Goes on after the first `length` bytes; 0 starts anew.
    pub fn open(path: &Path, length: u64) -> Result<Events> {
        let mut file = AppendLog::open(path, length)?;
        if length == 0 {
            let mut event = time();
            text(&mut event, 3, b"brain.Event:2");
            file.push(&record(&event));
        }
        Ok(Events { file })
    }

    /// Makes events that nobody keeps.
    pub fn nowhere() -> Events {
        Events { file: AppendLog::nowhere() }
    }

    /// Adds values by tag at a step; they are written at the next [`Events::sync`] or [`Events::flush`].
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut one = Vec::new();
            text(&mut one, 1, tag.as_bytes());
            one.push(2 << 3 | 5);
            one.extend((*value as f32).to_le_bytes());
            text(&mut summary, 1, &one);
        }
        let mut event = time();
        event.push(2 << 3);
        varint(&mut event, step);
        text(&mut event, 5, &summary);
        self.file.push(&record(&event));
    }

    /// Writes what is pending.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    /// Writes what is pending and waits until it is on the disk; returns the bytes of the file.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync()
    }

    /// Returns the file.
    pub fn file(&mut self) -> &mut AppendLog {
        &mut self.file
    }
}

/// Starts an event with the time of day, which TensorBoard's axis of time shows; nothing else depends on it.
fn time() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    let mut event = vec![1 << 3 | 1];
    event.extend(now.to_le_bytes());
    event
}

/// Appends a field of bytes: text or another message.
fn text(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

/// Masks a checksum as TFRecord does: a checksum of data that holds checksums would be weak.
pub fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Computes a CRC-32C (Castagnoli), a byte at a time: events are small.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, &byte| TABLE[usize::from(sum as u8 ^ byte)] ^ sum >> 8)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut value, mut bit) = (i as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C, and RFC 3720's test of 32 zeros.
    #[test]
    fn known_checksums() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
