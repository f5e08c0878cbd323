//! What a machine can check of the architecture: layers, reachable files, the list of places with `unsafe`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("a source folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// All files and folders below a folder.
fn files_below(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, all);
        }
        all.push(path);
    }
}

fn sources(dirs: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for dir in dirs {
        rust_files(&root().join(dir), &mut files);
    }
    let name = |p: &Path| p.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
    files.iter().map(|p| (name(p), fs::read_to_string(p).expect("readable source"))).collect()
}

/// The rooms of `src` and the rooms that each may use, as the table of `ARCHITECTURE.md` says.
fn layers() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("the map of the code");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let room = |row: &str| {
        let (name, rest) = row.split_once("` |").expect("a room and what it holds");
        let (_, uses) = rest.rsplit_once("| ").expect("what it may use");
        let uses = uses.split(", ").map(|used| used.trim_end_matches(" (their error)").to_string());
        (name.trim_end_matches(".rs").trim_end_matches('/').to_string(), uses.filter(|used| used != "–").collect())
    };
    rows.map(room).filter(|(name, _): &(String, Vec<String>)| !name.starts_with("../")).collect()
}

/// The rooms that a line names: `crate::a::…`, `crate::{a, b}`, and `ninc::a::…` in the program.
fn rooms_named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let starts = ["crate::", "ninc::"].into_iter().flat_map(|start| line.split(start).skip(1));
    let named = starts.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or("").split(", ").map(word).collect(),
        None => vec![word(rest)],
    });
    named.collect()
}

