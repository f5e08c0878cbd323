//! Layers that readers of different files write alike.

use super::{Arg, Args, Layer, LayerId, Sheet};
use crate::ops::check::MOST_ELEMENTS;
use crate::ops::window::Window;
use std::collections::BTreeMap;

impl Args {
    /// Adds an argument for rows and columns, unless both are `default`.
    fn pair(self, name: &'static str, value: [usize; 2], default: usize) -> Args {
        self.unless(name, Arg::Pair(value), Arg::Pair([default; 2]))
    }

    /// The arguments of `pad`: `[top, left]` and `[bottom, right]` pixels of a value.
    pub fn padding([begin, end]: [[usize; 2]; 2], value: f32) -> Args {
        let sides = [begin[0], end[0], begin[1], end[1]];
        let mut args = Args::default();
        if sides.iter().all(|&side| side == sides[0]) {
            args = args.with("pixels", Arg::Int(sides[0]));
        } else {
            for (name, side) in ["top", "bottom", "left", "right"].into_iter().zip(sides) {
                args = args.unless(name, Arg::Int(side), Arg::Int(0));
            }
        }
        args.unless("value", Arg::Float(value), Arg::Float(0.0))
    }

    /// The arguments of a pool over windows.
    pub fn pooling(kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2], ceil: bool) -> Args {
        let args = Args::default().with("kernel", Arg::Pair(kernel));
        let args = args.unless("stride", Arg::Pair(stride), Arg::Pair(kernel)).pair("pad", pad, 0);
        args.unless("ceil", Arg::Bool(ceil), Arg::Bool(true))
    }

    /// The arguments of `lrn`.
    pub fn lrn(size: usize, [alpha, beta, k]: [f32; 3]) -> Args {
        let args = Args::default().unless("size", Arg::Int(size), Arg::Int(5));
        let args = args.unless("alpha", Arg::Float(alpha), Arg::Float(1e-4));
        args.unless("beta", Arg::Float(beta), Arg::Float(0.75)).unless("k", Arg::Float(k), Arg::Float(1.0))
    }
}

/// Returns the function of a convolution with its arguments but `bias`: one of a single pixel is `cccp` unless `plain`.
pub fn convolution(outputs: usize, window: &Window, groups: usize, plain: bool) -> (&'static str, Args) {
    let Window { kernel, stride, pad, dilation } = *window;
    let args = Args::default().with("channels", Arg::Int(outputs));
    if kernel == [1, 1] && stride == [1, 1] && pad == [0, 0] && groups == 1 && !plain {
        return ("cccp", args);
    }
    let args = args.with("kernel", Arg::Pair(kernel)).pair("stride", stride, 1).pair("pad", pad, 0);
    ("conv", args.pair("dilation", dilation, 1).unless("groups", Arg::Int(groups), Arg::Int(1)))
}

/// Exchanges rows and columns.
pub fn turned(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

impl Sheet {
    /// Refuses layers, from one on, that the language cannot hold or write.
    pub fn writable(&self, from: LayerId) -> Result<(), String> {
        for layer in &self.layers[from..] {
            let elements = layer.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            if elements.is_none_or(|n| n > MOST_ELEMENTS) {
                return Err(format!("its value has more than {MOST_ELEMENTS} elements"));
            }
            for (_, arg) in &layer.args.0 {
                if let Arg::Float(number) = arg
                    && !number.is_finite()
                {
                    return Err(format!("it needs the number {number}, which the language does not write"));
                }
            }
        }
        Ok(())
    }

    /// Returns a layer's value under the shape `dims`, adding a change of shape where it lies in another.
    pub fn shaped(&mut self, layer: LayerId, dims: &[usize]) -> LayerId {
        if self.layers[layer].dims == dims {
            return layer;
        }
        // Two changes of shape behind each other are one.
        let before = &self.layers[layer];
        let source = match before.function {
            "reshape" | "flatten" if before.name.is_none() => before.operands[0],
            _ => layer,
        };
        if self.layers[source].dims == dims {
            return source;
        }
        let (function, args) = match dims {
            [_] => ("flatten", Args::default()),
            _ => ("reshape", Args::default().with("shape", Arg::Ints(dims.to_vec()))),
        };
        let (operands, params) = (vec![source], BTreeMap::new());
        self.add(Layer { function, args, operands, params, dims: dims.to_vec(), ..Layer::default() })
    }
}
