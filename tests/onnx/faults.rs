//! ONNX files with faults, or with more than the language has: each is refused by its node's name, none is guessed.

use crate::cli::{Place, texts};
use ninc::front;
use ninc::io::Imported;
use ninc::io::onnx;
use ninc::io::onnx::error::ImportError;
use ninc_runtime::Tensor;
use ninc_runtime::store::System;
use ninc_runtime::weights::Weights;
use std::fs;
use std::path::Path;

/// A field of a message that holds bytes.
pub fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut made = vec![tag << 3 | 2];
    let mut length = bytes.len();
    while length >= 128 {
        made.push((length % 128) as u8 | 128);
        length /= 128;
    }
    made.push(length as u8);
    [&made[..], bytes].concat()
}

/// A field of a message that holds a number.
pub fn number(tag: u8, value: i64) -> Vec<u8> {
    let mut made = vec![tag << 3];
    let mut rest = value as u64;
    while rest >= 128 {
        made.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    made.push(rest as u8);
    made
}

/// An attribute with one number.
fn int(name: &str, value: i64) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), number(3, value), vec![0xa0, 0x01, 2]].concat())
}

/// An attribute of two equal numbers.
pub fn twice(name: &str, value: i64) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), number(8, value), number(8, value), vec![0xa0, 0x01, 7]].concat())
}

/// An attribute with a text.
pub fn text_attribute(name: &str, text: &str) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), field(4, text.as_bytes()), vec![0xa0, 0x01, 3]].concat())
}

/// A node: `Operator operand … -> result`, which is its name as well; `_` is an operand that is left out.
pub fn node(text: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let (call, result) = text.split_once(" -> ").expect("a node");
    let mut words = call.split(' ');
    let mut made = field(4, words.next().expect("an operator").as_bytes());
    words.for_each(|word| made.extend(field(1, word.trim_matches('_').as_bytes())));
    made.extend([field(2, result.as_bytes()), field(3, result.as_bytes()), attributes.concat()].concat());
    field(1, &made)
}

/// A constant of whole numbers; a scalar where it begins with `.`.
pub fn constant(name: &str, numbers: &[i64]) -> Vec<u8> {
    let scalar = name.starts_with('.');
    let dims = if scalar { vec![] } else { number(1, numbers.len() as i64) };
    let data: Vec<u8> = numbers.iter().flat_map(|&v| number(7, v)).collect();
    field(5, &[dims, number(2, 7), data, field(8, name.as_bytes())].concat())
}

fn port(tag: u8, name: &str, batch: Option<i64>, image: &[i64]) -> Vec<u8> {
    let first = batch.map_or_else(|| field(1, &field(2, b"N")), |n| field(1, &number(1, n)));
    let dims = image.iter().flat_map(|&size| field(1, &number(1, size)));
    let shape: Vec<u8> = first.into_iter().chain(dims).collect();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    field(tag, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
}

/// Imports a graph from `x`, images `[4, 7, 9]`, to `y`.
pub fn import(batch: Option<i64>, opset: Option<i64>, parts: &[Vec<u8>]) -> Result<Imported, ImportError> {
    onnx::import(model(batch, opset, parts), Path::new("net.onnx"), None)
}

/// The file of such a graph.
pub fn model(batch: Option<i64>, opset: Option<i64>, parts: &[Vec<u8>]) -> Vec<u8> {
    let ports = [port(11, "x", batch, &[4, 7, 9]), port(12, "y", batch, &[4, 7, 9])].concat();
    let graph = field(7, &[parts.concat(), ports].concat());
    let sets = opset.map_or_else(Vec::new, |version| field(8, &number(2, version)));
    [number(1, 8), graph, sets].concat()
}

/// What is said about the node or the file.
fn refused(made: Result<Imported, ImportError>) -> String {
    match made.map(|made| made.written.text) {
        Ok(text) => panic!("imported as {text}"),
        Err(ImportError::Refused(nodes)) => {
            nodes.iter().map(|r| format!("{} ({}): {}\n", r.node, r.operator, r.reason)).collect()
        }
        Err(error) => error.to_string(),
    }
}

/// An attribute with a graph of nodes without attributes, which makes `result`.
fn branch(name: &str, nodes: &str, result: &str) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.split("; ").filter(|text| !text.is_empty()).flat_map(|text| node(text, &[])).collect();
    let graph = [nodes, constant("flat", &[0, -1]), field(12, &field(1, result.as_bytes()))].concat();
    field(5, &[field(1, name.as_bytes()), field(6, &graph), vec![0xa0, 0x01, 5]].concat())
}

