//! `ninc run --maps`: its numbers against the network's own outputs and against what can be computed by hand, and what
//! its pictures show.

use crate::cli::{Place, texts};
use ninc_runtime::{Tensor, npy};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::Path;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.nin");
const SEVEN: &str = "seven.png";

/// A folder with a digit of the test set as a picture of 8x8 pixels.
fn place() -> Place {
    let place = Place::new();
    let set = ninc_runtime::data::digits::load().expect("embedded").test;
    let item = (0..set.len()).find(|&i| set.label(i) == 7).expect("every digit is there");
    let mut pixels = [0.0; 64];
    set.copy(item, &mut pixels).expect("in memory");
    image::GrayImage::from_fn(8, 8, |x, y| image::Luma([pixels[(y * 8 + x) as usize] as u8]))
        .save(place.path(SEVEN))
        .expect("saved");
    place
}

fn tensor(place: &Place, name: &str) -> Tensor {
    npy::read(&place.path(name)).expect("an array")
}

/// Class names or numbers and probabilities, best first.
fn answers(csv: &str) -> Vec<(usize, f64)> {
    let row: Vec<&str> = csv.lines().nth(1).expect("a row").split(',').skip(1).collect();
    row.chunks(2).map(|pair| (pair[0].parse().expect("a digit"), pair[1].parse().expect("a number"))).collect()
}

fn save(path: &Path, tensors: &[(&str, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., v)| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, dims, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, dims.clone(), bytes).expect("as long as its shape"))
    });
    fs::write(path, safetensors::serialize(views, None).expect("valid")).expect("written");
}

#[test]
fn means_of_class_maps_are_the_scores() {
    let place = place();
    let said = place.good(&["run", DIGITS, SEVEN, "--maps", "m.npy", "--top", "10", "--csv"]);
    let (answers, maps) = (answers(&said), tensor(&place, "m.npy"));
    assert_eq!((answers[0].0, maps.dims[0]), (7, 10));
    let plane = maps.dims[1] * maps.dims[2];
    let score = |map: &[f32]| map.iter().copied().map(f64::from).sum::<f64>() / plane as f64;
    let scores: Vec<f64> = maps.data.chunks_exact(plane).map(score).collect();
    let sum: f64 = scores.iter().map(|s| (s - scores[0]).exp()).sum();
    for (score, (class, probability)) in scores.iter().zip(&answers) {
        let expected = (score - scores[0]).exp() / sum;
        assert!((expected - probability).abs() < 2e-6, "{class}: {expected}, {probability}");
    }
    // A score's gradient with respect to its class map is the same everywhere, and 0 with respect to others.
    place.good(&["run", DIGITS, SEVEN, "--maps", "g.npy", "--maps-by", "grad-cam", "--top", "3"]);
    let gradients = tensor(&place, "g.npy");
    assert_eq!(gradients.dims, [&[3], &maps.dims[1..]].concat());
    for (g, m) in gradients.data.iter().zip(&maps.data) {
        assert!((g - m.max(0.0) / plane as f32).abs() < 1e-4 * m.abs().max(1.0), "{g}, {m}");
    }
}

#[test]
fn grad_cam_weighs_channels_as_the_layers_behind_do() {
    let place = place();
    let text = "network hand { input image: [1, 2, 2]\n image |> conv(channels = 2, kernel = 1) as a |> relu as b
        |> flatten |> linear(features = 3) as scores }";
    fs::write(place.path("hand.nin"), text).expect("written");
    // a = (x + 1, -2x); b = max(a, 0); the score of class 1 is the one that is looked at.
    let behind: Vec<f32> = (0..24).map(|i| ((i * 7) % 11) as f32 - 4.0).collect();
    let weights = [
        ("a.weight", vec![2, 1, 1, 1], vec![1.0, -2.0]),
        ("a.bias", vec![2], vec![1.0, 0.0]),
        ("scores.weight", vec![3, 8], behind.clone()),
        ("scores.bias", vec![3], vec![0.0, 1e3, 0.0]),
    ];
    save(&place.path("hand.safetensors"), &weights);
    let x = [0.5f32, -1.5, 2.0, -0.25];
    let image = Tensor { dims: vec![1, 1, 2, 2], data: x.to_vec() };
    fs::write(place.path("x.npy"), npy::to_bytes(&image)).expect("written");
    let a: Vec<f32> = x.iter().map(|x| x + 1.0).chain(x.iter().map(|x| -2.0 * x)).collect();
    let row = &behind[8..16];
    for (of, value, passes) in [
        ("b", a.iter().map(|v| v.max(0.0)).collect::<Vec<_>>(), [1.0; 8].to_vec()),
        ("a", a.clone(), a.iter().map(|v| if *v > 0.0 { 1.0 } else { 0.0 }).collect::<Vec<f32>>()),
    ] {
        let weight = |c: usize| (0..4).map(|i| row[c * 4 + i] * passes[c * 4 + i]).sum::<f32>() / 4.0;
        let expected: Vec<f32> = (0..4).map(|i| (weight(0) * value[i] + weight(1) * value[4 + i]).max(0.0)).collect();
        let arguments = ["run", "hand.nin", "x.npy", "--raw", "--weights", "hand.safetensors", "--top", "1"];
        let maps = ["--maps", "m.npy", "--maps-by", "grad-cam", "--maps-of", of];
        place.good(&[&arguments[..], &maps].concat());
        let got = tensor(&place, "m.npy");
        assert_eq!(got.dims, [1, 2, 2]);
        for (e, g) in expected.iter().zip(&got.data) {
            assert!((e - g).abs() < 1e-4, "{of}: {expected:?}, {:?}", got.data);
        }
    }
}

