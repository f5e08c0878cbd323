//! DropConnect: a linear layer whose weights and biases are masked anew for each image.

use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x[F], w[O, F], b[O], key) -> y[O]`, each weight and bias kept with probability `1 - rate`, no scaling.
///
/// Random element of weight (image n, input i, output o): index `(n·(F + 1) + i)·O + o` of the stream; the bias is input F.
pub fn train(site: &mut Site, _rate: f32, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: drop_connect::train", site.name)))
}

/// `(w, dy, key) -> dx`
pub fn grad_input(site: &mut Site, _rate: f32, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: drop_connect::grad_input", site.name)))
}

/// `(x, dy, key) -> dw`
pub fn grad_weight(site: &mut Site, _rate: f32, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: drop_connect::grad_weight", site.name)))
}

/// `(dy, key) -> db`; `inputs` is F.
pub fn grad_bias(site: &mut Site, _rate: f32, _stream: u32, _inputs: usize) -> Lowered {
    Err(Unsupported(format!("{}: drop_connect::grad_bias", site.name)))
}
