//! `ninc compare` with values of another program, which are computed here by hand.

use crate::cli::{Place, texts};
use crate::support::files::zip_bytes;
use ninc_runtime::philox::Stream;
use ninc_runtime::store::System;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Tensor, npy};
use serde_json::Value;
use std::fs;

const MODEL: &str = "network net {
    input image: [2, 2, 2]
    image |> conv(channels = 3, kernel = 2) as mix |> relu as gate
        |> flatten |> linear(features = 2) as last |> softmax as odds
}
";
const LABELS: [usize; 2] = [1, 0];

/// Random weights `w1` [3][8], `b1`, `w2` [2][3], `b2`, and two images [8].
struct Net([Vec<f64>; 5]);

/// Arrays by name.
type Arrays = Vec<(String, Tensor)>;

impl Net {
    fn new() -> Net {
        let mut random = Stream::new(7, 0, 0);
        Net([24, 3, 6, 2, 16].map(|count| (0..count).map(|_| f64::from(random.normal())).collect()))
    }

    fn weights(&self) -> Weights {
        let shapes: [(&str, &[usize]); 4] =
            [("mix.weight", &[3, 2, 2, 2]), ("mix.bias", &[3]), ("last.weight", &[2, 3]), ("last.bias", &[2])];
        let tensors = shapes.iter().zip(&self.0).map(|((name, dims), data)| (name.to_string(), tensor(dims, data)));
        Weights { tensors: tensors.collect(), ..Weights::default() }
    }

    /// Images, values and gradients: of the cross-entropy with [`LABELS`], or of the sum of the scores.
    fn reference(&self, labelled: bool) -> Arrays {
        let Net([w1, b1, w2, b2, images]) = self;
        let mut values = [vec![], vec![], vec![]];
        let mut grads = [w1, b1, w2, b2, images].map(|values| vec![0.0; values.len()]);
        for (n, x) in images.chunks(8).enumerate() {
            let mix: Vec<f64> = (0..3).map(|k| b1[k] + (0..8).map(|i| w1[k * 8 + i] * x[i]).sum::<f64>()).collect();
            let gate: Vec<f64> = mix.iter().map(|v| v.max(0.0)).collect();
            let last: Vec<f64> = (0..2).map(|o| b2[o] + (0..3).map(|k| w2[o * 3 + k] * gate[k]).sum::<f64>()).collect();
            let sum: f64 = last.iter().map(|v| v.exp()).sum();
            let odds: Vec<f64> = last.iter().map(|v| v.exp() / sum).collect();
            let right = |o| if o == LABELS[n] { 1.0 } else { 0.0 };
            for o in 0..2 {
                let of_score = if labelled { (odds[o] - right(o)) / 2.0 } else { 1.0 };
                grads[3][o] += of_score;
                for k in 0..3 {
                    grads[2][o * 3 + k] += of_score * gate[k];
                    let of_mix = if mix[k] > 0.0 { of_score * w2[o * 3 + k] } else { 0.0 };
                    grads[1][k] += of_mix;
                    for i in 0..8 {
                        grads[0][k * 8 + i] += of_mix * x[i];
                        grads[4][n * 8 + i] += of_mix * w1[k * 8 + i];
                    }
                }
            }
            values.iter_mut().zip([mix, gate, odds]).for_each(|(all, some)| all.extend(some));
        }
        let mut arrays = vec![("image".to_string(), tensor(&[2, 2, 2, 2], images))];
        // Dimensions of 1 may be there or not.
        let shapes: [(&str, &[usize]); 3] = [("mix", &[2, 3, 1, 1]), ("gate", &[2, 3]), ("odds", &[2, 2])];
        arrays.extend(shapes.iter().zip(&values).map(|((name, dims), v)| (name.to_string(), tensor(dims, v))));
        let weights = self.weights().tensors;
        for (name, grad) in ["mix.weight", "mix.bias", "last.weight", "last.bias"].iter().zip(&grads) {
            arrays.push((format!("grad/{name}"), tensor(&weights[*name].dims, grad)));
        }
        arrays.push(("grad/image".into(), tensor(&[2, 2, 2, 2], &grads[4])));
        if labelled {
            arrays.push(("labels".into(), tensor(&[2], &LABELS.map(|label| label as f64))));
        }
        arrays
    }
}

fn tensor(dims: &[usize], data: &[f64]) -> Tensor {
    Tensor::new(dims, data.iter().map(|&v| v as f32).collect()).expect("fits")
}

