//! How a tensor of the file lies in a value of the network. A value is `[channels, height, width]` in that order, cut
//! into factors of its sizes; the tensor has the same factors in an order and a grouping of its own. So changes of
//! shape and transpositions cost nothing until a layer needs the value as it lies.

use crate::io::onnx::read::tensor::MOST_DIMENSIONS;
use crate::io::sheet::LayerId;

/// Multiplies sizes; what is too large for a network stays so.
pub fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |n: usize, &size| n.saturating_mul(size))
}

/// Returns the sizes that the language has for an image of the file's: one for features, else those of channels, rows
/// and columns.
pub fn image_dims(image: &[usize]) -> Vec<usize> {
    match image {
        [] => vec![1],
        [features] => vec![*features],
        [c, middle @ .., w] => vec![*c, product(middle), *w],
    }
}

/// A factor of a value's size: its place in memory (0 is the batch) and how many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    pub place: usize,
    pub size: usize,
}

/// A tensor of the file as a value of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The value.
    pub layer: LayerId,
    /// The tensor's sizes, the batch first.
    pub shape: Vec<usize>,
    /// Factors above 1 of each size of the tensor.
    pub factors: Vec<Vec<Factor>>,
}

impl View {
    /// A tensor that lies as the value does: `[batch, …]`.
    pub fn plain(layer: LayerId, shape: &[usize]) -> View {
        let factors = shape.iter().enumerate().map(|(place, &size)| match (place, size) {
            (0, _) => vec![Factor { place, size }],
            (_, 1) => vec![],
            _ => vec![Factor { place, size }],
        });
        View { layer, shape: shape.to_vec(), factors: factors.collect() }
    }

    /// The same place in memory for another value, which lies as this one does.
    pub fn of(&self, layer: LayerId) -> View {
        View { layer, ..self.clone() }
    }

    /// The batch's size, as the file says it.
    pub fn batch(&self) -> usize {
        self.shape[0]
    }

    /// Elements of one image.
    pub fn elements(&self) -> usize {
        product(&self.shape[1..])
    }

    /// Sizes of one image.
    pub fn image(&self) -> &[usize] {
        &self.shape[1..]
    }

    /// All factors of one image, in the tensor's order.
    pub fn sequence(&self) -> Vec<Factor> {
        self.factors[1..].concat()
    }

    /// Does the tensor lie as the value does?
    pub fn in_order(&self) -> bool {
        self.sequence().is_sorted_by_key(|f| f.place)
    }

