//! What people are shown: a batch before training, an evaluation as a page, a model file for their own pictures.

use crate::cli::{Place, texts};
use ninc_runtime::data::{balance, digits};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Between the images of a preview, a line of text below each, and how often a digit's pixel is shown.
const GAP: u32 = 8;
const LINE: u32 = 18;
const TIMES: u32 = 12;

fn change(place: &Place, from: &str, to: &str) {
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    assert!(text.contains(from), "{from}");
    fs::write(place.path("tiny.nin"), text.replace(from, to)).expect("written");
}

#[test]
fn a_preview_shows_the_first_batch_and_trains_nothing() {
    let place = Place::new();
    change(&place, "augment = [shift(1)]", "augment = []");
    let said = place.good(&["train", "tiny.nin", "--preview", "p.png"]);
    assert!(said.contains("50 images of the first batch") && said.contains("nothing was trained"), "{said}");
    assert!(!place.path("out").exists());
    // The preparation is undone: what is shown are the digits themselves, in the order of the first epoch.
    let train = digits::load().expect("embedded").train;
    let order = balance::order(&train, 3, 0, false, true);
    let shown = image::open(place.path("p.png")).expect("a picture").into_rgb8();
    let cell = [8 * TIMES + GAP, 8 * TIMES + GAP + LINE];
    assert_eq!((shown.width(), shown.height()), (8 * cell[0] + GAP, 7 * cell[1] + GAP));
    for (i, drawn) in (0u32..).zip(&order[..50]) {
        let mut digit = [0.0; 64];
        train.copy(drawn.item as usize, &mut digit).expect("in memory");
        let (left, top) = (GAP + i % 8 * cell[0], GAP + i / 8 * cell[1]);
        for (at, &value) in (0u32..).zip(&digit) {
            let (x, y) = (left + at % 8 * TIMES, top + at / 8 * TIMES);
            for (x, y) in [(x, y), (x + TIMES - 1, y + TIMES - 1)] {
                assert_eq!(shown.get_pixel(x, y).0, [value as u8; 3], "image {i}, pixel {at}");
            }
        }
        let letters = (0..8).any(|x| (0..16).any(|y| shown.get_pixel(left + x, top + 8 * TIMES + 2 + y).0[0] < 100));
        assert!(letters, "image {i} has a label");
    }
    let labels: Vec<String> = order[..50].iter().map(|drawn| train.label(drawn.item as usize).to_string()).collect();
    let rows: Vec<&str> = said.lines().skip(1).flat_map(|line| line.split(" | ")).collect();
    assert_eq!(rows, labels);
}

#[test]
fn previews_of_other_recipes() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "2"]);
    let weights = fs::read(place.path("out/tiny.safetensors")).expect("written");
    change(&place, "augment = [shift(1)]", "augment = [shift(1), mixup(0.4)]");
    // An earlier training is no obstacle, and stays.
    let said = place.good(&["train", "tiny.nin", "--preview", "p.PNG", "--batch", "100"]);
    assert!(said.contains("the first 64 of 100 images") && said.contains("% "), "{said}");
    assert!(fs::read(place.path("out/tiny.safetensors")).expect("there") == weights);
    change(&place, "prepare = [scale, mean_std]", "prepare = [gcn, zca]");
    let output = place.ninc(&["train", "tiny.nin", "--preview", "p.png"]);
    assert!(output.status.success() && texts(&output).1.contains("no way back to colours"), "{}", texts(&output).1);
    place.bad(2, &["train", "tiny.nin", "--preview", "p.jpg"], "is not a .png file");
    place.bad(2, &["train", "tiny.nin", "--preview", "p.png", "--resume"], "--resume");
    place.bad(1, &["train", "tiny.nin", "--preview", "missing/p.png"], "missing");
    place.bad(1, &["train", "tiny.nin", "--preview", "p.png", "--batch", "60000"], "do not fill one batch");
}

