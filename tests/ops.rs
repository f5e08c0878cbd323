//! Every operator on the cases it lists: value, gradient, text. Kernels are tested against the same cases elsewhere.

use crate::support::compiled;
use crate::support::draw::{self, convert, error};
use crate::support::vectors::{input, param};
use ninc::graph::interp::{EvalCx, Tensor, Value, run};
use ninc::graph::{Graph, NodeId, text, verify};
use ninc::lower::target::Isa;
use ninc::ops::facts::Derivative;
use ninc::ops::source::Input;
use ninc::ops::{self, Case, GradCx, Operator, TrainCx};
use ninc::passes::autodiff;
use ninc::types::{DType, Type};
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::Role;
use std::collections::HashSet;

/// Does the operator's gradient count operand `i` as a constant: integers, statistics, targets, factors of updates?
fn constant(op: &Operator, i: usize, ty: &Type) -> bool {
    ty.dtype != DType::F32 || matches!(op.derivative(), Derivative::Except(constants) if constants.contains(&i))
}

/// A node of the case's operator on inputs and parameters `x0`, `x1`, …
pub fn graph(case: &Case) -> (Graph, Vec<NodeId>, NodeId) {
    let mut graph = Graph::new("case");
    let source = |graph: &mut Graph, (i, ty): (usize, &Type)| match (ty.batched, ty.dtype) {
        (false, DType::F32) => param(graph, &format!("x{i}"), &ty.dims),
        (batched, dtype) => {
            let input = Input { name: format!("x{i}"), role: Role::Tensor, dtype, batched, dims: ty.dims.clone() };
            graph.add(input, &[]).unwrap()
        }
    };
    let operands: Vec<NodeId> = case.operands.iter().enumerate().map(|o| source(&mut graph, o)).collect();
    let result = graph.add(case.op.clone(), &operands).unwrap_or_else(|e| panic!("{:?}: {e}", case.op));
    (graph, operands, result)
}

pub fn eval<T: ninc::graph::interp::Real>(case: &Case, operands: &[Value<T>]) -> Value<T> {
    let ty = case.op.infer(&case.operands).unwrap();
    let cx = EvalCx { batch: case.batch, first: 0, total: case.batch, ty: &ty };
    case.op.eval(&cx, &operands.iter().collect::<Vec<_>>())
}

#[test]
fn every_operator_has_cases() {
    let cases = ops::cases();
    for name in Operator::NAMES.iter().filter(|n| !matches!(**n, "input" | "param")) {
        let count = cases.iter().filter(|c| c.op.name() == *name).count();
        assert!(count >= 1, "{name} has {count} cases");
    }
    assert!(cases.len() > 250, "only {} cases", cases.len());
}

#[test]
fn values_agree_in_both_precisions() {
    for (i, case) in ops::cases().iter().enumerate() {
        let drawn = draw::operands(case, i as u64);
        let ty = case.op.infer(&case.operands).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let narrow = eval::<f32>(case, &drawn);
        let wide = eval::<f64>(case, &drawn.iter().map(convert).collect::<Vec<_>>());
        assert_eq!(narrow.dims(), ty.full_dims(case.batch), "{case:?}");
        assert_eq!(wide.dims(), narrow.dims(), "{case:?}");
        let error = error(&draw::numbers(&wide), &draw::numbers(&narrow), 1e-3);
        assert!(error < 3e-7, "{case:?}: {error:e}");
    }
}

/// What is not one per image, but made from images, adds up: devices that share a batch rely on it.
#[test]
fn values_of_all_images_are_sums() {
    let slice = |value: &Value<f64>, images: &std::ops::Range<usize>, batch: usize| {
        let mut dims = value.dims().to_vec();
        dims[0] = images.len();
        match value {
            Value::Real(t) => {
                let each = t.data.len() / batch;
                Value::new(&dims, t.data[images.start * each..images.end * each].to_vec())
            }
            Value::Int(t) => {
                let each = t.data.len() / batch;
                Value::Int(Tensor { dims, data: t.data[images.start * each..images.end * each].to_vec() })
            }
        }
    };
    let mut checked = HashSet::new();
    for (i, case) in ops::cases().iter().enumerate() {
        let ty = case.op.infer(&case.operands).expect("a case");
        if ty.batched || case.batch < 2 || case.operands.iter().all(|o| !o.batched) {
            continue;
        }
        let operands: Vec<Value<f64>> = draw::operands(case, i as u64).iter().map(convert).collect();
        let whole = eval(case, &operands);
        let mut sum = vec![0.0; whole.real().data.len()];
        for images in [0..1, 1..case.batch] {
            let part: Vec<Value<f64>> = operands
                .iter()
                .zip(&case.operands)
                .map(|(o, ty)| if ty.batched { slice(o, &images, case.batch) } else { o.clone() })
                .collect();
            let cx = EvalCx { batch: images.len(), first: images.start, total: case.batch, ty: &ty };
            let part = case.op.eval(&cx, &part.iter().collect::<Vec<_>>());
            sum.iter_mut().zip(&part.real().data).for_each(|(s, v)| *s += v);
        }
        let error = error(&whole.real().data, &sum, 1e-3);
        assert!(error < 1e-9, "{case:?}: {error:e}");
        checked.insert(case.op.name());
    }
    assert!(checked.len() >= 8, "only {checked:?}");
}