/// What is computed of sizes decides when the file is read; what is computed of images is refused.
#[test]
fn conditions_are_known_or_refused() {
    let made = |batch, before: &str, branches: [(&str, &str); 2]| {
        let nodes: Vec<u8> = before.split("; ").flat_map(|text| node(text, &[])).collect();
        let [yes, no] = [("then_branch", branches[0]), ("else_branch", branches[1])]
            .map(|(name, (nodes, result))| branch(name, nodes, result));
        let sizes = [constant(".1", &[1]), constant(".4", &[4]), constants()].concat();
        import(batch, Some(17), &[nodes, node("If condition -> y", &[yes, no]), sizes])
    };
    let text = |before: &str, branches| made(None, before, branches).expect(before).written.text;
    let functions = |text: &str| {
        let model = front::load(text, "net", &[]).0.expect("a model");
        model.layers.into_iter().map(|layer| layer.function).collect::<Vec<_>>()
    };
    let channels = "Shape x -> s; Gather s .1 -> c; ";
    let relu_or_erf = [("Relu x -> a; Sigmoid a -> b", "b"), ("Erf x -> a; Tanh a -> b", "b")];
    let four = format!("{channels}Equal c .4 -> condition");
    assert_eq!(functions(&text(&four, relu_or_erf)), ["relu", "sigmoid"]);
    // The other branch is named, and nothing of the one that is not taken.
    let other = format!("{channels}Equal c .2 -> condition");
    let said = refused(made(None, &other, relu_or_erf));
    assert_eq!(said, "a (Erf): the language has no counterpart of this operator\n");
    // Values of the graph around, constants of the branch, the input itself.
    let outer = [("", "s4"), ("Reshape x flat -> c", "c")];
    assert_eq!(functions(&text(&format!("Relu x -> s4; {four}"), outer)), ["relu"]);
    let said = refused(made(None, "Relu x -> condition", relu_or_erf));
    assert_eq!(said, "y (If): it chooses by what is computed of each image\n");
    let batch = "Shape x -> s; Gather s .0 -> n; Equal n .2 -> condition";
    assert!(refused(made(None, batch, relu_or_erf)).contains("y (If): its result depends on the number of images"));
    assert!(made(Some(2), batch, relu_or_erf).is_ok());
    let said = refused(made(None, "Shape x -> condition", relu_or_erf));
    assert!(said.contains("y (If): "), "{said}");
    let lacks =
        import(None, Some(17), &[node("If .0 -> y", &[branch("then_branch", "Relu x -> a", "a")]), constants()]);
    assert!(refused(lacks).contains("y (If): its `else_branch` is no graph with the node's results"));
}

/// Pools of whole maps and of single pixels, and what follows: features are features, images are images.
#[test]
fn results_have_the_shapes_of_the_file() {
    let whole = |map: [i64; 2]| {
        let list: Vec<u8> = map.iter().flat_map(|&side| number(8, side)).collect();
        field(5, &[field(1, b"kernel_shape"), list, vec![0xa0, 0x01, 7]].concat())
    };
    let all = |from: &str, to: &str| {
        let pools = ["GlobalAveragePool", "GlobalMaxPool"].map(|pool| node(&format!("{pool} {from} -> {to}"), &[]));
        let kept = [0, 1].map(|kept| (kept, node(&format!("ReduceMean {from} map -> {to}"), &[int("keepdims", kept)])));
        let map = if from == "x" { [7, 9] } else { [1, 1] };
        let window = node(&format!("AveragePool {from} -> {to}"), &[whole(map)]);
        let images = pools.into_iter().chain([window]).map(|node| (1, node));
        images.chain(kept).collect::<Vec<_>>()
    };
    let dims = |parts: &[Vec<u8>]| {
        let made = import(None, Some(18), &[parts.concat(), constant("map", &[2, 3]), constant("flat", &[0, -1])]);
        let model = front::load(&made.expect("imported").written.text, "net", &[]).0.expect("a model");
        model.graph.ty(model.graph.outputs[0].1).dims.clone()
    };
    let of_pixels =
        all("p", "q").into_iter().map(|(kept, second)| (kept, [all("x", "p")[0].1.clone(), second].concat()));
    for (kept, pool) in all("x", "q").into_iter().chain(of_pixels) {
        let image = if kept == 1 { vec![4, 1, 1] } else { vec![4] };
        assert_eq!(dims(&[pool.clone(), node("Identity q -> y", &[])]), image);
        assert_eq!(dims(&[pool.clone(), node("Flatten q -> y", &[])]), [4]);
        assert_eq!(dims(&[pool.clone(), node("Reshape q flat -> y", &[])]), [4]);
        assert_eq!(dims(&[pool, node("Flatten q -> f", &[]), node("Relu f -> y", &[])]), [4]);
    }
}

