//! Golden tests: one file is one test. Its first lines are the question that it answers, if it asks one, and the
//! command; then comes the input, then the text expected of each stage behind a line `==== STAGE`.
//!
//! ```text
//! // ninc build --emit graph,opt:fuse [--train] [--dump NAME,…]      a model
//! // graph --emit opt:cse                                            a graph's text: one pass over it
//! // kernels --emit clif [--only NAME]                               a text of kernels: what a back end makes of it,
//! or //                                                                 of one function of it
//! network … { … }
//! ==== graph
//! …
//! ```
//!
//! `NINC_BLESS=1` writes what comes out into the files: look at the difference before you commit it. Code is for one
//! fixed target ([`target`]), so that the texts are the same on every machine.

use ninc::back::{cranelift, opencl};
use ninc::graph::{self, verify};
use ninc::kernel;
use ninc::lower::target::Target;
use ninc::passes;
use ninc::pipeline::{self, Emit, Options, Stage};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Goldens that there are at least.
const LEAST: usize = 75;
/// Lines that a person reads; a text for OpenCL devices begins with a page of definitions.
const LINES: usize = 60;
const OPENCL_LINES: usize = 150;
const OPENCL_FILES: usize = 5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Without fused multiply-add, which any machine can show and run.
fn target() -> Target {
    Target::portable(false)
}

/// What the input of a file is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Model { training: bool },
    Graph,
    Kernels,
}

struct Golden {
    /// The question and the command, as they are in the file.
    head: String,
    input: Input,
    emit: Vec<Emit>,
    dumps: Vec<String>,
    /// The one function that is shown.
    only: Option<String>,
    source: String,
    /// Stage and text.
    expected: Vec<(String, String)>,
}

