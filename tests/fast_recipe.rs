//! What fast trainings use, each against the plain formula or numbers from NumPy: starts of weights, groups of
//! parameters, freezing, look-ahead, the triangle of the rate, and resuming with all of them.

use crate::cli::{Place, json, texts};
use ninc::model::Model;
use ninc::pipeline::{self, Device, Options, Program};
use ninc_runtime::data::batches::Batch;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::data::{Dataset, Images, Pixels, Values};
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::DType;
use ninc_runtime::spec::{Length, Recipe};
use ninc_runtime::train::schedule::{Clock, Hyper, Plateau, hyper};
use ninc_runtime::train::step_inputs::StepInputs;
use ninc_runtime::train::whiten;
use ninc_runtime::{Feed, Tensor, npy};
use std::collections::BTreeMap;
use std::fs;

pub fn load(layers: &str, train: &str) -> Model {
    load_of(6, layers, train)
}

/// The network for images of this many rows and columns.
pub fn load_of(side: usize, layers: &str, train: &str) -> Model {
    let source = format!(
        "network n {{ input image: [3, {side}, {side}]  image |> {layers} |> global_avg_pool |> softmax }}
        data {{ source = npz(\"d.npz\") }}
        train {{ batch = 4  {train} }}"
    );
    let (model, diagnostics) = ninc::front::load(&source, "n.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

const LAYERS: &str =
    "conv(channels = 6, kernel = 3) as c1 |> batch_norm(scale = false) as norm |> relu |> cccp(5) as c2";

/// A training program at given values, and its parameters after each of some steps.
pub struct Trained {
    pub program: Program,
    recipe: Recipe,
    pub steps: u64,
    /// Images of a step.
    pub batch: usize,
}

impl Trained {
    fn new(model: &Model, device: Device) -> Trained {
        Trained::with(model, &Options { device, threads: 2, ..Options::default() })
    }

    pub fn with(model: &Model, options: &Options) -> Trained {
        let mut program = pipeline::training(model, options).expect("it compiles");
        let mut random = Stream::new(3, 2, 0);
        for parameter in program.params.clone().iter().filter(|p| !p.state) {
            let data = (0..parameter.dims.iter().product()).map(|_| 0.3 + 0.1 * random.normal()).collect();
            let tensor = Tensor { dims: parameter.dims.clone(), data };
            program.engine.write(&parameter.name, &tensor).expect("a parameter");
            let slow = format!("{}.slow", parameter.name);
            if program.params.iter().any(|p| p.name == slow) {
                program.engine.write(&slow, &tensor).expect("a state");
            }
        }
        Trained { program, recipe: model.train.clone().expect("a recipe"), steps: 0, batch: 4 }
    }

    /// Makes a step of two in an epoch and eight in all; returns the numbers that it was given.
    pub fn step(&mut self) -> Hyper {
        let mut random = Stream::new(5, 1, self.steps as u32);
        let ports = self.program.engine.inputs().to_vec();
        let each: usize = ports.iter().find(|port| port.name == "image").expect("the images").elements();
        let images: Vec<f32> = (0..self.batch * each).map(|_| random.normal()).collect();
        let labels: Vec<i32> = (0..self.batch).map(|_| random.below(5) as i32).collect();
        let data = Batch::new(Values::Floats(images), labels);
        let clock = Clock { step: self.steps, steps_per_epoch: 2, total_steps: 8 };
        let numbers = hyper(&self.recipe, clock, &Plateau::default());
        let own = StepInputs::new(&ports, &self.recipe, numbers, 1.0, self.steps).expect("inputs");
        let fed: Vec<(&str, Feed)> = own.with(&ports, &data);
        self.program.engine.run(self.batch, &fed, &["loss"]).expect("a step");
        self.steps += 1;
        numbers
    }

    pub fn values(&self) -> BTreeMap<String, Vec<f32>> {
        let read = |name: &str| self.program.engine.read(name).expect("a parameter").data;
        self.program.params.iter().map(|p| (p.name.clone(), read(&p.name))).collect()
    }
}

const SGD: &str = "optimizer = sgd(rate = 0.1, momentum = 0.9, nesterov = true, decay = 0.01)  epochs = 4";

/// The average and the weights that it takes the place of, done by hand between the steps of a training without.
#[test]
fn a_look_ahead_is_its_formula() {
    for device in [Device::Cpu, Device::Interp] {
        let mut found = Trained::new(
            &load(LAYERS, &format!("{SGD}  lookahead = ema(every = 3, decay = 0.8, power = 2)")),
            device.clone(),
        );
        let mut plain = Trained::new(&load(LAYERS, SGD), device);
        let first = plain.values();
        let mut slow: BTreeMap<String, Vec<f32>> =
            first.into_iter().filter(|(name, _)| !name.ends_with(".velocity")).collect();
        // The scale does not learn, so nothing averages it.
        slow.remove("norm.weight").expect("kept with the weights");
        for step in 1..=8u64 {
            found.step();
            plain.step();
            if step % 3 == 0 {
                let past = 0.8f64.powi(3) * (step as f64 / 8.0).powi(2);
                for (name, slow) in &mut slow {
                    let mut tensor = plain.program.engine.read(name).expect("a parameter");
                    for (slow, w) in slow.iter_mut().zip(&mut tensor.data) {
                        *slow = (past * f64::from(*slow) + (1.0 - past) * f64::from(*w)) as f32;
                        *w = *slow;
                    }
                    plain.program.engine.write(name, &tensor).expect("a parameter");
                }
            }
            let (values, right) = (found.values(), plain.values());
            for (name, right) in &right {
                near(&values[name], right, &format!("step {step}, {name}"));
            }
            for (name, slow) in &slow {
                near(&values[&format!("{name}.slow")], slow, &format!("step {step}, {name}.slow"));
            }
        }
    }
}

fn near(found: &[f32], right: &[f32], what: &str) {
    let scale = right.iter().fold(1e-2, |most: f32, v| most.max(v.abs()));
    let far = found.iter().zip(right).find(|(a, b)| (*a - *b).abs() > 2e-5 * scale);
    assert!(found.len() == right.len() && far.is_none(), "{what}: {far:?}");
}

/// Groups say what layers could say, in their place, and the last one that fits counts.
#[test]
fn groups_say_what_layers_say() {
    let own = "conv(channels = 6, kernel = 3, rate = 0.5, decay = 0, bias_rate = 8, bias_decay = 0.25) as c1
        |> batch_norm(scale = false, bias_rate = 8, bias_decay = 0.25) as norm |> relu
        |> cccp(5, rate = 2, decay = 3, bias_rate = 0) as c2";
    let groups = "groups = [
        group(\"*.bias\", rate = 8, decay = 1/4), group(\"c1.weight\", rate = 0.5, decay = 0),
        group(\"c2\", rate = 7), group(\"c2.weight\", rate = 2, decay = 3), group(\"c2.bias\", rate = 0)
    ]";
    for optimizer in [SGD, "optimizer = adam(rate = 0.01, decay = 0.1)  epochs = 4"] {
        let mut one = Trained::new(&load(own, optimizer), Device::Cpu);
        let mut other = Trained::new(&load(LAYERS, &format!("{optimizer}  {groups}")), Device::Cpu);
        let begin = one.values();
        for _ in 0..3 {
            one.step();
            other.step();
        }
        assert_eq!(one.values(), other.values());
        let moved = |name: &str| one.values()[name] != begin[name];
        assert!(moved("c1.weight") && moved("c2.weight") && moved("norm.bias"));
        // A rate of 0 leaves a parameter as it is, and needs no state of the optimiser.
        assert!(!moved("c2.bias") && !moved("norm.weight") && !begin.contains_key("c2.bias.velocity"));
    }
}

/// Two steps make an epoch: after one and a half of them, three steps are done.
#[test]
fn what_is_frozen_after_some_epochs_stays() {
    let frozen = format!("{SGD}  groups = group(\"c2\", freeze_after = 1.5)");
    for device in [Device::Cpu, Device::Interp] {
        let mut found = Trained::new(&load(LAYERS, &frozen), device.clone());
        let mut plain = Trained::new(&load(LAYERS, SGD), device);
        for step in 1..=3 {
            found.step();
            plain.step();
            assert_eq!(found.values(), plain.values(), "step {step}");
        }
        let at = found.values();
        found.step();
        plain.step();
        let (now, free) = (found.values(), plain.values());
        for name in ["c2.weight", "c2.bias"] {
            assert!(now[name] == at[name] && free[name] != at[name], "{name}");
        }
        // The rest of the same step is the same.
        assert_eq!(now["c1.weight"], free["c1.weight"]);
        found.step();
        assert!(found.values()["c2.weight"] == at["c2.weight"] && found.values()["c1.weight"] != now["c1.weight"]);
    }
}

/// The product of two matrices; `depth` are the columns of the first.
fn times(a: &[f64], b: &[f64], depth: usize) -> Vec<f64> {
    let columns = b.len() / depth;
    let cell = |i: usize| (0..depth).map(|k| a[i / columns * depth + k] * b[k * columns + i % columns]).sum();
    (0..a.len() / depth * columns).map(cell).collect()
}

/// Three steps of Newton–Schulz's iteration from `x` over its norm.
fn alike(x: &[f64], rows: usize) -> Vec<f64> {
    let (norm, columns) = (x.iter().map(|v| v * v).sum::<f64>().sqrt() + 1e-7, x.len() / rows);
    let mut x: Vec<f64> = x.iter().map(|v| v / norm).collect();
    for _ in 0..3 {
        let turned: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
        let a = times(&x, &turned, columns);
        let square = times(&a, &a, rows);
        let b: Vec<f64> = a.iter().zip(&square).map(|(a, square)| -4.775 * a + 2.0315 * square).collect();
        x = x.iter().zip(times(&b, &x, rows)).map(|(x, bx)| 3.4445 * x + bx).collect();
    }
    x
}

/// Muon's formula in float64, from the gradients that a plain training at the same place shows; what is not the weight
/// of a convolution goes by `optimizer`.
#[test]
fn muon_is_its_formula() {
    let muon = "convolutions = muon(rate = 0.05, momentum = 0.6, steps = 3, decay = 0.1, unit = true)";
    let sgd = "optimizer = sgd(rate = 2)  epochs = 4";
    for device in [Device::Cpu, Device::Interp] {
        let mut found = Trained::new(&load(LAYERS, &format!("{sgd}  {muon}")), device.clone());
        let mut plain = Trained::new(&load(LAYERS, sgd), device);
        let mut velocities = [vec![0.0; 6 * 27], vec![0.0; 5 * 6]];
        for step in 0..2 {
            let before = found.values();
            for p in plain.program.params.clone() {
                let tensor = Tensor { dims: p.dims, data: before[&p.name].clone() };
                plain.program.engine.write(&p.name, &tensor).expect("a parameter");
            }
            found.step();
            plain.step();
            let (values, sgd) = (found.values(), plain.values());
            for name in ["c1.bias", "c2.bias", "norm.bias", "norm.running_mean"] {
                assert_eq!(values[name], sgd[name], "{name}");
            }
            for ((name, rows), v) in [("c1.weight", 6), ("c2.weight", 5)].into_iter().zip(&mut velocities) {
                let w: Vec<f64> = before[name].iter().map(|&w| f64::from(w)).collect();
                let g: Vec<f64> = w.iter().zip(&sgd[name]).map(|(w, next)| (w - f64::from(*next)) / 2.0).collect();
                v.iter_mut().zip(&g).for_each(|(v, g)| *v = 0.6 * *v + g);
                let ahead: Vec<f64> = v.iter().zip(&g).map(|(v, g)| g + 0.6 * v).collect();
                let unit = (rows as f64).sqrt() / w.iter().map(|w| w * w).sum::<f64>().sqrt();
                let next = |(w, x): (&f64, f64)| (unit * w - 0.05 * (x + 0.1 * unit * w)) as f32;
                let right: Vec<f32> = w.iter().zip(alike(&ahead, rows)).map(next).collect();
                near(&values[name], &right, &format!("step {step}, {name}"));
            }
        }
    }
}

/// `numpy.linalg.eigh` of the second moments of all patches of 2 x 2, of these images.
#[test]
fn whitening_filters_are_numpys() {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65536.0 - 0.5
    };
    let images = Images { dims: [2, 3, 4], pixels: Pixels::Floats((0..72).map(|_| next()).collect()) };
    let set = Dataset::new(images, vec![0; 3]);
    let plain = Preparer::new(&Preparation::default(), DType::F32, &|_, _| panic!("nothing to compile"));
    let found = whiten::fit(&[6, 2, 2, 2], 5e-4, &set, &plain.expect("no steps")).expect("fits");
    let right = [
        [0.98683, -1.33203, 1.41441, -0.26128, -0.18947, -0.31275, -0.13869, -0.48436],
        [-0.98195, -0.63366, -0.09107, 2.19525, -0.48231, -0.57354, -0.96452, -0.87291],
        [1.41867, 1.00945, -0.10455, 1.17331, 1.18966, -1.09795, 1.56036, -1.02709],
    ];
    let both = right.iter().flatten().copied().chain(right.iter().flatten().map(|v| -v));
    assert_eq!(found.dims, [6, 2, 2, 2]);
    for (place, (found, right)) in found.data.iter().zip(both).enumerate() {
        assert!((found - right).abs() < 2e-5, "{place}: {found} {right}");
    }
}

#[test]
fn a_triangle_goes_up_and_down() {
    let model = load(
        LAYERS,
        "optimizer = sgd(rate = 1)  epochs = 10  schedule = triangle(peak = 0.25, start = 0.2, end = 0.1)",
    );
    let recipe = model.train.expect("a recipe");
    let at = |step| hyper(&recipe, Clock { step, steps_per_epoch: 10, total_steps: 100 }, &Plateau::default()).factor;
    for (step, right) in [(0, 0.2), (5, 0.36), (25, 1.0), (40, 0.82), (100, 0.1)] {
        assert!((at(step) - right).abs() < 1e-12, "{step}: {}", at(step));
    }
    assert!(recipe.looks_at_end() && recipe.length == Length::Epochs(10.0));
}

/// The network of the fast trainings, small: with all that they use it goes on to the same bits, for any number of
/// threads.
#[test]
fn trainings_with_all_of_it_resume_to_the_same_bits() {
    let place = Place::new();
    let model = "network tiny {
        input image: [1, 8, 8]
        image
            |> conv(channels = 8, kernel = 2, init = whiten, rate = 0) as white
            |> gelu
            |> conv(channels = 12, kernel = 3, pad = 1, bias = false, init = dirac) as c1
            |> max_pool(2) |> batch_norm(scale = false) as norm |> gelu
            |> global_max_pool |> linear(10, bias = false) |> scale(1/9) |> softmax
    }
    data {
        source = digits
        prepare = [scale, mean_std]
        augment = [flip(alternating = true), pad_crop(1, mode = reflect)]
    }
    train {
        optimizer = sgd(rate = 0.5, momentum = 0.85, nesterov = true, decay = 1e-3)
        loss = cross_entropy(smoothing = 0.2)
        schedule = triangle(peak = 0.2, start = 0.2, end = 0.1)
        groups = [group(\"norm.bias\", rate = 64, decay = 1/64), group(\"white.bias\", freeze_after = 1)]
        lookahead = ema(every = 5, decay = 0.95, power = 3)
        convolutions = muon(rate = 0.05)
        precision = bf16
        batch = 100
        epochs = 2.1
        seed = 3
    }";
    fs::write(place.path("tiny.nin"), model).expect("written");
    let train = |out: &str, more: &[&str]| {
        let output = place.ninc(&[&["train", "tiny.nin", "--out", out, "--checkpoint-every", "11"][..], more].concat());
        assert!(output.status.success(), "{}", texts(&output).1);
        fs::read(place.path(out).join("tiny.safetensors")).expect("written")
    };
    let whole = train("whole", &["--keep", "3", "--threads", "1"]);
    assert_eq!(train("threads", &["--threads", "3"]), whole);
    assert_ne!(train("wide", &["--precision", "f32"]), whole);
    // A measurement of a step is of the same precision, and says so.
    for (more, said) in [
        (&["--mode", "train"][..], "bf16"),
        (&["--mode", "train", "--precision", "f32"][..], "f32"),
        (&["--mode", "infer"][..], "f32"),
    ] {
        let bench = ["bench", "tiny.nin", "--json", "--no-peak", "--rounds", "1"];
        assert_eq!(json(&place.good(&[&bench[..], more].concat()))["precision"], said);
    }
    // Before the bias freezes, after it, and backwards in one folder.
    for step in [22, 11] {
        let kept = place.path(&format!("whole/tiny.step-000000{step}.checkpoint"));
        assert_eq!(train("whole", &[&format!("--resume={}", kept.display()), "--keep", "3"]), whole, "{step}");
    }
    // A library makes single steps and sees no images before them.
    place.bad(2, &["build", "tiny.nin", "--train", "-o", "lib"], "`white.weight` starts as filters that whiten");
    let weights = ["build", "tiny.nin", "--train", "--weights", "whole/tiny.safetensors", "-o", "lib"];
    let said = texts(&place.ninc(&weights)).1;
    assert!(said.contains("leaves out `lookahead`, `freeze_after` of the recipe"), "{said}");
    // Weights are taken over by the look-ahead alone, which such a training does not reach.
    let said = texts(&place.ninc(&["train", "tiny.nin", "--steps", "4", "--out", "short"])).1;
    assert!(said.contains("every 5 steps, and there are 4: the weights that are kept stay as they begin"), "{said}");
}

/// The mean of the logarithms of what the network answers to each view by itself, as `numpy.pad(…, "reflect")` makes
/// them.
#[test]
fn answers_from_several_views_are_those_of_each_view() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "8"]);
    let set = ninc_runtime::data::digits::load().expect("embedded").test;
    let mut images = vec![0.0; 5 * 64];
    images.chunks_exact_mut(64).enumerate().for_each(|(i, image)| set.copy(i, image).expect("in memory"));
    // What lies outside is mirrored at the border: pixel -1 is pixel 1, pixel 8 is pixel 6.
    let inside = |at: isize| (if at > 7 { 14 - at } else { at.abs() }) as usize;
    let view = |by: isize, mirrored: bool| -> Vec<f32> {
        let pixel = |image: usize, y: isize, x: isize| images[image * 64 + inside(y - by) * 8 + inside(x - by)];
        let place = |i: usize| (i / 64, (i / 8 % 8) as isize, if mirrored { 7 - i % 8 } else { i % 8 } as isize);
        (0..images.len()).map(place).map(|(image, y, x)| pixel(image, y, x)).collect()
    };
    let answers = |data: Vec<f32>, more: &[&str]| {
        let array = npy::to_bytes(&Tensor { dims: vec![5, 1, 8, 8], data });
        fs::write(place.path("in.npy"), array).expect("written");
        place.good(&[&["run", "tiny.nin", "in.npy", "--output", "out.npy"][..], more].concat());
        npy::array(&place.path("out.npy")).expect("an array").floats()
    };
    let both: [(isize, bool, f64); 6] =
        [(0, false, 2.0), (0, true, 2.0), (1, false, 1.0), (1, true, 1.0), (-1, false, 1.0), (-1, true, 1.0)];
    for (views, option) in [(&both[..2], "flip"), (&both[..], "flip,shift")] {
        let all: f64 = views.iter().map(|(_, _, weight)| weight).sum();
        let mut means = vec![0.0; 50];
        for &(by, mirrored, weight) in views {
            let found = answers(view(by, mirrored), &[]);
            means.iter_mut().zip(found).for_each(|(mean, p)| *mean += weight / all * f64::from(p).ln());
        }
        let found = answers(images.clone(), &["--tta", option]);
        for (found, means) in found.chunks_exact(10).zip(means.chunks_exact(10)) {
            let sum: f64 = means.iter().map(|mean| mean.exp()).sum();
            let right: Vec<f32> = means.iter().map(|mean| (mean.exp() / sum) as f32).collect();
            assert!(found.iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-5), "{option}: {found:?} {right:?}");
        }
        assert!(found != answers(images.clone(), &[]));
    }
    assert!(place.good(&["eval", "tiny.nin", "--tta", "flip"]).contains("2 (flip)"));
    assert!(place.good(&["eval", "tiny.nin", "--tta", "flip,shift", "--json"]).contains("6 (flip, shift)"));
    assert!(!place.good(&["eval", "tiny.nin"]).contains("views"));
}
