//! A network's input may have any name, that of a training step's own inputs too: every command does the same as for
//! `image`.

use crate::library::loaded::Loaded;
use ninc_runtime::weights::Weights;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The roles of a training step's inputs, as names.
const NAMES: [&str; 14] = [
    "labels", "partners", "share", "rest", "key", "rate", "momentum", "decay", "beta1", "beta2", "epsilon", "alpha",
    "step", "clip",
];

/// Between them these ask for every input that a step can have.
const OPTIMIZERS: [&str; 3] = [
    "sgd(rate = 0.1, momentum = 0.9, decay = 1e-4)",
    "adam(rate = 0.01, decay = 1e-4)",
    "rmsprop(rate = 0.001, momentum = 0.5, decay = 1e-4)",
];

fn model(input: &str, optimizer: &str) -> String {
    format!(
        "network tiny {{
    input {input}: [1, 8, 8]
    {input} |> conv(kernel = 3, channels = 6, init = he) |> relu |> dropout(0.2) |> flatten
        |> linear(features = 10, init = he) |> softmax as probabilities
}}
data {{ source = digits  prepare = [scale]  augment = [mixup(alpha = 0.3)] }}
train {{ loss = cross_entropy  optimizer = {optimizer}  batch = 20  steps = 3  seed = 2  clip = 2.0 }}
"
    )
}

/// Runs what must succeed and gives its stdout.
fn ninc(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache"));
    let output = command.output().expect("ninc starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What the commands say that does not depend on time.
fn outcome(name: &str, optimizer: &str) -> (Weights, [String; 3]) {
    let place: TempDir = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path();
    fs::write(folder.join("tiny.nin"), model(name, optimizer)).expect("written");
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png");
    ninc(folder, &["check", "tiny.nin"]);
    ninc(folder, &["train", "tiny.nin", "--out", "."]);
    let weights = ["--weights", "tiny.safetensors"];
    let with = |first: &[&str]| ninc(folder, &[first, &weights].concat());
    let told = [
        with(&["run", "tiny.nin", picture, "--json"]),
        with(&["eval", "tiny.nin", "--json"]),
        with(&["compare", "tiny.nin", "--device", "cpu", "--device", "interp", "--images", "2"]),
    ];
    for mode in ["infer", "train"] {
        ninc(folder, &["bench", "tiny.nin", "--mode", mode, "--batch", "4", "--rounds", "1"]);
    }
    with(&["build", "tiny.nin", "--train", "-o", "lib"]);
    let header = fs::read_to_string(folder.join("lib/tiny.h")).expect("a header");
    assert!(header.contains(&format!("{name} (n x 1 x 8 x 8, float)")), "{header}");
    (Weights::read(&folder.join("tiny.safetensors")).expect("good"), told)
}

#[test]
fn an_input_may_have_the_name_of_any_role() {
    for (i, optimizer) in OPTIMIZERS.into_iter().enumerate() {
        let expected = outcome("image", optimizer);
        for name in NAMES.iter().skip(i).step_by(OPTIMIZERS.len()).chain(&["rate"]) {
            let found = outcome(name, optimizer);
            assert!(found.0.tensors == expected.0.tensors, "{name}, {optimizer}");
            assert_eq!(found.1[..2], expected.1[..2], "{name}, {optimizer}");
            assert_eq!(found.1[2], expected.1[2], "{name}, {optimizer}");
        }
    }
}

/// What an input is called among results, in libraries, in reports and in folded weights: names of a step's results, of
/// functions and arguments of libraries, and words of C.
#[test]
fn an_input_may_have_the_name_of_a_result() {
    let outcome = |name: &str| {
        let place: TempDir = tempfile::tempdir().expect("a folder for temporary files");
        let folder = place.path();
        let network = |network: &str, layers: &str| {
            let text = format!(
                "network {network} {{ input {name}: [1, 8, 8]  {name} |> conv(channels = 4, kernel = 3) as c |> {layers}
                     |> flatten |> linear(features = 10) as l |> softmax }}
                 data {{ source = digits  prepare = [scale, mean_std] }}
                 train {{ optimizer = adam(rate = 0.01)  batch = 20  steps = 3  seed = 2 }}"
            );
            fs::write(folder.join(format!("{network}.nin")), text).expect("written");
        };
        network("full", "batch_norm as n |> relu");
        network("plain", "relu");
        let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png");
        ninc(folder, &["train", "full.nin", "--out", "w"]);
        let weights = ["--weights", "w/full.safetensors"];
        let told = [
            ninc(folder, &["inspect", "full.nin"]),
            ninc(folder, &["check", "full.nin", "--json"]),
            ninc(folder, &[&["run", "full.nin", picture, "--csv", "--dump", "c=c.npy"][..], &weights].concat()),
            ninc(folder, &[&["fold", "full.nin", "--into", "plain.nin", "-o", "p.safetensors"][..], &weights].concat()),
            ninc(folder, &["run", "plain.nin", picture, "--weights", "p.safetensors", "--json"]),
        ];
        let dumped = fs::read(folder.join("c.npy")).expect("an array");
        // Straight from the training's weights, without the text's data.
        ninc(folder, &[&["build", "full.nin", "--train", "-o", "lib"][..], &weights].concat());
        let library = Loaded::open(&folder.join("lib/libfull.so"), "full");
        let images: Vec<f32> = (0..128).map(|i| (i * 37 % 17) as f32 / 17.0).collect();
        let network = library.create(&folder.join("lib/full.safetensors")).expect("good weights");
        let results = library.run(network, 2, &images, 1, None).expect("runs");
        library.destroy(network);
        let training = library.train_create(&folder.join("lib/full_train.safetensors"));
        let loss = library.train_step(training, &images, &[3, 7], 0, 1.0, 1).expect("a loss");
        library.train_destroy(training);
        (told, dumped, results, loss)
    };
    let expected = outcome("image");
    for name in ["result", "loss", "logits", "seed", "full_run", "float"] {
        assert!(outcome(name) == expected, "{name}");
    }
}

