//! Dense float32 tensors in logical order (NCHW, OIHW, `[out, in]`): how values enter and leave a program.

use crate::{Error, Result};

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub data: Vec<f32>,
}

impl Tensor {
    pub fn new(dims: &[usize], data: Vec<f32>) -> Result<Tensor> {
        let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if elements != Some(data.len()) {
            return Err(Error::new(format!("{} numbers do not make a tensor of shape {dims:?}", data.len())));
        }
        Ok(Tensor { dims: dims.to_vec(), data })
    }

    pub fn zeros(dims: &[usize]) -> Tensor {
        Tensor { dims: dims.to_vec(), data: vec![0.0; dims.iter().product()] }
    }

    pub fn scalar(value: f32) -> Tensor {
        Tensor { dims: vec![], data: vec![value] }
    }
}

/// Copies `source` (logical order) to `target` (memory order): `order[i]` is the logical dimension at memory position i.
pub fn to_memory<T: Copy>(dims: &[usize], order: &[usize], source: &[T], target: &mut [T]) {
    walk(dims, order, |logical, memory| target[memory] = source[logical]);
}

/// The reverse of [`to_memory`].
pub fn from_memory<T: Copy>(dims: &[usize], order: &[usize], source: &[T], target: &mut [T]) {
    walk(dims, order, |logical, memory| target[logical] = source[memory]);
}

/// Visits all elements in memory order with their logical and memory positions.
fn walk(dims: &[usize], order: &[usize], mut visit: impl FnMut(usize, usize)) {
    assert_eq!(dims.len(), order.len(), "an order for each dimension");
    let total: usize = dims.iter().product();
    if total == 0 {
        return;
    }
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    let (mut index, mut logical) = (vec![0; dims.len()], 0);
    for memory in 0..total {
        visit(logical, memory);
        for position in (0..order.len()).rev() {
            let d = order[position];
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
    }
}
