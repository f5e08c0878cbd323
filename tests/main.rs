mod tmp;
mod front;
fn main() {}
