//! Elements in another order or number: paddings, slices, enlargements, exchanges of axes. Where the language has no
//! layer for it, a convolution with fixed weights does it, for rows and then for columns.

use super::super::axes::{Slice, axis_of, in_turn, parts, places};
use super::super::read::Node;
use super::pool::LOWEST;
use super::view::{View, image_dims, product};
use super::{Map, Mapped, Value, tensor};

/// Most weights of a fixed map.
const MOST_WEIGHTS: usize = 1 << 22;

/// Longest axis whose elements are moved.
const MOST_MOVED: usize = 1 << 16;

/// A map of one axis: for each result, the elements that it is made of with their factors.
pub type Rows = Vec<Vec<(usize, f32)>>;

impl<'n> Map<'n> {
    /// Brings the elements of a view into the tensor's order, where they are not.
    pub(super) fn ordered(&mut self, view: &View) -> Mapped {
        if view.in_order() {
            return Ok(View::plain(view.layer, &view.shape));
        }
        let sequence = view.sequence();
        // Factors that lie last in both orders move with the rest.
        let mut sorted = sequence.clone();
        sorted.sort_by_key(|f| f.place);
        let still = sequence.iter().rev().zip(sorted.iter().rev()).take_while(|(a, b)| a == b).count();
        let rest: usize = sequence[sequence.len() - still..].iter().map(|f| f.size).product();
        let count = view.elements() / rest;
        if count.checked_mul(count).is_none_or(|n| n > MOST_WEIGHTS) {
            return Err(format!("it needs {count} values in another order, which the language has no layer for").into());
        }
        let mut head = View::plain(view.layer, &[1, count]);
        head.factors[1] = sequence[..sequence.len() - still].to_vec();
        let mut weights = vec![0.0; count * count];
        head.places().into_iter().enumerate().for_each(|(i, place)| weights[i * count + place] = 1.0);
        let dims = self.image_with(view.layer, count, rest);
        let operand = self.shaped(view.layer, &dims);
        let layer = self.fixed(operand, [1, 1], 1, tensor(&[count, count, 1, 1], weights));
        Ok(View::plain(layer, &view.shape))
    }

    /// Applies a map to an axis of a view.
    pub(super) fn along(&mut self, view: &View, axis: usize, rows: &Rows) -> Mapped {
        if let Some(order) = view.order_in_memory() {
            let at = order.iter().position(|&a| a == axis).unwrap_or(axis);
            return as_it_lies(view, &order, |view| self.along(view, at, rows));
        }
        let view = self.ordered(view)?;
        let size = view.shape[axis];
        let before: usize = product(&view.shape[1..axis]);
        let after: usize = product(&view.shape[axis + 1..]);
        let mut shape = view.shape.clone();
        shape[axis] = rows.len();
        let mut matrix = vec![0.0; rows.len() * size];
        for (i, row) in rows.iter().enumerate() {
            row.iter().for_each(|&(at, factor)| matrix[i * size + at] += factor);
        }
        let weights = before.checked_mul(matrix.len()).filter(|n| *n <= MOST_WEIGHTS);
        let weights = weights.ok_or_else(|| format!("moving {before} x {size} values takes too many weights"))?;
        // [before, size, after]: a window over the whole axis, for each of `before` by itself.
        let operand = self.shaped(view.layer, &[before, size, after]);
        let all: Vec<f32> = matrix.iter().copied().cycle().take(weights).collect();
        let layer = self.fixed(operand, [size, 1], before, tensor(&[before * rows.len(), 1, size, 1], all));
        Ok(View::plain(layer, &shape))
    }

    /// Translates Pad.
    pub(super) fn pad(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let rank = x.shape.len();
        let given = self.ints(node, 1, if node.ints("pads").is_some() { "pads" } else { "paddings" })?;
        let given = given.ok_or("its pads are not given")?;
        let axes = match self.ints(node, 3, "axes")? {
            Some(axes) => in_turn(&axes, rank)?,
            None => (0..rank).collect(),
        };
        if given.len() != 2 * axes.len() {
            return Err(format!("it has {} pads for {} dimensions", given.len(), axes.len()).into());
        }
        let value = match self.constant(node, 2)? {
            Some(c) if c.is_empty() => 0.0,
            Some(c) => c.scalar().ok_or("its value is not one number")?,
            None => node.float("value").unwrap_or(0.0),
        };
        let value = if value == f32::NEG_INFINITY && self.only_pooled(node) { LOWEST } else { value };
        let mode = node.text("mode").unwrap_or_else(|| "constant".into());
        let mut sides = vec![(0i64, 0i64); rank];
        axes.iter().enumerate().for_each(|(i, &axis)| sides[axis] = (given[i], given[axes.len() + i]));
        if sides[0] != (0, 0) {
            return Err("it adds images to the batch".into());
        }
        if sides.iter().any(|&(a, b)| a.unsigned_abs().max(b.unsigned_abs()) > 1 << 20) {
            return Err(format!("its pads are {given:?}").into());
        }
        if mode != "constant" || sides.iter().any(|&(a, b)| a < 0 || b < 0) {
            return self.remapped(&x, &sides, &mode, value);
        }
        self.bordered(&x, &sides, value)
    }

