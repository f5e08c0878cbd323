//! Updates of parameters and optimiser states, elementwise.

use super::attr::attributes;

attributes! {
    /// `rule` names a formula; its operands are listed with it in `rules()`. `rate` and `decay` are the parameter's multipliers.
    Update {
        rule: String,
        rate: f64,
        decay: f64,
    }
}
super::unfinished!(Update);

attributes! {
    /// `(Σ squares [], limit []) -> min(1, limit/sqrt(Σ))`
    ClipFactor {}
}
super::unfinished!(ClipFactor);

attributes! {
    /// `w -> w`, each output unit's weights scaled so that their L2 norm is at most `limit`.
    MaxNorm {
        limit: f64,
    }
}
super::unfinished!(MaxNorm);
