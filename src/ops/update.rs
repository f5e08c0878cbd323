//! Updates of parameters and optimiser states, elementwise. Hyper-parameters are shared numbers (`[]`), so that one
//! compiled program serves any schedule.

use super::attr::attributes;
use super::{OperatorDef, check};
use crate::kernel::recipes::reduce;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

attributes! {
    /// `rule` names a formula; its operands are listed with it in `rules()`. `rate` and `decay` are the parameter's multipliers.
    Update {
        rule: String,
        rate: f64,
        decay: f64,
    }
}

/// A formula of an optimiser.
pub struct Rule {
    pub name: &'static str,
    /// Operands of the parameter's shape, first.
    pub tensors: &'static [&'static str],
    /// Shared numbers, after them.
    pub numbers: &'static [&'static str],
    /// The formula, for people: `r` and `d` are the parameter's multipliers of rate and decay.
    pub formula: &'static str,
}

/// All formulas. `g` is the gradient (already clipped), `w` the weight, primed states are the new ones.
///
/// * SGD as PyTorch has it: `v' = sgd_velocity`, `w' = sgd_step`; with Nesterov's momentum `w' = nesterov_step`.
///   Without momentum: `w' = sgd_plain`.
/// * SGD as Caffe and cuda-convnet have it, the rate inside the velocity: `v' = sgd_velocity_inside`,
///   `w' = sgd_step_inside`; with Nesterov's momentum `w' = nesterov_step_inside`.
/// * Adam: `g' = decayed` (where decay is not 0), `m' = adam_first`, `s' = adam_second`, `c1 = bias_correction(beta1,
///   step)`, `c2 = bias_correction(beta2, step)` (both once for all parameters; the first step is 1), `w' = adam_step`.
///   AdamW: no `decayed`, and `adamw_step` at the end.
/// * RMSProp: `g' = decayed`, `s' = adam_second` with alpha for beta2, then `w' = rmsprop_step`, or with momentum
///   `v' = rmsprop_velocity`, `w' = sgd_step`.
pub fn rules() -> &'static [Rule] {
    const fn rule(
        name: &'static str,
        tensors: &'static [&'static str],
        numbers: &'static [&'static str],
        formula: &'static str,
    ) -> Rule {
        Rule { name, tensors, numbers, formula }
    }
    const RULES: &[Rule] = &[
        rule("decayed", &["w", "g"], &["decay"], "g + d·decay·w"),
        rule("sgd_plain", &["w", "g"], &["rate", "decay"], "w - r·rate·(g + d·decay·w)"),
        rule("sgd_velocity", &["w", "g", "v"], &["momentum", "decay"], "momentum·v + (g + d·decay·w)"),
        rule(
            "sgd_velocity_inside",
            &["w", "g", "v"],
            &["rate", "momentum", "decay"],
            "momentum·v + r·rate·(g + d·decay·w)",
        ),
        rule("sgd_step", &["w", "v'"], &["rate"], "w - r·rate·v'"),
        rule("sgd_step_inside", &["w", "v'"], &[], "w - v'"),
        rule(
            "nesterov_step",
            &["w", "g", "v'"],
            &["rate", "momentum", "decay"],
            "w - r·rate·((g + d·decay·w) + momentum·v')",
        ),
        rule("nesterov_step_inside", &["w", "v", "v'"], &["momentum"], "w - ((1 + momentum)·v' - momentum·v)"),
        rule("adam_first", &["g", "m"], &["beta1"], "m + (1 - beta1)·(g - m)"),
        rule("adam_second", &["g", "s"], &["beta2"], "beta2·s + (1 - beta2)·g²"),
        rule("bias_correction", &[], &["beta", "step"], "1 - beta^step"),
        rule(
            "adam_step",
            &["w", "m'", "s'"],
            &["rate", "c1", "c2", "epsilon"],
            "w - r·rate/c1 · m'/(sqrt(s'/c2) + epsilon)",
        ),
        rule(
            "adamw_step",
            &["w", "m'", "s'"],
            &["rate", "c1", "c2", "epsilon", "decay"],
            "w·(1 - r·rate·d·decay) - r·rate/c1 · m'/(sqrt(s'/c2) + epsilon)",
        ),
        rule("rmsprop_step", &["w", "g", "s'"], &["rate", "epsilon"], "w - r·rate · g/(sqrt(s') + epsilon)"),
        rule("rmsprop_velocity", &["g", "s'", "v"], &["momentum", "epsilon"], "momentum·v + g/(sqrt(s') + epsilon)"),
    ];
    RULES
}

impl Update {
    fn rule(&self) -> Result<&'static Rule, String> {
        let found = rules().iter().find(|r| r.name == self.rule);
        found.ok_or_else(|| format!("unknown update rule `{}`", self.rule))
    }
}

impl OperatorDef for Update {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let rule = self.rule()?;
        let count = rule.tensors.len() + rule.numbers.len();
        if operands.len() != count {
            return Err(format!("{} takes {count} operands, {} given", rule.name, operands.len()));
        }
        let (tensors, numbers) = operands.split_at(rule.tensors.len());
        for (ty, name) in numbers.iter().zip(rule.numbers) {
            check::scalar(ty, name)?;
        }
        for (ty, name) in tensors.iter().zip(rule.tensors) {
            check::shared(ty, name)?;
            check::same(&tensors[0], ty)?;
        }
        Ok(operands[0].clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    super::no_products!();
}

attributes! {
    /// `(Σ squares [], limit []) -> min(1, limit/sqrt(Σ))`
    ClipFactor {}
}

impl OperatorDef for ClipFactor {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [squares, limit] = check::exactly(operands)?;
        check::scalar(squares, "the sum of squares")?;
        check::scalar(limit, "the limit")?;
        Ok(Type::shared(&[]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    super::no_products!();
}

attributes! {
    /// `w -> w`, each output unit's weights scaled so that their L2 norm is at most `limit`.
    MaxNorm {
        limit: f64,
    }
}

impl OperatorDef for MaxNorm {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [w] = check::exactly(operands)?;
        check::shared(w, "a weight")?;
        if self.limit > 0.0 { Ok(w.clone()) } else { Err(format!("the limit {} is not above 0", self.limit)) }
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::max_norm(site, self.limit as f32)
    }

    super::no_products!();
}
