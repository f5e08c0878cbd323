//! What makes up for classes of few images: how often they are drawn, and how much they count.

use crate::cli::{Place, texts};
use ninc::pipeline::{self, Device, Options};
use ninc_runtime::data::balance::{self, Drawn};
use ninc_runtime::data::batches::{Batch, Source};
use ninc_runtime::data::mixup::Mixed;
use ninc_runtime::data::{Dataset, Images, Pixels, Values};
use ninc_runtime::spec::{Augment, ClassWeights};
use ninc_runtime::train::schedule::Hyper;
use ninc_runtime::train::step_inputs::StepInputs;
use ninc_runtime::{Feed, Tensor};
use std::collections::BTreeMap;
use std::fs;

/// A data set of images of 1x1 with as many items of each class, in an order that mixes them.
fn set(sizes: &[usize]) -> Dataset {
    let mut labels: Vec<u32> = sizes.iter().enumerate().flat_map(|(c, &n)| vec![c as u32; n]).collect();
    ninc_runtime::philox::Stream::new(1, 2, 3).shuffle(&mut labels);
    let pixels = Pixels::Bytes((0..labels.len()).map(|i| i as u8).collect());
    Dataset::new(Images { dims: [1, 1, 1], pixels }, labels)
}

/// Items of each class in an epoch.
fn counts(set: &Dataset, order: &[Drawn]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    order.iter().for_each(|drawn| *counts.entry(set.label(drawn.item as usize)).or_default() += 1);
    counts
}

#[test]
fn an_epoch_has_equally_many_images_of_each_class() {
    let exact = |set: &Dataset, epoch| counts(set, &balance::order(set, 7, epoch, true, true));
    // By hand: 100 images in 4 classes, 103 in 4; the one image too many goes round.
    let even = set(&[60, 7, 1, 32]);
    assert_eq!(exact(&even, 0), [(0, 25), (1, 25), (2, 25), (3, 25)].into());
    assert_eq!(exact(&even, 1000), [(0, 25), (1, 25), (2, 25), (3, 25)].into());
    let uneven = set(&[60, 7, 1, 35]);
    for epoch in 0..9 {
        let counts = exact(&uneven, epoch);
        assert_eq!(counts.values().sum::<usize>(), 103);
        assert!(counts.values().all(|n| (25..=26).contains(n)), "{counts:?}");
    }
    let mut four = BTreeMap::new();
    (4..8).flat_map(|epoch| exact(&uneven, epoch)).for_each(|(class, n)| *four.entry(class).or_insert(0) += n);
    assert_eq!(four, [(0, 103), (1, 103), (2, 103), (3, 103)].into());
    // A class without images is none; one class is all.
    assert_eq!(exact(&set(&[0, 9, 0, 1]), 3), [(1, 5), (3, 5)].into());
    assert_eq!(exact(&set(&[5]), 3), [(0, 5)].into());
}

#[test]
fn no_image_is_passed_over() {
    let set = set(&[60, 7, 1, 32]);
    let mut seen = vec![0; set.len()];
    for epoch in 0..84 {
        for drawn in balance::order(&set, 7, epoch, true, true) {
            seen[drawn.item as usize] += 1;
        }
    }
    // 84 epochs have 2,100 images of each class: 35 times 60, 300 times 7, and 65.6 times 32.
    for (item, &times) in seen.iter().enumerate() {
        let wanted = [35..=35, 300..=300, 2100..=2100, 65..=66][set.label(item) as usize].clone();
        assert!(wanted.contains(&times), "item {item}: {times}");
    }
}

#[test]
fn an_order_is_a_function_of_seed_and_epoch() {
    let set = set(&[60, 7, 1, 32]);
    let of = |seed, epoch| balance::order(&set, seed, epoch, true, true);
    assert_eq!(of(1, 2), of(1, 2));
    assert_ne!(of(1, 2), of(2, 2));
    assert_ne!(of(1, 2), of(1, 3));
    // What comes again is told apart, and without balance nothing comes again.
    let again: Vec<u32> = of(1, 0).iter().filter(|d| set.label(d.item as usize) == 2).map(|d| d.again).collect();
    assert_eq!(again, (0..25).collect::<Vec<_>>());
    let plain = balance::order(&set, 1, 0, false, true);
    assert!(plain.iter().all(|drawn| drawn.again == 0));
    assert_eq!(counts(&set, &plain), set.counts());
}

