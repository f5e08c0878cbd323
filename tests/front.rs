//! The front end on whole files: models, diagnostics, mutations, the reference's examples.

// In a test a panic is the report.
#![allow(clippy::unwrap_used)]

use ninc::front;
use ninc_runtime::spec::{Augment, Optimizer, Schedule};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files with this ending in a folder, in order, with their texts.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn models_are_right() {
    let models = files("models", "nin");
    assert!(models.len() >= 9, "only {} models", models.len());
    for (path, text) in models {
        let (model, diagnostics) = front::load(&text, &name(&path), &[]);
        assert!(diagnostics.is_empty(), "\n{}", front::diag::render(&diagnostics, &text, &name(&path), false));
        let model = model.unwrap();
        assert!(model.data.is_some() && model.train.is_some(), "{}", name(&path));
    }
}

/// `// --set name=value` in a file's first line stands for the command line.
fn set_of(text: &str) -> Vec<(String, String)> {
    let first = text.lines().next().unwrap_or("");
    let pair = first.strip_prefix("// --set ").and_then(|rest| rest.split_once('='));
    pair.map(|(name, value)| (name.to_string(), value.to_string())).into_iter().collect()
}

/// Every file of the corpus against its expected rendering. `NINC_BLESS=1` writes what is missing or different.
#[test]
fn diagnostics_corpus() {
    let bless = std::env::var("NINC_BLESS").is_ok_and(|v| v == "1");
    let inputs = files("tests/diagnostics", "nin");
    assert!(inputs.len() >= 80, "only {} files", inputs.len());
    let mut wrong = Vec::new();
    let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for (path, text) in &inputs {
        let (model, diagnostics) = front::load(text, &name(path), &set_of(text));
        assert!(!diagnostics.is_empty(), "{}: nothing is said", name(path));
        assert_eq!(model.is_none(), front::diag::has_errors(&diagnostics), "{}", name(path));
        for code in diagnostics.iter().map(|d| d.code).collect::<std::collections::HashSet<_>>() {
            *seen.entry(code).or_default() += 1;
        }
        let rendered = front::diag::render(&diagnostics, text, &name(path), false);
        let expected_path = path.with_extension("txt");
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if rendered != expected {
            if bless {
                std::fs::write(&expected_path, rendered).unwrap();
            } else {
                wrong.push(format!("--- {}: expected\n{expected}--- got\n{rendered}", name(path)));
            }
        }
    }
    for (path, _) in files("tests/diagnostics", "txt") {
        assert!(path.with_extension("nin").exists(), "{} belongs to no input", name(&path));
    }
    assert!(wrong.is_empty(), "{}\n{} differ; NINC_BLESS=1 rewrites them", wrong.join("\n"), wrong.len());
    for (code, _) in front::codes::ALL {
        let count = seen.get(code).copied().unwrap_or(0);
        assert!(count >= 2, "the code {code} is in {count} files of the corpus");
    }
    for code in seen.keys() {
        assert!(front::codes::ALL.iter().any(|(c, _)| c == code), "the code {code} is in no list");
    }
}

/// Spans lie in the text, JSON agrees with them, and colour adds nothing but colour.
#[test]
fn renderings_agree() {
    for (path, text) in files("tests/diagnostics", "nin") {
        let (_, diagnostics) = front::load(&text, &name(&path), &set_of(&text));
        let json = front::diag::to_json(&diagnostics, &text, &name(&path));
        for (d, object) in diagnostics.iter().zip(json.as_array().unwrap()) {
            assert!(d.span.start <= d.span.end && d.span.end <= text.len(), "{}: {d:?}", name(&path));
            assert!(text.is_char_boundary(d.span.start) && text.is_char_boundary(d.span.end), "{}", name(&path));
            let line = text[..d.span.start].matches('\n').count() + 1;
            assert_eq!(object["span"]["line"], line, "{}", name(&path));
            assert_eq!(object["code"], d.code);
        }
        let plain = front::diag::render(&diagnostics, &text, "f", false);
        let mut colored = front::diag::render(&diagnostics, &text, "f", true);
        assert_ne!(plain, colored);
        while let Some(start) = colored.find('\u{1b}') {
            let end = colored[start..].find('m').unwrap() + start + 1;
            colored.replace_range(start..end, "");
        }
        assert_eq!(plain, colored, "{}", name(&path));
    }
}

