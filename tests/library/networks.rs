//! Libraries of whole networks against the runtime: plans, groups of images in training, memory.

use super::loaded::Loaded;
use super::{Place, have};
use ninc::library::files::{self, BuildRequest};
use ninc::library::levels::Level;
use ninc::library::systems::System;
use ninc::lower::target::Target;
use ninc::model::Model;
use ninc::pipeline::{self, Options, ParamInfo, Program};
use ninc_runtime::Tensor;
use ninc_runtime::data::Values;
use ninc_runtime::data::batches::Batch;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::init;
use ninc_runtime::spec::{Pictures, Prepare};
use ninc_runtime::train::schedule::Hyper;
use ninc_runtime::train::step_inputs::StepInputs;
use ninc_runtime::weights::Weights;
use std::fs;
use std::path::Path;

fn load(text: &str) -> Model {
    ninc::front::load(text, "test.nin", &[]).0.expect("a model")
}

fn shipped(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    load(&fs::read_to_string(path).expect("a shipped model"))
}

/// Untrained weights for pictures that are only scaled.
fn weights(model: &Model, params: &[ParamInfo], dims: [usize; 3]) -> Weights {
    let scale = |_: &str| Some(Tensor { dims: vec![], data: vec![1.0 / 255.0] });
    let form = Form::new(vec![Prepare::Scale { factor: 1.0 / 255.0 }], dims).expect("a size");
    let preparation = Preparation::from_tensors(form, scale).expect("a preparation");
    let values = params.iter().filter(|p| !p.state).map(|p| (p.name.clone(), init::values(&p.parameter(), 3)));
    Weights {
        model: model.name.clone(),
        tensors: values.collect(),
        preparation: Some(preparation),
        ..Weights::default()
    }
}

fn write(place: &Place, model: &Model, options: &Options, request: &BuildRequest) {
    fs::create_dir_all(place.path("lib")).expect("made");
    for (name, bytes) in files::build(model, request, options).expect("builds").files {
        fs::write(place.path("lib").join(name), bytes).expect("written");
    }
}

/// Both take the same steps on the same images; every loss agrees in all bits.
pub fn same_steps(
    program: &mut Program,
    model: &Model,
    library: &Loaded,
    training: super::loaded::Network,
    images: &[f32],
    labels: &[i32],
    steps: u64,
) {
    let recipe = model.train.as_ref().expect("a recipe");
    let inputs = program.engine.inputs().to_vec();
    for step in 0..steps {
        let factor = 1.0 / (step + 1) as f64;
        let hyper = Hyper { factor, momentum: recipe.optimizer.momentum(), ..Hyper::default() };
        let own = StepInputs::new(&inputs, recipe, hyper, 1.0, step).expect("all known");
        let data = Batch::new(Values::Floats(images.to_vec()), labels.to_vec());
        let fed = own.with(&inputs, &data);
        let expected = program.engine.run(labels.len(), &fed, &["loss"]).expect("runs")[0].data[0];
        let loss = library.train_step(training, images, labels, step as i64, factor, 1 + step as i64 % 2);
        assert_eq!(loss.map(f32::to_bits), Ok(expected.to_bits()), "step {step}");
    }
}

#[test]
fn libraries_for_this_machine_have_the_plans_of_the_runtime() {
    let options = Options { target: Some(Target::host()), in_shares: false, ..Options::default() };
    for name in ["digits.nin", "lenet5.nin", "cifar10.nin"] {
        let model = shipped(name);
        let run = pipeline::inference(&model, &options).expect("compiles").compiled.expect("for a processor");
        let library = pipeline::inference_kernels(&model, &options).expect("compiles");
        assert_eq!(*run.plan, library.plan, "{name}");
        assert_eq!(run.module.to_string(), library.module.to_string(), "{name}");
        if name == "cifar10.nin" {
            let (most, small) = library.plan.small_batch.as_ref().expect("a plan for small batches");
            assert!(*most > 0 && small.launches != library.plan.launches);
        }
    }
    let model = shipped("digits.nin");
    let run = pipeline::training(&model, &options).expect("compiles").compiled.expect("for a processor");
    let library = pipeline::training_kernels(&model, &options).expect("compiles");
    assert_eq!(*run.plan, library.plan);
    assert_eq!(run.module.to_string(), library.module.to_string());
}