/// `types` and `verified` are for all; `graph` and `ops` form the one allowed knot.
#[test]
fn rooms_use_the_rooms_that_their_row_names() {
    let layers = layers();
    let known = |name: &str| layers.iter().any(|(room, _)| room == name);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in sources(&["src"]) {
        let room = file.trim_start_matches("src/").split(['/', '.']).next().expect("a first part").to_string();
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        if !known(&room) {
            wrong.push(format!("{file}: room `{room}` has no row in ARCHITECTURE.md"));
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in rooms_named(line).into_iter().filter(|used| *used != room && known(used)) {
                let free = ["types", "verified"].contains(&used.as_str());
                if !free && !layers.iter().any(|(name, uses)| *name == room && uses.contains(&used)) {
                    wrong.push(format!("{file}:{}: `{room}` uses `{used}`", number + 1));
                }
                seen.insert((room.clone(), used));
            }
        }
    }
    for (room, uses) in layers {
        let unused = uses.into_iter().filter(|used| !seen.contains(&(room.clone(), used.clone())));
        wrong.extend(unused.map(|used| format!("the row of `{room}` names `{used}`, which it does not use")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_the_map_names_exist() {
    let text = fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("the map of the code");
    let mut all = vec![root().join("runtime")];
    for base in ["src", "runtime", "tests", "grammar"] {
        files_below(&root().join(base), &mut all);
    }
    let all: Vec<String> = all.iter().map(|path| format!("/{}", path.to_string_lossy())).collect();
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let file = |name: &&str| name.contains('/') || name.ends_with(".rs");
    let names = text.split('`').skip(1).step_by(2).filter(plain).filter(file).filter(|name| !name.contains("NAME"));
    let names: Vec<&str> = names.map(|name| name.trim_start_matches("../").trim_end_matches('/')).collect();
    let there = |name: &&str| all.iter().any(|path| path.ends_with(&format!("/{name}")));
    let missing: Vec<&str> = names.iter().copied().filter(|name| !there(name)).collect();
    assert!(names.len() > 100 && missing.is_empty(), "of {} files these do not exist: {missing:?}", names.len());
}

/// The rooms of `recipes` and what each may use of them; files beside these rooms choose between processor and GPU, and
/// may use all.
const RECIPES: &[(&str, &[&str])] = &[("common", &[]), ("cpu", &["common"]), ("gpu", &["common"])];

/// The modules that a file climbs to by `super::super::…`, counted from its own.
fn climbs(line: &str) -> usize {
    let chains = line.match_indices("super::").map(|(at, _)| {
        let mut rest = &line[at..];
        let mut steps = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            (rest, steps) = (next, steps + 1);
        }
        steps
    });
    chains.max().unwrap_or(0)
}

#[test]
fn recipes_for_processors_and_gpus_share_only_what_is_common() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in sources(&["src/recipes"]) {
        let path = file.trim_start_matches("src/recipes/").trim_end_matches(".rs").trim_end_matches("/mod");
        let room = path.split('/').next().expect("a first part");
        let Some((room, allowed)) = RECIPES.iter().find(|(r, _)| *r == room) else { continue };
        seen.insert(*room);
        // `cpu/conv/rows` climbs to `cpu::conv` and `cpu`; one step more would leave the room.
        let depth = path.matches('/').count();
        for (number, line) in text.lines().enumerate() {
            let used = line.split("recipes::").skip(1).map(|used| used.split("::").next().unwrap_or(used));
            let free = |used: &str| used == *room || allowed.contains(&used);
            let outside = used.into_iter().any(|used| !free(used)) || climbs(line) > depth;
            // A test module inside a file is one step deeper.
            if outside && !line.contains("use super::*") {
                wrong.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_eq!(seen.len(), RECIPES.len(), "a room has no files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn petgraph_is_named_in_one_file() {
    let files: Vec<String> =
        sources(&["src"]).into_iter().filter(|(_, t)| t.contains("petgraph::")).map(|(f, _)| f).collect();
    assert_eq!(files, ["src/graph/ir.rs"]);
}

#[test]
fn every_source_file_is_reachable() {
    let parts = [
        ("src", vec!["src/lib.rs", "src/main.rs"]),
        ("runtime/src", vec!["runtime/src/lib.rs"]),
        ("runtime/python/src", vec!["runtime/python/src/lib.rs"]),
    ];
    for (base, start) in parts {
        let all = sources(&[base]);
        let mut open: Vec<String> = start.iter().map(|s| s.to_string()).collect();
        let mut seen = BTreeSet::new();
        while let Some(file) = open.pop() {
            let Some((_, text)) = all.iter().find(|(f, _)| *f == file) else { continue };
            if !seen.insert(file.clone()) {
                continue;
            }
            let stem = file.trim_end_matches(".rs");
            let top = ["lib", "main", "mod"].iter().any(|s| stem.ends_with(&format!("/{s}")));
            let dir = if top { stem.rsplit_once('/').expect("a folder").0 } else { stem };
            for line in text.lines() {
                let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
                let Some(name) = words.trim_start_matches("pub ").strip_prefix("mod ") else { continue };
                if let Some(name) = name.strip_suffix(';') {
                    open.push(format!("{dir}/{name}.rs"));
                    open.push(format!("{dir}/{name}/mod.rs"));
                }
            }
        }
        let unreachable: Vec<&String> = all.iter().map(|(f, _)| f).filter(|f| !seen.contains(*f)).collect();
        assert!(unreachable.is_empty(), "in no `mod`: {unreachable:?}");
    }
}

/// The places where `unsafe` may live, and why.
const UNSAFE: &[&str] = &[
    "src/back/cranelift/",           // the JIT's function pointers
    "runtime/src/buffer.rs",         // disjoint views of aligned memory
    "runtime/src/exec.rs",           // calls into compiled code
    "runtime/src/mpi/library.rs",    // calls of MPI
    "runtime/src/opencl/context.rs", // calls of OpenCL
    "runtime/opencl-loader/src/",    // OpenCL's functions, forwarded
    "runtime/src/threads.rs",        // sharing a run with the pool, pinning
    "runtime/src/tiles.rs",          // asking the system for tile registers
    "src/cli/signals.rs",            // asking whether a signal is ignored
    "src/kernel/interp/",            // the interpreter behind the same interface as compiled code
];

#[test]
fn unsafe_lives_in_named_places_and_says_why() {
    for (file, text) in sources(&["src", "runtime/src", "runtime/opencl-loader/src", "runtime/python/src"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !(code.contains("unsafe {") || code.contains("unsafe impl")) {
                continue;
            }
            assert!(UNSAFE.iter().any(|p| file.starts_with(p)), "{file}:{}: unsafe outside the named places", i + 1);
            let before = &lines[i.saturating_sub(8)..=i];
            assert!(before.iter().any(|l| l.contains("SAFETY:")), "{file}:{}: unsafe without a reason", i + 1);
        }
    }
}

#[test]
fn nothing_unfinished_and_no_preludes() {
    for (file, text) in sources(&["src", "runtime/src", "runtime/python/src"]) {
        for (number, line) in text.lines().enumerate() {
            for word in ["todo!(", "unimplemented!(", "prelude::*", "dbg!("] {
                // The macros that make a module of Python want their library's.
                if file.starts_with("runtime/python/") && line == "use pyo3::prelude::*;" {
                    continue;
                }
                assert!(!line.contains(word), "{file}:{}: {word}", number + 1);
            }
        }
    }
}

/// What a program made of another file, and nobody reads.
const GENERATED: &str = "src/io/onnx/proto.rs";

#[test]
fn files_stay_readable() {
    let mut lengths: Vec<usize> = Vec::new();
    for (file, text) in
        sources(&["src", "runtime/src", "runtime/python/src"]).into_iter().filter(|(file, _)| file != GENERATED)
    {
        let lines = text.lines().count();
        assert!(lines <= 400, "{file} has {lines} lines: split it");
        assert!(text.starts_with("//!"), "{file} does not say what it is for");
        lengths.push(lines);
    }
    lengths.sort();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 250, "the median file has {median} lines");
}

#[test]
fn lines_are_at_most_120_characters_wide() {
    // One instruction of the processor a row.
    let table = "src/back/x86/codes.rs";
    let mut wide = Vec::new();
    for (file, text) in sources(&["src", "runtime/src", "runtime/python/src", "tests"])
        .iter()
        .filter(|(file, _)| file != table && file != GENERATED)
    {
        // Model texts of one line in tests stay so.
        let model = |line: &str| file.starts_with("tests/") && (line.contains("|> ") || line.contains("train {"));
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 120 && !model(line));
        wide.extend(lines.map(|(number, _)| format!("{file}:{}", number + 1)));
    }
    assert!(wide.is_empty(), "wider than 120: {}", wide.join(", "));
}