#[test]
fn an_evaluation_is_a_page() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--epochs", "1"]);
    let said = place.good(&["eval", "tiny.nin", "--report", "r.html", "--top", "2", "--json"]);
    let value: Value = serde_json::from_str(&said).expect("JSON");
    let page = fs::read_to_string(place.path("r.html")).expect("written");
    let percent = |value: &Value| format!("<b>{:.2} %</b>", value.as_f64().expect("a number") * 100.0);
    for (number, what) in
        [(&value["accuracy"], "accuracy"), (&value["top5"], "top 5 accuracy"), (&value["top"]["accuracy"], "top 2")]
    {
        assert!(page.contains(&percent(number)) && page.contains(what), "{what}: {number}");
    }
    // Each class with its recall, each cell of the confusion, the pictures of 24 mistakes.
    for class in value["classes"].as_array().expect("a list") {
        let recall = format!("<td>{:.2} %</td>", class["recall"].as_f64().expect("images") * 100.0);
        assert!(page.contains(&recall), "{class}");
    }
    let rows = value["confusion"].as_array().expect("rows");
    let cells = rows.iter().flat_map(|row| row.as_array().expect("a row")).filter(|n| **n != 0).count();
    assert_eq!(page.matches("class=\"yes\"").count() + page.matches("class=\"no\"").count(), 100);
    let empty = page.matches("--part:0%\"></td>").count();
    assert_eq!(100 - empty, cells);
    assert_eq!(page.matches("<figure>").count(), 24);
    assert!(page.contains("data:image/png;base64,") && page.contains("taken for") && page.contains("image "), "{page}");
    // It asks nobody for anything and runs nothing, in the light and in the dark.
    for word in ["<script", "http:", "https:", "<link", "@import", "url(", "onload"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    let other = place.good(&["eval", "tiny.nin", "--report", "t.html", "--part", "train"]);
    assert!(other.contains("accuracy") && other.contains("recall"), "{other}");
    assert!(fs::read_to_string(place.path("t.html")).expect("written").contains("on the training images"));
    place.bad(1, &["eval", "tiny.nin", "--report", "missing/r.html"], "missing");
}

/// A class of pictures: noise around a colour.
fn class(folder: &Path, name: &str, count: u32, [width, height]: [u32; 2], colour: [u8; 3]) {
    fs::create_dir_all(folder.join(name)).expect("made");
    for i in 0..count {
        let noise = |x: u32, y: u32| ((x * 7 + y * 13 + i * 5) % 23) as u8;
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(colour.map(|c| c - noise(x, y))));
        picture.save(folder.join(name).join(format!("{i}.png"))).expect("saved");
    }
}

