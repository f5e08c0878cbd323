//! Pictures of networks: what is drawn, and that files are well formed.

use ninc::drawing::{self, Drawing};
use ninc::front;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

/// Four branches side by side, as GoogLeNet has them, and a skip connection.
const INCEPTION: &str = "block inception(x, channels) {
    let a = x |> cccp(channels) |> relu
    let b = x |> cccp(channels) |> relu |> conv(channels = channels, kernel = 3, pad = 1) |> relu
    let c = x |> cccp(channels) |> relu |> conv(channels = channels, kernel = 5, pad = 2) |> relu
    let d = x |> max_pool(kernel = 3, stride = 1, pad = 1) |> cccp(channels) |> relu
    return concat(a, b, c, d)
}

network branches {
    input image: [3, 32, 32]

    let stem = image |> conv(channels = 16, kernel = 3, pad = 1) |> relu
    let joined = stem |> inception(4) |> inception(4)
    joined + stem |> relu |> global_avg_pool |> linear(10) |> softmax
}
";

fn model(text: &str) -> ninc::model::Model {
    let text = text.replace("cccp(channels)", "cccp(channels = channels)");
    let (model, diagnostics) = front::load(&text, "net.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

#[test]
fn each_layer_has_a_frame_and_each_value_an_edge() {
    let model = model(INCEPTION);
    let drawing = Drawing::new(&model, None);
    // The input, every layer, the result.
    assert_eq!(drawing.frames.len(), 1 + model.layers.len() + 1);
    let between: usize = model.layers.iter().map(|layer| layer.operands.len()).sum();
    assert_eq!(drawing.edges.len(), between + 1);
    assert!(drawing.edges.iter().all(|edge| edge.from < edge.to));
    let joined = drawing.frames.iter().filter(|f| f.rows.iter().any(|row| row.what == "concat")).count();
    assert_eq!(joined, 2);
    let share: f64 = drawing.frames.iter().map(|f| f.share).sum();
    assert!((share - 1.0).abs() < 1e-9);
    let what: Vec<&str> = drawing.frames.iter().flat_map(|f| &f.rows).map(|row| row.what.as_str()).collect();
    assert!(what.contains(&"conv 5x5") && what.contains(&"max_pool 3x3") && what.contains(&"cccp"), "{what:?}");
}

#[test]
fn kernels_are_frames() {
    let text = "network n {
    input image: [3, 8, 8]

    image |> conv(channels = 4, kernel = 3) as c |> batch_norm as b |> relu as r |> global_avg_pool as g |> softmax as s
}
";
    let results: HashSet<String> = ["r", "g", "s"].map(String::from).into();
    let drawing = Drawing::new(&model(text), Some(&results));
    let titles: Vec<(&str, usize)> = drawing.frames.iter().map(|f| (f.title.as_str(), f.rows.len())).collect();
    assert_eq!(titles, [("image", 0), ("r", 3), ("g", 1), ("s", 1), ("s", 0)]);
    let edges: Vec<(usize, usize, &[usize])> = drawing.edges.iter().map(|e| (e.from, e.to, &e.shape[..])).collect();
    assert_eq!(edges, [(0, 1, &[3, 8, 8][..]), (1, 2, &[4, 6, 6]), (2, 3, &[4]), (3, 4, &[4])]);
}

/// What no result needs is not compiled: nothing of it is drawn among kernels, nor counted.
#[test]
fn kernels_are_of_what_is_needed() {
    let text = "network n {
    input image: [3, 8, 8]

    let unused = image |> conv(channels = 64, kernel = 3) as q
    image |> conv(channels = 4, kernel = 3) as c |> global_avg_pool as g
}
";
    let results: HashSet<String> = ["c", "g"].map(String::from).into();
    let cost = |drawing: &Drawing| drawing.frames.iter().map(|f| f.cost).sum::<u64>();
    let kernels = Drawing::new(&model(text), Some(&results));
    assert!(kernels.frames.iter().all(|frame| frame.title != "q"), "{kernels:?}");
    // 36 places, 4 channels, windows of 3 x 3 x 3.
    assert_eq!(cost(&kernels), 36 * 4 * 27);
    let layers = Drawing::new(&model(text), None);
    assert_eq!(cost(&layers), 36 * 68 * 27);
}

/// Numbers of attributes in a text.
fn numbers(text: &str, attribute: &str) -> Vec<f64> {
    let start = format!(" {attribute}=\"");
    let parts = text.split(&start).skip(1);
    parts.filter_map(|part| part.split('"').next()?.parse().ok()).collect()
}

#[test]
fn frames_lie_apart_and_within_the_picture() {
    let residual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/residual.nin");
    let residual = std::fs::read_to_string(residual).expect("the model");
    for text in [INCEPTION, &residual] {
        let drawing = Drawing::new(&model(text), None);
        let svg = drawing::svg(&drawing);
        let frames: Vec<&str> = svg.lines().filter(|line| line.contains("class=\"frame\"")).collect();
        assert_eq!(frames.len(), drawing.frames.len());
        let boxes: Vec<[f64; 4]> =
            frames.iter().map(|f| ["x", "y", "width", "height"].map(|a| numbers(f, a)[0])).collect();
        let [width, height] = ["width", "height"].map(|a| numbers(&svg, a)[0]);
        for (i, a) in boxes.iter().enumerate() {
            assert!(a[0] >= 0.0 && a[1] >= 0.0 && a[0] + a[2] <= width && a[1] + a[3] <= height, "{a:?}");
            for b in &boxes[i + 1..] {
                let apart = a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1];
                assert!(apart, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn the_command_draws_every_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models");
    for name in ["cifar10", "residual", "imagenet"] {
        let file = models.join(format!("{name}.nin"));
        for ending in ["svg", "dot", "html"] {
            let out = folder.path().join(format!("{name}.{ending}"));
            let run = Command::new(env!("CARGO_BIN_EXE_ninc"))
                .arg("graph")
                .arg(&file)
                .arg("-o")
                .arg(&out)
                .output()
                .expect("ninc");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let text = std::fs::read_to_string(&out).expect("the picture");
            assert!(text.contains("softmax") && text.contains("multiply-adds"));
            if (name, ending) == ("cifar10", "svg") {
                // Image, result, and what is computed between: the mlpconv layers and the pools, at least.
                assert!(text.matches("class=\"frame\"").count() >= 8, "{text}");
            }
        }
    }
    let out = folder.path().join("net.png");
    let file = models.join("cifar10.nin");
    let run =
        Command::new(env!("CARGO_BIN_EXE_ninc")).arg("graph").arg(file).arg("-o").arg(&out).output().expect("ninc");
    assert_eq!(run.status.code(), Some(2));
    assert!(!out.exists() && String::from_utf8_lossy(&run.stderr).contains("`.svg`, `.dot` or `.html`"));
}
