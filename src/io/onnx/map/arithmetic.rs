//! Sums, products, maxima: of two values, or of a value and a constant.

use super::super::read::{Const, Data, Node};
use super::view::View;
use super::{Map, Mapped, Reason, Value};
use crate::io::sheet::{Arg, Args, LayerId};
use std::rc::Rc;

impl<'n> Map<'n> {
    /// Translates an operator of arithmetic that has a value of the network among its operands.
    pub(super) fn arithmetic(&mut self, node: &'n Node) -> Mapped {
        let two = |map: &mut Self, f: fn(&mut Self, &'n Node, &Value, &Value) -> Mapped| {
            let (a, b) = (map.operand(node, 0)?, map.operand(node, 1)?);
            f(map, node, &a, &b)
        };
        match node.op.as_str() {
            "Neg" => self.view(node, 0).and_then(|x| self.scaled(&x, -1.0, 0.0)),
            "Sub" => two(self, Self::difference),
            "Div" => two(self, Self::quotient),
            "Pow" => two(self, Self::power),
            "Mean" => {
                let sum = self.many(node, Self::sum)?;
                self.scaled(&sum, 1.0 / node.inputs.len() as f32, 0.0)
            }
            "Mul" if super::names::ours(self.net) && node.doc == "dropout" => {
                let (x, kept) = (self.view(node, 0)?, self.needed_constant(node, 1)?);
                self.dropout(node, &x, 1.0 - kept.scalar().unwrap_or(1.0), false)
            }
            "Sum" if node.inputs.len() > 2 => match self.together(node)? {
                Some(sum) => Ok(sum),
                None => self.many(node, Self::sum),
            },
            "Mul" => self.many(node, Self::product),
            "Max" => self.many(node, Self::maximum),
            "Min" => self.many(node, Self::minimum),
            _ => self.many(node, Self::sum),
        }
    }

    /// Returns an operand; constants of old operator sets that name an axis are brought to where it is.
    fn operand(&self, node: &Node, i: usize) -> Mapped<Value> {
        let value = node.input(i).and_then(|name| self.values.get(name)).cloned();
        let value = value.ok_or_else(|| format!("it has no operand {}", i + 1))?;
        match (&value, node.int("axis"), self.values.get(node.inputs[0].as_str())) {
            (Value::Const(c), Some(axis), Some(Value::View(view))) if self.net.opset < 7 && i == 1 => {
                let axis = if axis < 0 { axis + view.shape.len() as i64 } else { axis };
                let behind = (view.shape.len() as i64 - axis - c.dims.len() as i64).max(0) as usize;
                let dims = [&c.dims[..], &vec![1; behind]].concat();
                Ok(Value::Const(Rc::new(c.reshaped(&dims))))
            }
            _ => Ok(value),
        }
    }

