//! Values that are not finite, NaN and the infinities, found and named.

use crate::{Error, Result, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// Finds the first value that is not finite: its place, and `NaN`, `infinite` or `minus infinite`.
pub fn first_broken(values: &[f32]) -> Option<(usize, &'static str)> {
    // Without a branch for each value, so that it runs in vectors: one more in the exponent carries into the sign where
    // all of its bits are set, in what is not finite and in nothing else.
    let carry = |v: &f32| v.abs().to_bits() + (1 << 23);
    let broken = |some: &[f32]| some.iter().fold(0, |any, v| any | carry(v)) >> 31 == 1;
    let block = values.chunks(1024).position(broken)? * 1024;
    let at = block + values[block..].iter().position(|v| !v.is_finite())?;
    Some((at, name_of(values[at])))
}

/// What a value that is not finite is called.
pub fn name_of(value: f32) -> &'static str {
    match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "infinite",
        _ => "minus infinite",
    }
}

/// Refuses weights that hold a value which is not finite, by the name of the tensor; `path` is for the message.
pub fn weights(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<()> {
    for (name, tensor) in tensors {
        if let Some((at, what)) = first_broken(&tensor.data) {
            let message = format!("{}: value {at} of `{name}` {:?} is {what}", path.display(), tensor.dims);
            return Err(Error::new(message).with_help(
                "such weights give no results: take an older file or checkpoint, or train again with a lower rate",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_wherever_it_is() {
        assert_eq!(first_broken(&[]), None);
        assert_eq!(first_broken(&[f32::MAX, f32::MIN_POSITIVE / 2.0, -0.0]), None);
        for at in [0, 1, 1023, 1024, 2999] {
            let mut values = vec![1.0; 3000];
            values[at] = f32::NEG_INFINITY;
            values[2999] = if at == 2999 { f32::INFINITY } else { f32::NAN };
            let what = if at == 2999 { "infinite" } else { "minus infinite" };
            assert_eq!(first_broken(&values), Some((at, what)));
        }
        assert_eq!(first_broken(&[0.0, f32::NAN]), Some((1, "NaN")));
    }
}