fn place() -> (Place, Net) {
    let (place, net) = (Place::new(), Net::new());
    fs::write(place.path("net.nin"), MODEL).expect("written");
    net.weights().write(&place.path("net.safetensors"), &System).expect("written");
    (place, net)
}

fn write(place: &Place, name: &str, arrays: &Arrays) {
    let members: Vec<(String, Vec<u8>)> =
        arrays.iter().map(|(name, array)| (format!("{name}.npy"), npy::to_bytes(array))).collect();
    let members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    fs::write(place.path(name), zip_bytes(&members)).expect("written");
}

#[test]
fn values_of_another_program_agree() {
    let (place, net) = place();
    write(&place, "sum.npz", &net.reference(false));
    write(&place, "loss.npz", &net.reference(true));
    let backwards = ["last.bias", "last.weight", "mix.bias", "mix.weight", "image"].map(|name| format!("grad/{name}"));
    for (file, of) in [("sum.npz", "sum of the result's numbers"), ("loss.npz", "mean cross-entropy with the labels")] {
        let agree = place.good(&["compare", "net.nin", file, "--grad", "--json", "--tolerance", "1e-5"]);
        let agree: Value = serde_json::from_str(&agree).expect("JSON");
        let names: Vec<&str> =
            agree["values"].as_array().expect("a list").iter().filter_map(|row| row["value"].as_str()).collect();
        assert_eq!(names[..3], ["mix", "gate", "odds"]);
        assert!(backwards.iter().all(|name| names.contains(&name.as_str())) && names.len() == 8, "{names:?}");
        assert!(agree["gradients_of"].as_str().is_some_and(|said| said.starts_with(of)), "{agree}");
    }
    // An ONNX file is a network too, on either side; and devices and networks have gradients to compare.
    place.good(&["export", "net.nin", "-o", "net.onnx"]);
    place.good(&["compare", "sum.npz", "net.onnx", "--grad"]);
    for more in [&["net.nin", "net.onnx"][..], &["net.nin", "--device", "cpu", "--device", "interp"]] {
        let agree = place.good(&[&["compare", "--grad"], more].concat());
        assert!(agree.contains("grad/mix.weight") && agree.contains("the class that scores lowest"), "{agree}");
    }
}

#[test]
fn the_first_value_that_differs_is_named() {
    let (place, net) = place();
    let changed = |name: &str, by: f32| {
        let mut arrays = net.reference(false);
        let array = &mut arrays.iter_mut().find(|(known, _)| known == name).expect("there").1;
        array.data[1] += by;
        write(&place, "right.npz", &arrays);
    };
    for name in ["mix", "gate", "odds", "grad/last.weight", "grad/image"] {
        changed(name, 0.5);
        let says = format!(
            "`{name}` is the first value that differs between net.nin and right.npz by more than 0.0001: 5.00e-1"
        );
        place.bad_or_said(1, &["compare", "net.nin", "right.npz", "--grad"], &says);
    }
    // Gradients are compared where that is asked for.
    let (_, said) = texts(&place.ninc(&["compare", "net.nin", "right.npz"]));
    assert_eq!(said.lines().last(), Some("note: `--grad` compares the gradients in right.npz too"));
    write(&place, "sum.npz", &net.reference(false));
    changed("gate", f32::NAN);
    place.bad_or_said(1, &["compare", "sum.npz", "right.npz"], "`gate` is the first value that differs");
}

