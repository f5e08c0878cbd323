//! What a network says of images.

use ninc_runtime::Result;
use ninc_runtime::classes::Classes;
use ninc_runtime::finite::first_broken;
use ninc_runtime::train::evaluate::broken;
use serde_json::{Value, json};

/// Refuses results of some images that hold a value which is not finite; `shown` names an image.
pub fn finite(output: &str, values: &[f32], images: usize, shown: impl Fn(usize) -> String) -> Result<()> {
    match first_broken(values) {
        Some((at, what)) => Err(broken(output, what, &shown(at / (values.len() / images.max(1)).max(1)))),
        None => Ok(()),
    }
}

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
