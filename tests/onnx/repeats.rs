//! Networks that repeat come in as a person would write them: repeats and blocks, with the same layers and bits.

use super::export::{exported, load, random_images, random_weights, results};
use ninc::front;
use ninc::io::Imported;
use ninc::io::onnx;
use ninc::model::Model;
use ninc_runtime::philox::Stream;
use ninc_runtime::weights::Weights;
use std::path::Path;

/// Writes a network as another program would, and reads it back.
fn foreign(model: &Model, weights: &Weights) -> Imported {
    let mut file = exported(model, weights, 17);
    let ours = b"\x12\x04ninc";
    let at = (0..file.len()).find(|&at| file[at..].starts_with(ours)).expect("the producer's name");
    file[at + 2..at + 6].copy_from_slice(b"them");
    onnx::import(file, Path::new("net.onnx"), None).expect("imported")
}

/// What `inspect` says of each layer, names aside.
fn rows(model: &Model) -> Vec<(String, Vec<usize>, usize)> {
    let graph = &model.graph;
    let parameters = |layer: &ninc::model::Layer| layer.params.iter().map(|&p| graph.ty(p).elements()).sum();
    let row = |l: &ninc::model::Layer| (l.function.clone(), graph.ty(l.value).dims.clone(), parameters(l));
    model.layers.iter().map(row).collect()
}

/// Imports a network, compares rows, tensors' names and, with `bits`, results, and gives its text.
fn back(text: &str, bits: bool) -> String {
    let model = load(text);
    let (weights, dims) = random_weights(&model);
    let made = foreign(&model, &weights).written;
    let again = load(&made.text);
    assert_eq!(rows(&model), rows(&again), "{text}\n{}", made.text);
    let names = |model: &Model| random_weights(model).0.tensors.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&again), made.tensors.keys().cloned().collect::<Vec<_>>(), "{text}\n{}", made.text);
    if bits {
        let images = random_images(&dims);
        let tensors = Weights { tensors: made.tensors, ..Weights::default() };
        assert!(results(&model, &weights, &images) == results(&again, &tensors, &images), "{text}: other bits");
    }
    let text = front::format(&made.text).expect("a text of the language");
    assert!(front::load(&text, "net", &[]).1.is_empty(), "warnings: {text}");
    text.split_once("]\n\n").expect("the input").1.to_string()
}

#[test]
fn equal_steps_are_a_repeat() {
    let text = "network net { input image: [2, 9, 9]
        image |> conv(channels = 4, kernel = 3) as stem
            |> conv(channels = 5, kernel = 3, pad = 1) as features_0 |> relu
            |> conv(channels = 5, kernel = 3, pad = 1) as features_2 |> relu
            |> conv(channels = 5, kernel = 3, pad = 1) as features_4 |> relu
            |> max_pool(kernel = 2) |> flatten |> linear(features = 3) as fc }";
    let right = "    image
        |> conv(channels = 4, kernel = 3)                               as stem
        |> repeat 3 { conv(channels = 5, kernel = 3, pad = 1) |> relu } as features
        |> max_pool(kernel = 2)
        |> flatten
        |> linear(features = 3)                                         as fc
}
";
    assert_eq!(back(text, true), right);
}

/// A stage of two equal blocks, one that halves the image, and one that differs in a number.
#[test]
fn equal_branches_are_a_block() {
    let unit = |name: &str, from: &str, channels: usize| {
        format!(
            "{from} |> conv(channels = {channels}, kernel = 3, pad = 1) as {name}_conv1 |> relu
                |> conv(channels = {channels}, kernel = 3, pad = 1) as {name}_conv2
            let {name} = {name}_conv2 + {from} |> relu "
        )
    };
    let text = format!(
        "network net {{ input image: [4, 8, 8]  let stem = image |> conv(channels = 4, kernel = 3, pad = 1) |> relu
            {} {} let down = layer1_1 |> conv(channels = 6, kernel = 3, stride = 2) as down_conv |> relu
            {} layer2_0 |> global_avg_pool }}",
        unit("layer1_0", "stem", 4),
        unit("layer1_1", "layer1_0", 4),
        unit("layer2_0", "down", 6)
    );
    let model = load(&text);
    let (weights, _) = random_weights(&model);
    let made = front::format(&foreign(&model, &weights).written.text).expect("a text of the language");
    let right = "block residual(x, channels) {
    let conv2 = x
        |> conv(channels = channels, kernel = 3, pad = 1)
        |> relu
        |> conv(channels = channels, kernel = 3, pad = 1)
    return conv2 + x |> relu
}

network net {
    input image: [4, 8, 8]

    image
        |> conv(channels = 4, kernel = 3, pad = 1)
        |> relu
        |> repeat 2 { residual(channels = 4) }        as layer1
        |> conv(channels = 6, kernel = 3, stride = 2) as down_conv
        |> relu
        |> residual(channels = 6)                     as layer2_0
        |> global_avg_pool
}
";
    assert_eq!(made, right);
    back(&text, true);
}

