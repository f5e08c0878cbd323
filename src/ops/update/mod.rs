//! Updates of parameters and optimiser states, elementwise. Hyper-parameters are shared numbers (`[]`), so that one
//! compiled program serves any schedule.

use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::ShapeError;
use crate::ops::reference;
use crate::ops::{Case, Draw, OperatorDef, check};
use crate::recipes::{elementwise, reduce};
use crate::types::Type;
use rule::{Code, Exact, formula};

mod rule;

pub use rule::Rule;

attributes! {
    /// The operands are those of the rule; `rate` and `decay` are the parameter's multipliers.
    Update {
        rule: Rule,
        rate: f64 = 1.0,
        decay: f64 = 1.0,
    }
}

impl OperatorDef for Update {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let (rule, named, scalars) = self.rule.parts();
        let count = named.len() + scalars.len();
        if operands.len() != count {
            return Err(format!("{rule} takes {count} operands, {} given", operands.len()).into());
        }
        let (tensors, numbers) = operands.split_at(named.len());
        for (ty, name) in numbers.iter().zip(scalars) {
            check::scalar(ty, name)?;
        }
        for (ty, name) in tensors.iter().zip(named) {
            check::shared(ty, name)?;
            check::same(&tensors[0], ty)?;
        }
        Ok(operands[0].clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let data: Vec<&[T]> = operands.iter().map(|o| o.real().data.as_slice()).collect();
        let value = |i: usize| {
            // Shared numbers have one element, the rest one for each of the parameter's.
            let values: Vec<f64> = data.iter().map(|d| d[if d.len() == 1 { 0 } else { i }].f64()).collect();
            formula(&mut Exact, self.rule, &values, self.rate, self.decay).expect("infer has counted the operands")
        };
        reference::result(cx, (0..cx.ty.elements()).map(value).collect())
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let params = (self.rule, [self.rate, self.decay].map(f64::to_bits));
        elementwise::map_with(cx, self.rule.name(), params, |&(rule, numbers), builder, values, lanes| {
            let [rate, decay] = numbers.map(f64::from_bits);
            let value = formula(&mut Code { builder, lanes }, rule, values, rate, decay);
            value.expect("infer has counted the operands")
        })
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |rule: Rule, (rate, decay), dims: &[usize]| {
            let (_, tensors, numbers) = rule.parts();
            let mut operands = vec![Type::shared(dims); tensors.len()];
            operands.resize(tensors.len() + numbers.len(), Type::shared(&[]));
            Case::new(Update { rule, rate, decay }, 1, &operands).drawn(Draw::Positive)
        };
        let both =
            |rule| [case(rule, (1.0, 1.0), &[5, 3, 2, 2]), case(rule, (0.5, 0.0), &[33]), case(rule, (2.0, 0.5), &[])];
        Rule::ALL.into_iter().flat_map(both).collect()
    }
}

attributes! {
    /// `(Σ squares [], Σ squares of small [], limit []) -> min(1, limit/sqrt(Σ))`; the second sum, of values times
    /// [`reduce::SMALL`], counts where the first has overflowed.
    ClipFactor {}
}

impl OperatorDef for ClipFactor {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [squares, small, limit] = check::exactly(operands)?;
        check::scalar(squares, "the sum of squares")?;
        check::scalar(small, "the sum of small squares")?;
        check::scalar(limit, "the limit")?;
        Ok(Type::shared(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let [squares, small, limit] = [0, 1, 2].map(|i| operands[i].real().data[0].f64());
        let norm = if squares < f64::INFINITY { squares.sqrt() } else { small.sqrt() / f64::from(reduce::SMALL) };
        let factor = limit / norm;
        // A NaN passes, so that divergence shows.
        reference::result(cx, vec![if 1.0 < factor { 1.0 } else { factor }])
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "clip_factor", |b, v, lanes| reduce::clip_factor(b, [v[0], v[1]], v[2], lanes))
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let types = [Type::shared(&[]), Type::shared(&[]), Type::shared(&[])];
        vec![Case::new(ClipFactor {}, 1, &types).drawn(Draw::Positive)]
    }
}

attributes! {
    /// `w -> w`, each output unit's weights scaled so that their L2 norm is at most `limit`.
    MaxNorm {
        limit: f64,
    }
}

impl OperatorDef for MaxNorm {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [w] = check::exactly(operands)?;
        check::shared(w, "a weight")?;
        if self.limit > 0.0 { Ok(w.clone()) } else { Err(format!("the limit {} is not above 0", self.limit).into()) }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let w = operands[0].real();
        // The output unit is the innermost dimension in memory.
        let unit = cx.ty.memory_order().last().copied();
        let (units, inner) = unit.map_or((1, 1), |u| (cx.ty.dims[u], cx.ty.dims[u + 1..].iter().product()));
        let unit_of = |place: usize| place / inner % units;
        let mut squares = vec![0.0; units];
        w.data.iter().enumerate().for_each(|(i, v)| squares[unit_of(i)] += v.f64() * v.f64());
        let factor = |unit: usize| {
            let norm = f64::sqrt(squares[unit]);
            if norm > self.limit { self.limit / norm } else { 1.0 }
        };
        reference::result(cx, w.data.iter().enumerate().map(|(i, v)| v.f64() * factor(unit_of(i))).collect())
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::max_norm(cx, self.limit as f32)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |limit, dims: &[usize]| Case::new(MaxNorm { limit }, 1, &[Type::shared(dims)]);
        vec![
            case(2.0, &[5, 3, 2, 2]),
            case(1.0, &[33, 7]),
            case(4.0, &[6, 5, 3, 2, 2]),
            case(1e3, &[10, 4]),
            case(0.5, &[9]),
        ]
    }
}
