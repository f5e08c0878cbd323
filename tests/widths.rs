//! Widths of register tiles: whichever `ninc tune` finds fastest, no bit of a result changes.

use crate::cli::{Place, texts};
use crate::step::{load, start, steps};
use ninc::lower::target::{Algorithm, Isa, Target, Widths};
use ninc::pipeline::{self, Options};
use ninc_runtime::Feed;
use ninc_runtime::philox::Stream;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Convolutions in every form, those of groups and of each channel, linear layers, layers without shared weights.
const NETS: [&str; 3] = [
    "network wide(classes = 7) { input image: [3, 16, 16]
        image |> conv(kernel = 5, pad = 2, channels = 40) |> relu
            |> mlpconv(kernel = 3, pad = 1, channels = [48, 32, 24]) |> max_pool(kernel = 3, stride = 2)
            |> conv(kernel = 3, pad = 1, channels = 48, groups = 4) |> relu
            |> conv(kernel = 3, pad = 1, channels = 48, groups = 48) |> prelu
            |> conv(kernel = 3, stride = 2, channels = 33) |> relu |> flatten |> linear(classes) |> softmax }
    train { loss = cross_entropy  optimizer = sgd(rate = 0.01, momentum = 0.9)  batch = 21  steps = 3 }",
    "network small(classes = 5) { input image: [20, 9, 11]
        image |> conv(kernel = 3, pad = 1, channels = 20) |> batch_norm |> relu
            |> conv(kernel = 1, channels = 70) |> relu |> avg_pool(kernel = 2, stride = 2)
            |> local_conv(kernel = 3, channels = 6) |> relu |> cccp(channels = classes) |> global_avg_pool |> softmax }
    train { loss = cross_entropy  optimizer = adam(rate = 0.001)  batch = 9  steps = 3 }",
    "network deep(classes = 10) { input image: [64, 8, 8]
        image |> mlpconv(kernel = 3, pad = 1, channels = [96, 64, 64]) |> dropout(0.5)
            |> mlpconv(kernel = 5, pad = 2, channels = [64, 32, classes]) |> global_avg_pool |> softmax }
    train { loss = cross_entropy  optimizer = sgd(rate = 0.01, momentum = 0.9)  batch = 12  steps = 3 }",
];

fn targets() -> Vec<Target> {
    let hosts = Isa::ALL.into_iter().filter(|isa| isa.present()).map(Target::host_with);
    let small = |target: &Target| Target { cache: [8 << 10, 64 << 10, 1 << 20], ..target.clone() };
    let forms = |target: Target| {
        let asked = [Algorithm::Direct, Algorithm::Winograd];
        let asked = asked.map(|algorithm| Target { algorithm, ..target.clone() });
        [small(&target)].into_iter().chain(asked).chain([target])
    };
    hosts.flat_map(forms).collect()
}

fn bits(rows: Vec<Vec<f32>>) -> Vec<Vec<u32>> {
    rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}

/// Results of a batch and of single images, then what three steps of training give.
fn run(text: &str, target: &Target) -> Vec<Vec<u32>> {
    let model = load(text);
    let options = Options { target: Some(target.clone()), threads: 2, ..Options::default() };
    let mut program = pipeline::inference(&model, &options).expect("it compiles");
    start(&mut *program.engine, &program.params);
    let name = program.engine.inputs()[0].name.clone();
    let size = program.engine.inputs()[0].dims.iter().product::<usize>();
    let outputs: Vec<String> = model.graph.outputs.iter().map(|(name, _)| name.clone()).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut results = Vec::new();
    for batch in [1, 3, 17] {
        let mut random = Stream::new(9, 1, 0);
        let images: Vec<f32> = (0..batch * size).map(|_| random.normal()).collect();
        let all = program.engine.run(batch, &[(name.as_str(), Feed::F32(&images))], &outputs).expect("it runs");
        results.extend(all.into_iter().map(|tensor| tensor.data));
    }
    let mut program = pipeline::training(&model, &options).expect("it compiles");
    start(&mut *program.engine, &program.params);
    results.extend(steps(&model, &mut *program.engine, &program.params, model.train.as_ref().unwrap().batch));
    bits(results)
}

#[test]
fn widths_decide_no_bit() {
    for (text, target) in NETS.iter().flat_map(|text| targets().into_iter().map(move |target| (text, target))) {
        let usual = run(text, &target);
        for width in Widths::ALL {
            let given = target.clone().with_cpu(|cpu| cpu.vectors = Some(width));
            let found = run(text, &given);
            let differs = found.iter().zip(&usual).position(|(found, usual)| found != usual);
            let of = (target.cpu().isa, target.algorithm, target.cache);
            assert_eq!(differs, None, "the value of this number, {width} vectors, {of:?}: {text}");
        }
    }
}

/// What is kept is used by the next program; a damaged file is named and changes nothing.
#[test]
fn what_was_measured_is_kept_and_used() {
    let place = Place::new();
    let cache = place.path("cache");
    let ninc = |arguments: &[&str]| {
        let output = place.command(arguments).env("NINC_CACHE", &cache).output().expect("it starts");
        let (said, told) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {told}");
        (said, told)
    };
    fs::write(place.path("wide.nin"), NETS[0]).unwrap();
    // Before anything is measured.
    let lost = place.command(&["tune", "wide.nin"]).env("NINC_CACHE", "relative").output().expect("it starts");
    let told = texts(&lost).1;
    assert!(told.contains("by its whole path") && !told.contains("measuring"), "{told}");
    let (said, told) = ninc(&["tune", "wide.nin", "--batch", "4"]);
    assert!(said.contains("gain") || said.contains("no width is faster"), "{said}");
    assert!(told.contains("kept for this processor in"), "{told}");
    let folder = fs::read_dir(cache.join("cpu")).expect("a folder");
    let files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");

    // Whatever was fastest here: all tiles as narrow as can be.
    let options = Options { target: Some(Target::host()), ..Options::default() };
    let program = pipeline::inference(&load(NETS[0]), &options).expect("it compiles");
    let keys = program.report.origins.widths.values().map(|key| (key.clone(), "1".to_string()));
    let mut kept: Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    kept["tiles"] = serde_json::to_value(keys.collect::<BTreeMap<_, _>>()).unwrap();
    fs::write(&files[0], kept.to_string()).unwrap();
    let bench = ["bench", "wide.nin", "--batch", "4", "--profile", "--rounds", "1"];
    let columns = |table: &str| -> Vec<usize> {
        let tile = |word: &str| word.split_once('x').and_then(|(m, n)| m.parse::<usize>().ok().and(n.parse().ok()));
        table
            .lines()
            .filter(|line| line.contains(" direct "))
            .filter_map(|line| line.split_whitespace().find_map(tile))
            .collect()
    };
    let lanes = Target::host().lanes as usize;
    let narrow = columns(&ninc(&bench).0);
    assert!(!narrow.is_empty() && narrow.iter().all(|&n| n == lanes), "{narrow:?}");

    // Of bytes, with weights and ranges that are made up.
    let (_, told) = ninc(&["tune", "wide.nin", "--batch", "4", "--precision", "int8"]);
    assert!(told.contains("kept for this processor in"), "{told}");

    fs::write(&files[0], "{").unwrap();
    let (said, told) = ninc(&bench);
    assert!(told.contains("the file is damaged") && told.contains("ninc tune"), "{told}");
    assert!(columns(&said).iter().any(|&n| n > lanes), "{said}");
}