#[test]
fn files_of_values_that_do_not_fit_are_refused() {
    let (place, net) = place();
    let cases: [(&str, &str, &[usize], &str); 6] = [
        ("image", "x", &[2, 2, 2, 2], "has no array `image`, the input of net.nin: it has `x`"),
        ("image", "image", &[2, 8], "`image` in r.npz has the shape [2, 8], not [N, 2, 2, 2]"),
        ("mix", "mix", &[3, 2], "`mix` has the shape [2, 3, 1, 1] in net.nin, but [3, 2] in r.npz"),
        ("mix", "mixed", &[2, 3], "note: r.npz holds what net.nin has not: `mixed`"),
        ("grad/mix.bias", "grad/mixed", &[3], "note: r.npz holds what net.nin has not: `grad/mixed`"),
        ("labels", "labels", &[1, 2], ""),
    ];
    for (name, other, dims, says) in cases {
        let mut arrays = net.reference(true);
        let array = arrays.iter_mut().find(|(known, _)| known == name).expect("there");
        *array = (other.into(), Tensor { dims: dims.to_vec(), ..array.1.clone() });
        write(&place, "r.npz", &arrays);
        let output = place.ninc(&["compare", "net.nin", "r.npz", "--grad"]);
        let (_, said) = texts(&output);
        assert!(said.contains(says), "{name}: {said}");
        assert_eq!(output.status.success(), says.is_empty() || says.starts_with("note"), "{name}: {said}");
    }
    let mut arrays = net.reference(true);
    arrays.last_mut().expect("labels").1.data[0] = 2.0;
    write(&place, "r.npz", &arrays);
    place.bad(1, &["compare", "net.nin", "r.npz", "--grad"], "`labels` in r.npz is not a class for each of 2 images");
    write(&place, "r.npz", &arrays[..1].to_vec());
    place.bad(1, &["compare", "net.nin", "r.npz"], "r.npz holds no value of net.nin");
    place.bad_or_said(1, &["compare", "net.nin", "r.npz", "--grad"], "have no gradient in common");
    place.bad(2, &["compare", "r.npz"], "r.npz alone is compared with nothing");
    place.bad(2, &["compare", "net.nin", "r.npz", "--images", "3"], "the images are those of r.npz");
    place.bad(2, &["compare", "net.nin", "--grad", "--precision", "bf16"], "compares gradients in float32");
    fs::write(place.path("not.npz"), "x").expect("written");
    place.bad(1, &["compare", "net.nin", "not.npz"], "not.npz is not an .npz archive");
    fs::write(place.path("odd.npz"), zip_bytes(&[("a.txt", vec![1])])).expect("written");
    place.bad(1, &["compare", "net.nin", "odd.npz"], "a.txt in odd.npz is not an array");
}

/// The last layer of a block and the block are one value, which an `.npz` may call either.
#[test]
fn layers_of_blocks_are_compared() {
    let (place, _) = place();
    let text = "block unit(x) { return x |> conv(channels = 2, kernel = 1) |> relu }
        network blocks { input image: [2, 2, 2]  image |> unit as one |> flatten |> flatten |> linear(features = 3)
            |> softmax as odds }";
    fs::write(place.path("blocks.nin"), text).expect("written");
    let agree = place.good(&["compare", "blocks.nin", "--device", "cpu", "--device", "interp", "--grad"]);
    assert!(agree.contains("one.relu1") && agree.contains("grad/one.conv1.weight"), "{agree}");
    let tensors = [
        ("one.conv1.weight", &[2, 2, 1, 1][..]),
        ("one.conv1.bias", &[2]),
        ("linear1.weight", &[3, 8]),
        ("linear1.bias", &[3]),
    ];
    let tensors = tensors.iter().map(|(name, dims)| (name.to_string(), Tensor::zeros(dims)));
    let weights = Weights { tensors: tensors.collect(), ..Weights::default() };
    weights.write(&place.path("blocks.safetensors"), &System).expect("written");
    let zeros = |name: &str| (name.to_string(), Tensor::zeros(&[1, 2, 2, 2]));
    write(&place, "v.npz", &["image", "one", "one.relu1"].map(zeros).to_vec());
    let agree = place.good(&["compare", "blocks.nin", "v.npz"]);
    assert!(agree.contains("one.relu1") && agree.contains("\none "), "{agree}");
}

/// A file with the preparation in it takes numbers of 0 to 255, the model file prepared ones: each gets its own.
#[test]
fn networks_may_prepare_images_in_different_places() {
    let place = Place::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.nin");
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.safetensors");
    place.good(&["export", model, "--weights", weights, "-o", "inside.onnx", "--with-preparation"]);
    place.good(&["export", model, "--weights", weights, "-o", "outside.onnx"]);
    let said = "note: each network prepares images of 0 to 255 as it states";
    for (a, b, apart) in [
        (model, "inside.onnx", true),
        ("inside.onnx", model, true),
        (model, "outside.onnx", false),
        ("inside.onnx", "outside.onnx", true),
    ] {
        let given: &[&str] = if [a, b].contains(&model) { &["--weights", weights] } else { &[] };
        let output = place.ninc(&[&["compare", a, b, "--grad", "--tolerance", "1e-5"][..], given].concat());
        let (rows, notes) = texts(&output);
        assert!(output.status.success() && rows.contains("grad/block1.conv.weight"), "{a} {b}: {rows}{notes}");
        assert_eq!((notes.contains(said), rows.contains("grad/image")), (apart, !apart), "{a} {b}: {rows}{notes}");
    }
}
