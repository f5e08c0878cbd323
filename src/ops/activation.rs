//! Activation functions without parameters. All gradients come from the result, so that the operand need not be kept.

use super::attr::attributes;

attributes! {
    /// `x -> f(x)`; `function` is `relu`, `leaky_relu`, `elu`, `sigmoid` or `tanh`; `slope` is the slope of `leaky_relu` (at least 0) or the
    /// alpha of `elu` (above 0), else 0.
    Activation {
        function: String,
        slope: f64,
    }
}
super::unfinished!(Activation);

attributes! {
    /// `(y, dy) -> dx`
    ActivationGrad {
        function: String,
        slope: f64,
    }
}
super::unfinished!(ActivationGrad);
