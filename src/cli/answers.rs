//! What a network says of an image, as JSON.

use ninc_runtime::classes::Classes;
use serde_json::{Value, json};

/// The places of the highest numbers, highest first.
pub fn best(numbers: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

/// An image's classes in this order, with their probabilities.
pub fn json(image: &str, order: &[usize], probabilities: &[f64], classes: &Classes) -> Value {
    let one = |&c: &usize| json!({ "class": c, "name": classes.name(c), "probability": probabilities[c] });
    json!({ "input": image, "top": order.iter().map(one).collect::<Vec<_>>() })
}
