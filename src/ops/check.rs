//! Checks of operands that `infer` and `build` share: one sentence each, with the types shown.

use super::error::ShapeError;
use crate::types::{DType, Type};

/// The most elements of one value (per image or shared): 8 GiB of floats. Anything above is a slip in the model file.
pub const MOST_ELEMENTS: usize = 1 << 31;

/// The longest side of an input.
pub const MOST_SIDE: usize = 65_536;

/// Returns the operands, if there are exactly `N`.
pub fn exactly<const N: usize>(operands: &[Type]) -> Result<&[Type; N], ShapeError> {
    operands.try_into().map_err(|_| count(&N.to_string(), operands.len()))
}

/// Returns the first `N` operands and perhaps one more.
pub fn with_optional<const N: usize>(operands: &[Type]) -> Result<(&[Type; N], Option<&Type>), ShapeError> {
    match operands.split_first_chunk::<N>() {
        Some((first, [])) => Ok((first, None)),
        Some((first, [last])) => Ok((first, Some(last))),
        _ => Err(count(&format!("{N} or {}", N + 1), operands.len())),
    }
}

fn count(needed: &str, given: usize) -> ShapeError {
    ShapeError(format!("{needed} operands are needed, {given} given"))
}

/// A value's shape as the language writes it: per image, without batch and element type. `[3, 32, 32]`.
pub fn shape(ty: &Type) -> String {
    format!("{:?}", ty.dims)
}

/// Takes one operand of floats, and gives a result of its type.
pub fn float_map(operands: &[Type]) -> Result<Type, ShapeError> {
    let [x] = exactly(operands)?;
    floats(x)?;
    Ok(x.clone())
}

/// Refuses what does not have float elements.
pub fn floats(ty: &Type) -> Result<(), ShapeError> {
    match ty.dtype {
        DType::F32 => Ok(()),
        DType::I32 | DType::U8 => Err(format!("floats are needed, but this is {ty}").into()),
    }
}

/// Refuses what is not floats, one value per image.
pub fn per_image(ty: &Type) -> Result<(), ShapeError> {
    floats(ty)?;
    if ty.batched { Ok(()) } else { Err(format!("a value per image is needed, but this is shared: {ty}").into()) }
}

/// Refuses what is not floats, the same for all images.
pub fn shared(ty: &Type, what: &str) -> Result<(), ShapeError> {
    floats(ty)?;
    if ty.batched { Err(format!("{what} is shared by all images, but this is {ty}").into()) } else { Ok(()) }
}

/// Returns `[channels, height, width]` of each image.
pub fn image(ty: &Type) -> Result<[usize; 3], ShapeError> {
    per_image(ty)?;
    ty.dims
        .as_slice()
        .try_into()
        .map_err(|_| ShapeError(format!("an image [channels, height, width] is needed, but this is {}", shape(ty))))
}

/// Returns `[features]` of each image.
pub fn features(ty: &Type) -> Result<usize, ShapeError> {
    per_image(ty)?;
    match ty.dims.as_slice() {
        &[features] => Ok(features),
        _ => Err(format!("a feature vector is needed, but this is {}", shape(ty)).into()),
    }
}

/// Returns the channels of an image or feature vector.
pub fn channels(ty: &Type) -> Result<usize, ShapeError> {
    per_image(ty)?;
    match ty.chw() {
        Some((channels, _, _)) => Ok(channels),
        None => Err(format!("an image or a feature vector is needed, but this is {}", shape(ty)).into()),
    }
}

/// Refuses what is not the shared float value of these dimensions.
pub fn weight(ty: &Type, dims: &[usize], what: &str) -> Result<(), ShapeError> {
    let wanted = Type::shared(dims);
    if *ty == wanted { Ok(()) } else { Err(format!("{what} is {ty}, but {wanted} fits").into()) }
}

/// Refuses what is not a shared number.
pub fn scalar(ty: &Type, what: &str) -> Result<(), ShapeError> {
    weight(ty, &[], what)
}

/// Refuses two values of different types.
pub fn same(left: &Type, right: &Type) -> Result<(), ShapeError> {
    if left == right { Ok(()) } else { Err(format!("the types differ: {left} and {right}").into()) }
}

/// Refuses a gradient operand that does not have the result's type.
pub fn gradient(of: &Type, given: &Type) -> Result<(), ShapeError> {
    if of == given {
        Ok(())
    } else {
        Err(format!("the gradient is {given}, but the result it belongs to is {of}").into())
    }
}

/// Refuses what is not the random key of a step.
pub fn key(ty: &Type) -> Result<(), ShapeError> {
    let wanted = Type::ints(false, &[4]);
    if *ty == wanted { Ok(()) } else { Err(format!("the random key is {ty}, but {wanted} fits").into()) }
}

/// Refuses what is not a probability of dropping below 1.
pub fn rate(rate: f64) -> Result<(), ShapeError> {
    if (0.0..1.0).contains(&rate) { Ok(()) } else { Err(format!("a rate of {rate} is not in [0, 1)").into()) }
}

/// Returns the type, if no dimension is 0 and the size is sane.
pub fn sized(ty: Type) -> Result<Type, ShapeError> {
    if ty.dims.contains(&0) {
        return Err(format!("no dimension may be 0, but this would be {}", shape(&ty)).into());
    }
    let elements = ty.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match elements {
        Some(n) if n <= MOST_ELEMENTS => Ok(ty),
        _ => Err(format!("{} has more than {MOST_ELEMENTS} elements", shape(&ty)).into()),
    }
}
