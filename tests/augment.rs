//! Changes of pictures in training, against Pillow's: `augment/check.py` wrote what they must give.

use crate::cli::{Place, texts};
use crate::odd::{has_pillow, python};
use ninc_runtime::data::augment::draw::{OPERATIONS, change, one_of, part};
use ninc_runtime::data::augment::picture::{Part, Picture};
use ninc_runtime::data::augment::{Draws, check, stages};
use ninc_runtime::data::batches::{Batch, Source};
use ninc_runtime::data::{Dataset, Images, Pixels, Purpose, Values, stream};
use ninc_runtime::init::fnv;
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::{Augment, Pictures};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/augment")
}

const CROP: Augment = Augment::RandomResizedCrop { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
const JITTER: Augment = Augment::ColorJitter { brightness: 0.4, contrast: 0.3, saturation: 0.5, hue: 0.1 };
const OPS: Augment = Augment::RandAugment { ops: 2, magnitude: 9 };

/// The pictures of `check.py`: gradients with noise, or noise alone.
fn picture(dims: [usize; 3], wild: bool) -> Picture {
    let mut state = 12345u32;
    let mut bytes = Vec::new();
    for c in 0..dims[0] as u32 {
        for y in 0..dims[1] as u32 {
            for x in 0..dims[2] as u32 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = state >> 24;
                let value = if wild { noise } else { (x * 5 + y * 3 + c * 40 + noise % 32) % 200 + 20 };
                bytes.push(value as u8);
            }
        }
    }
    Picture { dims, bytes }
}