/// The syntax tree without places: what the formatter must keep.
fn tree(text: &str) -> Option<String> {
    let (items, diagnostics) = front::syntax_tree(text);
    if front::diag::has_errors(&diagnostics) {
        return None;
    }
    let mut shown = format!("{items:?}");
    while let Some(start) = shown.find("Span {") {
        let end = shown[start..].find('}').unwrap() + start + 1;
        shown.replace_range(start..end, "_");
    }
    Some(shown)
}

fn comments(text: &str) -> Vec<&str> {
    let from = |line: &str| line.find("//").filter(|i| line[..*i].matches('"').count() % 2 == 0);
    text.lines().filter_map(|line| from(line).map(|i| line[i..].trim_end())).collect()
}

fn check_format(label: &str, text: &str) -> Option<String> {
    let before = tree(text)?;
    let once = front::format(text).unwrap_or_else(|d| panic!("{label}: {d:?}"));
    assert_eq!(Some(before), tree(&once), "{label}: the tree changed\n{once}");
    assert_eq!(comments(text), comments(&once), "{label}: comments changed\n{once}");
    let twice = front::format(&once).unwrap();
    assert_eq!(once, twice, "{label}: not idempotent");
    Some(once)
}

#[test]
fn format_keeps_everything() {
    for (path, text) in files("models", "nin") {
        let once = check_format(&name(&path), &text).expect("models parse");
        if std::env::var("NINC_BLESS").is_ok_and(|v| v == "1") {
            std::fs::write(&path, &once).unwrap();
            continue;
        }
        assert_eq!(once, text, "{} is not formatted", name(&path));
        // One long line, and every token on a line of its own, must come out as one layout each; comments end lines.
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(check_format(&name(&path), &crlf).unwrap(), text);
        let bare: String = text.lines().map(|l| l.split("//").next().unwrap()).collect::<Vec<_>>().join(" ");
        check_format(&format!("{} on one line", name(&path)), &bare).expect("parses without line breaks");
        let words = bare.split_whitespace().collect::<Vec<_>>().join("\n");
        check_format(&format!("{} word by word", name(&path)), &words).expect("parses word by word");
        let noted = bare.split_whitespace().collect::<Vec<_>>().join(" // note\n");
        check_format(&format!("{} with comments", name(&path)), &noted).expect("parses with comments everywhere");
    }
    let formatted = files("tests/diagnostics", "nin")
        .iter()
        .filter_map(|(path, text)| check_format(&name(path), text).map(|_| ()))
        .count();
    assert!(formatted >= 80, "only {formatted} files of the corpus parse");
}

/// The tokens of a text, roughly: what a slip of the hand deletes, repeats or swaps.
fn pieces(text: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if word(bytes[i]) {
            while i < bytes.len() && word(bytes[i]) {
                i += 1;
            }
        } else {
            i += 1;
            while !text.is_char_boundary(i) {
                i += 1;
            }
        }
        if !text[start..i].trim().is_empty() {
            out.push((start, i));
        }
    }
    out
}

/// Loads and formats a mutant; nothing may panic, and a refusal says why.
fn survive(text: &str) {
    let (model, diagnostics) = front::load(text, "mutant.nin", &[]);
    assert_eq!(model.is_none(), front::diag::has_errors(&diagnostics), "{text}");
    for d in &diagnostics {
        assert!(!d.message.contains("internal") && !d.message.is_empty(), "{d:?}");
    }
    if !diagnostics.is_empty() {
        assert!(!front::diag::render(&diagnostics, text, "mutant.nin", false).is_empty());
    }
    check_format("mutant", text);
}

#[test]
fn mutants_are_refused_or_right() {
    let mut count = 0;
    for (path, text) in files("models", "nin") {
        let pieces = pieces(&text);
        // Every third token in the larger files keeps the test short; the small ones are done whole.
        let step = if pieces.len() > 250 { 3 } else { 1 };
        for i in (0..pieces.len().saturating_sub(1)).step_by(step) {
            let (start, end) = pieces[i];
            let (next, last) = pieces[i + 1];
            let deleted = format!("{}{}", &text[..start], &text[end..]);
            let doubled = format!("{} {}", &text[..end], &text[start..]);
            let swapped = format!(
                "{}{}{}{}{}",
                &text[..start],
                &text[next..last],
                &text[end..next],
                &text[start..end],
                &text[last..]
            );
            for mutant in [deleted, doubled, swapped] {
                survive(&mutant);
                count += 1;
            }
        }
        assert!(pieces.len() > 50, "{}", name(&path));
    }
    assert!(count >= 2000, "only {count} mutants");
}