/// Numbers that differ within a chain, results inside a round, and steps of other kinds stay apart.
#[test]
fn what_only_looks_alike_is_not_put_together() {
    let conv = |more: &str| format!("conv(channels = 4, kernel = 3, pad = 1{more}) |> relu");
    let chain = ["", ", bias = false", "", ", bias = false"].map(conv);
    let differ = format!("image |> {} |> {} |> {} |> max_pool(kernel = 3)", chain[0], chain[1], chain[0]);
    let net = |body: &str| format!("network net {{ input image: [4, 8, 8]  {body} }}");
    let made = back(&net(&differ), true);
    assert!(!made.contains("repeat") && made.matches("conv(").count() == 3, "{made}");
    // Whole rounds repeat.
    let made = back(&net(&format!("image |> {}", chain.join(" |> "))), true);
    assert!(made.contains("repeat 2 {") && made.matches("conv(").count() == 2, "{made}");
    // Two sums of the same form, of two slopes.
    let sum = |from: &str, slope: &str, name: &str| {
        format!("let {name} = {from} + ({from} |> {} |> leaky_relu(slope = {slope}))  ", conv(""))
    };
    let sums = sum("image", "0.1", "a") + &sum("a", "0.2", "b") + &sum("b", "0.1", "c") + "c |> max_pool(kernel = 2)";
    let made = back(&net(&sums), true);
    assert!(!made.contains("repeat") && made.contains("residual(slope = 0.2)"), "{made}");
    let inside = format!("let a = image |> {}  let b = a |> {}  output a = a  output b = b", conv(""), conv(""));
    let made = back(&net(&inside), true);
    assert!(!made.contains("repeat") && made.contains("output a = "), "{made}");
    let equal = sum("image", "0.1", "a") + &sum("a", "0.1", "b") + "output first = a  output second = b";
    assert!(!back(&net(&equal), true).contains("block"));
}

/// Whatever repeats and however it is named: the same layers, and tensors under the names that the text gives.
#[test]
fn names_follow_the_text() {
    let names = ["conv1", "conv2", "residual1", "features", "layer1_0_conv1", "layer1_0_conv2", "layer1_1_conv1", "x"];
    let mut repeats = 0;
    for seed in 0..150 {
        let mut random = Stream::new(seed, 0, 0);
        let mut number = |below: usize| random.below(below as u32) as usize;
        let (mut taken, mut body, mut value) = (vec![], String::new(), "image".to_string());
        for step in 0..4 + number(8) {
            let mut name = || {
                let name = names[number(names.len())];
                let free = !taken.contains(&name);
                taken.push(name);
                if free { format!(" as {name}") } else { String::new() }
            };
            let (first, second) = (name(), name());
            let conv = |kernel, own| format!("conv(channels = 4, kernel = {kernel}, pad = {}){own}", kernel / 2);
            let next = format!("v{step}");
            body += &match number(5) {
                0 | 1 => format!("let {next} = {value} |> {}\n", conv(3, first)),
                2 => format!("let {next} = {value} |> {} |> relu\n", conv(5, first)),
                3 => format!("let {next} = {value} + ({value} |> {} |> relu |> {})\n", conv(3, first), conv(3, second)),
                _ => format!("let {next} = {value} + ({value} |> {} |> tanh) |> relu\n", conv(3, first)),
            };
            value = next;
        }
        let text = format!("network net {{ input image: [4, 7, 7]\n{body}{value} |> global_avg_pool }}");
        repeats += usize::from(back(&text, false).contains("repeat"));
    }
    assert!(repeats > 20, "{repeats}");
}

/// Branches whose layers a file has by turns are written one after the other, and names are counted so.
#[test]
fn names_are_counted_in_the_order_of_the_text() {
    let conv = "conv(channels = 4, kernel = 3, pad = 1)";
    let turns = |from: &str, to: &str| {
        format!(
            "let a{to} = {from} |> {conv}  let b{to} = {from} |> {conv}  let c{to} = a{to} |> relu |> {conv}
             let d{to} = b{to} |> tanh |> {conv}  let {to} = concat(c{to}, d{to}) |> cccp(channels = 4) |> relu\n"
        )
    };
    let once = format!("network net {{ input image: [4, 6, 6]  {} one |> global_avg_pool }}", turns("image", "one"));
    let both = turns("image", "one") + &turns("one", "two");
    let twice = format!("network net {{ input image: [4, 6, 6]  {both} two |> global_avg_pool }}");
    for text in [once, twice] {
        let model = load(&text);
        let (weights, dims) = random_weights(&model);
        let made = foreign(&model, &weights).written;
        let (images, tensors) = (random_images(&dims), Weights { tensors: made.tensors, ..Weights::default() });
        let right = results(&model, &weights, &images);
        assert!(right == results(&load(&made.text), &tensors, &images), "{text}: other bits\n{}", made.text);
    }
}
