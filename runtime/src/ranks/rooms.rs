//! Memory of exchanges that are done, for the next ones: fresh memory costs a fault for each page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Memory by its length: each step exchanges the same lengths.
#[derive(Debug, Default)]
pub struct Rooms(Mutex<HashMap<usize, Vec<Vec<u8>>>>);

impl Rooms {
    /// Returns this many bytes, whatever they hold.
    pub fn take(&self, length: usize) -> Vec<u8> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get_mut(&length).and_then(Vec::pop).unwrap_or_else(|| vec![0; length])
    }

    /// Takes memory that nobody needs.
    pub fn give(&self, room: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(room.len()).or_default().push(room);
    }
}