#[test]
fn bombs_are_refused_quickly() {
    let network = |body: &str| format!("network bomb {{ input x: [3, 8, 8]\n{body}\n}}");
    let many = "    x |> rellu\n".repeat(60_000);
    let bombs = [
        "(".repeat(1_000_000),
        "network a { let b = ".to_string() + &"[".repeat(500_000),
        network(&format!("let a = {}1\nx |> relu", "-".repeat(900_000))),
        network(&format!("let a = 1{}\nx |> relu", " + 1".repeat(200_000))),
        network(&format!("x {}", "|> relu ".repeat(100_000))),
        network(&many),
        network(&format!("let a = [{}]\nx |> relu", "1,".repeat(100_000))),
        "\0".repeat(1_000_000),
        "//\n".repeat(300_000),
        "\"".repeat(1_000_000),
        "}".repeat(1_000_000),
        "network ".repeat(100_000),
        "network a { }\n".repeat(60_000),
        "data { source = digits }\n".repeat(40_000),
        "x".repeat(10 << 20),
        network("repeat 10000 { repeat 10000 { repeat 10000 { } } }\nx |> relu"),
        network("let a = 1\nrepeat 10000 { repeat 10000 { let a = a * 2 % 1000003 } }\nx |> relu"),
        "\u{202e}".repeat(300_000),
        "é".repeat(400_000),
    ];
    for (i, bomb) in bombs.iter().enumerate() {
        let (model, diagnostics) = front::load(bomb, "bomb.nin", &[]);
        // Long chains of operators are odd, but right.
        let right = matches!(i, 2 | 3);
        assert_eq!(model.is_some(), right, "bomb {i}");
        assert_eq!(front::diag::has_errors(&diagnostics), !right, "bomb {i}");
        let _ = front::format(bomb);
    }
}

/// An argument that a parameter takes.
fn argument(kind: ninc::ops::params::Kind) -> String {
    use ninc::ops::params::Kind;
    match kind {
        Kind::Int(low, high) => 1i64.clamp(low, high).to_string(),
        // A kernel of 2, that a padding of 1 fits.
        Kind::Pair(low, _) => (low + 1).to_string(),
        Kind::Ints(low, high) => format!("[{}]", 144i64.clamp(low, high)),
        Kind::Float(bounds) if bounds.contains(0.5) => "0.5".to_string(),
        Kind::Float(bounds) => format!("{:?}", bounds.low),
        Kind::Bool => "true".to_string(),
        Kind::Word(words) => words[0].to_string(),
        Kind::Floats(_) | Kind::Text => panic!("no layer has lists of numbers or strings"),
    }
}

/// Every layer can be called with its required arguments and built from all of them: what its code reads, it declares.
#[test]
fn every_layer_reads_parameters_that_it_has() {
    use ninc::ops::params::{Fallback, ParamSpec};
    for schema in ninc::ops::schemas() {
        let required: Vec<&ParamSpec> = schema.params.iter().filter(|p| p.default == Fallback::Required).collect();
        for (params, all) in [(required, false), (schema.params.iter().collect(), true)] {
            let mut names: Vec<&str> = params.iter().map(|p| p.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), params.len(), "a name of `{}` is there twice", schema.name);
            let arguments: Vec<String> = params.iter().map(|p| format!("{} = {}", p.name, argument(p.kind))).collect();
            let others = if schema.operands.0 == 2 { "x, x, " } else { "x, " };
            let built = ["[4, 6, 6]", "[144]"].iter().any(|shape| {
                let call = format!("{}({others}{})", schema.name, arguments.join(", "));
                let text = format!("network n {{\n    input x: {shape}\n    output y = {call}\n}}\n");
                front::load(&text, "n.nin", &[]).0.is_some()
            });
            // With the required ones alone some have nothing to do: `pad()`.
            assert!(built || !all, "`{}` with {arguments:?}", schema.name);
        }
    }
}

/// A part of the reference that is made from the code, between two marks.
fn part<'a>(page: &'a str, name: &str) -> (usize, usize, &'a str) {
    let begin = format!("<!-- {name}: written by the tests (NINC_BLESS=1) -->\n");
    let start = page.find(&begin).unwrap_or_else(|| panic!("no mark for {name}")) + begin.len();
    let end = page.find(&format!("<!-- end of {name} -->")).unwrap();
    (start, end, &page[start..end])
}