/// A file's parts, or what is wrong with it.
fn parse(text: &str) -> Result<Golden, String> {
    let mut parts = text.split("==== ");
    let first = parts.next().unwrap_or_default();
    let split = |part: &str| {
        let (stage, text) = part.split_once('\n').unwrap_or((part, ""));
        (stage.trim().to_string(), text.to_string())
    };
    let expected = parts.map(split).collect();
    let command = first.lines().take_while(|line| line.starts_with("// ")).find(|line| line.contains(" --emit "));
    let command = command.ok_or("the head has no command with `--emit STAGE`")?;
    let end = first.find(command).map_or(0, |at| at + command.len());
    let (head, source) = first.split_at(end);
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let (input, options) = match words.as_slice() {
        ["ninc", "build", options @ ..] => (Input::Model { training: options.contains(&"--train") }, options),
        ["graph", options @ ..] => (Input::Graph, options),
        ["kernels", options @ ..] => (Input::Kernels, options),
        _ => return Err(format!("unknown command `{command}`")),
    };
    let (mut emit, mut dumps, mut only) = (vec![], vec![], None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut list = || options.next().map_or(vec![], |list| list.split(',').collect::<Vec<_>>());
        match *option {
            "--train" if input != Input::Graph && input != Input::Kernels => {}
            "--emit" => {
                emit = list().iter().map(|i| i.parse::<Emit>().map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
            }
            "--dump" => dumps = list().iter().map(|name| name.to_string()).collect(),
            "--only" if input == Input::Kernels => only = options.next().map(|name| name.to_string()),
            _ => return Err(format!("unknown option `{option}`")),
        }
    }
    let source = source.trim_start_matches('\n').into();
    Ok(Golden { head: head.into(), input, emit, dumps, only, source, expected })
}

/// What the compiler shows today.
fn produce(golden: &Golden) -> Result<Vec<(String, String)>, String> {
    let text: Box<dyn Fn(&Emit) -> Result<String, String>> = match golden.input {
        Input::Model { training } => model(golden, training)?,
        Input::Graph => Box::new(|emit| pass(&golden.source, emit)),
        Input::Kernels => Box::new(|emit| kernels(golden, emit.stage)),
    };
    let section = |emit: &Emit| Ok((emit.to_string(), format!("{}\n", text(emit)?.trim_end())));
    golden.emit.iter().map(section).collect()
}

/// The texts of stages of a model's compilation.
fn model(golden: &Golden, training: bool) -> Result<Box<dyn Fn(&Emit) -> Result<String, String>>, String> {
    let (model, diagnostics) = ninc::front::load(&golden.source, "golden", &[]);
    let model = model.ok_or_else(|| format!("the model does not compile: {diagnostics:#?}"))?;
    let (emit, dumps) = (golden.emit.clone(), golden.dumps.clone());
    let options = Options { emit, dumps, target: Some(target()), ..Options::default() };
    let compile = if training { pipeline::training } else { pipeline::inference };
    let dumps = compile(&model, &options).map_err(|e| e.to_string())?.dumps;
    Ok(Box::new(move |emit| {
        let dump = dumps.iter().find(|d| d.what == *emit).ok_or_else(|| format!("nothing shows stage `{emit}`"))?;
        Ok(dump.text.clone())
    }))
}

/// A graph after one pass.
fn pass(source: &str, emit: &Emit) -> Result<String, String> {
    let mut graph = graph::text::parse(source).map_err(|e| e.to_string())?;
    let all = [passes::INFERENCE, passes::AFTER_TRAINING].concat();
    let pass = all.into_iter().find(|p| emit.stage == Stage::Opt && Some(p.name) == emit.pass.as_deref());
    (pass.ok_or("of a graph `opt:PASS` can be shown")?.run)(&mut graph).map_err(|e| e.to_string())?;
    verify::check(&graph).map_err(|e| e.to_string())?;
    Ok(graph::text::print(&graph))
}

/// What a back end makes of kernels.
fn kernels(golden: &Golden, stage: Stage) -> Result<String, String> {
    let module = kernel::text::parse(&golden.source).map_err(|e| e.to_string())?;
    let module = kernel::verify::verify(module).map_err(|errors| errors.to_string())?;
    let text = match stage {
        Stage::Clif => cranelift::clif(&module, &target()).map_err(|e| e.to_string())?,
        Stage::OpenCl => opencl::emit(&module).map_err(|e| e.to_string())?.text,
        _ => return Err("of kernels `clif` and `opencl` can be shown".into()),
    };
    let Some(only) = &golden.only else { return Ok(text) };
    // Functions of CLIF begin with a comment that ends with their name.
    let mut functions = text.split("\n; ").map(|f| f.trim_start_matches("; "));
    let found = functions.find(|f| f.lines().next().is_some_and(|l| l.ends_with(&format!(" {only}"))));
    found.map(|f| format!("; {f}")).ok_or_else(|| format!("there is no function `{only}`"))
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
        let text = format!("{}\n{}{sections}", golden.head, golden.source);
        return fs::write(path, text).map_err(|e| e.to_string());
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
        let result = if name.ends_with(".golden") { run(path, bless) } else { Err("is not a golden".into()) };
        if let Err(message) = result {
            failures.push(format!("{name}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} goldens:\n{}", failures.len(), files.len(), failures.join("\n"));
    assert!(files.len() >= LEAST, "only {} goldens are left of {LEAST}", files.len());
}

/// Every stage that exists is shown by some golden, and each golden is short enough to be read.
#[test]
fn every_stage_has_goldens_for_people() {
    let mut seen: Vec<Stage> = Vec::new();
    for (name, path) in files() {
        let text = fs::read_to_string(path).expect("a readable golden");
        let golden = parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let opencl = golden.emit.iter().any(|e| e.stage == Stage::OpenCl);
        let question = text.lines().next().is_some_and(|line| line.ends_with('?'));
        assert!(question || !opencl, "{name} asks no question in its first line");
        let (lines, most) = (text.lines().count(), if opencl { OPENCL_LINES } else { LINES });
        assert!(golden.expected.iter().all(|(_, text)| !text.trim().is_empty()), "{name} shows nothing");
        assert!(lines <= most, "{name} has {lines} lines, at most {most} are read: take a smaller input");
        seen.extend(golden.emit.iter().map(|e| e.stage));
    }
    for stage in [Stage::Graph, Stage::Grad, Stage::Opt, Stage::Kernel, Stage::Plan, Stage::Clif, Stage::OpenCl] {
        assert!(seen.contains(&stage), "no golden shows {stage:?}");
    }
    let opencl = seen.iter().filter(|stage| **stage == Stage::OpenCl).count();
    assert!(opencl <= OPENCL_FILES, "{opencl} goldens hold OpenCL C: nobody reads more than {OPENCL_FILES}");
}

/// The bound that fusion has to keep: three blocks, two poolings, global pooling, softmax. With a target of its own,
/// because weights that no cache holds would take other launches.
#[test]
fn cifar10_needs_at_most_seven_launches() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10.nin");
    let (model, diagnostics) = ninc::front::load(&fs::read_to_string(path).expect("the model"), "cifar10.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let options = Options { target: Some(target()), ..Options::default() };
    let program = pipeline::inference(&model, &options).expect("it compiles");
    assert!(program.report.launches <= 7, "{} launches", program.report.launches);
}
