mod front;
fn main() {}