/// The least of all whole numbers has no counterpart above 0.
#[test]
fn numbers_without_end_are_refused() {
    let pads = |pads: &[i64]| import(None, Some(17), &[node("Pad x pads -> y", &[]), constant("pads", pads)]);
    for wild in [i64::MIN, i64::MAX] {
        assert!(refused(pads(&[0, 0, 0, wild, 0, 0, 0, 0])).starts_with("y (Pad): its pads are ["));
    }
    assert!(pads(&[0, 0, 1, 0, 0, 0, 0, 2]).is_ok());
    for text in ["Gather x least -> y", "Slice x least least -> y", "Squeeze x least -> y", "Unsqueeze x least -> y"] {
        let least = constant("least", &[i64::MIN]);
        assert!(refused(import(None, Some(17), &[node(text, &[]), least])).starts_with("y ("), "{text}");
    }
}

/// Constants by which the graphs of sizes are made.
fn constants() -> Vec<u8> {
    let numbers: [(&str, &[i64]); 6] =
        [(".0", &[0]), (".2", &[2]), (".100", &[100]), ("0", &[0]), ("3", &[3]), ("rest", &[-1])];
    numbers.iter().flat_map(|(name, numbers)| constant(name, numbers)).collect()
}

/// The graph of some nodes without attributes.
fn graph(batch: Option<i64>, nodes: &str) -> Result<Imported, ImportError> {
    let nodes: Vec<Vec<u8>> = nodes.split("; ").map(|text| node(text, &[])).collect();
    import(batch, Some(17), &[nodes.concat(), constants()])
}

#[test]
fn no_constant_is_made_of_an_open_number_of_images() {
    let first = "Shape x -> s; Gather s .0 -> n; ";
    let depends = "depends on the number of images";
    for (rest, at) in [
        ("Div x n -> y", "y (Div)"),
        ("Identity n -> m; Div x m -> y", "y (Div)"),
        ("ReduceProd s -> p; Mul x p -> y", "y (Mul)"),
        ("ReduceMin s -> p; Add x p -> y", "y (Add)"),
        ("ReduceMean s -> p; Mul x p -> y", "y (Mul)"),
        ("Size x -> p; Mul x p -> y", "y (Mul)"),
        ("Mod n .2 -> p; Add x p -> y", "y (Add)"),
        ("Less n .100 -> p; Add x p -> y", "y (Add)"),
        ("Less n .100 -> p; Where p .2 .0 -> q; Add x q -> y", "y (Add)"),
        ("Range .0 n .2 -> p; ReduceSum p -> q; Add x q -> y", "p (Range)"),
        ("ConstantOfShape s -> p; Mul x p -> y", "p (ConstantOfShape)"),
        ("Unsqueeze n 0 -> m; Slice x 0 m 3 -> y", "y (Slice)"),
        ("Mul s s -> t; Reshape x t -> y", "y (Reshape)"),
        ("Unsqueeze n 0 -> m; Reshape x m -> y", "y (Reshape)"),
    ] {
        let said = refused(graph(None, &format!("{first}{rest}")));
        let known = said.contains(depends) || rest.ends_with("Reshape x m -> y");
        assert!(said.starts_with(at) && known && !said.contains("1000003"), "{rest}: {said}");
        if !rest.contains("Range") {
            continue;
        }
        // A number of images that the file gives is one like others: 0 + 2.
        let fixed = graph(Some(3), &format!("{first}{rest}")).expect("imported");
        assert!(fixed.written.tensors.values().flat_map(|t| &t.data).any(|v| *v == 2.0));
    }
}

