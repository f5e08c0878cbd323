//! What stands beside a library suits it: names that C knows otherwise, weights inside, images that no picture becomes.

use super::loaded::Loaded;
use super::pictures::network;
use super::{Place, have, texts};
use ninc::library::header::identifier;
use ninc_runtime::spec::Pictures;
use std::fs;

#[test]
fn a_name_that_c_knows_otherwise_is_changed_and_said() {
    for word in ["int", "class", "size_t", "printf", "string", "linux", "pthread", "picture", "NULL"] {
        assert_eq!(identifier(word), format!("{word}_"));
    }
    assert_eq!(["digits", "größe", "9", "in"].map(identifier), ["digits", "gr__e", "_9", "in"]);
    let place = Place::new();
    let model = "network class { input image: [1, 4, 4]  image |> global_avg_pool }";
    fs::write(place.path("class.nin"), model).expect("written");
    let output = place.start("ninc", &["build", "class.nin", "-o", "lib"]).output().expect("starts");
    let (_, err) = texts(&output);
    assert!(output.status.success() && err.contains("`class` cannot be a name in C"), "{err}");
    for compiler in ["cc", "c++"].into_iter().filter(|compiler| have(compiler)) {
        let own =
            "#include <string.h>\n#include \"lib/class_.h\"\nint f(class_ *n) { return class__run(n, 1, 0, 0); }\n";
        fs::write(place.path("own.c"), own).expect("written");
        let language = if compiler == "cc" { "c" } else { "c++" };
        place.good(compiler, &["-Wall", "-Werror", "-Ilib", "-x", language, "-c", "own.c", "-o", "own.o"]);
    }
}

/// Examples of both kinds of library say which picture is cut, and go on with the next.
#[test]
fn examples_suit_weights_inside_and_cut_pictures() {
    let place = Place::new();
    network(&place, "light", [1, 7, 7], &Pictures::default());
    place.good("ninc", &["build", "light.nin", "--weights", "light.safetensors", "-o", "inside", "--embed"]);
    let head = b"P5\n9 8\n255\n";
    fs::write(place.path("whole.pgm"), [&head[..], &[7; 73]].concat()).expect("written");
    fs::write(place.path("cut.pgm"), [&head[..], &[7; 71]].concat()).expect("written");
    let check = |program: &str, before: &[&str], weights: bool| {
        let weights: &[&str] = if weights { &["lib/light.safetensors"] } else { &[] };
        let arguments = [before, weights, &["cut.pgm", "whole.pgm"]].concat();
        let output = place.start(program, &arguments).output().expect("starts");
        let (out, err) = texts(&output);
        assert!(
            out.starts_with("whole.pgm: class (class 0)") && output.status.code() == Some(1),
            "{program}: {out}{err}"
        );
        assert!(err.starts_with("cut.pgm: ") && err.lines().count() == 1, "{program}: {err}");
    };
    for (folder, weights) in [("lib", true), ("inside", false)] {
        let own = |name: &str| format!("{folder}/{name}");
        if have("cc") {
            place.good("cc", &["-Wall", "-Werror", &own("classify.c"), &own("liblight.a"), "-lpthread", "-o", "c"]);
            check("./c", &[], weights);
        }
        if have("rustc") {
            place.good("rustc", &["-L", folder, "-l", "static=light", &own("classify.rs"), "-o", "r"]);
            check("./r", &[], weights);
        }
        if have("python3") {
            check("python3", &[&own("classify.py")], weights);
        }
    }
}

#[test]
fn images_of_four_channels_are_no_pictures_but_bytes() {
    let place = Place::new();
    network(&place, "four", [4, 5, 5], &Pictures::default());
    let header = fs::read_to_string(place.path("lib/four.h")).expect("written");
    assert!(header.contains("four_run_u8(") && !header.contains("four_prepare_picture("), "{header}");
    assert!(!place.path("lib/classify.c").exists() && !place.path("lib/classify.py").exists());
    let library = Loaded::open(&place.path("lib/libfour.so"), "four");
    let network = library.create(&place.path("lib/four.safetensors")).expect("good weights");
    assert_eq!(library.prepare_picture(network, &[0; 4], [1, 1, 4, 1], 100), Err(8));
    assert!(library.message(8).contains("1 or 3 channels"), "{}", library.message(8));
    library.destroy(network);
}
