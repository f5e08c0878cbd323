//! Dense float32 tensors in logical order (NCHW, OIHW, `[out, in]`): how values enter and leave a program.

use crate::{Error, Result};

/// An array of float numbers, last dimension fastest.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tensor {
    /// Sizes of its dimensions; none for a scalar.
    pub dims: Vec<usize>,
    /// All elements.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Makes a tensor; an error unless there are as many elements as `dims` say.
    pub fn new(dims: &[usize], data: Vec<f32>) -> Result<Tensor> {
        let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if elements != Some(data.len()) {
            return Err(Error::new(format!("{} numbers do not make a tensor of shape {dims:?}", data.len())));
        }
        Ok(Tensor { dims: dims.to_vec(), data })
    }

    /// Makes a tensor of zeros.
    pub fn zeros(dims: &[usize]) -> Tensor {
        Tensor { dims: dims.to_vec(), data: vec![0.0; dims.iter().product()] }
    }

    /// Makes a tensor without dimensions.
    pub fn scalar(value: f32) -> Tensor {
        Tensor { dims: vec![], data: vec![value] }
    }
}

/// Copies `source` (logical order) to `target` (memory order): `order[i]` is the logical dimension at memory position
/// i.
pub fn to_memory<T: Copy>(dims: &[usize], order: &[usize], source: &[T], target: &mut [T]) {
    convert_to_memory(dims, order, source, target, |value| value);
}

/// Like [`to_memory`], with each number converted by `convert`.
pub fn convert_to_memory<T: Copy, U>(
    dims: &[usize],
    order: &[usize],
    source: &[T],
    target: &mut [U],
    convert: impl Fn(T) -> U,
) {
    walk(dims, order, |logical, stride, memory, count| {
        let row = source[logical..].iter().step_by(stride);
        target[memory..memory + count].iter_mut().zip(row).for_each(|(to, &from)| *to = convert(from));
    });
}

/// Copies memory order back to logical order: the reverse of [`to_memory`].
pub fn from_memory<T: Copy>(dims: &[usize], order: &[usize], source: &[T], target: &mut [T]) {
    walk(dims, order, |logical, stride, memory, count| {
        let row = target[logical..].iter_mut().step_by(stride);
        row.zip(&source[memory..memory + count]).for_each(|(to, &from)| *to = from);
    });
}

/// Visits all rows of memory in their order: the logical position of the first element and the step to the next, the
/// position in memory, and how many elements there are.
fn walk(dims: &[usize], order: &[usize], mut visit: impl FnMut(usize, usize, usize, usize)) {
    assert_eq!(dims.len(), order.len(), "an order for each dimension");
    let total: usize = dims.iter().product();
    if total == 0 {
        return;
    }
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    let (outer, count, stride) = match order.split_last() {
        Some((&last, outer)) => (outer, dims[last], strides[last]),
        None => (order, 1, 1),
    };
    let (mut index, mut logical) = (vec![0; dims.len()], 0);
    for memory in (0..total).step_by(count) {
        visit(logical, stride, memory, count);
        for &d in outer.iter().rev() {
            index[d] += 1;
            logical += strides[d];
            if index[d] < dims[d] {
                break;
            }
            logical -= strides[d] * dims[d];
            index[d] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_turn_channels_last_and_back() {
        let source: Vec<u32> = (0..24).collect();
        let mut memory = vec![0; 24];
        to_memory(&[2, 3, 4], &[1, 2, 0], &source, &mut memory);
        assert_eq!(memory[..4], [0, 12, 1, 13]);
        let mut back = vec![0; 24];
        from_memory(&[2, 3, 4], &[1, 2, 0], &memory, &mut back);
        assert_eq!(back, source);
        // A scalar, and orders that are not rows of memory.
        let mut one = [0];
        to_memory(&[], &[], &[7], &mut one);
        assert_eq!(one, [7]);
        convert_to_memory(&[2, 3, 4], &[2, 0, 1], &source, &mut memory, |v| v + 100);
        assert_eq!(memory[..7], [100, 104, 108, 112, 116, 120, 101]);
    }
}