/// Large enough for groups where the last cache holds 1 MiB.
const LARGE: &str = "network large {
    input rate: [3, 16, 16]
    rate
        |> mlpconv(kernel = 3, pad = 1, channels = [16, 12], init = he)
        |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.3)
        |> conv(kernel = 3, pad = 1, channels = 10, init = he)
        |> global_avg_pool
        |> softmax as probabilities
}
train { loss = cross_entropy  optimizer = adam(rate = 0.01)  batch = 600  steps = 3  seed = 5 }
";

#[test]
fn a_library_learns_in_the_groups_of_the_runtime() {
    let place = Place::new();
    let model = load(LARGE);
    let target = Target { cache: [32 << 10, 512 << 10, 1 << 20], ..Target::host() };
    let options = Options { target: Some(target), threads: 2, in_shares: false, ..Options::default() };
    let mut program = pipeline::training(&model, &options).expect("compiles");
    let plan = program.compiled.as_ref().expect("for a processor").plan.clone();
    let group = plan.group.expect("groups");
    assert!(group < 300 && 600 % group != 0 && plan.finish < plan.launches.len(), "{group} {}", plan.finish);
    let request = BuildRequest {
        triple: System::host().expect("a known one").triple,
        levels: &[Level::NATIVE],
        picture: None,
        reading: (Pictures::default(), 1.0),
        classes: vec![],
        weights: None,
        train: true,
        embed: false,
        opencl: false,
    };
    write(&place, &model, &options, &request);
    let start = Weights::read(&place.path("lib/large.safetensors")).expect("good");
    start.load_into(&mut *program.engine).expect("fits");
    let library = Loaded::open(&place.path("lib/liblarge.so"), "large");
    let training = library.train_create(&place.path("lib/large_train.safetensors"));
    // Several full groups and a part of one.
    let images: Vec<f32> = (0..600 * 768).map(|i| ((i * 7 + i / 768) % 23) as f32 / 23.0).collect();
    let labels: Vec<i32> = (0..600).map(|i| (i * i) % 10).collect();
    same_steps(&mut program, &model, &library, training, &images, &labels, 3);
    assert_eq!(library.train_save(training, &place.path("new.safetensors")), 0);
    let saved = Weights::read(&place.path("new.safetensors")).expect("good checksums");
    for (name, tensor) in &saved.tensors {
        assert_eq!(*tensor, program.engine.read(name).expect("there"), "{name}");
        assert_ne!(*tensor, start.tensors[name], "{name} did not change");
    }
    library.train_destroy(training);
}

#[test]
fn valgrind_is_silent_on_networks_of_all_sizes() {
    // AVX-512 is not known to it, so the code is for the level below.
    if !cfg!(target_arch = "x86_64") || !have("valgrind") || !have("cc") {
        return;
    }
    for (name, dims) in [("digits", [1, 8, 8]), ("mnist", [1, 28, 28]), ("cifar10", [3, 32, 32])] {
        let place = Place::new();
        let model = shipped(&format!("{name}.nin"));
        let options = Options::default();
        let params = pipeline::inference_kernels(&model, &options).expect("compiles").params;
        let weights = weights(&model, &params, dims);
        let request = BuildRequest {
            triple: "x86_64-unknown-linux-gnu",
            levels: &[Level::V3],
            picture: Some(dims),
            reading: (Pictures::default(), 1.0),
            classes: vec![],
            weights: Some(&weights),
            train: false,
            embed: false,
            opencl: false,
        };
        write(&place, &model, &options, &request);
        let mut picture = format!("P{}\n{} {}\n255\n", 5 + dims[0] / 3, dims[2], dims[1]).into_bytes();
        picture.extend((0..dims.iter().product::<usize>()).map(|i| (i * 37 % 251) as u8));
        fs::write(place.path("picture.ppm"), picture).expect("written");
        let library = format!("lib/lib{name}.a");
        place.good("cc", &["-O1", "lib/classify.c", &library, "-lpthread", "-o", "classify"]);
        let file = format!("lib/{name}.safetensors");
        // Memory with garbage in it, so that a result which reads what nobody wrote would differ as well.
        let arguments = ["-q", "--leak-check=full", "--error-exitcode=9", "--malloc-fill=0x7f", "./classify", "--raw"];
        let checked = place.good("valgrind", &[&arguments[..], &[&file, "picture.ppm"]].concat());
        assert_eq!(checked, place.good("./classify", &["--raw", &file, "picture.ppm"]), "{name}");
        assert!(checked.lines().count() == 10, "{name}: {checked}");
    }
}