/// The kernels of every operator, on every instruction set that this machine has, against the reference.
#[test]
fn compiled_values_agree() {
    let mut wrong = Vec::new();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.present()) {
        for (i, case) in ops::cases().iter().enumerate() {
            let drawn = draw::operands(case, i as u64);
            let expected = eval::<f64>(case, &drawn.iter().map(convert).collect::<Vec<_>>());
            let (mut graph, _, result) = graph(case);
            graph.outputs.push(("y".into(), result));
            let results = compiled::run(&graph, case.batch, isa, |name, _| {
                drawn[name[1..].parse::<usize>().expect("x and a number")].clone()
            });
            assert_eq!(results["y"].dims(), expected.dims(), "{case:?}");
            let error = error(&draw::numbers(&expected), &draw::numbers(&results["y"]), 1e-3);
            // Also catches NaN.
            if error.is_nan() || error > 2e-5 {
                wrong.push(format!("{isa:?} {case:?}: {error:e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Elements of each operand that are moved to measure a slope.
const PROBES: usize = 24;

#[test]
fn gradients_are_slopes() {
    let mut differentiated = HashSet::new();
    for (i, case) in ops::cases().iter().enumerate() {
        let (mut graph, operands, result) = graph(case);
        let ty = graph.ty(result).clone();
        if ty.dtype != DType::F32 {
            continue;
        }
        let dy = Input {
            name: "dy".into(),
            role: Role::Tensor,
            dtype: DType::F32,
            batched: ty.batched,
            dims: ty.dims.clone(),
        };
        let dy = graph.add(dy, &[]).unwrap();
        let types = &case.operands;
        let needs: Vec<bool> = types.iter().enumerate().map(|(i, ty)| !constant(&case.op, i, ty)).collect();
        let mut cx = GradCx { graph: &mut graph, operands: operands.clone(), needs: needs.clone(), result, grad: dy };
        let gradients = match case.op.gradient(&mut cx) {
            Ok(gradients) => gradients,
            Err(message) => {
                assert_eq!(case.op.derivative(), Derivative::None, "{case:?}: {message}");
                continue;
            }
        };
        assert_ne!(case.op.derivative(), Derivative::None, "{case:?} has a gradient after all");
        assert_eq!(gradients.len(), operands.len(), "{case:?}");
        for (i, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.is_some(), needs[i], "{case:?}: gradient of operand {i}");
            if let Some(gradient) = gradient {
                assert_eq!(graph.ty(*gradient), &case.operands[i], "{case:?}: type of gradient {i}");
                graph.outputs.push((format!("d{i}"), *gradient));
            }
        }
        verify::check(&graph).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        differentiated.insert(case.op.name());
        check_slopes(case, &graph, &ty, i as u64);
    }
    assert!(differentiated.len() >= 30, "only {} operators have gradients", differentiated.len());
}

/// Compares the graph's outputs `d0`, `d1`, … with central differences of `Σ dy·op(operands)`.
fn check_slopes(case: &Case, graph: &Graph, ty: &Type, seed: u64) {
    const STEP: f64 = 1e-6;
    let operands: Vec<Value<f64>> = draw::operands(case, seed).iter().map(convert).collect();
    let dy: Value<f64> = convert(&draw::value(ty, case.batch, ops::Draw::Normal, &mut Stream::new(seed, 99, 0)));
    let found = run::<f64>(graph, case.batch, |name, _| match name.strip_prefix('x') {
        Some(i) => operands[i.parse::<usize>().unwrap()].clone(),
        None => dy.clone(),
    });
    let objective = |operands: &[Value<f64>]| -> f64 {
        let y = eval(case, operands);
        y.real().data.iter().zip(&dy.real().data).map(|(y, dy)| y * dy).sum()
    };
    let mut random = Stream::new(seed, 7, 7);
    for i in 0..operands.len() {
        let Some(gradient) = found.get(&format!("d{i}")) else {
            continue;
        };
        let count = gradient.real().data.len();
        for probe in 0..count.min(PROBES) {
            let place = if count <= PROBES { probe } else { random.below(count as u32) as usize };
            let moved = |by: f64| {
                let mut operands = operands.clone();
                if let Value::Real(tensor) = &mut operands[i] {
                    tensor.data[place] += by;
                }
                objective(&operands)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let got = gradient.real().data[place];
            let error = (slope - got).abs() / slope.abs().max(1.0);
            assert!(error < 1e-6, "{case:?}: gradient of operand {i} at {place} is {got}, the slope {slope}");
        }
    }
}

#[test]
fn text_reads_back() {
    for case in ops::cases() {
        let attrs: Vec<_> = case.op.attrs().into_iter().map(|a| (a.name.to_string(), a.value)).collect();
        assert_eq!(Operator::parse(case.op.name(), &attrs).as_ref(), Ok(&case.op));
        let (mut graph, operands, result) = graph(&case);
        graph.name = "a \"name\"\n\\ with ü and \u{7}".into();
        graph.set_name(result, "the result");
        graph.outputs.push(("y".into(), result));
        if let Some(&param) = operands.iter().find(|o| graph.ty(**o) == graph.ty(result) && !graph.ty(**o).batched) {
            graph.updates.push((param, result));
        }
        let printed = text::print(&graph);
        let parsed = text::parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
        assert_eq!(text::print(&parsed), printed);
        assert_eq!((parsed.len(), &parsed.name), (graph.len(), &graph.name));
        assert_eq!((parsed.outputs.len(), parsed.updates.len()), (1, graph.updates.len()));
    }
}

#[test]
fn faulty_text_is_refused() {
    let good = "graph \"g\"\n%0 = input() {name = \"x\", role = \"tensor\", batched = true, dims = [3]} \
                : f32[N, 3]\n";
    assert!(text::parse(good).is_ok());
    let after = |line: &str| text::parse(&format!("{good}{line}")).map(|g| g.len()).unwrap_err().to_string();
    for (line, message) in [
        ("%1 = relu(%0) : f32[N, 3]", "line 3: unknown operator `relu`"),
        ("%1 = add(%0, %2) {} : f32[N, 3]", "line 3: %2 is not there yet"),
        ("%2 = add(%0, %0) : f32[N, 3]", "line 3: %2 where %1 follows"),
        ("%1 = add(%0, %0) : f32[N, 4]", "line 3: type f32[N, 4] where f32[N, 3] follows from the operands"),
        ("%1 = scale(%0) {} : f32[N, 3]", "line 3: missing attribute `factor`"),
        ("%1 = scale(%0) {factor = [1.0]} : f32[N, 3]", "line 3: attribute `factor` cannot be [1.0]"),
        ("%1 = scale(%0) {factor = 1.0", "line 3: `,` expected at `end of line`"),
        ("%1 \"name", "line 3: a text without its closing quote"),
        ("output y = %0", "line 3: a text in quotes expected at `y = %0`"),
    ] {
        assert_eq!(after(line), message);
    }
    let deep = format!("%1 = scale(%0) {{factor = {}}} : f32[N, 3]", "[".repeat(100_000));
    assert_eq!(after(&deep), "line 3: lists are too deep");
    assert!(text::parse("").is_err() && text::parse("graph").is_err());
}

/// Layers in their training form, values with several users, and everything down to the loss: the whole gradient.
#[test]
fn gradients_of_a_network_are_slopes() {
    use ninc::ops::activation::{Activation, Function};
    use ninc::ops::arithmetic::{Add, Mul};
    use ninc::ops::batch_norm::BatchNorm;
    use ninc::ops::conv::Conv2d;
    use ninc::ops::cross_entropy::{CrossEntropy, OneHot};
    use ninc::ops::drop_connect::DropConnect;
    use ninc::ops::dropout::Dropout;
    use ninc::ops::global_pool::GlobalAvgPool;
    use ninc::ops::reduce::LossMean;
    use ninc::ops::window::pooling;

    const BATCH: usize = 4;
    let mut graph = Graph::new("net");
    let key = Input { name: "key".into(), role: Role::Key, dtype: DType::I32, batched: false, dims: vec![4] };
    let key = graph.add(key, &[]).unwrap();
    let image = input(&mut graph, "image", &[2, 4, 5], false);
    let labels = input(&mut graph, "labels", &[], true);
    let training = |graph: &mut Graph, op: Operator, operands: &[NodeId]| {
        op.training(&mut TrainCx { graph, operands: operands.to_vec(), key }).unwrap().expect("a training form")
    };
    let names = ["w", "b", "gamma", "beta", "mean", "variance", "w2", "b2"];
    let dims: [&[usize]; 8] = [&[3, 2, 3, 3], &[3], &[3], &[3], &[3], &[3], &[4, 3], &[4]];
    let p: Vec<NodeId> = names.iter().zip(dims).map(|(name, dims)| param(&mut graph, name, dims)).collect();

    let conv = Conv2d { window: pooling([3, 3], [1, 1], [1, 1]), groups: 1 };
    let x = graph.add(conv, &[image, p[0], p[1]]).unwrap();
    let norm = BatchNorm::plain(1e-3, 0.25);
    let y = training(&mut graph, norm.into(), &[x, p[2], p[3], p[4], p[5]]);
    let y = graph.add(Activation { function: Function::Tanh }, &[y]).unwrap();
    let y = training(&mut graph, Dropout { rate: 0.3, inverted: true, stream: 1 }.into(), &[y]);
    let square = graph.add(Mul {}, &[y, y]).unwrap();
    let y = graph.add(Add {}, &[square, x]).unwrap();
    let y = graph.add(GlobalAvgPool {}, &[y]).unwrap();
    let logits = training(&mut graph, DropConnect { rate: 0.4, stream: 2 }.into(), &[y, p[6], p[7]]);
    let target = graph.add(OneHot { classes: 4, smoothing: 0.1 }, &[labels]).unwrap();
    let losses = graph.add(CrossEntropy {}, &[logits, target]).unwrap();
    let loss = graph.add(LossMean {}, &[losses]).unwrap();
    assert_eq!(graph.updates.len(), 2, "running statistics move");

    let trained: Vec<usize> = vec![0, 1, 2, 3, 6, 7];
    let before = graph.len();
    let wrt: Vec<NodeId> = trained.iter().map(|&i| p[i]).collect();
    let gradients = autodiff::gradients(&mut graph, loss, &wrt).unwrap();
    let image_gradient = |op: &Operator| matches!(op, Operator::Conv2dGradInput(_));
    assert!(!graph.ids().iter().any(|id| image_gradient(graph.op(*id))), "nobody asked for the image's gradient");
    graph.outputs = vec![("loss".into(), loss)];
    for (&i, gradient) in trained.iter().zip(gradients) {
        graph.outputs.push((format!("d{i}"), gradient.expect("the loss depends on all of them")));
    }
    assert!(graph.len() > before);
    verify::check(&graph).unwrap();

    let values: Vec<Value<f64>> = dims
        .iter()
        .zip(0u32..)
        .map(|(d, i)| convert(&draw::value(&Type::shared(d), 1, ops::Draw::Normal, &mut Stream::new(1, i, 0))))
        .collect();
    let evaluate = |values: &[Value<f64>]| {
        run::<f64>(&graph, BATCH, |name, ty| match names.iter().position(|n| *n == name) {
            Some(i) => values[i].clone(),
            None => convert(&draw::value(ty, BATCH, ops::Draw::Labels(4), &mut Stream::new(2, name.len() as u32, 0))),
        })
    };
    let results = evaluate(&values);
    for i in trained {
        let gradient = &results[&format!("d{i}")].real().data;
        for place in 0..gradient.len() {
            let moved = |by: f64| {
                let mut values = values.clone();
                if let Value::Real(tensor) = &mut values[i] {
                    tensor.data[place] += by;
                }
                evaluate(&values)["loss"].real().data[0]
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - gradient[place]).abs() < 1e-7, "{}[{place}]: {} and {slope}", names[i], gradient[place]);
        }
    }
    // The batch's statistics moved the running ones by the momentum.
    let moved = &results["mean"].real().data;
    assert!(moved.iter().zip(&values[4].real().data).all(|(a, b)| a != b && a.is_finite()));
}

#[test]
fn values_without_influence_have_no_gradient() {
    use ninc::ops::reduce::SumSquares;
    let mut graph = Graph::new("apart");
    let (w, v) = (param(&mut graph, "w", &[3]), param(&mut graph, "v", &[3]));
    let loss = graph.add(SumSquares { small: false }, &[w]).unwrap();
    let gradients = autodiff::gradients(&mut graph, loss, &[v, w]).unwrap();
    assert!(gradients[0].is_none() && gradients[1].is_some());
    let nodes = graph.len();
    assert_eq!(autodiff::gradients(&mut graph, loss, &[v]).unwrap(), [None]);
    assert_eq!(graph.len(), nodes, "nothing is built in vain");
}
