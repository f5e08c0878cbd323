//! Changes of shape, which cost nothing here, and what is known of shapes.

use super::super::read::{Const, Node};
use super::super::{axes, fold};
use super::images::shown;
use super::view::{View, product};
use super::{Map, Mapped, Value};
use crate::io::sheet::{Arg, Args};
use std::rc::Rc;

impl<'n> Map<'n> {
    /// Translates what changes no number: casts between floats, dropout at inference.
    pub(super) fn unchanged(&mut self, node: &Node) -> Mapped {
        if node.op == "Cast" {
            let to = node.int("to").unwrap_or(0);
            refuse_cast(to)?;
        }
        if node.op == "CastLike"
            && let Some(like) = self.constant(node, 1)?
        {
            refuse_cast(like.kind as i64)?;
        }
        if node.op == "Dropout" && self.constant(node, 2)?.is_some_and(|c| c.scalar() == Some(1.0)) {
            let ratio = self.constant(node, 1)?.and_then(|c| c.scalar()).unwrap_or(0.5);
            if ratio != 0.0 {
                return Err("it drops values at random (training_mode = 1): export for inference".into());
            }
        }
        if node.op == "Dropout" && self.needed(node, 1) {
            return Err("its mask is used".into());
        }
        let x = self.view(node, 0)?;
        if node.op != "Dropout" {
            return Ok(x);
        }
        let given = self.constant(node, 1)?.and_then(|c| c.scalar());
        self.dropout(node, &x, given.or(node.float("ratio")).unwrap_or(0.5), true)
    }

    /// Adds a dropout, which does nothing at inference but that of the paper's code.
    pub(super) fn dropout(&mut self, node: &Node, x: &View, rate: f32, inverted: bool) -> Mapped {
        if !(0.0..1.0).contains(&rate) || rate == 0.0 {
            return Ok(x.clone());
        }
        let args = Args::default().with("rate", Arg::Float(rate));
        let args = args.unless("inverted", Arg::Bool(inverted), Arg::Bool(true));
        let dims = self.sheet.layers[x.layer].dims.clone();
        let layer = self.layer(node, "dropout", args, x.layer, dims);
        Ok(x.of(layer))
    }

    /// Translates changes of shape and exchanges of axes.
    pub(super) fn reshaping(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let rank = x.shape.len();
        let shape = match node.op.as_str() {
            "Transpose" => {
                let order = axes::order(node, rank)?;
                return Ok(x.transposed(&order).ok_or_else(|| format!("its axes {order:?} move the batch"))?);
            }
            "Flatten" => match axes::front(node, rank)? {
                1 => vec![x.batch(), x.elements()],
                at if at > 1 && x.batch() == 1 && product(&x.shape[1..at]) == 1 => vec![1, x.elements()],
                at => return Err(format!("its axis is {at}: it mixes images").into()),
            },
            "Squeeze" => {
                let axes = match self.ints(node, 1, "axes")? {
                    Some(given) => axes::axes(&given, rank)?,
                    None => (1..rank).filter(|&axis| x.shape[axis] == 1).collect(),
                };
                if axes.contains(&0) {
                    return Err("it would remove the batch, the dimension of the images".into());
                }
                axes::squeezed(&x.shape, &axes)?
            }
            "Unsqueeze" => axes::unsqueezed(&x.shape, &self.ints(node, 1, "axes")?.ok_or("it has no axes")?)?,
            "Expand" => {
                let target = self.needed_constant(node, 1)?;
                let target = target.as_ints().ok_or("its shape is not a list of whole numbers")?.to_vec();
                let behind = target.iter().rev().zip(x.shape.iter().rev());
                if target.len() > rank || behind.into_iter().any(|(&t, &s)| t != 1 && t != s as i64) {
                    return Err(format!("it repeats values of {:?} to {}", x.image(), shown(target)).into());
                }
                return Ok(x);
            }
            _ => {
                let target = self.ints(node, 1, "shape")?.ok_or("its shape is not given")?;
                target_shape(&x, &target, node.int("allowzero").unwrap_or(0) != 0)?
            }
        };
        let sizes = |sizes: &[usize]| shown(sizes.iter().map(|&size| size as i64));
        let wrong = || format!("it makes {} of {}, which does not keep images apart", sizes(&shape), sizes(&x.shape));
        Ok(x.reshaped(&shape).ok_or_else(wrong)?)
    }

    /// Translates nodes whose results are no single value of the network.
    pub(super) fn special(&mut self, node: &'n Node) -> Mapped<Vec<Value>> {
        match node.op.as_str() {
            "Split" => self.split(node),
            op => {
                let x = self.view(node, 0)?;
                let sizes: Vec<i64> = x.shape.iter().map(|&d| d as i64).collect();
                let made = match op {
                    "Size" => {
                        self.mark_count(node, &x);
                        Const::ints(&[], vec![sizes.iter().fold(1i64, |n, &d| n.saturating_mul(d))])
                    }
                    _ => {
                        let stated = axes::stated(node, sizes.len());
                        let start = stated.start;
                        let part = sizes[stated].to_vec();
                        self.mark_sizes(node, &x, start, part.len());
                        Const::ints(&[part.len()], part)
                    }
                };
                Ok(vec![Value::Const(Rc::new(made))])
            }
        }
    }
}

/// Refuses types other than FLOAT and DOUBLE: everything is computed in float32.
fn refuse_cast(to: i64) -> Result<(), String> {
    match to {
        1 | 11 => Ok(()),
        10 | 16 => Err("it rounds values that are computed to 16 bits, where all is computed in float32".into()),
        _ => Err("it makes whole numbers of values that are computed".into()),
    }
}

/// Returns the shape that a Reshape asks for.
fn target_shape(x: &View, target: &[i64], zeros: bool) -> Result<Vec<usize>, String> {
    let sizes = x.shape.iter().map(|&size| size as i64);
    let wrong = || format!("it makes {} of {}", shown(target.iter().copied()), shown(sizes));
    fold::target_sizes(&x.shape, target, zeros).ok_or_else(wrong)
}