#[test]
fn nodes_that_read_where_nothing_is_are_refused() {
    let ints = |name: &str, numbers: &[i64]| {
        let list: Vec<u8> = numbers.iter().flat_map(|&v| number(8, v)).collect();
        field(5, &[field(1, name.as_bytes()), list, vec![0xa0, 0x01, 7]].concat())
    };
    // A tensor of whole numbers that holds none.
    let empty = [number(1, 0), number(2, 7)].concat();
    let value = field(5, &[field(1, b"value"), field(5, &empty), vec![0xa0, 0x01, 4]].concat());
    let none = constant("none", &[]);
    let cases = [
        ("y (Transpose)", node("Transpose x -> y", &[ints("perm", &[0, 1, 2, 3, 4])])),
        ("y (Add)", [node("Slice none 3 0 0 rest -> s", &[]), node("Add x s -> y", &[])].concat()),
        ("s (ConstantOfShape)", [node("ConstantOfShape 3 -> s", &[value]), node("Add x s -> y", &[])].concat()),
    ];
    for (at, nodes) in cases {
        let said = refused(import(None, Some(17), &[nodes, constants(), none.clone()]));
        assert!(said.starts_with(at), "{at}: {said}");
    }
}

#[test]
fn the_batch_stays_where_a_shape_keeps_it() {
    let shape = "Shape x -> s; Gather s .0 -> n; Unsqueeze n 0 -> m; ";
    let joined = node("Concat m rest -> t", &[int("axis", 0)]);
    for batch in [None, Some(3)] {
        let nodes: Vec<Vec<u8>> = format!("{shape}Relu x -> r").split("; ").map(|text| node(text, &[])).collect();
        let parts = [nodes.concat(), joined.clone(), node("Reshape r t -> y", &[]), constants()];
        let made = import(batch, Some(17), &parts).expect("imported");
        assert!(made.written.text.contains("flatten"), "{}", made.written.text);
        graph(batch, "Shape x -> s; Relu x -> r; Reshape r s -> y").expect("imported");
        // The sizes of an image are numbers.
        let rest = [node("Shape x -> s", &[int("start", 1)]), node("ReduceProd s -> p", &[int("keepdims", 0)])];
        let parts = [rest.concat(), node("Add x p -> y", &[])];
        let made = import(batch, Some(17), &parts).expect("imported");
        assert!(made.written.tensors.values().flat_map(|t| &t.data).any(|v| *v == 252.0));
    }
    let bad = [node("Reshape x t -> y", &[]), constant("t", &[-1, 12])];
    assert!(refused(import(None, Some(17), &bad)).contains("it makes [21*N, 12] of [N, 4, 7, 9]"));
}

#[test]
fn nothing_is_rounded_and_no_batch_removed() {
    let cast = |to: i64| import(None, Some(17), &[node("Cast x -> c", &[int("to", to)]), node("Relu c -> y", &[])]);
    for (to, why) in [(10, "16 bits"), (16, "16 bits"), (7, "whole numbers"), (9, "whole numbers")] {
        let said = refused(cast(to));
        assert!(said.starts_with("c (Cast)") && said.contains(why), "{to}: {said}");
    }
    assert!([1, 11].into_iter().all(|to| cast(to).is_ok()));
    assert!(refused(graph(Some(1), "Squeeze x 0 -> y")).contains("it would remove the batch"));
}

#[test]
fn damaged_nodes_are_refused_by_name() {
    for (text, attributes, says) in [
        ("Add x -> y", vec![], "y (Add): it has 1 operands, where it takes 2\n"),
        ("Relu x x x -> y", vec![], "y (Relu): it has 3 operands, where it takes 1\n"),
        ("Concat -> y", vec![], "y (Concat): it has 0 operands, where it takes 1 or more\n"),
        ("Sub _ x -> y", vec![], "y (Sub): its operand 1 is left out, which it needs\n"),
        ("Relu x -> x", vec![], "x (Relu): it makes `x`, which is there already\n"),
        (
            "Softmax x -> y",
            vec![text_attribute("axis", "1")],
            "y (Softmax): its attribute `axis` is not of the type INT\n",
        ),
        (
            "MaxPool x -> y",
            vec![text_attribute("strides", "2")],
            "y (MaxPool): its attribute `strides` is not of the type INTS\n",
        ),
        ("Flatten x -> y", vec![int("axis", 1), int("axis", 1)], "y (Flatten): its attribute `axis` is there twice\n"),
        ("Flatten x -> y", vec![int("axes", 1)], "y (Flatten): its attribute `axes` is not of the type INTS\n"),
        (
            "Relu x -> y",
            vec![int("axis", 1)],
            "y (Relu): its attribute `axis` is none that this operator has in operator set 17\n",
        ),
        (
            "Softmax x -> y",
            vec![int("axis", 1), int("allowzero", 1)],
            "y (Softmax): its attribute `allowzero` is none that this operator has in operator set 17\n",
        ),
        ("LRN x -> y", vec![int("alpha", 1)], "y (LRN): its attribute `alpha` is not of the type FLOAT\n"),
    ] {
        assert_eq!(refused(import(None, Some(17), &[node(text, &attributes)])), says);
    }
    let twice = [node("Relu x -> y", &[]), node("Neg x -> y", &[])];
    assert_eq!(refused(import(None, Some(17), &twice)), "y (Neg): it makes `y`, which is there already\n");
    let tensors = [node("Relu x -> y", &[]), constant("c", &[1]), constant("c", &[2])];
    assert!(refused(import(None, Some(17), &tensors)).contains("`c` is there twice"));
}