/// The second time an image is changed in another way, and a reader that starts in the middle gives the same.
#[test]
fn an_image_that_comes_again_is_changed_anew() {
    let set = Dataset::new(Images { dims: [1, 1, 9], pixels: Pixels::Bytes((0..36).collect()) }, vec![0, 0, 0, 1]);
    let source = Source {
        augment: vec![Augment::Rotate { degrees: 40.0 }],
        balance: true,
        shuffle: true,
        ..Source::plain(&set, None, 1).expect("nothing to prepare")
    };
    let all: Vec<Batch> = source.once().expect("starts").map(|batch| batch.expect("made")).collect();
    let rare: Vec<&Values> = all.iter().filter(|batch| batch.labels == [1]).map(|batch| &batch.images).collect();
    assert!(rare.len() == 2 && rare[0] != rare[1], "{rare:?}");
    let later: Vec<Batch> = source.start(0, 2).expect("starts").take(2).map(|batch| batch.expect("made")).collect();
    assert_eq!(later, all[2..]);
}

#[test]
fn balanced_weights_are_those_of_scikit_learn() {
    let recipe = |weights| {
        let text = format!(
            "network one {{ input image: [1, 1, 1]  image |> flatten |> linear(features = 5) |> softmax }}
            data {{ source = npz(\"x.npz\") }}
            train {{ optimizer = sgd(rate = 0.5)  class_weights = {weights}  steps = 1 }}"
        );
        let (model, diagnostics) = ninc::front::load(&text, "one.nin", &[]);
        model.unwrap_or_else(|| panic!("{diagnostics:?}")).train.expect("a recipe")
    };
    // compute_class_weight("balanced", …): 100/(4·60), 100/(4·7), 100/(4·1), 100/(4·32).
    let found = balance::class_weights(&recipe("balanced"), &set(&[60, 7, 1, 32]), 5).expect("weights");
    assert_eq!(found, [100.0 / 240.0, 100.0 / 28.0, 25.0, 0.78125, 1.0]);
    let given = recipe("[1, 0.5, 2, 3, 4 / 8]");
    assert_eq!(given.class_weights, Some(ClassWeights::Each(vec![1.0, 0.5, 2.0, 3.0, 0.5])));
    assert!(balance::class_weights(&given, &set(&[1, 1]), 2).is_err());
}

const X: [[f32; 2]; 3] = [[1.0, -2.0], [0.5, 0.25], [-1.5, 3.0]];
const LABELS: [usize; 3] = [1, 0, 2];
const WEIGHTS: [f64; 3] = [0.5, 3.0, 0.0];

/// Loss and weights after one step from weights of 0.1 times their number, by the compiled step.
fn step(device: Device, threads: usize, recipe: &str, mixed: Option<Mixed>) -> (f64, Vec<f32>) {
    let text = format!(
        "network one {{ input image: [2, 1, 1]  image |> flatten |> linear(features = 3, bias = false) |> softmax }}
        data {{ source = npz(\"x.npz\")  augment = {} }}
        train {{ optimizer = sgd(rate = 0.5)  batch = 3  steps = 1  {recipe} }}",
        if mixed.is_some() { "[mixup(0.2)]" } else { "flip" }
    );
    let (model, diagnostics) = ninc::front::load(&text, "one.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let mut program =
        pipeline::training(&model, &Options { device, threads, ..Options::default() }).expect("it compiles");
    let start = Tensor { dims: vec![3, 2], data: (0..6).map(|i| i as f32 * 0.1).collect() };
    program.engine.write("linear1.weight", &start).expect("a parameter");
    let ports = program.engine.inputs().to_vec();
    let share = mixed.as_ref().map_or(1.0, |mixed| mixed.share);
    let recipe = model.train.as_ref().expect("a recipe");
    let own = StepInputs::new(&ports, recipe, Hyper { factor: 1.0, ..Hyper::default() }, share, 0).expect("inputs");
    let mut batch = Batch::new(Values::Floats(X.concat()), LABELS.map(|l| l as i32).to_vec());
    batch.weights = LABELS.map(|label| share * WEIGHTS[label] as f32).to_vec();
    if let Some(mixed) = mixed {
        batch.partner_weights = mixed.partners.iter().map(|&label| 0.25 * WEIGHTS[label as usize] as f32).collect();
        batch.mixed = Some(mixed);
    }
    let fed: Vec<(&str, Feed)> = own.with(&ports, &batch);
    let loss = program.engine.run(3, &fed, &["loss"]).expect("a step");
    (f64::from(loss[0].data[0]), program.engine.read("linear1.weight").expect("a parameter").data)
}

/// Computes the same by hand: `target` holds what each image's loss asks of each class, weights and mixture included.
/// The gradient of Σ -t·log p is p·Σt - t for the logits.
fn by_hand(target: impl Fn(usize, usize) -> f64) -> (f64, Vec<f64>) {
    let mut weights: Vec<f64> = (0..6).map(|i| f64::from(i as f32 * 0.1)).collect();
    let (start, mut loss) = (weights.clone(), 0.0);
    for (i, x) in X.iter().enumerate() {
        let logits = [0, 1, 2].map(|c| start[2 * c] * f64::from(x[0]) + start[2 * c + 1] * f64::from(x[1]));
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        let all: f64 = (0..3).map(|c| target(i, c)).sum();
        for c in 0..3 {
            let p = logits[c].exp() / sum;
            loss -= target(i, c) * p.ln() / 3.0;
            for k in 0..2 {
                weights[2 * c + k] -= 0.5 * (p * all - target(i, c)) * f64::from(x[k]) / 3.0;
            }
        }
    }
    (loss, weights)
}

fn close((loss, weights): &(f64, Vec<f32>), (right, wanted): &(f64, Vec<f64>)) {
    assert!((loss - right).abs() < 1e-6, "{loss} {right}");
    let near = weights.iter().zip(wanted).all(|(found, wanted)| (f64::from(*found) - wanted).abs() < 1e-6);
    assert!(near, "{weights:?} {wanted:?}");
}

#[test]
fn weighted_losses_and_gradients_are_those_by_hand() {
    let hit = |class: usize, label: usize, smoothing: f64| {
        smoothing / 3.0 + if class == label { 1.0 - smoothing } else { 0.0 }
    };
    let weighted = |smoothing| by_hand(move |i, c| WEIGHTS[LABELS[i]] * hit(c, LABELS[i], smoothing));
    let partners = [2usize, 1, 0];
    let mixed = || Mixed { partners: partners.map(|l| l as i32).to_vec(), share: 0.75 };
    let both = by_hand(|i, c| {
        let of = |label: usize| WEIGHTS[label] * hit(c, label, 0.0);
        0.75 * of(LABELS[i]) + 0.25 * of(partners[i])
    });
    for device in [Device::Cpu, Device::Interp] {
        let list = "class_weights = [0.5, 3, 0]";
        close(&step(device.clone(), 1, list, None), &weighted(0.0));
        let smooth = format!("loss = cross_entropy(smoothing = 0.2) {list}");
        close(&step(device.clone(), 1, &smooth, None), &weighted(0.2));
        close(&step(device.clone(), 1, list, Some(mixed())), &both);
        // Without weights all images count alike, whatever is fed.
        close(&step(device, 1, "", None), &by_hand(|i, c| hit(c, LABELS[i], 0.0)));
    }
    let one = step(Device::Cpu, 1, "class_weights = balanced", None);
    assert_eq!(step(Device::Cpu, 7, "class_weights = balanced", None), one);
}

/// A training of rare classes goes on in the middle of an epoch to the same bits, by any number of threads.
#[test]
fn balanced_trainings_resume_to_the_same_bits() {
    let place = Place::new();
    let model = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let model = model.replace("epochs = 2", "epochs = 2\n balance = true\n class_weights = [1,1,2,1,1,1,1,1,1,0.5]");
    fs::write(place.path("tiny.nin"), model).expect("written");
    let train = |out: &str, steps: &str, more: &[&str]| {
        let output = place.ninc(&[&["train", "tiny.nin", "--steps", steps, "--out", out][..], more].concat());
        let (_, said) = texts(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("class weights: 0 1.0000, 1 1.0000, 2 2.0000"), "{said}");
    };
    let weights = |out: &str| fs::read(place.path(out).join("tiny.safetensors")).expect("written");
    train("whole", "40", &[]);
    train("parts", "9", &["--threads", "1"]);
    train("parts", "40", &["--resume", "--threads", "3"]);
    assert!(weights("parts") == weights("whole"));
    // Neither key is forgotten by a checkpoint.
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    fs::write(place.path("tiny.nin"), text.replace("balance = true", "balance = false")).expect("written");
    place.bad(
        1,
        &["train", "tiny.nin", "--steps", "50", "--out", "parts", "--resume"],
        "`balance` was true and is not set",
    );
    place.bad(1, &["build", "tiny.nin", "--train"], "takes no `class_weights`");
}
