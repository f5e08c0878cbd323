//! Libraries for processors with matrix units, and with products of pairs and bytes: the bits of the runtime, in
//! children, many threads and between signals; and what they say where a machine lacks what they need.

use super::loaded::Loaded;
use super::{Place, have};
use ninc::library::files::{self, BuildRequest, Library};
use ninc::library::levels::Level;
use ninc::library::systems::{SYSTEMS, System};
use ninc::lower::target::{Algorithm, Target};
use ninc::model::Model;
use ninc::pipeline::{self, Options};
use ninc::types::Format;
use ninc_runtime::spec::Pictures;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Feed, init};
use std::fs;

const NET: &str = "network wide {
    input image: [3, 16, 16]
    image
        |> mlpconv(kernel = 3, pad = 1, channels = [48, 33], init = he)
        |> max_pool(kernel = 2, stride = 2)
        |> conv(kernel = 3, pad = 1, channels = 64, init = he)
        |> relu
        |> conv(channels = 10, kernel = 1, init = he)
        |> global_avg_pool
        |> softmax as probabilities
}
";
const PIXELS: usize = 3 * 16 * 16;

fn model() -> Model {
    ninc::front::load(NET, "wide.nin", &[]).0.expect("a model")
}

/// Which numbers, and by which algorithm.
type How = (Option<Format>, Algorithm);
const BF16: How = (Some(Format::Bf16), Algorithm::Auto);

fn options((precision, algorithm): How) -> Options {
    Options { target: Some(Target { algorithm, ..Target::host() }), precision, ..Options::default() }
}

/// Writes the library for some levels into `lib`, its weights as `lib/wide.safetensors`.
fn build(place: &Place, levels: &[Level], how: How) -> Library {
    let (model, options) = (model(), options(how));
    let params = pipeline::inference_kernels(&model, &options).expect("compiles").params;
    let values = params.iter().filter(|p| !p.state).map(|p| (p.name.clone(), init::values(&p.parameter(), 3)));
    let weights = Weights { model: model.name.clone(), tensors: values.collect(), ..Weights::default() };
    let request = BuildRequest {
        triple: System::host().expect("a known one").triple,
        levels,
        picture: None,
        reading: (Pictures::default(), 1.0),
        classes: vec![],
        weights: Some(&weights),
        train: false,
        embed: false,
        opencl: false,
    };
    let library = files::build(&model, &request, &options).expect("builds");
    fs::create_dir_all(place.path("lib")).expect("made");
    for (name, bytes) in &library.files {
        fs::write(place.path("lib").join(name), bytes).expect("written");
    }
    library
}

fn present(level: Level) -> bool {
    let bf16 = std::is_x86_feature_detected!("avx512bf16");
    match level {
        Level::V4_AMX => bf16 && ninc_runtime::tiles::permitted(),
        Level::V4_BF16 => bf16,
        _ => std::is_x86_feature_detected!("avx512vnni"),
    }
}

#[test]
fn they_have_the_bits_of_the_runtime_with_the_same_instructions() {
    let split = (None, Algorithm::Split);
    for (level, how, word) in [
        (Level::V4_AMX, BF16, Some("tiles")),
        (Level::V4_AMX, split, Some("split")),
        (Level::V4_AMX, (None, Algorithm::Auto), None),
        (Level::V4_BF16, BF16, None),
    ] {
        let place = Place::new();
        let built = build(&place, &[level], how);
        let words: Vec<&str> = built.rows.iter().map(|row| row.algorithm.as_str()).collect();
        assert_eq!(words.iter().any(|w| ["tiles", "split"].contains(w)), word.is_some(), "{words:?}");
        assert!(word.is_none_or(|word| words.contains(&word)), "{words:?}");
        if how == (None, Algorithm::Auto) {
            // As at the level below: `levels_have_the_bits_that_the_readme_says`.
            continue;
        }
        let library = Loaded::open(&place.path("lib/libwide.so"), "wide");
        let weights = place.path("lib/wide.safetensors");
        let network = match library.create(&weights) {
            Ok(network) => network,
            Err((status, text)) => {
                assert!(status == 5 && !present(level), "{}: {text}", level.name());
                eprintln!("skipped: {} is not here", level.name());
                continue;
            }
        };
        assert!(present(level), "{}", level.name());
        let target = level
            .target(*System::host().expect("a known one"), &options(how).target.expect("given"))
            .expect("of this system");
        let options = Options { target: Some(target), threads: 2, ..options(how) };
        let mut program = pipeline::inference(&model(), &options).expect("compiles");
        Weights::read(&weights).expect("good").load_into(&mut *program.engine).expect("fits");
        let images: Vec<f32> = (0..20 * PIXELS).map(|i| (i * 7 % 251) as f32 / 251.0).collect();
        for n in [1, 20] {
            let feed = [("image", Feed::F32(&images[..n * PIXELS]))];
            let expected = program.engine.run(n, &feed, &["probabilities"]).expect("runs").remove(0).data;
            for threads in [1, 2] {
                let got = library.run(network, n, &images, threads, None).expect("runs");
                assert_eq!(got, expected, "{}, {how:?}, {n} images, {threads} threads", level.name());
            }
        }
        library.destroy(network);
    }
}