#[test]
fn a_new_model_suits_its_photographs_and_trains() {
    let place = Place::new();
    let photos = place.path("my \"photos\"");
    for (name, size, colour) in [("rose", [60, 40], [250, 40, 40]), ("tulip", [66, 44], [40, 250, 40])] {
        class(&photos, name, 12, size, colour);
    }
    class(&photos, "iris", 12, [60, 40], [40, 40, 250]);
    let said = place.good(&["new", "flowers", "--data", "my \"photos\""]);
    let text = fs::read_to_string(place.path("flowers/flowers.nin")).expect("written");
    for words in [
        "network flowers(width = 32, classes = 3)",
        "input image: [3, 32, 32]",
        "folder(\"../my \\\"photos\\\"\", resize = \"crop\")",
        "random_resized_crop",
        "flip",
        "batch     = 4",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // 30 training pictures are too few to cut a part off; the classes are alike.
    assert!(!text.contains("valid") && !text.contains("balance"), "{text}");
    assert_eq!(place.good(&["check", "flowers/flowers.nin"]), "");
    assert_eq!(place.good(&["fmt", "--check", "flowers/flowers.nin"]), "");
    let commands: Vec<&str> = said.lines().filter(|line| line.starts_with("  ninc ")).collect();
    assert_eq!(
        commands,
        [
            "  ninc train flowers/flowers.nin --out flowers/out",
            "  ninc eval flowers/flowers.nin --report flowers/report.html"
        ]
    );
    let train: Vec<&str> = commands[0].split_whitespace().skip(1).collect();
    place.good(&[&train[..], &["--steps", "2", "--set", "width=4"]].concat());
    let eval: Vec<&str> = commands[1].split_whitespace().skip(1).collect();
    place.good(&[&eval[..], &["--set", "width=4"]].concat());
    assert!(place.path("flowers/report.html").exists());
    // What is there stays.
    fs::write(place.path("flowers/flowers.nin"), "mine").expect("written");
    place.bad(2, &["new", "flowers", "--data", "my \"photos\""], "is there already");
    assert_eq!(fs::read_to_string(place.path("flowers/flowers.nin")).expect("there"), "mine");
}

#[test]
fn new_models_of_other_folders() {
    let place = Place::new();
    let text = |dir: &str, file: &str, data: &str| {
        place.good(&["new", dir, "--data", data]);
        assert_eq!(
            place.good(&["check", file, "--data", data]).lines().next().map(|l| l.starts_with("data: ")),
            Some(true)
        );
        fs::read_to_string(place.path(file)).expect("written")
    };
    // Small grey pictures of one size, the parts given, one class rare.
    for (part, counts) in [("train", [40, 4]), ("val", [3, 3]), ("test", [3, 3])] {
        for (name, count) in ["2", "10"].iter().zip(counts) {
            class(&place.path("letters").join(part), name, count, [20, 28], [200, 200, 200]);
        }
    }
    let letters = text("2024 letters", "2024 letters/net_2024_letters.nin", "letters");
    for words in ["input image: [1, 28, 20]", "shift(2), rotate(8)", "4 to 40 pictures", "balance", "classes = 2"] {
        assert!(letters.contains(words), "{words}: {letters}");
    }
    assert!(!letters.contains("valid") && !letters.contains("flip") && !letters.contains("resize"), "{letters}");
    // Many pictures: a part is cut off for validation. Tiny ones need no pool.
    class(&place.path("many"), "a", 60, [6, 6], [250, 40, 40]);
    class(&place.path("many"), "b", 60, [6, 6], [40, 40, 250]);
    let many = text("a/b/many", "a/b/many/many.nin", "many");
    for words in ["input image: [3, 6, 6]", "valid = 0.1", "folder(\"../../../many\")"] {
        assert!(many.contains(words), "{words}: {many}");
    }
    assert!(!many.contains("max_pool"), "{many}");
    // What cannot be learned is refused, and nothing is written.
    class(&place.path("odd/train"), "a", 3, [6, 6], [250, 40, 40]);
    class(&place.path("odd/test"), "a", 3, [6, 6], [250, 40, 40]);
    class(&place.path("odd/test"), "b", 3, [6, 6], [250, 40, 40]);
    place.bad_or_said(1, &["new", "odd-model", "--data", "odd"], "b");
    place.bad(1, &["new", "odd-model", "--data", "missing"], "missing");
    fs::write(place.path("many/a/7.png"), "nothing").expect("written");
    place.bad_or_said(1, &["new", "odd-model", "--data", "many"], "7.png");
    assert!(!place.path("odd-model").exists());
    place.bad(2, &["new", "/", "--data", "many"], "gives the network no name");
}

/// The sheets of an evaluation's page are those that `run --maps` draws of the same pictures.
#[test]
fn an_evaluation_shows_where_classes_are_seen() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--epochs", "2"]);
    place.good(&["eval", "tiny.nin", "--report", "r.html"]);
    let page = fs::read_to_string(place.path("r.html")).expect("written");
    let sheets: Vec<&str> = page.split("<figure class=\"sheet\">").skip(1).collect();
    let mistakes =
        page.matches("class=\"sheet\"").count() - sheets.iter().take_while(|s| !s.contains("taken for")).count();
    assert!(sheets.len() > 15 && mistakes == 12, "{} sheets, {mistakes} mistakes", sheets.len());
    // The first right answer: a digit of the test part, named by its number among all digits.
    let text = sheets[0].split("alt=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a text");
    let row: usize = text.split("image ").nth(1).and_then(|r| r.split(' ').next()?.parse().ok()).expect("a number");
    let test = digits::load().expect("embedded").test;
    let item = test.rows.iter().position(|&r| r as usize == row).expect("of the test part");
    assert!(text.starts_with(&format!("{} (", test.label(item))), "{text}");
    let mut digit = [0.0; 64];
    test.copy(item, &mut digit).expect("in memory");
    let pixel = |x: u32, y: u32| image::Luma([digit[(y * 8 + x) as usize] as u8]);
    image::GrayImage::from_fn(8, 8, pixel).save(place.path("d.png")).expect("saved");
    place.good(&["run", "tiny.nin", "d.png", "--maps", "m.png", "--top", "1"]);
    let there = image::open(place.path("m.png")).expect("a picture").into_rgb8();
    let url = sheets[0].split("base64,").nth(1).and_then(|rest| rest.split('"').next()).expect("a picture");
    let shown = image::load_from_memory(&decoded(url)).expect("a picture").into_rgb8();
    assert_eq!(shown.dimensions(), there.dimensions());
    // The picture and its map; the words below them differ.
    for (x, y) in (0..2 * 168).flat_map(|x| (0..160).map(move |y| (8 + x, 8 + y))) {
        // One image and a batch may be computed in other ways, whose last bits differ.
        let pairs = shown.get_pixel(x, y).0.into_iter().zip(there.get_pixel(x, y).0);
        assert!(pairs.into_iter().all(|(a, b)| a.abs_diff(b) <= 1), "{x}, {y}");
    }
    // A network without maps of its classes has a page all the same.
    let flat = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let flat = flat.replace("|> global_avg_pool", "|> flatten |> linear(features = 10)");
    fs::write(place.path("tiny.nin"), flat).expect("written");
    place.good(&["train", "tiny.nin", "--steps", "3", "--out", "flat"]);
    place.good(&["eval", "tiny.nin", "--weights", "flat/tiny.safetensors", "--report", "f.html"]);
    assert!(!fs::read_to_string(place.path("f.html")).expect("written").contains("class=\"sheet\""));
}

/// Bytes from base64 (RFC 4648).
fn decoded(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bytes, mut word, mut bits) = (vec![], 0u32, 0);
    for c in text.bytes().filter(|&c| c != b'=') {
        (word, bits) = (word << 6 | u32::from(digit(c)), bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    bytes
}