    /// Sizes and axes exchanged: axis `i` of the result is axis `order[i]`.
    pub fn transposed(&self, order: &[usize]) -> Option<View> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if order.len() != self.shape.len()
            || order.first() != Some(&0)
            || sorted.iter().enumerate().any(|(i, &axis)| i != axis)
        {
            return None;
        }
        let shape = order.iter().map(|&axis| self.shape[axis]).collect();
        let factors = order.iter().map(|&axis| self.factors[axis].clone()).collect();
        Some(View { layer: self.layer, shape, factors })
    }

    /// The order of axes in which the tensor lies as the value does; `None` where it lies so already, or in no order of
    /// axes. Sizes of 1 stay beside their neighbours.
    pub fn order_in_memory(&self) -> Option<Vec<usize>> {
        let place = |axis: usize| {
            let known = |axis: &usize| self.factors[*axis].first().map(|f| f.place);
            (1..=axis).rev().find_map(|a| known(&a)).or_else(|| (axis..self.shape.len()).find_map(|a| known(&a)))
        };
        let mut order: Vec<usize> = (1..self.shape.len()).collect();
        order.sort_by_key(|&axis| place(axis));
        order.insert(0, 0);
        (!self.in_order() && self.transposed(&order)?.in_order()).then_some(order)
    }

    /// The tensor under another shape with the same batch; `None` where a size of it is made of parts that do not
    /// divide.
    pub fn reshaped(&self, shape: &[usize]) -> Option<View> {
        let same = !shape.is_empty()
            && shape.first() == self.shape.first()
            && shape.len() <= MOST_DIMENSIONS
            && product(&shape[1..]) == self.elements();
        if !same {
            return None;
        }
        let mut open = self.merged();
        open.reverse();
        let mut factors = vec![self.factors[0].clone()];
        // Factors that are cut get places between those of their neighbours.
        for &size in &shape[1..] {
            let (mut group, mut rest) = (Vec::new(), size);
            while rest > 1 {
                let mut factor = open.pop()?;
                if rest.is_multiple_of(factor.size) {
                    rest /= factor.size;
                } else if factor.size.is_multiple_of(rest) {
                    let inner = Factor { place: factor.place + 1, size: factor.size / rest };
                    open.push(inner);
                    factor.size = rest;
                    rest = 1;
                } else {
                    return None;
                }
                group.push(factor);
            }
            factors.push(group);
        }
        let mut view = View { layer: self.layer, shape: shape.to_vec(), factors };
        view.renumber();
        Some(view)
    }

    /// Neighbours in memory that follow each other in the tensor, as one; places are far enough apart to cut each
    /// factor into as many as it can have.
    fn merged(&self) -> Vec<Factor> {
        let mut merged: Vec<Factor> = Vec::new();
        let mut last = usize::MAX;
        for factor in self.sequence() {
            match merged.last_mut().filter(|_| last.checked_add(1) == Some(factor.place)) {
                Some(before) => before.size *= factor.size,
                None => merged.push(Factor { place: factor.place * 64, size: factor.size }),
            }
            last = factor.place;
        }
        merged
    }

    /// Numbers places from 1 on, without gaps.
    fn renumber(&mut self) {
        let mut places: Vec<usize> = self.sequence().iter().map(|f| f.place).collect();
        places.sort_unstable();
        for factor in self.factors[1..].iter_mut().flatten() {
            factor.place = 1 + places.binary_search(&factor.place).unwrap_or(0);
        }
    }

    /// Where the axes lie in memory, if they are neighbours there, in order: elements before, of them, and after.
    pub fn run(&self, axes: &[usize]) -> Option<[usize; 3]> {
        let factors: Vec<Factor> = axes.iter().flat_map(|&axis| self.factors[axis].clone()).collect();
        let mut places: Vec<usize> = factors.iter().map(|f| f.place).collect();
        places.sort_unstable();
        let together = places.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let size =
            |some: &dyn Fn(&Factor) -> bool| self.sequence().iter().filter(|f| some(f)).map(|f| f.size).product();
        let (first, last) = match (places.first(), places.last()) {
            (Some(&first), Some(&last)) => (first, last),
            _ => return Some([1, 1, self.elements()]),
        };
        let (before, after) = (size(&|f| f.place < first), size(&|f| f.place > last));
        together.then_some([before, factors.iter().map(|f| f.size).product(), after])
    }

    /// The tensor without the axes, whose elements were put together into one; `kept` leaves them with the size 1.
    pub fn without(&self, layer: LayerId, axes: &[usize], kept: bool) -> View {
        let (mut shape, mut factors) = (Vec::new(), Vec::new());
        for axis in 0..self.shape.len() {
            match (axes.contains(&axis), kept) {
                (false, _) => {
                    shape.push(self.shape[axis]);
                    factors.push(self.factors[axis].clone());
                }
                (true, true) => {
                    shape.push(1);
                    factors.push(vec![]);
                }
                (true, false) => {}
            }
        }
        let mut view = View { layer, shape, factors };
        view.renumber();
        view
    }

    /// The tensor with another number of elements on an axis that lies first in memory.
    pub fn with_channels(&self, layer: LayerId, axis: usize, size: usize) -> View {
        let mut view = View { layer, ..self.clone() };
        view.shape[axis] = size;
        view.factors[1..].iter_mut().flatten().for_each(|f| f.place += 1);
        view.factors[axis] = if size == 1 { vec![] } else { vec![Factor { place: 1, size }] };
        view.renumber();
        view
    }

    /// The place in memory of each element of an image, in the tensor's order.
    pub fn places(&self) -> Vec<usize> {
        let sequence = self.sequence();
        let stride = |f: &Factor| sequence.iter().filter(|g| g.place > f.place).map(|g| g.size).product::<usize>();
        let strides: Vec<usize> = sequence.iter().map(stride).collect();
        let mut places = vec![0; 1];
        for (factor, stride) in sequence.iter().zip(strides) {
            places = places.iter().flat_map(|p| (0..factor.size).map(move |i| p + i * stride)).collect();
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn nhwc_is_flattened_in_another_order() {
        // [2, 3, 2, 2] as [2, 2, 2, 3], flat: channels last.
        let view = View::plain(0, &[2, 3, 2, 2]).transposed(&[0, 2, 3, 1]).expect("fits");
        assert_eq!(view.shape, [2, 2, 2, 3]);
        let flat = view.reshaped(&[2, 12]).expect("fits");
        assert_eq!(flat.places(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        assert_eq!(view.order_in_memory(), Some(vec![0, 3, 1, 2]));
        assert_eq!(flat.order_in_memory(), None);
        let row = View::plain(0, &[2, 3, 1, 2]).transposed(&[0, 2, 3, 1]).expect("fits");
        assert_eq!(row.order_in_memory(), Some(vec![0, 3, 1, 2]));
        let back = flat.reshaped(&[2, 4, 3]).expect("fits").transposed(&[0, 2, 1]).expect("fits");
        assert!(back.in_order() && back.reshaped(&[2, 3, 2, 2]).is_some_and(|v| v.in_order()));
    }

    #[test]
    fn channels_are_cut_and_shuffled() {
        let view = View::plain(0, &[1, 6, 2]).reshaped(&[1, 2, 3, 2]).expect("fits");
        assert_eq!(view.run(&[2]), Some([2, 3, 2]));
        assert_eq!(view.run(&[1, 3]), None);
        let shuffled = view.transposed(&[0, 2, 1, 3]).expect("fits");
        assert!(!shuffled.in_order());
        assert_eq!(shuffled.reshaped(&[1, 6, 2]).map(|v| v.places()), Some(vec![0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]));
        assert!(view.reshaped(&[1, 5, 2]).is_none() && view.reshaped(&[2, 6]).is_none());
    }
}
