//! Activation functions on values of a micro-kernel, and what else happens to results before they are stored.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Compare, Elem, Val};
use crate::recipes::common::math;
use crate::recipes::common::{Epilogue, Function};
use crate::types::Format;

/// Returns a part of a name; equal functions have equal ones.
fn function_name(function: Function) -> String {
    match function {
        Function::Relu => "_relu".into(),
        Function::LeakyRelu { slope } => format!("_leaky{slope}"),
        Function::Elu { alpha } => format!("_elu{alpha}"),
        Function::Sigmoid => "_sigmoid".into(),
        Function::Tanh => "_tanh".into(),
        Function::Clip { low, high } => {
            let [low, high] = [low, high].map(|limit| limit.map_or("none".into(), |v| v.to_string()));
            format!("_clip{low}_{high}")
        }
    }
}

impl Epilogue {
    /// Returns a part of a name; equal epilogues have equal ones.
    pub fn name(&self) -> String {
        let round = self.round.map_or(String::new(), |format| format!("_{}", format.name()));
        self.activation.map_or(String::new(), function_name) + &round
    }

    /// Registers that [`Epilogue::apply`] needs beside the accumulators, less those that the sum's own loop needs too.
    pub fn registers(&self) -> u32 {
        match self.activation {
            // The polynomial of exp: argument, power of two and two terms at a time, while all other results still
            // wait.
            Some(Function::Elu { .. } | Function::Sigmoid | Function::Tanh) => 2,
            Some(Function::Relu | Function::LeakyRelu { .. } | Function::Clip { .. }) | None => 0,
        }
    }

    /// Returns what is left to do where a store rounds by itself.
    pub fn stored_as(self, elem: Elem) -> Epilogue {
        Epilogue { round: self.round.filter(|&format| (format, elem) != (Format::Bf16, Elem::Bf16)), ..self }
    }

    /// Applies it to a sum `x`.
    pub fn apply(&self, b: &mut MicroKernelBuilder, x: Val) -> Val {
        let x = self.activation.map_or(x, |function| activate(b, function, x));
        self.round.map_or(x, |format| math::round(b, x, format))
    }
}

/// Computes `function(x)` in every lane.
pub fn activate(b: &mut MicroKernelBuilder, function: Function, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    match function {
        Function::Relu => {
            let zero = b.f32(0.0, lanes);
            // In this order a NaN goes through, so that training sees it.
            b.max(zero, x)
        }
        Function::LeakyRelu { slope } => {
            let (zero, slope) = (b.f32(0.0, lanes), b.f32(slope.get(), lanes));
            let scaled = b.mul(x, slope);
            let positive = b.compare(Compare::Gt, x, zero);
            b.select(positive, x, scaled)
        }
        Function::Elu { alpha } => {
            let (zero, one, alpha) = (b.f32(0.0, lanes), b.f32(1.0, lanes), b.f32(alpha.get(), lanes));
            let power = math::exp(b, x);
            let below = b.sub(power, one);
            let below = b.mul(alpha, below);
            let positive = b.compare(Compare::Gt, x, zero);
            b.select(positive, x, below)
        }
        Function::Sigmoid => math::sigmoid(b, x),
        Function::Tanh => math::tanh(b, x),
        Function::Clip { low, high } => {
            // In this order a NaN goes through, as above.
            let x = match low {
                Some(low) => {
                    let low = b.f32(low.get(), lanes);
                    b.max(low, x)
                }
                None => x,
            };
            match high {
                Some(high) => {
                    let high = b.f32(high.get(), lanes);
                    b.min(high, x)
                }
                None => x,
            }
        }
    }
}

/// Computes the gradient dy times the function's slope where its result is y.
pub fn slope_times(b: &mut MicroKernelBuilder, function: Function, [y, dy]: [Val; 2]) -> Val {
    let lanes = b.ty(y).lanes;
    let (zero, one) = (b.f32(0.0, lanes), b.f32(1.0, lanes));
    let below = match function {
        Function::Relu => zero,
        Function::LeakyRelu { slope } => {
            let slope = b.f32(slope.get(), lanes);
            b.mul(slope, dy)
        }
        Function::Elu { alpha } => {
            let alpha = b.f32(alpha.get(), lanes);
            let slope = b.add(y, alpha);
            b.mul(slope, dy)
        }
        Function::Sigmoid => {
            let rest = b.sub(one, y);
            let slope = b.mul(y, rest);
            return b.mul(slope, dy);
        }
        Function::Clip { low, high } => {
            let mut dx = dy;
            if let Some(low) = low {
                let low = b.f32(low.get(), lanes);
                let above = b.compare(Compare::Gt, y, low);
                dx = b.select(above, dx, zero);
            }
            if let Some(high) = high {
                let high = b.f32(high.get(), lanes);
                let below = b.compare(Compare::Gt, high, y);
                dx = b.select(below, dx, zero);
            }
            return dx;
        }
        Function::Tanh => {
            let square = b.mul(y, y);
            let slope = b.sub(one, square);
            return b.mul(slope, dy);
        }
    };
    let positive = b.compare(Compare::Gt, y, zero);
    b.select(positive, dy, below)
}
