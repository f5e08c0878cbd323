//! Compiled preparations against what they were before they were compiled: loops in double precision.

use crate::support::training::compile;
use ninc::lower::target::{Isa, Target};
use ninc::pipeline::{self, Device, Options};
use ninc::types::DType;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::data::{Dataset, Images, Pixels, Values};
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::Prepare;
use ninc_runtime::{Engine, Result};

/// Pictures with some structure: a slope and noise, some dark, one of a single colour.
fn pictures(count: usize, dims: [usize; 3]) -> Dataset {
    let [channels, height, width] = dims;
    let mut random = Stream::new(11, 0, 0);
    let mut bytes = Vec::new();
    for image in 0..count {
        let (base, slope) = (random.below(120) as f32, random.normal() * 4.0);
        for c in 0..channels {
            for i in 0..height * width {
                let value = base + 20.0 * c as f32 + slope * (i % width) as f32 + 12.0 * random.normal();
                bytes.push(if image == 3 { 77 } else { value.clamp(0.0, 255.0) as u8 });
            }
        }
    }
    Dataset::new(Images { dims, pixels: Pixels::Bytes(bytes) }, vec![0; count])
}

fn gcn(image: &mut [f64], scale: f64) {
    let mean = image.iter().sum::<f64>() / image.len() as f64;
    let norm = image.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt() / scale;
    let norm = if norm < 1e-8 { 1.0 } else { norm };
    image.iter_mut().for_each(|v| *v = (*v - mean) / norm);
}

fn blur(plane: &[f64], height: usize, width: usize) -> Vec<f64> {
    let raw: Vec<f64> = (-3i64..=3).map(|i| (-((i * i) as f64) / 8.0).exp()).collect();
    let total: f64 = raw.iter().sum();
    let at = |y: i64, x: i64| {
        let inside = y >= 0 && x >= 0 && (y as usize) < height && (x as usize) < width;
        if inside { plane[y as usize * width + x as usize] } else { 0.0 }
    };
    let one = |i: usize| {
        let (y, x) = ((i / width) as i64, (i % width) as i64);
        let taps = (0..49).map(|k| (k / 7, k % 7));
        taps.map(|(r, c)| at(y + r as i64 - 3, x + c as i64 - 3) * raw[r] * raw[c] / (total * total)).sum()
    };
    (0..plane.len()).map(one).collect()
}

fn lcn(plane: &mut [f64], height: usize, width: usize) {
    let mean = blur(plane, height, width);
    let squares: Vec<f64> = plane.iter().map(|v| v * v).collect();
    let deviation: Vec<f64> = blur(&squares, height, width).into_iter().map(f64::sqrt).collect();
    let average = deviation.iter().sum::<f64>() / deviation.len() as f64;
    for ((v, mean), deviation) in plane.iter_mut().zip(mean).zip(deviation) {
        *v = (*v - mean) / deviation.max(average).max(1e-4);
    }
}

/// One image, by the numbers that were fitted.
fn expected(preparation: &Preparation, image: &[f32]) -> Vec<f64> {
    let [channels, height, width] = preparation.dims();
    let tensors = preparation.tensors();
    let mut image: Vec<f64> = image.iter().map(|&v| v.into()).collect();
    for (i, step) in preparation.spec().iter().enumerate() {
        let numbers = |name: &str| -> Vec<f64> {
            let found = tensors.iter().find(|(n, _)| *n == format!("prepare.{i}.{name}")).expect("a tensor");
            found.1.data.iter().map(|&v| v.into()).collect()
        };
        let planes = image.chunks_exact_mut(height * width);
        match step {
            Prepare::Scale { .. } => image.iter_mut().for_each(|v| *v *= numbers("factor")[0]),
            Prepare::MeanStd { .. } => {
                let (mean, std) = (numbers("mean"), numbers("std"));
                for (c, plane) in planes.enumerate() {
                    plane.iter_mut().for_each(|v| *v = (*v - mean[c % channels]) / std[c % channels]);
                }
            }
            Prepare::Gcn { .. } => gcn(&mut image, numbers("scale")[0]),
            Prepare::Zca { .. } => {
                let (mean, matrix) = (numbers("mean"), numbers("matrix"));
                let centred: Vec<f64> = image.iter().zip(mean).map(|(v, m)| v - m).collect();
                for (o, v) in image.iter_mut().enumerate() {
                    *v = centred.iter().enumerate().map(|(i, c)| c * matrix[i * centred.len() + o]).sum();
                }
            }
            Prepare::Lcn => planes.for_each(|plane| lcn(plane, height, width)),
        }
    }
    image
}