    /// Are all users of a node's result pools of maxima, which take the least number as they take minus infinity?
    fn only_pooled(&self, node: &Node) -> bool {
        let Some(name) = node.outputs.first() else { return false };
        let pools = self.net.nodes.iter().filter(|n| n.op == "MaxPool" && n.input(0) == Some(name)).count();
        pools > 0 && self.uses.get(name.as_str()) == Some(&pools)
    }

    /// Adds numbers around rows and columns.
    fn bordered(&mut self, x: &View, sides: &[(i64, i64)], value: f32) -> Mapped {
        let padded: Vec<usize> = (0..sides.len()).filter(|&axis| sides[axis] != (0, 0)).collect();
        let Some((&first, &last)) = padded.first().zip(padded.last()) else { return Ok(x.clone()) };
        if let Some(order) = x.order_in_memory() {
            let sides: Vec<(i64, i64)> = order.iter().map(|&axis| sides[axis]).collect();
            return as_it_lies(x, &order, |x| self.bordered(x, &sides, value));
        }
        let shape: Vec<usize> =
            x.shape.iter().zip(sides).map(|(&size, &(a, b))| size + a as usize + b as usize).collect();
        if last - first > 1 {
            // Two axes at a time.
            let mut part = vec![(0, 0); sides.len()];
            part[first] = sides[first];
            let mut rest = sides.to_vec();
            rest[first] = (0, 0);
            let x = self.bordered(x, &part, value)?;
            return self.bordered(&x, &rest, value);
        }
        let view = self.ordered(x)?;
        // [before, rows, columns]: two neighbouring axes, or one with all behind it.
        let behind: usize = product(&view.shape[last + 1..]);
        let (rows, columns, own) = match (first == last, behind) {
            (false, 1) => (view.shape[first], view.shape[last], [sides[first], sides[last]]),
            (false, _) => {
                let mut part = vec![(0, 0); sides.len()];
                part[last] = sides[last];
                let mut rest = sides.to_vec();
                rest[last] = (0, 0);
                let x = self.bordered(&view, &part, value)?;
                return self.bordered(&x, &rest, value);
            }
            // Columns of rows, of an image or a signal.
            (true, 1) if first > 1 => {
                (if first > 2 { view.shape[first - 1] } else { 1 }, view.shape[first], [(0, 0), sides[first]])
            }
            (true, _) => (view.shape[first], behind, [sides[first], (0, 0)]),
        };
        let before = view.elements() / (rows * columns);
        let operand = self.shaped(view.layer, &[before, rows, columns]);
        let begin = own.map(|(a, _)| a as usize);
        let end = own.map(|(_, b)| b as usize);
        let layer = self.pad_layer(operand, [before, rows, columns], [begin, end], value);
        Ok(View::plain(layer, &shape))
    }

    /// Pads by what is there, or cuts off.
    fn remapped(&mut self, x: &View, sides: &[(i64, i64)], mode: &str, value: f32) -> Mapped {
        let mut x = x.clone();
        for (axis, &(begin, end)) in sides.iter().enumerate().filter(|(_, side)| **side != (0, 0)) {
            self.movable(&x, axis)?;
            let size = x.shape[axis] as i64;
            if mode == "constant" && value != 0.0 && (begin > 0 || end > 0) {
                return Err("it cuts off on one side and adds numbers on another".into());
            }
            let source = |at: i64| match mode {
                "edge" => Some(at.clamp(0, size - 1)),
                "wrap" => Some(at.rem_euclid(size)),
                "reflect" if size > 1 => {
                    let at = at.rem_euclid(2 * (size - 1));
                    Some(if at < size { at } else { 2 * (size - 1) - at })
                }
                "reflect" => Some(0),
                _ => Some(at).filter(|at| (0..size).contains(at)),
            };
            if !["edge", "wrap", "reflect", "constant"].contains(&mode) || size + begin + end < 1 {
                return Err(format!("its mode is `{mode}`, its pads {begin} and {end}").into());
            }
            let rows: Rows = (-begin..size + end)
                .map(|at| source(at).map(|from| (from as usize, 1.0)).into_iter().collect())
                .collect();
            x = self.along(&x, axis, &rows)?;
        }
        Ok(x)
    }

