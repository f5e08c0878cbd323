//! `ninc tune`: the best tiles are kept for the device, used by the next program, and change no result.

use super::devices::{err, good, ninc};
use super::{options, present};
use crate::nets::{self, Values};
use ninc::lower::target::{GroupTile, Target};
use ninc::pipeline::{self, Options};
use std::fs;
use std::sync::Arc;

const NETWORK: &str = "network n {
    input image: [3, 6, 6]
    image |> conv(kernel = 3, pad = 1, channels = 40) as c1 |> relu |> cccp(channels = 10) as c2 |> global_avg_pool |> softmax
}";

/// Any tile gives the same bits.
#[test]
fn tiles_decide_no_rounding() {
    if !present() {
        return;
    }
    let (model, diagnostics) = ninc::front::load(NETWORK, "n.nin", &[]);
    let mut model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    model.train = Some(nets::recipe(1));
    let run = |tile: GroupTile| {
        let target = Some(Target::gpu_with(tile, Arc::default()));
        let mut program = pipeline::training(&model, &Options { target, ..options() }).expect("a program");
        nets::run_engine(program.engine.as_mut(), &Values::new(3), 3)
    };
    let expected = run(GroupTile::ALL[0]);
    for tile in [GroupTile::ALL[1], GroupTile::ALL[5]] {
        assert_eq!(run(tile), expected, "{}", tile.name());
    }
}

/// A network's input may have any name here too.
#[test]
fn inputs_of_any_name_are_measured() {
    if !present() {
        return;
    }
    let place = tempfile::tempdir().expect("a folder for temporary files");
    fs::write(place.path().join("n.nin"), NETWORK.replace("image", "key")).expect("written");
    let table = good(place.path(), &["tune", "n.nin", "--device", "opencl:0", "--batch", "1"]);
    assert!(table.contains("conv_3x6x6") && table.contains("gain"), "{table}");
}

#[test]
fn the_best_tiles_are_kept_and_used() {
    if !present() {
        return;
    }
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let at = place.path();
    fs::write(at.join("n.nin"), NETWORK).expect("written");
    let table = good(at, &["tune", "n.nin", "--device", "opencl:0", "--batch", "2"]);
    assert!(table.contains("conv_3x6x6") && table.contains("chain_3x6x6") && table.contains("gain"), "{table}");
    let folder = fs::read_dir(at.join("cache/opencl")).expect("the cache");
    let mut kept = folder.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let path = kept.next().expect("tiles were kept");
    let text = fs::read_to_string(&path).expect("JSON");

    // Forms that no measurement would choose for so few columns show that the next program asks the file.
    let (odd, bench) =
        (GroupTile::ALL[6].name(), ["bench", "n.nin", "--batch", "2", "--rounds", "1", "--device", "opencl:0"]);
    let mut stored: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut profile = |chain: &str| {
        for (name, form) in stored["tiles"].as_object_mut().expect("tiles") {
            *form = if name.starts_with("chain") { chain.into() } else { odd.clone().into() };
        }
        fs::write(&path, stored.to_string()).expect("written");
        good(at, &[&bench[..], &["--profile"]].concat())
    };
    let fused = profile("rows16");
    assert!(fused.contains("_rows16x") && !fused.contains("_tile"), "{fused}");
    let apart = profile("apart");
    assert_eq!(apart.matches(&format!("_tile{odd}")).count(), 2, "{apart}");
    // Another precision has measurements of its own.
    let other = good(at, &[&bench[..], &["--profile", "--precision", "tf32"]].concat());
    assert!(!other.contains(&odd) && other.contains("_3x6x6"), "{other}");

    // What cannot be used is left out, with one line that says so.
    let says = |text: &str| {
        fs::write(&path, text).expect("written");
        let output = ninc(at, &bench).output().expect("ninc starts");
        assert!(output.status.success(), "{}", err(&output));
        let notes = err(&output);
        assert_eq!(notes.matches("note: ").count(), 1, "{notes}");
        assert!(notes.contains("ninc tune"), "{notes}");
        notes
    };
    assert!(says("{ \"device\": 3").contains("damaged"));
    assert!(says(&text.replacen("\"device\": \"", "\"device\": \"another ", 1)).contains("another device's"));
    assert!(
        says(&stored.to_string().replace(&odd, "3x3x3_1x1"))
            .contains("measured tiles are not known to this version of ninc")
    );
    // Tuning again replaces it.
    good(at, &["tune", "n.nin", "--device", "opencl:0", "--batch", "1"]);
    let output = ninc(at, &bench).output().expect("ninc starts");
    assert!(!err(&output).contains("note: "), "{}", err(&output));
    good(at, &["tune", "n.nin", "--device", "opencl:0", "--batch", "1", "--precision", "tf32"]);
    let text = fs::read_to_string(&path).expect("JSON");
    assert!(text.contains("\"tf32 conv_3x6x6") && text.contains("\"conv_3x6x6"), "{text}");
}

#[test]
fn what_has_no_tiles_is_refused() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    fs::write(place.path().join("n.nin"), NETWORK).expect("written");
    let output = ninc(place.path(), &["tune", "n.nin", "--device", "interp"]).output().expect("ninc starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("leave `--device interp` out"), "{}", err(&output));
}