const SCALE: Prepare = Prepare::Scale { factor: 1.0 / 255.0 };
const MEAN_STD: Prepare = Prepare::MeanStd { mean: None, std: None };
const GCN: Prepare = Prepare::Gcn { scale: 55.0 };
const ZCA: Prepare = Prepare::Zca { epsilon: 0.1 };

#[test]
fn compiled_preparations_are_what_they_were() {
    let on = |options: Options| {
        move |p: &Preparation, dtype| -> Result<Box<dyn Engine + Send>> {
            Ok(pipeline::preparation(p, dtype, &options)?.engine)
        }
    };
    for (steps, products) in [
        (vec![SCALE], false),
        (vec![SCALE, MEAN_STD], false),
        (vec![GCN], false),
        (vec![Prepare::Lcn], false),
        (vec![Prepare::Lcn, SCALE, MEAN_STD], false),
        (vec![GCN, ZCA], true),
    ] {
        for dims in [[3, 9, 10], [1, 8, 8]] {
            let set = pictures(300, dims);
            let preparation = Preparation::fit(&steps, &set, &compile).expect("fits");
            let size = set.images.size();
            let mut raw = vec![0.0; 20 * size];
            raw.chunks_exact_mut(size).enumerate().for_each(|(i, image)| set.copy(i, image).expect("there"));
            let expected: Vec<f64> = raw.chunks_exact(size).flat_map(|image| expected(&preparation, image)).collect();
            let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let mut first: Option<Vec<f32>> = None;
            let isas = Isa::ALL.into_iter().filter(|isa| isa.present()).map(|isa| {
                let options = Options { target: Some(Target::host_with(isa)), threads: 2, ..Options::default() };
                (isa.name().to_string(), options)
            });
            let interpreter = Options { device: Device::Interp, ..Options::default() };
            for (name, options) in isas.chain([("interp".to_string(), interpreter)]) {
                let values = set.values(0..20).expect("in memory");
                let preparer = Preparer::new(&preparation, DType::U8, &on(options.clone())).expect("compiles");
                let found = preparer.apply(values).expect("runs");
                // Bytes and the floats of their values.
                let preparer = Preparer::new(&preparation, DType::F32, &on(options)).expect("compiles");
                let floats = preparer.apply(Values::Floats(raw.clone())).expect("runs");
                assert!(products || found == floats, "{steps:?} {dims:?}: bytes and floats of {name}");
                let apart = expected.iter().zip(&found).fold(0.0f64, |m, (e, f)| m.max((e - f64::from(*f)).abs()));
                println!("{steps:?} {dims:?} {name}: {:.1e} of {largest:.1e}", apart / largest);
                assert!(apart <= 1e-5 * largest, "{steps:?} {dims:?} {name}: {apart:e} of {largest:e}");
                // Only products are fused with sums where a processor can.
                let first = first.get_or_insert_with(|| found.clone());
                assert!(products || name == "interp" || *first == found, "{steps:?} {dims:?}: bits of {name}");
            }
        }
    }
}

/// What the contrast normalisations of pictures, times `factor`, are, on every target and by the interpreter.
fn contrasts(steps: &[Prepare], images: &[f32], dims: [usize; 3], factor: f32) -> Vec<Vec<f32>> {
    let preparation = Preparation::given(steps, dims).expect("fits").expect("nothing is fitted");
    let isas = Isa::ALL.into_iter().filter(|isa| isa.present()).map(|isa| Options {
        target: Some(Target::host_with(isa)),
        threads: 2,
        ..Options::default()
    });
    let run = |options: Options| {
        let on = |p: &Preparation, dtype| -> Result<Box<dyn Engine + Send>> {
            Ok(pipeline::preparation(p, dtype, &options)?.engine)
        };
        let images = images.iter().map(|v| v * factor).collect();
        let preparer = Preparer::new(&preparation, DType::F32, &on).expect("compiles");
        preparer.apply(Values::Floats(images)).expect("runs")
    };
    isas.chain([Options { device: Device::Interp, ..Options::default() }]).map(run).collect()
}

/// Both normalisations divide by what they measure, so a factor of all numbers changes nothing: a power of two no bit.
/// Local contrast divides by 1e-4 at least, so there the factor can only be large.
#[test]
fn contrast_does_not_depend_on_the_unit() {
    let dims = [3, 9, 10];
    let set = pictures(3, dims);
    let mut images = vec![0.0; 3 * 270];
    images.chunks_exact_mut(270).enumerate().for_each(|(i, image)| set.copy(i, image).expect("there"));
    for (step, powers) in [(GCN, &[-118, -60, 60, 117][..]), (Prepare::Lcn, &[60, 117])] {
        let plain = contrasts(std::slice::from_ref(&step), &images, dims, 1.0);
        for &power in powers {
            let found = contrasts(std::slice::from_ref(&step), &images, dims, 2f32.powi(power));
            assert_eq!(found, plain, "{step:?} of numbers times 2^{power}");
        }
    }
    // A channel of usual numbers beside one of huge ones stays what it is.
    let mut mixed = images.clone();
    let channels =
        |images: &mut [f32]| images.chunks_exact_mut(90).step_by(3).flatten().for_each(|v| *v *= 2f32.powi(117));
    channels(&mut mixed);
    assert_eq!(contrasts(&[Prepare::Lcn], &mixed, dims, 1.0), contrasts(&[Prepare::Lcn], &images, dims, 1.0));
}