fn layers_table() -> String {
    use ninc::ops::params::{Fallback, Kind, ParamSpec};
    let mut out = String::from("| layer | values | arguments | |\n|---|---|---|---|\n");
    for schema in ninc::ops::schemas() {
        let one = |p: &ParamSpec| {
            let kind = match p.kind {
                Kind::Ints(..) => ": list",
                Kind::Word(_) => ": word",
                _ => "",
            };
            let default = match p.default {
                Fallback::Required => String::new(),
                default => format!(" = {default}"),
            };
            format!("`{}{kind}{default}`", p.name)
        };
        let arguments: Vec<String> = schema.params.iter().map(one).collect();
        let (least, most) = schema.operands;
        let values = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let weights = if schema.weights { " (weights)" } else { "" };
        let doc = schema.doc.replace('|', "\\|");
        out.push_str(&format!("| `{}`{weights} | {values} | {} | {doc} |\n", schema.name, arguments.join(", ")));
    }
    out
}

fn codes_table() -> String {
    let mut out = String::from("| code | meaning |\n|---|---|\n");
    for (code, meaning) in front::codes::ALL {
        out.push_str(&format!("| `{code}` | {meaning} |\n"));
    }
    out
}

/// Examples compile or are refused as they say, in the formatter's layout; the tables are those of the code.
#[test]
fn reference_is_true() {
    let path = root().join("grammar/README.md");
    let mut page = std::fs::read_to_string(&path).unwrap();
    let bless = std::env::var("NINC_BLESS").is_ok_and(|v| v == "1");
    for (name, table) in [("layers", layers_table()), ("codes", codes_table())] {
        let (start, end, found) = part(&page, name);
        if found != table {
            assert!(bless, "the table of {name} is not that of the code; NINC_BLESS=1 writes it");
            page.replace_range(start..end, &table);
            std::fs::write(&path, &page).unwrap();
        }
    }
    let mut counts = [0, 0];
    let mut problems = Vec::new();
    let mut layout = page.clone();
    for (i, piece) in page.split("```").enumerate().filter(|(i, _)| i % 2 == 1) {
        let (head, text) = piece.split_once('\n').unwrap();
        let wrong = match head {
            "nin" => false,
            "nin,error" => true,
            other => panic!("an example marked `{other}`"),
        };
        counts[usize::from(wrong)] += 1;
        let (model, diagnostics) = front::load(text, "example", &[]);
        if model.is_none() != wrong || diagnostics.is_empty() == wrong {
            let shown = front::diag::render(&diagnostics, text, "example", false);
            problems.push(format!("example {i}:\n{text}\n{shown}"));
        } else if let Some(formatted) = check_format("example", text).filter(|f| f != text) {
            if bless {
                layout = layout.replacen(text, &formatted, 1);
            } else {
                problems.push(format!("example {i} is not formatted:\n{formatted}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    if layout != page {
        std::fs::write(&path, &layout).unwrap();
    }
    assert!(counts[0] >= 12 && counts[1] >= 7, "{counts:?}");
}

/// `--set` reaches what the sections say: rate, decay, augmentation, a list in a schedule.
#[test]
fn sections_use_the_parameters_of_the_network() {
    let text = "network one(classes = 10, rate = 0.1, pixels = 2, drop = 3.0) {
    input image: [1, 8, 8]
    let rate2 = 5
    image |> dropout(rate2 / 10) |> flatten |> linear(classes) |> softmax
}
data { source = digits  augment = [shift(pixels)]  valid = 10 * classes }
train { optimizer = sgd(rate = rate / 2, decay = rate * 1e-3)  epochs = 4  schedule = steps(at = [drop, drop + 0.5]) }
";
    let load = |set: &[(&str, &str)]| {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (model, diagnostics) = ninc::front::load(text, "one.nin", &set);
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        let model = model.expect("right");
        let (data, train) = (model.data.expect("data"), model.train.expect("a recipe"));
        let Optimizer::Sgd { rate, decay, .. } = train.optimizer else { panic!("{:?}", train.optimizer) };
        let [Augment::Shift { pixels }] = data.augment[..] else { panic!("{:?}", data.augment) };
        let Schedule::Steps { at, .. } = train.schedule else { panic!("{:?}", train.schedule) };
        (rate, decay, pixels, data.valid, at)
    };
    assert_eq!(load(&[]), (0.05, 0.1 * 1e-3, 2, Some(100.0), vec![3.0, 3.5]));
    assert_eq!(
        load(&[("rate", "0.5"), ("pixels", "1"), ("drop", "2.0")]),
        (0.25, 5e-4, 1, Some(100.0), vec![2.0, 2.5])
    );
    // What the body names is not known there.
    let (_, diagnostics) = ninc::front::load(&text.replace("drop + 0.5", "rate2"), "one.nin", &[]);
    assert!(diagnostics.iter().any(|d| d.code == "unknown-name" && d.message.contains("rate2")), "{diagnostics:#?}");
}
