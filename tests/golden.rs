//! Golden tests: one file is one test. Its head says what to compile and which stages to show, then comes the model, then
//! the text expected of each stage behind a line `==== STAGE`.
//!
//! ```text
//! // mode: inference | training
//! // emit: graph, opt:fuse, plan
//! // dumps: NAME, …          (may be left out, as the next two)
//! // precision: bf16
//! // target: tensor           (a device whose items multiply matrices together; shows `opencl` of an inference)
//! network … { … }
//! ==== graph
//! …
//! ```
//!
//! `NINC_BLESS=1` writes what comes out into the files. Code of recipes is for a fixed target, so that the texts are the
//! same on every machine.

use ninc::front;
use ninc::lower::target::Target;
use ninc::pipeline::{self, Emit, Options, Stage};
use ninc::types::Format;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LEAST: usize = 80;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

struct Golden {
    training: bool,
    emit: Vec<Emit>,
    dumps: Vec<String>,
    precision: Option<Format>,
    tensor: bool,
    /// Head and model, as they are in the file.
    source: String,
    /// Stage and text.
    expected: Vec<(String, String)>,
}

/// A file's parts, or what is wrong with it.
fn parse(text: &str) -> Result<Golden, String> {
    let mut parts = text.split("==== ");
    let source = parts.next().unwrap_or_default().to_string();
    let split = |part: &str| {
        let (stage, text) = part.split_once('\n').unwrap_or((part, ""));
        (stage.trim().to_string(), text.to_string())
    };
    let mut golden = Golden {
        training: false,
        emit: vec![],
        dumps: vec![],
        precision: None,
        tensor: false,
        expected: parts.map(split).collect(),
        source: source.clone(),
    };
    let mut mode = None;
    for line in source.lines().map_while(|line| line.strip_prefix("// ")) {
        let (key, value) = line.split_once(": ").ok_or_else(|| format!("head line `{line}` is no `key: value`"))?;
        let items = value.split(',').map(|item| item.trim().to_string());
        match (key, value) {
            ("mode", "inference" | "training") => mode = Some(value == "training"),
            ("emit", _) => {
                golden.emit = items.map(|i| i.parse::<Emit>().map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
            }
            ("precision", name) => golden.precision = Format::ALL.into_iter().find(|format| format.name() == name),
            ("target", "tensor") => golden.tensor = true,
            ("dumps", _) => golden.dumps = items.collect(),
            _ => return Err(format!("unknown head line `{line}`")),
        }
    }
    golden.training = mode.ok_or("the head does not say `mode: …`")?;
    if golden.emit.is_empty() {
        return Err("the head does not say `emit: …`".into());
    }
    Ok(golden)
}

/// What the compiler shows today.
fn produce(golden: &Golden) -> Result<Vec<(String, String)>, String> {
    let (model, diagnostics) = front::load(&golden.source, "golden", &[]);
    let Some(model) = model else {
        return Err(format!("the model does not compile: {diagnostics:#?}"));
    };
    let options = Options {
        emit: golden.emit.clone(),
        dumps: golden.dumps.clone(),
        // Without fused multiply-add: any machine can show and run that.
        target: Some(Target::portable(false)),
        precision: golden.precision,
        ..Options::default()
    };
    if golden.tensor {
        let target = Target::gpu().with_gpu(|gpu| gpu.tensor = true);
        let options = Options { target: Some(target), ..options };
        let (_, source) = pipeline::opencl_inference(&model, &options).map_err(|e| e.to_string())?;
        return Ok(vec![("opencl".into(), format!("{}\n", source.text.trim_end()))]);
    }
    let compile = if golden.training { pipeline::training } else { pipeline::inference };
    let program = compile(&model, &options).map_err(|e| e.to_string())?;
    let shown = |emit: &Emit| {
        let dump = program.dumps.iter().find(|d| d.what == *emit);
        let dump = dump.ok_or_else(|| format!("nothing shows stage `{emit}`"))?;
        Ok((emit.to_string(), format!("{}\n", dump.text.trim_end())))
    };
    golden.emit.iter().map(shown).collect()
}

fn files() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of goldens");
    let paths = entries.map(|e| e.expect("an entry").path());
    paths.map(|p| (p.file_name().expect("a name").to_string_lossy().into_owned(), p)).collect()
}

/// The first line that differs, with its number.
fn difference(expected: &str, found: &str) -> String {
    let (mut left, mut right) = (expected.lines(), found.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (l, r) if l == r => {}
            (l, r) => {
                return format!(
                    "line {number}\n  expected: {}\n  found:    {}",
                    l.unwrap_or("(end)"),
                    r.unwrap_or("(end)")
                );
            }
        }
    }
    "the ends of lines".into()
}

fn run(path: &Path, bless: bool) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let golden = parse(&text)?;
    let found = produce(&golden)?;
    if bless {
        let sections: String = found.iter().map(|(stage, text)| format!("==== {stage}\n{text}")).collect();
        return fs::write(path, format!("{}{sections}", golden.source)).map_err(|e| e.to_string());
    }
    let stages = |all: &[(String, String)]| all.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>();
    if stages(&golden.expected) != stages(&found) {
        return Err(format!("has the sections {:?}, its head asks for {:?}", stages(&golden.expected), stages(&found)));
    }
    for ((stage, expected), (_, found)) in golden.expected.iter().zip(&found) {
        if expected != found {
            return Err(format!("stage {stage}: {}", difference(expected, found)));
        }
    }
    Ok(())
}

#[test]
fn goldens() {
    let bless = std::env::var("NINC_BLESS").is_ok_and(|v| v == "1");
    let mut failures = Vec::new();
    let files = files();
    for (name, path) in &files {
        let result = if name.ends_with(".golden") { run(path, bless) } else { Err("is no golden".into()) };
        if let Err(message) = result {
            failures.push(format!("{name}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} goldens:\n{}", failures.len(), files.len(), failures.join("\n"));
    assert!(files.len() >= LEAST, "only {} goldens are left of {LEAST}", files.len());
}

/// Every stage that exists is shown by some golden.
#[test]
fn every_stage_has_goldens() {
    let mut seen: Vec<Stage> = Vec::new();
    for path in files().values() {
        let text = fs::read_to_string(path).expect("a readable golden");
        seen.extend(parse(&text).expect("a golden").emit.iter().map(|e| e.stage));
    }
    for stage in [Stage::Graph, Stage::Grad, Stage::Opt, Stage::Kernel, Stage::Plan, Stage::Clif, Stage::OpenCl] {
        assert!(seen.contains(&stage), "no golden shows {stage:?}");
    }
}

/// The bound that fusion has to keep: three blocks, two poolings, global pooling, softmax.
#[test]
fn cifar10_needs_at_most_seven_launches() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10.nin");
    let (model, diagnostics) = front::load(&fs::read_to_string(path).expect("the model"), "cifar10.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let program = pipeline::inference(&model, &Options::default()).expect("it compiles");
    assert!(program.report.launches <= 7, "{} launches", program.report.launches);
}