    /// Takes some elements of an axis.
    pub(super) fn taken(&mut self, x: &View, axis: usize, which: &[usize]) -> Mapped {
        if axis == 0 {
            return Err("it takes some images of a batch".into());
        }
        self.movable(x, axis)?;
        if which.is_empty() {
            return Err("it makes an empty value".into());
        }
        if which.iter().any(|&at| at >= x.shape[axis]) {
            return Err("it takes elements that are not there".into());
        }
        // In order, each once: an element may be taken several times.
        if which.len() == x.shape[axis] && which.iter().enumerate().all(|(i, &at)| i == at) {
            return Ok(x.clone());
        }
        self.along(x, axis, &which.iter().map(|&at| vec![(at, 1.0)]).collect())
    }

    /// Translates Slice, and Gather with constant places.
    pub(super) fn slice(&mut self, node: &Node) -> Mapped {
        let mut x = self.view(node, 0)?;
        if node.op == "Gather" {
            let given = self.needed_constant(node, 1)?;
            let axis = axis_of(node, 0, x.shape.len())?;
            let made = self.taken(&x, axis, &places(given.as_ints(), x.shape[axis])?)?;
            let shape = [&made.shape[..axis], &given.dims[..], &made.shape[axis + 1..]].concat();
            return Ok(made.reshaped(&shape).ok_or("it takes images apart")?);
        }
        for slice in Slice::of(|i, name| self.ints(node, i, name))? {
            let (axis, which) = slice.places(&x.shape)?;
            if axis == 0 && which.len() == x.shape[0] && which.is_sorted() {
                continue;
            }
            x = self.taken(&x, axis, &which)?;
        }
        Ok(x)
    }

    /// Refuses axes that are too long to be moved about.
    fn movable(&self, x: &View, axis: usize) -> Mapped<()> {
        match x.shape[axis] > MOST_MOVED {
            true if axis == 0 => Err("it takes some images of a batch".into()),
            true => Err(format!("it moves elements of an axis of {}", x.shape[axis]).into()),
            false => Ok(()),
        }
    }

    /// Translates Split.
    pub(super) fn split(&mut self, node: &Node) -> Mapped<Vec<Value>> {
        let x = self.view(node, 0)?;
        let axis = axis_of(node, 0, x.shape.len())?;
        self.movable(&x, axis)?;
        let parts = parts(self.ints(node, 1, "split")?, node.outputs.len(), x.shape[axis])?;
        let mut at = 0;
        let mut made = Vec::new();
        for part in parts {
            made.push(Value::View(self.taken(&x, axis, &(at..at + part).collect::<Vec<_>>())?));
            at += part;
        }
        Ok(made)
    }

    /// Returns the layer of a result, in the tensor's order and with at most three dimensions.
    pub(super) fn result(&mut self, view: &View) -> Mapped<usize> {
        let (layer, dims) = (view.layer, self.sheet.layers[view.layer].dims.clone());
        let ones = |dims: &[usize]| dims.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        // Sizes of 1 make no other value; features are features and images are images.
        if view.in_order() && ones(&dims) == ones(view.image()) {
            return Ok(match (view.image(), dims.len()) {
                ([_], 3) | ([_, _, _], 1) => self.sheet.shaped(layer, view.image()),
                _ => layer,
            });
        }
        self.plain(view, &image_dims(view.image()))
    }
}

/// Does something to a tensor with its axes in another order, and exchanges them back.
fn as_it_lies(view: &View, order: &[usize], f: impl FnOnce(&View) -> Mapped) -> Mapped {
    let made = f(&view.transposed(order).ok_or("its axes are wrong")?)?;
    let back: Vec<usize> = (0..order.len()).filter_map(|a| order.iter().position(|&o| o == a)).collect();
    Ok(made.transposed(&back).ok_or("its axes are wrong")?)
}