#[test]
fn occlusion_is_what_covered_pictures_lose() {
    let place = place();
    let arguments = ["run", DIGITS, SEVEN, "--maps", "m.npy", "--maps-by", "occlusion", "--top", "10", "--csv"];
    let (whole, maps) = (answers(&place.good(&arguments)), tensor(&place, "m.npy"));
    assert_eq!(maps.dims, [10, 8, 8]);
    // A window of an 8x8 digit is one pixel.
    let seven = image::open(place.path(SEVEN)).expect("a picture").into_luma8();
    let mean = seven.pixels().map(|p| f64::from(p.0[0])).sum::<f64>() / 64.0;
    for at in [0, 20, 27, 36, 63] {
        let mut covered = seven.clone();
        covered.put_pixel(at % 8, at / 8, image::Luma([mean.round() as u8]));
        covered.save(place.path("c.png")).expect("saved");
        let now = answers(&place.good(&["run", DIGITS, "c.png", "--top", "10", "--csv"]));
        for (rank, (class, before)) in whole.iter().enumerate() {
            let after = now.iter().find(|(c, _)| c == class).expect("all classes").1;
            let got = f64::from(maps.data[rank * 64 + at as usize]);
            assert!((before - after - got).abs() < 3e-6, "pixel {at}, class {class}: {}, {got}", before - after);
        }
    }
}

