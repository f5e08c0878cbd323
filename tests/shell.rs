//! What the shell is told: completions, manual pages, `ninc help`.

use ninc::front::{self, codes, described};
use std::path::Path;
use std::process::{Command, Output};

fn ninc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ninc")).args(arguments).output().expect("ninc starts")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is proposed for the last word.
fn proposed(folder: &Path, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.current_dir(folder).env("NINC_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).args(["--", "ninc"]).args(words);
    said(&command.output().expect("ninc starts")).lines().map(String::from).collect()
}

#[test]
fn names_of_the_model_are_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "network n(width = 8, wings = 2) {
    input image: [1, 8, 8]

    image |> conv(channels = width, kernel = 3) as first |> repeat wings { cccp(channels = 8) } |> global_avg_pool
}
";
    std::fs::write(folder.path().join("net.nin"), text).expect("written");
    let at = |words: &[&str]| proposed(folder.path(), words);
    assert_eq!(at(&["run", "net.nin", "--set", ""]), ["width=", "wings="]);
    assert_eq!(at(&["run", "net.nin", "--set", "wid"]), ["width="]);
    assert_eq!(at(&["run", "net.nin", "--dump", "c"]), ["cccp1=", "cccp2="]);
    assert_eq!(at(&["run", "net.nin", "--maps-of", ""]), ["cccp1", "cccp2", "first"]);
    assert_eq!(at(&["train", "net.nin", "--freeze", "fi"]), ["first", "first.bias", "first.weight"]);
    assert_eq!(at(&["check", "ne"]), ["net.nin"]);
    assert_eq!(at(&["comp"]), ["compare", "completions"]);
    assert!(at(&["run", "net.nin", "--to"]).contains(&"--top".to_string()));
    // Without a model, or with one that cannot be read, nothing is proposed and nothing is said.
    assert_eq!(at(&["run", "--set", ""]), Vec::<String>::new());
    std::fs::write(folder.path().join("net.nin"), "network n(width = ").expect("written");
    at(&["run", "net.nin", "--dump", ""]);
}

#[test]
fn every_shell_gets_its_text() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = said(&ninc(&["completions", shell]));
        assert!(text.contains("NINC_COMPLETE") && !text.contains("target/"), "{shell}: {text}");
    }
    assert_eq!(ninc(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("man");
    said(&ninc(&["man", place.to_str().expect("a name")]));
    let page = |name: &str| std::fs::read_to_string(place.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let whole = page("ninc.1");
    for command in ["train", "lsp", "graph", "help"] {
        assert!(page(&format!("ninc-{command}.1")).contains(".SH SYNOPSIS"));
        assert!(whole.contains(command));
    }
}

#[test]
fn help_knows_commands_words_and_codes() {
    assert!(said(&ninc(&["help"])).contains("Usage: ninc"));
    assert!(said(&ninc(&["help", "train"])).contains("Usage: ninc train"));
    let layer = said(&ninc(&["help", "mlpconv"]));
    assert!(layer.contains("channels") && layer.contains("settings init"), "{layer}");
    // A layer and a preparation.
    let both = said(&ninc(&["help", "scale"]));
    assert!(both.contains("a layer: factor·x") && both.contains("a value of `prepare` in `data`"), "{both}");
    assert!(said(&ninc(&["help", "one_cycle"])).contains("a value of `schedule` in `train`"));
    assert!(said(&ninc(&["help", "shape"])).contains("nin,wrong"));
    let unknown = ninc(&["help", "unknown-nam"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `unknown-name`?"));
}

#[test]
fn everything_in_the_language_is_documented() {
    let mut functions = described::layers();
    for section in [front::ast::SectionKind::Data, front::ast::SectionKind::Train] {
        for key in described::keys(section) {
            assert!(key.doc.ends_with('.'), "{}: {}", key.name, key.doc);
            functions.extend(key.functions());
        }
    }
    functions.extend(described::settings().iter().flat_map(|key| key.functions()));
    assert!(functions.len() > 70, "{}", functions.len());
    for f in functions {
        assert!(f.doc.len() > 5, "{}", f.name);
        assert!(f.params.iter().all(|p| p.doc.len() > 5), "{}", f.name);
    }
}

/// The wrong example of each code has it, the right one has nothing wrong.
#[test]
fn codes_are_explained_by_examples() {
    for (code, _) in codes::ALL {
        let text = codes::explained(code).unwrap_or_else(|| panic!("{code} is not explained in front/codes.md"));
        let example = |start: &str| {
            let rest = text.split_once(start).unwrap_or_else(|| panic!("{code} has no {start}")).1;
            rest.split("```").next().expect("an example").to_string()
        };
        let set = |text: &str| -> Vec<(String, String)> {
            let pair = text.lines().next().and_then(|line| line.strip_prefix("// --set ")?.split_once('='));
            pair.map(|(name, value)| (name.into(), value.into())).into_iter().collect()
        };
        let (wrong, right) = (example("```nin,wrong\n"), example("```nin\n"));
        let diagnostics = front::load(&wrong, "wrong.nin", &set(&wrong)).1;
        assert!(diagnostics.iter().any(|d| d.code == *code), "{code}: {diagnostics:?}");
        assert!(diagnostics.iter().all(|d| d.code == *code), "{code}: {diagnostics:?}");
        let (model, diagnostics) = front::load(&right, "right.nin", &set(&right));
        assert!(model.is_some() && diagnostics.is_empty(), "{code}: {diagnostics:?}");
    }
}