    /// Takes all operands together, two by two.
    fn many(&mut self, node: &'n Node, two: fn(&mut Self, &'n Node, &Value, &Value) -> Mapped) -> Mapped {
        let mut operands: Vec<Value> = (0..node.inputs.len()).map(|i| self.operand(node, i)).collect::<Mapped<_>>()?;
        // A value first: constants may follow each other.
        operands.sort_by_key(|value| matches!(value, Value::Const(_)));
        let mut all = operands.into_iter();
        let first = all.next().ok_or(Reason::Own("it has no operands".into()))?;
        let whole = all.try_fold(first, |a, b| two(self, node, &a, &b).map(Value::View))?;
        match whole {
            Value::View(view) => Ok(view),
            _ => Err("its operands are constant".into()),
        }
    }

    /// Adds one layer for a sum of values that all lie alike; `None` where they do not.
    fn together(&mut self, node: &Node) -> Mapped<Option<View>> {
        let mut views: Vec<View> = Vec::new();
        for i in 0..node.inputs.len() {
            match self.operand(node, i)? {
                Value::View(view) if views.first().is_none_or(|first| self.alike_factors(first, &view)) => {
                    views.push(view)
                }
                _ => return Ok(None),
            }
        }
        let first = views[0].clone();
        if views.len() > 64 || views.iter().any(|view| view.shape != first.shape) {
            return Ok(None);
        }
        let dims = self.sheet.layers[first.layer].dims.clone();
        let layers = views.iter().map(|view| self.shaped(view.layer, &dims)).collect();
        let name = super::names::of_node(self.net, node, "add");
        Ok(Some(first.of(self.weighted(name, "add", Args::default(), layers, dims, vec![]))))
    }

    /// Adds a layer on two values of one shape, or on images and a number for each channel of theirs.
    fn both(&mut self, node: &Node, function: &'static str, a: &View, b: &View) -> Mapped {
        if let Some(channels) = gates(a, b).or_else(|| gates(b, a)) {
            return self.gated(node, function, [a, b], channels);
        }
        let (x, y) = self.alike(a, b)?;
        let dims = self.sheet.layers[x].dims.clone();
        let name = super::names::of_node(self.net, node, function);
        let layer = self.weighted(name, function, Args::default(), vec![x, y], dims, vec![]);
        let of = if self.alike_factors(a, b) { a } else { &self.ordered(a)? };
        Ok(of.of(layer))
    }

    /// Adds a layer on images with this number of channels, and a number for each.
    fn gated(&mut self, node: &Node, function: &'static str, both: [&View; 2], channels: usize) -> Mapped {
        let layers = both.map(|view| {
            let mut dims = self.dims_with(view.layer, channels, view.elements() / channels);
            if view.elements() > channels && dims.len() < 3 {
                dims = vec![channels, 1, view.elements() / channels];
            }
            self.shaped(view.layer, &dims)
        });
        let large = both[usize::from(both[1].elements() > both[0].elements())];
        let dims = self.dims_with(large.layer, channels, large.elements() / channels);
        let name = super::names::of_node(self.net, node, function);
        Ok(large.of(self.weighted(name, function, Args::default(), layers.to_vec(), dims, vec![])))
    }

    fn alike_factors(&self, a: &View, b: &View) -> bool {
        let same = |v: &View| v.reshaped(&[v.batch(), v.elements()]).map(|flat| flat.factors);
        same(a).is_some() && same(a) == same(b)
    }

    /// Brings two values to one layout.
    pub(super) fn alike(&mut self, a: &View, b: &View) -> Mapped<(LayerId, LayerId)> {
        if a.shape != b.shape {
            let (a, b) = (a.image(), b.image());
            return Err(format!("its operands have the shapes {a:?} and {b:?}, and neither is constant").into());
        }
        if self.alike_factors(a, b) {
            let dims = self.sheet.layers[a.layer].dims.clone();
            return Ok((a.layer, self.shaped(b.layer, &dims)));
        }
        let (x, dims) = self.image(a)?;
        Ok((x, self.plain(b, &dims)?))
    }

    fn sum(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        match (a, b) {
            (Value::View(a), Value::View(b)) => self.both(node, "add", a, b),
            (Value::View(x), Value::Const(c)) | (Value::Const(c), Value::View(x)) => self.affine(x, None, Some(c)),
            _ => Err("its operands are constant".into()),
        }
    }

    fn product(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        match (a, b) {
            (Value::View(a), Value::View(b)) => self.both(node, "mul", a, b),
            (Value::View(x), Value::Const(c)) | (Value::Const(c), Value::View(x)) => self.affine(x, Some(c), None),
            _ => Err("its operands are constant".into()),
        }
    }

    fn difference(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        match (a, b) {
            (_, Value::Const(c)) => self.sum(node, a, &Value::Const(Rc::new(each(c, |v| -v)))),
            (Value::View(_), Value::View(b)) => {
                let minus = self.scaled(b, -1.0, 0.0)?;
                self.sum(node, a, &Value::View(minus))
            }
            (Value::Const(c), Value::View(b)) => self.affine(b, Some(&Const::floats(&[], vec![-1.0])), Some(c)),
            _ => Err(Reason::Upstream),
        }
    }

    fn quotient(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        match (a, b) {
            (_, Value::Const(c)) if c.as_floats().iter().all(|v| *v != 0.0) => {
                self.product(node, a, &Value::Const(Rc::new(each(c, |v| 1.0 / v))))
            }
            (_, Value::Const(_)) => Err("it divides by 0".into()),
            _ => Err("it divides by a value that is computed".into()),
        }
    }

    fn power(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        match (a, b) {
            (Value::View(x), Value::Const(c)) if c.scalar() == Some(2.0) => self.both(node, "mul", x, x),
            (Value::View(x), Value::Const(c)) if c.scalar() == Some(1.0) => Ok(x.clone()),
            _ => Err("only the powers 1 and 2 have a counterpart".into()),
        }
    }

    /// `max(a, b) = relu(a - b) + b`
    fn maximum(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        if let (Value::View(x), Value::Const(c)) = (a, b)
            && let Some(low) = c.scalar()
        {
            return self.between(node, x, Some(low), None);
        }
        let above = self.difference(node, a, b)?;
        let above = self.simple(node, "relu", &above)?;
        self.sum(node, &Value::View(above), b)
    }

    /// `min(a, b) = a - relu(a - b)`, and with a constant `b - relu(b - a)`.
    fn minimum(&mut self, node: &'n Node, a: &Value, b: &Value) -> Mapped {
        if let (Value::View(x), Value::Const(c)) = (a, b)
            && let Some(high) = c.scalar()
        {
            return self.between(node, x, None, Some(high));
        }
        let (a, b) = if matches!(b, Value::Const(_)) { (b, a) } else { (a, b) };
        let above = self.difference(node, a, b)?;
        let above = self.simple(node, "relu", &above)?;
        self.difference(node, a, &Value::View(above))
    }

    /// Limits a value to `low` and `high`, where they are given.
    pub(super) fn clipped(&mut self, node: &'n Node, x: View, low: Option<f32>, high: Option<f32>) -> Mapped {
        let (low, high) = (low.filter(|v| *v > f32::MIN), high.filter(|v| *v < f32::MAX));
        match (low, high) {
            (None, None) => Ok(x),
            // All numbers become the high limit.
            (Some(low), Some(high)) if low > high => {
                let x = self.between(node, &x, Some(low), None)?;
                self.between(node, &x, None, Some(high))
            }
            _ => self.between(node, &x, low, high),
        }
    }

    /// Adds the layer for limits that leave numbers between them.
    fn between(&mut self, node: &'n Node, x: &View, low: Option<f32>, high: Option<f32>) -> Mapped {
        match (low, high) {
            (Some(0.0), None) => self.simple(node, "relu", x),
            (Some(0.0), Some(6.0)) => self.simple(node, "relu6", x),
            _ => {
                let limits = [("low", low), ("high", high)].into_iter();
                let given = limits.filter_map(|(name, limit)| Some((name, Arg::Float(limit?))));
                self.pointwise(node, "clip", Args(given.collect()), x)
            }
        }
    }
}

/// The channels of images, where another value has a number for each of them: along one axis, which lies first.
fn gates(images: &View, numbers: &View) -> Option<usize> {
    let sizes = images.shape.iter().zip(&numbers.shape);
    let along: Vec<usize> = (1..numbers.shape.len()).filter(|&axis| numbers.shape[axis] > 1).collect();
    let fits = images.shape.len() == numbers.shape.len() && sizes.clone().all(|(&i, &n)| n == 1 || n == i);
    if !fits || images.batch() != numbers.batch() || images.elements() == numbers.elements() {
        return None;
    }
    match along[..] {
        [] => Some(1),
        [axis] => images.run(&[axis]).filter(|run| run[0] == 1 && run[1] == images.shape[axis]).map(|run| run[1]),
        _ => None,
    }
}

/// Applies a function to each number.
fn each(c: &Const, f: impl Fn(f32) -> f32) -> Const {
    Const { data: Data::Float(c.as_floats().into_iter().map(f).collect()), ..Const::floats(&c.dims, vec![]) }
}
