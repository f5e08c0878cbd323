//! Libraries that learn: the steps of the runtime, and saving what came of them.

use super::loaded::{Loaded, Network};
use super::{Place, networks};
use std::fs;

#[test]
fn a_library_learns_as_the_runtime_does() {
    use ninc::pipeline::{self, Options};
    let place = Place::trained(1, "[scale, mean_std]");
    place.build("lib", &["--cpu", "native", "--train"]);
    let text = fs::read_to_string(place.path("small.nin")).expect("there");
    let model = ninc::front::load(&text, "small.nin", &[]).0.expect("a model");
    let target = Some(ninc::lower::target::Target::host());
    let options = Options { target, in_shares: false, ..Options::default() };
    let mut program = pipeline::training(&model, &options).expect("compiles");
    let weights = ninc_runtime::weights::Weights::read(&place.path("w/small.safetensors")).expect("good");
    weights.load_into(&mut *program.engine).expect("fits");

    let library = Loaded::open(&place.path("lib/libsmall.so"), "small");
    let training = library.train_create(&place.path("lib/small_train.safetensors"));
    let images: Vec<f32> = (0..6 * 64).map(|i| (i * 7 % 19) as f32 / 19.0).collect();
    let labels = [3, 1, 4, 1, 5, 9];
    networks::same_steps(&mut program, &model, &library, training, &images, &labels, 4);
    assert_eq!(library.train_step(training, &images, &[10, 0, 0, 0, 0, 0], 0, 1.0, 1), Err(6));
    // What was learned is saved as weights that both understand.
    let new = place.path("new.safetensors");
    assert_eq!(library.train_save(training, &new), 0);
    saving_spares_what_is_there(&place, &library, training);
    let saved = ninc_runtime::weights::Weights::read(&place.path("new.safetensors")).expect("good checksums");
    for (name, tensor) in &saved.tensors {
        assert_eq!(*tensor, program.engine.read(name).expect("there"), "{name}");
        assert_ne!(*tensor, weights.tensors[name], "{name} did not change");
    }
    assert_eq!((&saved.preparation, &saved.classes), (&weights.preparation, &weights.classes));
    let network = library.create(&place.path("new.safetensors")).expect("its own weights");
    library.destroy(network);
    // A rate that is none, and one that breaks the weights, which then replace nothing.
    for factor in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(library.train_step(training, &images, &labels, 4, factor, 1), Err(6), "{factor}");
    }
    let _ = library.train_step(training, &images, &labels, 4, 1e30, 1);
    let _ = library.train_step(training, &images, &labels, 5, 1e30, 1);
    let before = fs::read(&new).expect("there");
    assert_eq!(library.train_save(training, &new), 12);
    assert_eq!(library.message(12), "the weights hold NaN or an infinity and were not saved");
    assert_eq!(fs::read(&new).expect("there"), before);
    library.train_destroy(training);
}

/// Links, permissions and devices stay; a write-protected file is not replaced.
fn saving_spares_what_is_there(place: &Place, library: &Loaded, training: Network) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let [new, target, link] =
        ["new.safetensors", "target.safetensors", "link.safetensors"].map(|name| place.path(name));
    fs::write(&target, "old").expect("written");
    fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).expect("set");
    symlink("target.safetensors", &link).expect("linked");
    assert_eq!(library.train_save(training, &link), 0);
    assert!(link.is_symlink());
    assert_eq!(fs::read(&target).expect("there"), fs::read(&new).expect("there"));
    assert_eq!(target.metadata().expect("there").permissions().mode() & 0o777, 0o640);
    fs::write(&target, "old").expect("written");
    fs::set_permissions(&target, PermissionsExt::from_mode(0o440)).expect("set");
    assert_eq!(library.train_save(training, &link), 9);
    assert_eq!(fs::read(&target).expect("there"), b"old");
    // Links to what is not there yet: from a folder, by way of another link, with a whole path, and without end.
    fs::create_dir(place.path("far")).expect("made");
    let far =
        [("far/next", "../later"), ("over", "far/next"), ("far/whole", place.path("later").to_str().expect("text"))]
            .map(|(link, to)| symlink(to, place.path(link)).map(|()| place.path(link)).expect("linked"));
    for link in far {
        assert_eq!(library.train_save(training, &link), 0);
        assert!(link.is_symlink());
        assert_eq!(fs::read(place.path("later")).expect("there"), fs::read(&new).expect("there"));
        fs::remove_file(place.path("later")).expect("removed");
    }
    symlink("round", place.path("round")).expect("linked");
    assert_eq!(library.train_save(training, &place.path("round")), 9);
    assert_eq!(library.train_save(training, std::path::Path::new("/dev/null")), 0);
    assert!(!std::path::Path::new("/dev/null").metadata().expect("there").is_file());
}