/// An image of one colour has no contrast, whatever rounding leaves of it; one pixel that differs is one.
#[test]
fn images_of_one_colour_become_zeros() {
    let (dims, size) = ([3, 64, 64], 3 * 64 * 64);
    for value in [77.0, 255.0, 1.0, 0.0, 1e37, 1e-30, -3.3] {
        for (i, found) in contrasts(&[SCALE, GCN], &vec![value; size], dims, 1.0).into_iter().enumerate() {
            assert!(found.iter().all(|&v| v == 0.0), "{value} on target {i}: {}", found[0]);
        }
    }
    let mut image = vec![200.0; size];
    image[5000] = 201.0;
    // Of n numbers one is 1 above the others: the deviations are 1 - 1/n and -1/n, their norm is √(1 - 1/n).
    let n = size as f64;
    let norm = (1.0 - 1.0 / n).sqrt();
    for found in contrasts(&[SCALE, GCN], &image, dims, 1.0) {
        let apart = |v: f32, expected: f64| (f64::from(v) - 55.0 * expected / norm).abs();
        assert!(apart(found[5000], 1.0 - 1.0 / n) < 2e-3, "{}", found[5000]);
        assert!(apart(found[0], -1.0 / n) < 2e-3, "{}", found[0]);
    }
}

/// A channel is constant where its numbers differ by no more than rounding, not where their unit is large.
#[test]
fn small_numbers_are_standardised_and_constant_ones_centred() {
    let floats = [1e-10f32, 3e-10, 0.3, 0.3, 1e-10, 3e-10, 0.3, 0.300_000_03].to_vec();
    let set = Dataset::new(Images { dims: [2, 1, 2], pixels: Pixels::Floats(floats) }, vec![0; 2]);
    let fitted = Preparation::fit(&[MEAN_STD], &set, &compile).expect("fits");
    let tensors = fitted.tensors();
    let (mean, std) = (&tensors[0].1.data, &tensors[1].1.data);
    assert!((mean[0] - 2e-10).abs() < 1e-16 && (std[0] - 1e-10).abs() < 1e-16, "{mean:?} {std:?}");
    assert_eq!((std[1], fitted.only_centred()), (1.0, &[1][..]));
}

/// In front of a network a preparation gives what it gives alone, and the network what it gives to that.
#[test]
fn a_network_sees_the_same_behind_a_preparation() {
    let text = include_str!("../models/digits.nin");
    let (model, diagnostics) = ninc::front::load(text, "digits.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let set = pictures(100, [1, 8, 8]);
    let options = Options { threads: 2, ..Options::default() };
    for steps in [vec![], vec![MEAN_STD], vec![GCN, ZCA, Prepare::Lcn]] {
        let preparation = Preparation::fit(&steps, &set, &compile).expect("fits");
        let mut joined =
            pipeline::prepared_inference(&model, preparation.form(), DType::U8, &options).expect("compiles");
        ninc::prepare::write(&mut *joined.engine, &preparation).expect("there");
        let mut plain = pipeline::inference(&model, &options).expect("compiles");
        assert_eq!(joined.params, plain.params);
        for parameter in plain.params.iter().map(pipeline::ParamInfo::parameter) {
            let value = ninc_runtime::init::values(&parameter, 1);
            joined.engine.write(&parameter.name, &value).expect("there");
            plain.engine.write(&parameter.name, &value).expect("there");
        }
        for batch in [1, 5, 100] {
            let images = set.values(0..batch).expect("in memory");
            let run = |engine: &mut dyn Engine, images: &Values| {
                engine.run(batch, &[("image", images.feed())], &["probabilities"]).expect("runs").remove(0)
            };
            let found = run(&mut *joined.engine, &images);
            let preparer = Preparer::new(&preparation, DType::U8, &compile).expect("compiles");
            let prepared = Values::Floats(preparer.apply(images).expect("runs"));
            assert_eq!(found, run(&mut *plain.engine, &prepared), "{steps:?}, {batch} images");
        }
    }
}
