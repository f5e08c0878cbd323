//! The optimiser's update as graph values: clipping, the rule of each parameter, bounds on norms. States are parameters
//! named after theirs (`conv1.weight.velocity`); what a schedule may change between steps is an input. Gradients are
//! accumulated outside of the graph: as a larger batch.

use super::error::PassError;
use super::{name_once, step_input};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::arithmetic::{Add, Mix, Scale, ScaleBy};
use crate::ops::matrix::{Gram, Times, is_convolution};
use crate::ops::reduce::SumSquares;
use crate::ops::source::{Fill, Init, Param};
use crate::ops::update::{ClipFactor, MaxNorm, Rule, Update};
use ninc_runtime::plan::{Hyper, Role};
use ninc_runtime::spec::{self, Muon, Optimizer, Recipe};

/// Adds the updates of all `(parameter, gradient)`.
pub fn run(graph: &mut Graph, recipe: &Recipe, gradients: &[(NodeId, NodeId)]) -> Result<(), PassError> {
    let mut step = Step { graph, recipe };
    let mut pairs = gradients.to_vec();
    if recipe.clip.is_some() {
        step.clip(&mut pairs)?;
    }
    for (param, gradient) in pairs {
        step.update(param, gradient)?;
    }
    if recipe.lookahead.is_some() {
        step.look_ahead()?;
    }
    match recipe.average {
        Some(past) => step.averages(past),
        None => Ok(()),
    }
}

struct Step<'a> {
    graph: &'a mut Graph,
    recipe: &'a Recipe,
}

