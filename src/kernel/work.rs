//! How much a kernel does: multiply-adds that its code executes, padding of tiles included.

use super::ir::*;

/// Multiply-adds of one launch for a batch, and the leaf function that does most of them.
pub fn multiply_adds(module: &Module, kernel: &Kernel, batch: i64) -> (u64, Option<LeafId>) {
    let mut vars = vec![0; kernel.vars.len()];
    (vars[0], vars[2]) = (batch, batch);
    let mut totals = vec![0u64; module.leaves.len()];
    block(module, &kernel.body, &mut vars, &mut totals);
    let most = (0..totals.len()).max_by_key(|&i| (totals[i], std::cmp::Reverse(i))).filter(|&i| totals[i] > 0);
    (totals.iter().sum(), most.map(|i| LeafId(i as u32)))
}

fn block(module: &Module, body: &[Stmt], vars: &mut Vec<i64>, totals: &mut [u64]) {
    for stmt in body {
        match stmt {
            Stmt::For { var, begin, end, body, .. } => {
                for round in begin.eval(vars)..end.eval(vars) {
                    vars[var.0 as usize] = round;
                    block(module, body, vars, totals);
                }
            }
            Stmt::If { condition, then, otherwise } => {
                block(module, if condition.eval(vars) != 0 { then } else { otherwise }, vars, totals);
            }
            Stmt::Call { leaf, args } => {
                let code = &module.leaves[leaf.0 as usize];
                let mut ints = vec![0; code.vars.len()];
                for (param, arg) in code.params.iter().zip(args) {
                    if let (LeafParam::Int { var, .. }, Arg::Int(value)) = (param, arg) {
                        ints[var.0 as usize] = value.eval(vars);
                    }
                }
                totals[leaf.0 as usize] += leaf_work(code, &code.body, &mut ints);
            }
            Stmt::Barrier => {}
        }
    }
}

fn leaf_work(leaf: &Leaf, body: &[Inst], vars: &mut Vec<i64>) -> u64 {
    let mut total = 0;
    for inst in body {
        match inst {
            Inst::Let { result, op } => {
                let lanes = u64::from(leaf.values[result.0 as usize].lanes);
                total += match op {
                    Op::Fma { .. } => lanes,
                    Op::Dot2Bf16 { .. } => 2 * lanes,
                    Op::Dot4U8I8 { .. } => 4 * lanes,
                    _ => 0,
                };
            }
            Inst::Store { .. } => {}
            Inst::Loop { var, count, body, .. } => {
                let rounds = count.offset + count.terms.iter().map(|&(v, c)| vars[v.0 as usize] * c).sum::<i64>();
                // Only where an inner loop's length depends on something do rounds differ.
                let same = body.iter().all(|i| !matches!(i, Inst::Loop { count, .. } if !count.terms.is_empty()));
                if same {
                    total += rounds.max(0) as u64 * leaf_work(leaf, body, vars);
                } else {
                    for round in 0..rounds {
                        vars[var.0 as usize] = round;
                        total += leaf_work(leaf, body, vars);
                    }
                }
            }
        }
    }
    total
}