/// What a line of `expected.txt` asks for.
fn made(words: &[&str]) -> Picture {
    let number = |i: usize| words[i].parse::<f64>().expect("a number");
    let whole = |i: usize| words[i].parse::<usize>().expect("a whole number");
    let start = || picture([whole(1), 40, 50], false);
    let changed = |mut picture: Picture, change: &dyn Fn(&mut Picture)| {
        change(&mut picture);
        picture
    };
    match words[0] {
        "operation" => changed(start(), &|p| one_of(whole(2) as u32, number(3) / 30.0, words[4] == "1", p)),
        "brightness" => changed(start(), &|p| p.brightness(number(2))),
        "contrast" => changed(start(), &|p| p.contrast(number(2))),
        "saturation" => changed(start(), &|p| p.saturation(number(2))),
        "hue" => changed(start(), &|p| p.hue(number(2))),
        "crop" => {
            let part = Part { top: whole(2), left: whole(3), height: whole(4), width: whole(5) };
            start().cropped(part, [32, 24])
        }
        "drawn" => {
            let step = match words[2] {
                "crop" => CROP,
                "jitter" => JITTER,
                _ => OPS,
            };
            let image = whole(3) as u32;
            let random = || stream(5_000_000_007, Purpose::Pictures, 3, image).part(image % 2);
            changed(start(), &|p| change(&step, &mut Draws::of(random()), [40, 50], p))
        }
        "wild" => changed(picture([3, 128, 128], true), &|p| p.hue(number(1))),
        "flat" => {
            let bytes = [7, 200, 0].iter().flat_map(|&v| vec![v; 81]).collect();
            changed(Picture { dims: [3, 9, 9], bytes }, &|p| one_of(whole(1) as u32, 0.0, false, p))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn changes_of_pictures_are_those_of_pillow() {
    let text = fs::read_to_string(folder().join("expected.txt")).expect("there");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let (words, hash) = line.split_once(" = ").expect("words and a hash");
        let found = made(&words.split(' ').collect::<Vec<_>>());
        if format!("{:016x}", fnv(&found.bytes)) != hash {
            wrong.push(words);
        }
    }
    assert!(text.lines().count() > 300 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pillow_says_the_same_today() {
    let python = python();
    if !has_pillow(&python) {
        return;
    }
    let checked = Command::new(&python).arg("-B").arg(folder().join("check.py")).arg("--check").output().expect("runs");
    assert!(checked.status.success(), "{}", texts(&checked).1);
}

#[test]
fn parts_are_drawn_within_their_bounds() {
    let mut random = Stream::new(3, 1, 4);
    let mut area = 0.0;
    for _ in 0..4000 {
        let part = part(&mut random, [3, 60, 80], [0.2, 0.6], [0.5, 2.0]);
        assert!(part.top + part.height <= 60 && part.left + part.width <= 80, "{part:?}");
        let (fraction, ratio) = ((part.height * part.width) as f64 / 4800.0, part.width as f64 / part.height as f64);
        assert!((0.18..0.62).contains(&fraction) && (0.48..2.1).contains(&ratio), "{part:?}");
        area += fraction / 4000.0;
    }
    assert!((area - 0.4).abs() < 0.02, "evenly drawn: {area}");
    // By hand: nothing of a line as wide as ten times its height has the ratio, so it is the middle 13 of 100 columns.
    let all = |dims| part(&mut Stream::new(3, 1, 4), dims, [1.0, 1.0], [0.75, 4.0 / 3.0]);
    assert_eq!(all([1, 10, 100]), Part { top: 0, left: 43, height: 10, width: 13 });
    assert_eq!(all([1, 100, 9]), Part { top: 44, left: 0, height: 12, width: 9 });
    assert_eq!(all([1, 1, 1]), Part { top: 0, left: 0, height: 1, width: 1 });
}

#[test]
fn every_operation_takes_every_picture() {
    for dims in [[1, 1, 1], [3, 1, 7], [1, 2, 2], [3, 3, 3], [3, 16, 5]] {
        for operation in 0..OPERATIONS {
            for strength in [0.0, 1.0] {
                let mut changed = picture(dims, true);
                one_of(operation, strength, true, &mut changed);
                assert_eq!((changed.dims, changed.bytes.len()), (dims, dims.iter().product()));
            }
        }
    }
}

fn set(pixels: Pixels, dims: [usize; 3]) -> Dataset {
    let images = Images { dims, pixels };
    let count = images.count();
    Dataset::new(images, vec![0; count])
}

/// What is drawn for a picture depends on seed, epoch and picture, not on its batch.
#[test]
fn batches_hold_changed_pictures() {
    let dims = [3, 8, 6];
    let bytes: Vec<u8> = (0..5).flat_map(|_| picture(dims, false).bytes).collect();
    let data = set(Pixels::Bytes(bytes.clone()), dims);
    let read = |augment: &[Augment], batch: usize, seed: u64| -> Vec<f32> {
        let plain = Source::plain(&data, None, batch).expect("nothing to prepare");
        let source = Source { augment: augment.to_vec(), seed, ..plain };
        source.once().expect("starts").flat_map(|batch| batch.expect("made").images.into_floats()).collect()
    };
    for step in [CROP, JITTER, OPS] {
        let steps = [step.clone(), Augment::Flip];
        let all = read(&steps, 5, 1);
        assert_eq!(read(&steps, 2, 1), all, "{step:?}");
        assert_ne!(read(&steps, 5, 2), all, "{step:?}");
        assert!(all.chunks(144).any(|image| image != &all[..144]), "each is changed in its own way: {step:?}");
        assert!(all.iter().all(|v| (0.0..=255.0).contains(v) && v.fract() == 0.0));
    }
    // What does nothing by its numbers changes nothing.
    let nothing = [Augment::RandomResizedCrop { scale: [1.0, 1.0], ratio: [0.75, 0.75] }];
    let still: Vec<f32> = bytes.iter().map(|&v| f32::from(v)).collect();
    assert_eq!(read(&nothing, 5, 1), still);
}

/// A flip that alternates is drawn in the first epoch, whatever the batches, and turned in each that follows.
#[test]
fn an_alternating_flip_shows_each_image_both_ways() {
    let (dims, count) = ([1, 2, 3], 64);
    let image = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let data = set(Pixels::Floats((0..count).flat_map(|_| image).collect()), dims);
    let turned = |batch: usize, epoch: u32, seed: u64| -> Vec<bool> {
        let plain = Source::plain(&data, None, batch).expect("nothing to prepare");
        let source = Source { augment: vec![Augment::AlternatingFlip], seed, ..plain };
        let batches = source.start(epoch, 0).expect("starts").take(source.batches());
        let images: Vec<f32> = batches.flat_map(|b| b.expect("made").images.into_floats()).collect();
        let mirrored = |image: &[f32]| image == [2.0, 1.0, 0.0, 5.0, 4.0, 3.0];
        images
            .chunks_exact(6)
            .map(|shown| {
                mirrored(shown) || {
                    assert_eq!(shown, image);
                    false
                }
            })
            .collect()
    };
    let first = turned(64, 0, 1);
    let mirrored = first.iter().filter(|turned| **turned).count();
    assert!((20..=44).contains(&mirrored), "about half: {mirrored}");
    assert_eq!(turned(10, 0, 1), first);
    assert_eq!(turned(64, 2, 1), first);
    assert_eq!(turned(64, 1, 1), first.iter().map(|turned| !turned).collect::<Vec<_>>());
    assert_ne!(turned(64, 0, 2), first);
}

/// A crop with a mirrored border, of all offsets, by what `numpy.pad(image, 1, "reflect")` says.
#[test]
fn a_mirrored_border_holds_no_zeros() {
    let image: Vec<f32> = (1..=12).map(|v| v as f32).collect();
    let padded = [
        [6.0, 5.0, 6.0, 7.0, 8.0, 7.0],
        [2.0, 1.0, 2.0, 3.0, 4.0, 3.0],
        [6.0, 5.0, 6.0, 7.0, 8.0, 7.0],
        [10.0, 9.0, 10.0, 11.0, 12.0, 11.0],
        [6.0, 5.0, 6.0, 7.0, 8.0, 7.0],
    ];
    let crop = |y: usize, x: usize| (y..y + 3).flat_map(|row| padded[row][x..x + 4].to_vec()).collect::<Vec<f32>>();
    let mut possible: Vec<Vec<f32>> = (0..9).map(|place| crop(place / 3, place % 3)).collect();
    let data = set(Pixels::Floats((0..100).flat_map(|_| image.clone()).collect()), [1, 3, 4]);
    let plain = Source::plain(&data, None, 100).expect("nothing to prepare");
    let source = Source { augment: vec![Augment::PadCrop { pixels: 1, reflect: true }], seed: 5, ..plain };
    let made = source.once().expect("starts").next().expect("one").expect("made").images.into_floats();
    assert!(made.chunks_exact(12).all(|image| possible.iter().any(|crop| crop == image)));
    possible.retain(|crop| !made.chunks_exact(12).any(|image| image == crop));
    assert!(possible.is_empty(), "every window comes up: {possible:?}");
}

/// Parts are cut out of pictures in files at twice the size, so that they keep what they show.
#[test]
fn parts_of_files_are_sharp() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let path = place.path().join("stripes.png");
    image::GrayImage::from_fn(16, 16, |x, _| image::Luma([if x % 2 == 0 { 0 } else { 255 }]))
        .save(&path)
        .expect("saved");
    let data = set(Pixels::Files(vec![path], Pictures::default()), [1, 8, 8]);
    let read = |augment: Vec<Augment>| -> Vec<f32> {
        let source = Source { augment, ..Source::plain(&data, None, 1).expect("nothing to prepare") };
        let batches: Vec<Batch> = source.once().expect("starts").map(|batch| batch.expect("made")).collect();
        batches[0].images.clone().into_floats()
    };
    // At the input's size stripes are grey; a quarter of the area at twice the size is the stripes themselves.
    assert!(read(vec![]).iter().all(|v| (60.0..200.0).contains(v)));
    let quarter = read(vec![Augment::RandomResizedCrop { scale: [0.25, 0.25], ratio: [1.0, 1.0] }]);
    assert!(quarter.iter().all(|&v| v == 0.0 || v == 255.0), "{quarter:?}");
}

#[test]
fn steps_of_pictures_come_first_and_take_bytes() {
    let steps = [Augment::Flip, JITTER, Augment::Flip, Augment::Cutout { pixels: 2 }];
    assert_eq!((stages(&steps).0.len(), stages(&steps).1.len()), (2, 2));
    assert_eq!(stages(&steps[2..]).0.len(), 0);
    let floats = set(Pixels::Floats(vec![0.0, 0.5, 1.0]), [1, 1, 1]);
    let error = check(&steps, &floats).expect_err("refused");
    assert!(error.message.contains("`color_jitter`") && error.message.contains("0 to 1"), "{error}");
    check(&steps[2..], &floats).expect("prepared images may be anything");
    let two = set(Pixels::Bytes(vec![0; 8]), [2, 2, 2]);
    assert!(check(&[OPS], &two).expect_err("refused").message.contains("2 channels"));
    check(&[OPS], &set(Pixels::Bytes(vec![0; 4]), [1, 2, 2])).expect("grey");
    let values = Values::Bytes(vec![1]);
    assert_eq!(values.feed().len(), 1);
}

/// Whitening, which is done once for the whole set otherwise, waits for the changes.
#[test]
fn trainings_with_changed_pictures_resume_to_the_same_bits() {
    let place = Place::new();
    let model = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let change =
        "augment = [random_resized_crop(scale = [0.5, 1]), color_jitter(brightness = 0.2), rand_augment, shift(1)]";
    let model = model.replace("augment = [shift(1)]", change);
    let model = model.replace("prepare = [scale, mean_std]", "prepare = [gcn, zca]");
    fs::write(place.path("tiny.nin"), model).expect("written");
    let train = |out: &str, steps: &str, more: &[&str]| {
        place.good(&[&["train", "tiny.nin", "--steps", steps, "--out", out][..], more].concat());
        fs::read(place.path(out).join("tiny.safetensors")).expect("written")
    };
    let whole = train("whole", "12", &[]);
    train("parts", "5", &["--threads", "1"]);
    assert!(train("parts", "12", &["--resume", "--threads", "3"]) == whole);
}