#[test]
fn children_threads_and_signals_change_no_bit_and_a_small_stack_for_signals_is_refused() {
    if !have("cc") || !present(Level::V4_AMX) {
        return eprintln!("skipped: no compiler or no matrix units");
    }
    let place = Place::new();
    fs::write(place.path("tiles.c"), include_str!("tiles.c")).expect("written");
    let compile = || {
        let arguments = ["-O1", "-Wall", "-Werror", "-I.", "tiles.c", "lib/libwide.a", "-lpthread", "-o", "tiles"];
        place.good("cc", &arguments);
    };
    let run = |more: &[&str]| place.good("./tiles", &[&["lib/wide.safetensors"], more].concat());
    build(&place, &[Level::V4_AMX], BF16);
    compile();
    assert_eq!(run(&[]), "done\n");
    let text = run(&["refused"]);
    assert!(text.starts_with("5 this processor lacks instructions") && text.contains("system"), "{text}");
    // One for several levels takes another.
    let levels = Level::fat(SYSTEMS[0], false, Some(Format::Bf16), Algorithm::Auto);
    assert_eq!(levels.last(), Some(&Level::V4_AMX));
    build(&place, &levels, BF16);
    compile();
    assert_eq!(run(&[]), "done\n");
    assert_eq!(run(&["refused"]), "0 \n");
}

#[test]
fn names_of_levels_are_read_and_written() {
    for (text, name) in [
        ("x86-64-v4+bf16+vnni", "x86-64-v4+vnni+bf16"),
        ("x86-64-v4+vnni+amx+bf16", "x86-64-v4+amx"),
        ("x86-64-v3+vnni", "x86-64-v3+vnni"),
        ("native", "native"),
    ] {
        assert_eq!(Level::named(text).expect("a level").name(), name);
    }
    for (text, says) in [
        ("x86-64-v2", "levels: baseline, x86-64-v3, x86-64-v4, native"),
        ("x86-64-v3+amx", "extensions of `x86-64-v3`: +vnni"),
        ("x86-64-v4+", "extensions of `x86-64-v4`: +vnni, +bf16, +amx"),
        ("native+amx", "`native` takes no extensions, as `+amx`"),
    ] {
        assert_eq!(Level::named(text).expect_err("no level").to_string(), says, "{text}");
    }
    let names = |levels: Vec<Level>| levels.into_iter().map(Level::name).collect::<Vec<_>>().join(" ");
    assert_eq!(names(Level::fat(SYSTEMS[0], false, None, Algorithm::Auto)), "baseline x86-64-v3 x86-64-v4");
    let whole = "baseline x86-64-v3 x86-64-v3+vnni x86-64-v4 x86-64-v4+vnni x86-64-v4+amx";
    assert_eq!(names(Level::fat(SYSTEMS[0], true, None, Algorithm::Auto)), whole);
}

#[test]
fn bytes_have_the_same_bits_at_all_levels() {
    if !have("cc") || !std::is_x86_feature_detected!("avx2") {
        return;
    }
    let place = Place::trained(1, "[scale]");
    let quantise = ["quantize", "small.nin", "--weights", "w/small.safetensors", "--data", "data.npz"];
    place.good("ninc", &[&quantise[..], &["--out", "q.safetensors", "--max-drop", "100"]].concat());
    for level in ["x86-64-v3+vnni", "x86-64-v4+vnni", "x86-64-v4+amx"] {
        place.good(
            "ninc",
            &["build", "small.nin", "--weights", "q.safetensors", "-o", "lib", "--cpu", level, "--overwrite"],
        );
        place.good("cc", &["-O1", "lib/classify.c", "lib/libsmall.a", "-lpthread", "-o", "c"]);
        let output = place.start("./c", &["--raw", "lib/small.safetensors", "a.ppm"]).output().expect("starts");
        let (out, err) = super::texts(&output);
        if err.contains("lacks instructions") {
            eprintln!("skipped: {level} is not here");
            continue;
        }
        let isa = if level.starts_with("x86-64-v3") { "avx2" } else { "avx512" };
        let run = ["run", "small.nin", "--weights", "q.safetensors", "a.png", "--output", "r.npy", "--isa", isa];
        place.good("ninc", &run);
        let result = ninc_runtime::npy::read(&place.path("r.npy")).expect("an array");
        let expected: String = result.data.iter().map(|v| format!("{:08x}\n", v.to_bits())).collect();
        assert_eq!(out, expected, "{level}: {err}");
    }
}