#[test]
fn an_operator_set_is_known() {
    let made = |opset| import(None, opset, &[node("Relu x -> y", &[])]);
    assert!(refused(made(None)).contains("names no operator set"));
    for version in [-1, 0, 28, 999] {
        let says = format!("its operator set is {version}, where those from 1 to 27 are known");
        assert_eq!(refused(made(Some(version))), says);
    }
    assert!([1, 7, 27].into_iter().all(|version| made(Some(version)).is_ok()));
}

#[test]
fn the_text_holds_only_numbers_that_the_language_reads() {
    let pads = constant("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    // A scalar of float32: minus infinity.
    let bytes = f32::NEG_INFINITY.to_le_bytes();
    let lowest = field(5, &[number(2, 1), field(9, &bytes), field(8, b"low")].concat());
    let kernel = twice("kernel_shape", 3);
    let pad = node("Pad x pads low -> p", &[]);
    let constants = [pads, lowest].concat();
    let pooled = [pad.clone(), node("MaxPool p -> y", &[kernel]), constants.clone()];
    let text = import(None, Some(17), &pooled).expect("imported").written.text;
    assert!(text.contains("max_pool") && !text.contains("inf"), "{text}");
    let said = refused(import(None, Some(17), &[pad, node("Relu p -> y", &[]), constants]));
    assert!(said.starts_with("p (Pad): it needs the number -inf"), "{said}");
}

/// What the language refuses of a network's text is said without the line, which nobody wrote.
#[test]
fn the_text_that_nobody_wrote_has_no_lines() {
    let place = Place::new();
    let slope =
        field(5, &[field(1, b"alpha"), vec![0x15], (-0.5f32).to_le_bytes().to_vec(), vec![0xa0, 0x01, 1]].concat());
    let file = model(None, Some(17), &[node("LeakyRelu x -> y", &[slope])]);
    fs::write(place.path("net.onnx"), file).expect("written");
    let (_, said) = texts(&place.ninc(&["inspect", "net.onnx"]));
    assert!(
        said.contains("net.onnx cannot be imported: `x |> leaky_relu(slope = -0.5) as y`: ") && !said.contains("onnx:"),
        "{said}"
    );
    // Features are no pictures.
    let text = "network n { input x: [64]  x |> linear(features = 3) }";
    fs::write(place.path("flat.nin"), format!("{text}\ndata {{ source = npz(\"d.npz\")  prepare = [scale(0.5)] }}"))
        .expect("written");
    let mut random = ninc_runtime::philox::Stream::new(1, 0, 0);
    let mut weights = Weights::default();
    for (name, dims) in [("linear1.weight", vec![3, 64]), ("linear1.bias", vec![3])] {
        let values = (0..dims.iter().product()).map(|_| random.normal()).collect();
        weights.tensors.insert(name.into(), Tensor::new(&dims, values).expect("fits"));
    }
    weights.write(&place.path("flat.safetensors"), &System).expect("written");
    place.good(&["export", "flat.nin", "--weights", "flat.safetensors", "-o", "flat.onnx"]);
    place.good(&["import", "flat.onnx", "-o", "back.nin", "--prepare", "[scale(0.5)]"]);
    let back = fs::read_to_string(place.path("back.nin")).expect("a model");
    assert!(back.contains("npz(\"data.npz\")") && back.contains("scale(0.5)"), "{back}");
    place.bad_or_said(1, &["inspect", "flat.onnx", "--resize", "crop"], "pictures have 1 or 3 channels");
}
