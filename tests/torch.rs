//! State dicts of PyTorch as weights: `tests/data/torch`, which `make.py` there makes with torch 2.15.0.

mod order;

use crate::cli::Place;
use ninc::io::torch;
use ninc_runtime::store::Store;
use std::fs;
use std::path::PathBuf;

fn own(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch").join(name)
}

/// Parts, turned, repeated and channels-last views, four types of floats, parameters, an empty tensor, a number.
#[test]
fn tensors_are_what_torch_says() {
    let right = Store::read(&own("right.safetensors"), false).expect("tensors").tensors;
    assert_eq!(right.len(), 18);
    for name in ["state.pt", "checkpoint.pth.tar"] {
        let read = torch::read(&fs::read(own(name)).expect("a file")).expect("tensors");
        assert!(read.tensors == right, "{name}");
        let others = ["batch_norm1.num_batches_tracked", "short", "whole"];
        assert!(read.others.keys().eq(others.iter().copied()), "{name}: {:?}", read.others);
    }
    for (name, says) in [("module.pt", "a whole module"), ("tensor.pt", "a single tensor")] {
        let error = torch::read(&fs::read(own(name)).expect("a file")).expect_err(name);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn commands_take_them_as_weights() {
    let place = Place::new();
    let model = "network net { input image: [3, 5, 5]
        image |> conv(channels = 4, kernel = 3) |> batch_norm |> global_avg_pool |> linear(features = 2) as fc }";
    fs::write(place.path("net.nin"), model).expect("written");
    let pixels = (0..75).map(|i| i as f32 / 75.0).collect();
    let image = ninc_runtime::Tensor::new(&[1, 3, 5, 5], pixels).expect("fits");
    fs::write(place.path("x.npy"), ninc_runtime::npy::to_bytes(&image)).expect("written");
    let state = own("state.pt");
    let state = state.to_str().expect("a path");
    place.good(&["weights", state, "-o", "all.safetensors"]);
    let listed = place.good(&["weights", state]);
    assert!(listed.contains("conv1.weight") && listed.contains("BF16"), "{listed}");
    // What the network does not have is said, as of other files.
    place.bad_or_said(1, &["run", "net.nin", "x.npy", "--weights", state, "--raw"], "not in the network: `brain`");
    let other = ["run", "net.nin", "x.npy", "--raw", "--weights", state, "--rename", "conv1=c", "--rename", "fc=f"];
    place.bad_or_said(1, &other, "--for NAME.nin -o NAME.safetensors` finds layers");
    place.bad(2, &["import", state, "-o", "a.nin"], "tensors by name, without their network");
    let module = own("module.pt");
    let module = module.to_str().expect("a path");
    place.bad(1, &["weights", module], "`torch.save(net.state_dict(), 'NAME.pth')` writes its tensors by name");
    fs::write(place.path("net.h5"), b"\x89HDF\r\n\x1a\n").expect("written");
    place.bad(2, &["import", "net.h5", "-o", "a.nin"], "load_model('net.h5').export('NAME.onnx', format='onnx')");
    let mut store = Store::read(&place.path("all.safetensors"), false).expect("tensors");
    store.tensors.retain(|name, _| ["conv1", "batch_norm1", "fc"].iter().any(|layer| name.starts_with(layer)));
    let system = ninc_runtime::store::System;
    store.write(&place.path("own.safetensors"), &system).expect("written");
    let run = |weights: &str, to: &str| {
        place.good(&["run", "net.nin", "x.npy", "--raw", "--weights", weights, "--output", to]);
        fs::read(place.path(to)).expect("an array")
    };
    let net = own("net.pt");
    assert!(run("own.safetensors", "a.npy") == run(net.to_str().expect("a path"), "b.npy"));
}