impl Step<'_> {
    /// Returns a hyper-parameter, an input that is the same for all parameters.
    fn number(&mut self, hyper: Hyper) -> Result<NodeId, PassError> {
        step_input(self.graph, Role::Hyper(hyper))
    }

    /// Returns the weight decay; a recipe without one adds no input.
    fn decay(&mut self) -> Result<NodeId, PassError> {
        let decay = match self.recipe.optimizer {
            Optimizer::Sgd { decay, .. } | Optimizer::Adam { decay, .. } | Optimizer::RmsProp { decay, .. } => decay,
        };
        if decay != 0.0 {
            return self.number(Hyper::Decay);
        }
        Ok(self.graph.add(Fill { value: 0.0, batched: false, dims: vec![] }, &[])?)
    }

    fn param(&self, id: NodeId) -> Result<&Param, PassError> {
        match self.graph.op(id) {
            Operator::Param(param) => Ok(param),
            other => Err(PassError::Graph(format!("the optimiser cannot change a `{}`", other.name()))),
        }
    }

    /// Adds a state that belongs to a parameter, 0 at the start; the runtime starts an average at its parameter's first
    /// value.
    fn state(&mut self, of: NodeId, suffix: &str) -> Result<NodeId, PassError> {
        let param = self.param(of)?;
        let (name, start) = (format!("{}.{suffix}", param.name), Init::Constant { value: 0.0 });
        let state = Param { trainable: false, decay: 0.0, state: true, ..Param::new(name, &param.dims, start) };
        Ok(self.graph.add(state, &[])?)
    }

    /// Adds a rule's value with the multipliers of `param`.
    fn rule(&mut self, rule: Rule, param: NodeId, operands: &[NodeId]) -> Result<NodeId, PassError> {
        let (rate, decay) = self.multipliers(param)?;
        Ok(self.graph.add(Update { rule, rate, decay }, operands)?)
    }

    /// Adds the value of a rule in which no multipliers stand.
    fn plain(&mut self, rule: Rule, operands: &[NodeId]) -> Result<NodeId, PassError> {
        Ok(self.graph.add(Update { rule, rate: 1.0, decay: 1.0 }, operands)?)
    }

    /// Returns the factors on rate and decay of `param`: the recipe's, or else its layer's.
    fn multipliers(&self, param: NodeId) -> Result<(f64, f64), PassError> {
        let param = self.param(param)?;
        let group = self.recipe.group_of(&param.name);
        Ok((group.rate.unwrap_or(param.rate), group.decay.unwrap_or(param.decay)))
    }

    /// Makes `place` become `value` at the end of the step.
    fn write(&mut self, place: NodeId, value: NodeId) {
        self.graph.updates.push((place, value));
    }

    /// Scales all gradients so that their common L2 norm is at most the recipe's `clip`.
    fn clip(&mut self, pairs: &mut [(NodeId, NodeId)]) -> Result<(), PassError> {
        let (total, small) = (self.squares(pairs, false)?, self.squares(pairs, true)?);
        let (Some(total), Some(small)) = (total, small) else { return Ok(()) };
        let limit = self.number(Hyper::Clip)?;
        let factor = self.graph.add(ClipFactor {}, &[total, small, limit])?;
        name_once(self.graph, factor, "clip_factor");
        for (_, gradient) in pairs {
            *gradient = self.graph.add(ScaleBy {}, &[*gradient, factor])?;
        }
        Ok(())
    }

    /// The sum of the squares of all gradients.
    fn squares(&mut self, pairs: &[(NodeId, NodeId)], small: bool) -> Result<Option<NodeId>, PassError> {
        let mut total = None;
        for (_, gradient) in pairs {
            let squares = self.graph.add(SumSquares { small }, &[*gradient])?;
            total = Some(match total {
                Some(total) => self.graph.add(Add {}, &[total, squares])?,
                None => squares,
            });
        }
        Ok(total)
    }

    fn update(&mut self, param: NodeId, gradient: NodeId) -> Result<(), PassError> {
        let own = self.recipe.convolutions.filter(|_| is_convolution(&self.graph.ty(param).dims));
        let mut value = match (own, &self.recipe.optimizer) {
            (Some(muon), _) => self.muon(param, gradient, muon)?,
            (None, &Optimizer::Sgd { momentum, nesterov, rate_inside, .. }) => {
                self.sgd(param, gradient, momentum != 0.0, nesterov, rate_inside)?
            }
            (None, &Optimizer::Adam { decoupled, .. }) => self.adam(param, gradient, decoupled)?,
            (None, &Optimizer::RmsProp { momentum, .. }) => self.rmsprop(param, gradient, momentum != 0.0)?,
        };
        if let Some(limit) = self.param(param)?.max_norm {
            value = self.graph.add(MaxNorm { limit }, &[value])?;
        }
        if let Some(last) = self.recipe.group_of(&self.param(param)?.name).freeze_after {
            let last = self.graph.add(Fill { value: last, batched: false, dims: vec![] }, &[])?;
            let epochs = self.number(Hyper::Epochs)?;
            value = self.plain(Rule::Until, &[param, value, epochs, last])?;
        }
        self.write(param, value);
        Ok(())
    }

    /// Mixes all that the step changes into slow averages, running statistics included, and puts these in its place:
    /// both only in the steps that the runtime chooses.
    fn look_ahead(&mut self) -> Result<(), PassError> {
        let (mix, sync) = (self.number(Hyper::Mix)?, self.number(Hyper::Sync)?);
        for (param, value) in std::mem::take(&mut self.graph.updates) {
            if self.param(param)?.state {
                self.write(param, value);
                continue;
            }
            let slow = self.state(param, spec::SLOW)?;
            let next = self.plain(Rule::Slow, &[slow, value, mix])?;
            let synced = self.plain(Rule::Synced, &[next, value, sync])?;
            self.write(slow, next);
            self.write(param, synced);
        }
        Ok(())
    }

    /// Adds `average' = past·average + (1 - past)·value'` of all that the step changes, running statistics included.
    fn averages(&mut self, past: f64) -> Result<(), PassError> {
        for (param, value) in self.graph.updates.clone() {
            if !self.param(param)?.state {
                let average = self.state(param, spec::AVERAGE)?;
                let next = self.graph.add(Mix { weight: 1.0 - past }, &[average, value])?;
                self.write(average, next);
            }
        }
        Ok(())
    }

    fn sgd(&mut self, w: NodeId, g: NodeId, momentum: bool, nesterov: bool, inside: bool) -> Result<NodeId, PassError> {
        let rate = self.number(Hyper::Rate)?;
        let decay = self.decay()?;
        if !momentum {
            return self.rule(Rule::SgdPlain, w, &[w, g, rate, decay]);
        }
        let momentum = self.number(Hyper::Momentum)?;
        let v = self.state(w, "velocity")?;
        let next = match inside {
            true => self.rule(Rule::SgdVelocityInside, w, &[w, g, v, rate, momentum, decay])?,
            false => self.rule(Rule::SgdVelocity, w, &[w, g, v, momentum, decay])?,
        };
        self.write(v, next);
        match (nesterov, inside) {
            (false, false) => self.rule(Rule::SgdStep, w, &[w, next, rate]),
            (false, true) => self.rule(Rule::SgdStepInside, w, &[w, next]),
            (true, false) => self.rule(Rule::NesterovStep, w, &[w, g, next, rate, momentum, decay]),
            (true, true) => self.rule(Rule::NesterovStepInside, w, &[w, v, next, momentum]),
        }
    }

    /// Adds Muon's update of a weight. Its matrices and sums are float32 in every precision.
    fn muon(&mut self, w: NodeId, g: NodeId, muon: Muon) -> Result<NodeId, PassError> {
        let rate = self.number(Hyper::ConvolutionRate)?;
        let [zero, momentum, decay] = [0.0, muon.momentum, muon.decay]
            .map(|value| self.graph.add(Fill { value, batched: false, dims: vec![] }, &[]));
        let (zero, momentum, decay) = (zero?, momentum?, decay?);
        let velocity = Update { rule: Rule::SgdVelocity, rate: 1.0, decay: 0.0 };
        let v = self.state(w, "velocity")?;
        let next = self.graph.add(velocity.clone(), &[w, g, v, momentum, zero])?;
        self.write(v, next);
        let step = if muon.nesterov { self.graph.add(velocity, &[w, g, next, momentum, zero])? } else { next };
        // A step of zeros stays one.
        let mut x = self.of_norm(step, 1.0, 1e-7)?;
        for _ in 0..muon.steps {
            x = self.newton_schulz(x)?;
        }
        let outputs = self.graph.ty(w).dims[0];
        let from = if muon.unit { self.of_norm(w, (outputs as f64).sqrt(), f64::from(f32::MIN_POSITIVE))? } else { w };
        self.rule(Rule::SgdPlain, w, &[from, x, rate, decay])
    }

    /// Adds `x·norm/(|x| + small)`.
    fn of_norm(&mut self, x: NodeId, norm: f64, small: f64) -> Result<NodeId, PassError> {
        let squares = self.graph.add(SumSquares { small: false }, &[x])?;
        let factor = self.graph.add(Update { rule: Rule::InverseNorm, rate: norm, decay: small }, &[squares])?;
        Ok(self.graph.add(ScaleBy {}, &[x, factor])?)
    }

    /// Adds a step of the iteration, `a·x + (b·A + c·A²)·x` with `A = x·xᵀ`: a polynomial of odd powers of x, which
    /// brings singular values of at most 1 near 1 within few steps. The numbers are those of Jordan's Muon.
    fn newton_schulz(&mut self, x: NodeId) -> Result<NodeId, PassError> {
        const FACTORS: [f64; 3] = [3.4445, -4.775, 2.0315];
        let a = self.graph.add(Gram {}, &[x])?;
        let square = self.graph.add(Times {}, &[a, a])?;
        let [first, third, fifth] = [(x, 0), (a, 1), (square, 2)]
            .map(|(value, power)| self.graph.add(Scale { factor: FACTORS[power] }, &[value]));
        let powers = self.graph.add(Add {}, &[third?, fifth?])?;
        let rest = self.graph.add(Times {}, &[powers, x])?;
        Ok(self.graph.add(Add {}, &[first?, rest])?)
    }

    /// Adds the gradient with the weight decay in it.
    fn decayed(&mut self, w: NodeId, g: NodeId) -> Result<NodeId, PassError> {
        let decay = self.decay()?;
        if matches!(self.graph.op(decay), Operator::Fill(_)) || self.multipliers(w)?.1 == 0.0 {
            return Ok(g);
        }
        self.rule(Rule::Decayed, w, &[w, g, decay])
    }

    /// Adds `beta1` or `beta2` and the correction of an average that began at 0. Equal ones are merged later.
    fn corrected(&mut self, beta: Hyper) -> Result<(NodeId, NodeId), PassError> {
        let (beta, step) = (self.number(beta)?, self.number(Hyper::Step)?);
        Ok((beta, self.plain(Rule::BiasCorrection, &[beta, step])?))
    }

    fn adam(&mut self, w: NodeId, g: NodeId, decoupled: bool) -> Result<NodeId, PassError> {
        let g = if decoupled { g } else { self.decayed(w, g)? };
        let (rate, epsilon) = (self.number(Hyper::Rate)?, self.number(Hyper::Epsilon)?);
        let ((beta1, c1), (beta2, c2)) = (self.corrected(Hyper::Beta1)?, self.corrected(Hyper::Beta2)?);
        let (m, s) = (self.state(w, "adam_m")?, self.state(w, "adam_v")?);
        let first = self.rule(Rule::AdamFirst, w, &[g, m, beta1])?;
        let second = self.rule(Rule::AdamSecond, w, &[g, s, beta2])?;
        self.write(m, first);
        self.write(s, second);
        if decoupled {
            let decay = self.decay()?;
            return self.rule(Rule::AdamwStep, w, &[w, first, second, rate, c1, c2, epsilon, decay]);
        }
        self.rule(Rule::AdamStep, w, &[w, first, second, rate, c1, c2, epsilon])
    }

    fn rmsprop(&mut self, w: NodeId, g: NodeId, momentum: bool) -> Result<NodeId, PassError> {
        let g = self.decayed(w, g)?;
        let (rate, epsilon, alpha) =
            (self.number(Hyper::Rate)?, self.number(Hyper::Epsilon)?, self.number(Hyper::Alpha)?);
        let s = self.state(w, "squares")?;
        let squares = self.rule(Rule::AdamSecond, w, &[g, s, alpha])?;
        self.write(s, squares);
        if !momentum {
            return self.rule(Rule::RmspropStep, w, &[w, g, squares, rate, epsilon]);
        }
        let momentum = self.number(Hyper::Momentum)?;
        let v = self.state(w, "velocity")?;
        let next = self.rule(Rule::RmspropVelocity, w, &[g, squares, v, momentum, epsilon])?;
        self.write(v, next);
        self.rule(Rule::SgdStep, w, &[w, next, rate])
    }
}
