//! Fitted numbers of preparations: computed, kept and never trusted when damaged.

use crate::support::files::folder;
use crate::support::training::compile;
use ninc_runtime::Tensor;
use ninc_runtime::data::cache;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::data::{Dataset, Images, Pixels};
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::DType;
use ninc_runtime::spec::Prepare;
use ninc_runtime::store::{Store, System};
use ninc_runtime::weights::Weights;
use std::fs;
use std::path::PathBuf;

fn random_set(count: usize, dims: [usize; 3]) -> Dataset {
    let mut random = Stream::new(3, 0, 0);
    let floats = (0..count * dims.iter().product::<usize>()).map(|i| random.normal() * 3.0 + (i % 5) as f32).collect();
    Dataset::new(Images { dims, pixels: Pixels::Floats(floats) }, vec![0; count])
}

#[test]
fn preparation_does_what_it_says_and_comes_back() {
    let set = random_set(200, [2, 3, 3]);
    let steps = [
        Prepare::Scale { factor: 0.5 },
        Prepare::MeanStd { mean: None, std: None },
        Prepare::Gcn { scale: 55.0 },
        Prepare::Zca { epsilon: 0.1 },
        Prepare::Lcn,
    ];
    let fit = |count: usize| {
        let preparation = Preparation::fit(&steps[..count], &set, &compile).expect("fits");
        let prepared = Preparer::new(&preparation, DType::F32, &compile).and_then(|p| p.all(&set)).expect("in memory");
        (preparation, prepared)
    };
    let (_, means) = fit(2);
    let (mut sum, mut squares, mut image) = (0.0, 0.0, [0.0; 18]);
    for item in 0..200 {
        means.copy(item, &mut image).expect("in memory");
        sum += image[..9].iter().map(|&v| f64::from(v)).sum::<f64>();
        squares += image[..9].iter().map(|&v| f64::from(v * v)).sum::<f64>();
    }
    assert!((sum / 1800.0).abs() < 1e-5 && (squares / 1800.0 - 1.0).abs() < 1e-5);

    fit(3).1.copy(7, &mut image).expect("in memory");
    let norm = image.iter().map(|&v| f64::from(v * v)).sum::<f64>().sqrt();
    assert!((norm - 55.0).abs() < 1e-3 && image.iter().sum::<f32>().abs() < 1e-3);

    let (all, together) = fit(5);
    let folder = folder();
    let path = folder.path().join("w.safetensors");
    let weights = Weights { preparation: Some(all.clone()), classes: vec!["a\"b".into()], ..Weights::default() };
    weights.write(&path, &System).expect("written");
    assert_eq!(Weights::read(&path).expect("reads"), weights);
    let preparer = Preparer::new(&all, DType::F32, &compile).expect("compiles");
    let one = preparer.apply(set.values(9..10).expect("in memory")).expect("a run");
    let mut other = vec![0.0; 18];
    together.copy(9, &mut other).expect("in memory");
    assert_eq!(one, other, "alone and among others");
}

/// Weights that are read beside other work are those that are read alone, and so is every error.
#[test]
fn weights_read_beside_a_compilation_are_verified_all_the_same() {
    let set = random_set(20, [2, 2, 2]);
    let preparation = Preparation::fit(&[Prepare::MeanStd { mean: None, std: None }], &set, &compile).expect("fits");
    let tensors = [("conv.weight".to_string(), Tensor { dims: vec![2, 1], data: vec![1.0, 2.0] })].into();
    let weights = Weights { preparation: Some(preparation), tensors, ..Weights::default() };
    let folder = folder();
    let path = folder.path().join("w.safetensors");
    weights.write(&path, &System).expect("written");
    let whole = fs::read(&path).expect("there");
    let beside = || Weights::read_beside(&path, |form, _| form.cloned());
    let form = weights.preparation.as_ref().map(|p| p.form().clone());
    assert_eq!(beside(), Ok((weights.clone(), form.clone())));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(&path, damaged).expect("written");
            let error = Weights::read(&path).expect_err("damaged");
            assert_eq!(beside(), Err(error), "byte {at}");
        }
    }
    // Files from elsewhere have no checksums, and those of other sizes than they say are read first.
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).expect("fits");
    let text = [("prepare", "[]"), ("image", "[1, 2, 3]")].map(|(key, text)| (key.to_string(), text.to_string()));
    let foreign = safetensors::serialize([("w", tensor)], Some(text.into())).expect("valid");
    fs::write(&path, foreign).expect("written");
    let (read, form) = beside().expect("reads");
    assert_eq!((read.preparation.map(|p| p.form().clone()), read.tensors.len()), (form, 1));
}

#[test]
fn a_whitening_is_kept_and_never_trusted_when_damaged() {
    let set = random_set(300, [1, 4, 4]);
    let steps = [Prepare::Gcn { scale: 55.0 }, Prepare::Zca { epsilon: 0.1 }];
    let folder = folder();
    let fit = |set: &Dataset, steps: &[Prepare]| {
        cache::fit(steps, set, Some(&folder.path().join("ninc")), &System, &compile).expect("fits")
    };
    let (first, found) = fit(&set, &steps);
    assert!(!found);
    assert_eq!(fit(&set, &steps), (first.clone(), true));
    // Other data, other settings: another fit.
    assert!(!fit(&random_set(299, [1, 4, 4]), &steps).1);
    assert!(!fit(&set, &[steps[0].clone(), Prepare::Zca { epsilon: 0.2 }]).1);
    let files: Vec<PathBuf> =
        fs::read_dir(folder.path().join("ninc")).expect("there").map(|e| e.expect("an entry").path()).collect();
    assert_eq!(files.len(), 3);
    for file in &files {
        let whole = fs::read(file).expect("there");
        let mut random = Stream::new(9, 0, 0);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << random.below(8);
            if at % 3 == 0 {
                bytes.truncate(at);
            }
            assert!(Store::from_bytes(&bytes, file, true).is_err());
        }
        fs::write(file, &whole[..whole.len() - 1]).expect("written");
    }
    assert_eq!(fit(&set, &steps), (first.clone(), false));
    assert_eq!(fit(&set, &steps), (first, true));
}

#[cfg(target_os = "linux")]
#[test]
fn a_cache_is_private_unless_others_may_write_to_it() {
    use ninc_runtime::cache_folder::{is_private, make};
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("deep/er");
    make(&folder).expect("made");
    assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
    for (mode, private) in [(0o755, true), (0o775, false), (0o702, false), (0o700, true)] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(is_private(&folder), private, "{mode:o}");
    }
    // A link may lead to where others write.
    symlink(&folder, place.path().join("link")).expect("made");
    assert!(!is_private(&place.path().join("link")) && !is_private(&place.path().join("missing")));
}