#[test]
fn a_sheet_shows_the_picture_and_brighter_where_the_map_is_higher() {
    let place = place();
    place.good(&["run", DIGITS, SEVEN, "--maps", "m.png", "--top", "2"]);
    place.good(&["run", DIGITS, SEVEN, "--maps", "m.npy", "--top", "2"]);
    let (sheet, maps) = (image::open(place.path("m.png")).expect("a picture").into_rgb8(), tensor(&place, "m.npy"));
    let seven = image::open(place.path(SEVEN)).expect("a picture").into_luma8();
    // The picture is 20 times as large, 8 pixels from the corner; maps follow every 168 pixels, then the bar.
    for (x, y, p) in seven.enumerate_pixels() {
        assert_eq!(sheet.get_pixel(8 + 20 * x + 10, 8 + 20 * y + 3).0, [p.0[0]; 3], "{x}, {y}");
    }
    let brightness = |[r, g, b]: [u8; 3]| 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    let bar: Vec<[u8; 3]> = (0..160).map(|y| sheet.get_pixel(8 + 3 * 168 + 4, 8 + y).0).collect();
    assert_eq!((bar[0], bar[159]), ([0xfe, 0xe8, 0x38], [0x00, 0x22, 0x4e]));
    assert!(bar.windows(2).all(|w| brightness(w[0]) >= brightness(w[1])), "the bar gets darker downwards");
    // In the corners a map has its corners' numbers, over black: the colour there tells the number.
    let (low, high) = maps.data.iter().fold((0.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
    let (rows, columns) = (maps.dims[1], maps.dims[2]);
    let corners = [(0, 0, 0, 0), (159, 0, columns - 1, 0), (0, 159, 0, rows - 1), (159, 159, columns - 1, rows - 1)];
    for (map, numbers) in (0u32..).zip(maps.data.chunks_exact(rows * columns)) {
        for (x, y, column, row) in corners {
            let part = (numbers[row * columns + column] - low) / (high - low);
            let colour = bar[((1.0 - part) * 159.0).round() as usize];
            let grey = f64::from(seven.get_pixel(x / 20, y / 20).0[0]);
            let shown = sheet.get_pixel(8 + 168 * (map + 1) + x, 8 + y).0;
            for (shown, colour) in shown.iter().zip(colour) {
                let expected = 0.7 * f64::from(colour) + 0.3 * grey;
                assert!((f64::from(*shown) - expected).abs() < 3.0, "map {map}, {x}, {y}: {shown}, {expected}");
            }
        }
    }
}

#[test]
fn channels_of_any_value_and_a_file_for_each_picture() {
    let place = place();
    fs::copy(place.path(SEVEN), place.path("a.png")).expect("copied");
    fs::create_dir(place.path("sub")).expect("made");
    fs::copy(place.path(SEVEN), place.path("sub/a.png")).expect("copied");
    fs::copy(place.path(SEVEN), place.path("b.png")).expect("copied");
    let dump = ["--maps-of", "conv1", "--top", "3"];
    place.good(&["train", "tiny.nin", "--steps", "2"]);
    let run = |more: &[&str]| place.good(&[&["run", "tiny.nin"][..], more].concat());
    run(&[&["a.png", "--maps", "m.npy", "--dump", "conv1=v.npy"][..], &dump].concat());
    let (maps, value) = (tensor(&place, "m.npy"), tensor(&place, "v.npy"));
    let mut planes: Vec<&[f32]> = value.data.chunks_exact(64).collect();
    let mean = |p: &[f32]| p.iter().copied().map(f64::from).sum::<f64>();
    planes.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    assert_eq!(maps.dims, [3, 8, 8]);
    assert_eq!(maps.data, planes[..3].concat());
    run(&["a.png", "b.png", "--maps", "out-{name}.png"]);
    assert!(place.path("out-a.png").exists() && place.path("out-b.png").exists());
    place.bad(2, &["run", "tiny.nin", "a.png", "b.png", "--maps", "m.png"], "maps-{name}.png");
    place.bad(2, &["run", "tiny.nin", "a.png", "sub/a.png", "--maps", "{name}-m.png"], "a-m.png");
    place.bad(2, &["run", "tiny.nin", "a.png", "--maps", "a.png"], "a.png");
    assert!(fs::read(place.path("a.png")).expect("there") == fs::read(place.path(SEVEN)).expect("there"));
    let twice = ["--maps", "two.npy", "--output", "./two.npy"];
    place.bad(2, &[&["run", "tiny.nin", "a.png"][..], &twice].concat(), "two results");
    assert!(!place.path("two.npy").exists());
    place.bad(2, &["run", "tiny.nin", "a.png", "--maps", "m.jpg"], "is not a .png file");
    place.bad(1, &["run", "tiny.nin", "a.png", "--maps", "x.png", "--maps-of", "conv9"], "conv1, relu1");
    place.bad(1, &["run", "tiny.nin", "a.png", "--maps", "x.png", "--maps-of", "probabilities"], "without rows");
    let of = ["--maps-by", "occlusion", "--maps-of", "conv1"];
    place.bad(2, &[&["run", "tiny.nin", "a.png", "--maps", "x.png"][..], &of].concat(), "leave --maps-of out");
    place.bad(2, &["run", "tiny.nin", "a.png", "--maps-of", "conv1"], "--maps");
    assert!(!place.path("x.png").exists());
}

#[test]
fn networks_without_maps_of_their_own_say_what_helps() {
    let place = place();
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    fs::write(place.path("tiny.nin"), text.replace("|> global_avg_pool", "|> flatten |> linear(features = 10)"))
        .expect("written");
    fs::copy(place.path(SEVEN), place.path("a.png")).expect("copied");
    place.good(&["train", "tiny.nin", "--steps", "2"]);
    place.bad(2, &["run", "tiny.nin", "a.png", "--maps", "m.png"], "--maps-by grad-cam or occlusion");
    for way in ["grad-cam", "occlusion"] {
        let output = place.ninc(&["run", "tiny.nin", "a.png", "--maps", "m.png", "--maps-by", way]);
        assert!(output.status.success(), "{}", texts(&output).1);
        assert!(fs::remove_file(place.path("m.png")).is_ok(), "{way}");
    }
}

/// An image of 8x8 numbers as `--tta` sees it: moved, what lies outside mirrored at the border, then mirrored itself.
fn view(image: &[f32], by: isize, mirrored: bool) -> Vec<f32> {
    let inside = |at: isize| (if at > 7 { 14 - at } else { at.abs() }) as usize;
    let column = |i: usize| if mirrored { 7 - i % 8 } else { i % 8 } as isize;
    (0..64).map(|i| image[inside((i / 8) as isize - by) * 8 + inside(column(i) - by)]).collect()
}

/// Each view is run by itself; its maps are turned and moved back by hand.
#[test]
fn maps_of_several_views_are_the_means_of_their_own() {
    let place = place();
    let seven = image::open(place.path(SEVEN)).expect("a picture").into_luma8();
    let seven: Vec<f32> = seven.pixels().map(|p| f32::from(p.0[0])).collect();
    let see = |by, mirrored| {
        let array = npy::to_bytes(&Tensor { dims: vec![1, 1, 8, 8], data: view(&seven, by, mirrored) });
        fs::write(place.path("in.npy"), array).expect("written");
    };
    // Maps of all classes by class, and what the command says.
    let run = |way: &str, more: &[&str]| {
        let all = ["run", DIGITS, "in.npy", "--top", "10", "--csv", "--maps", "m.npy", "--maps-by", way];
        let said = answers(&place.good(&[&all[..], more].concat()));
        let maps = tensor(&place, "m.npy");
        let planes = maps.data.chunks_exact(maps.dims[1] * maps.dims[2]).map(<[f32]>::to_vec);
        let mut of_class: Vec<_> = said.iter().zip(planes).map(|((class, p), map)| (*class, *p, map)).collect();
        of_class.sort_by_key(|(class, ..)| *class);
        (of_class, maps.dims[2])
    };
    for way in ["class", "grad-cam", "occlusion"] {
        see(0, true);
        let (mirrored, _) = run(way, &[]);
        see(0, false);
        let ((plain, columns), (both, _)) = (run(way, &[]), run(way, &["--tta", "flip"]));
        for ((class, _, found), ((.., plain), (.., other))) in both.iter().zip(plain.iter().zip(&mirrored)) {
            let other = other.chunks_exact(columns).flat_map(|row| row.iter().rev());
            for ((found, plain), other) in found.iter().zip(plain).zip(other) {
                let mean = (plain + other) / 2.0;
                assert!((found - mean).abs() <= 1e-5 * mean.abs().max(0.1), "{way}, {class}: {found} {mean}");
            }
        }
        // The mean of a class map is the score of all views, as it is of one.
        if way == "class" {
            let scores: Vec<f32> = both.iter().map(|(.., map)| map.iter().sum::<f32>() / map.len() as f32).collect();
            let sum: f64 = scores.iter().map(|s| f64::from(s - scores[7]).exp()).sum();
            for ((class, p, _), score) in both.iter().zip(&scores) {
                let expected = f64::from(score - scores[7]).exp() / sum;
                assert!((expected - p).abs() < 2e-6, "{class}: {expected}, {p}");
            }
        }
    }
    place.good(&["train", "tiny.nin", "--steps", "2"]);
    let mut means = [0.0f32; 8 * 64];
    let mut channels = 0;
    for (by, mirrored, weight) in
        [(0, false, 0.25), (0, true, 0.25), (1, false, 0.125), (1, true, 0.125), (-1, false, 0.125), (-1, true, 0.125)]
    {
        see(by, mirrored);
        place.good(&["run", "tiny.nin", "in.npy", "--dump", "conv1=v.npy"]);
        let value = tensor(&place, "v.npy");
        assert_eq!(value.dims[2..], [8, 8]);
        channels = value.dims[1];
        for (i, mean) in means[..value.data.len()].iter_mut().enumerate() {
            let at = |cell: usize| (cell as isize + by).clamp(0, 7) as usize;
            let column = if mirrored { 7 - at(i % 8) } else { at(i % 8) };
            *mean += weight * value.data[i / 64 * 64 + at(i / 8 % 8) * 8 + column];
        }
    }
    see(0, false);
    let more = ["--maps", "m.npy", "--maps-of", "conv1", "--tta", "flip,shift", "--top", "2"];
    place.good(&[&["run", "tiny.nin", "in.npy"][..], &more].concat());
    let mut planes: Vec<&[f32]> = means[..channels * 64].chunks_exact(64).collect();
    planes.sort_by(|a, b| b.iter().sum::<f32>().total_cmp(&a.iter().sum::<f32>()));
    let found = tensor(&place, "m.npy").data;
    let far = found.iter().zip(planes[..2].concat()).find(|(a, b)| (*a - b).abs() > 1e-5);
    assert!(found.len() == 128 && far.is_none(), "{far:?}");
}
