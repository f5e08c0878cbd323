mod tmp;
mod front;
fn main() {}
//! All integration tests, one binary.

mod conv;