/// Names of a preparation's numbers begin as this layer's do.
#[test]
fn a_layer_may_be_called_prepare() {
    let place: TempDir = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path();
    let outcome = |name: &str| {
        let text = format!(
            "network n {{ input image: [1, 8, 8]  image |> flatten |> linear(features = 10) as {name} |> softmax }}
             data {{ source = digits  prepare = [scale, mean_std] }}
             train {{ optimizer = sgd(rate = 0.1)  batch = 20  steps = 3 }}"
        );
        fs::write(folder.join("n.nin"), text).expect("written");
        ninc(folder, &["train", "n.nin", "--out", name]);
        let weights = format!("{name}/n.safetensors");
        ninc(folder, &["weights", &weights, "--dtype", "bf16", "-o", "small.safetensors"]);
        let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png");
        ninc(folder, &["build", "n.nin", "--weights", &weights, "-o", "lib"]);
        let library = Loaded::open(&folder.join("lib/libn.so"), "n");
        let network = library.create(&folder.join("lib/n.safetensors")).expect("good weights");
        let results = library.run(network, 1, &[0.5; 64], 1, None).expect("runs");
        library.destroy(network);
        let run = |weights: &str| ninc(folder, &["run", "n.nin", picture, "--json", "--weights", weights]);
        (run(&weights), run("small.safetensors"), results)
    };
    // Initial weights go by the name.
    let (whole, small, _) = outcome("prepare");
    assert!(whole.contains("probability") && small.contains("probability"), "{whole}{small}");
}

/// A checkpoint that was written before still belongs to its network: the hash is of a text with a format of its own.
#[test]
fn a_networks_identity_does_not_change() {
    for (name, hash) in [
        ("cifar10", "31c32c476a22cc67"),
        ("cifar10_bn", "fe40fcc14a64aaa2"),
        ("cifar10_caffe", "927f387c6e608c9f"),
        ("digits", "c2a43efe941feb2f"),
        ("imagenet", "82be8b55e2661108"),
        ("lenet5", "cc7065a2a81b6b7c"),
        ("mnist", "fcd26667fd8c92f6"),
        ("residual", "a8ee5eb97500df7a"),
        ("svhn", "599ff54b45ef5348"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.nin"));
        let (model, diagnostics) = ninc::front::load(&fs::read_to_string(path).expect("a model"), name, &[]);
        let text = ninc::graph::identity::text(&model.unwrap_or_else(|| panic!("{diagnostics:#?}")).graph);
        assert_eq!(format!("{:016x}", ninc_runtime::init::fnv(text.as_bytes())), hash, "{name}");
    }
}
