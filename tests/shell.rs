//! What the shell is told: completions, manual pages, `ninc help`.

use ninc::front::outline::Role;
use ninc::front::{self, codes, described};
use std::collections::HashSet;
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

fn proposals(command: &str, word: &str) -> Output {
    let mut asked = Command::new(env!("CARGO_BIN_EXE_ninc"));
    asked.env("NINC_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_INDEX", "2");
    asked.args(["--", "ninc", command, word]).output().expect("ninc starts")
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

/// What bash would put in for a line, by its own means: the function that it is given fills its list.
#[cfg(unix)]
fn in_bash(folder: &Path, line: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_ninc")).parent().expect("a folder").display();
    let script = format!(
        "PATH={program}:$PATH; HOME={}; source <(ninc completions bash); compopt() {{ OPTIONS=\"$*\"; }}; \
         COMP_LINE=$1; COMP_POINT=${{#1}}; _ninc_complete; printf '%s\\n' \"${{OPTIONS-}}\" \"${{COMPREPLY[@]}}\"",
        folder.display()
    );
    let mut command = Command::new("bash");
    command.current_dir(folder).args(["--norc", "--noprofile", "-c", &script, "bash", line]);
    said(&command.output().expect("bash")).lines().map(String::from).collect()
}

#[test]
#[cfg(unix)]
fn bash_puts_in_what_belongs_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "network n(width = 8) {\n    input image: [1, 8, 8]\n\n    image |> cccp(channels = width) as first\n}\n";
    for name in ["net.nin", "with space.nin", "it's.nin", "dir a/x.nin"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let at = |line: &str| in_bash(folder.path(), line);
    // Names of files and folders: bash quotes them, and adds the `/` of a folder.
    let (files, names, open) = ("-o filenames +o nospace", "+o nospace", "");
    assert_eq!(at("ninc check with"), [files, "with space.nin"]);
    assert_eq!(at("ninc check it"), [files, "it's.nin"]);
    assert_eq!(at("ninc check di"), [files, "dir a"]);
    assert_eq!(at(r"ninc check dir\ a/"), [files, "dir a/x.nin"]);
    assert_eq!(at("ninc check \"with"), [files, "with space.nin"]);
    assert_eq!(at("ninc run net.nin --weights=wi"), [files, "with space.nin"]);
    assert_eq!(at("ninc check ~/ne"), [files, "~/net.nin"]);
    // Parts behind `=`, at which bash parts words.
    assert_eq!(at("ninc run net.nin --set w"), [open, "width="]);
    assert_eq!(at("ninc run net.nin --set=w"), [open, "width="]);
    assert_eq!(at("ninc run net.nin --set width="), [names]);
    assert_eq!(at("ninc run net.nin --dump=f"), [open, "first="]);
    assert_eq!(at("ninc run net.nin --dump first=ne"), [names]);
    // The model's name in quotes, and in the home folder.
    for model in [r"with\ space.nin", "\"with space.nin\"", "it\\'s.nin", r"dir\ a/x.nin", "~/net.nin"] {
        assert_eq!(at(&format!("ninc run {model} --dump f")), [open, "first="], "{model}");
    }
    assert_eq!(at("ninc tra"), [names, "train"]);
    assert_eq!(at("ninc help mlp"), [names, "mlpconv"]);
    assert_eq!(at("ninc --device op"), [names, "opencl"]);
    assert_eq!(at("ninc inspect net.nin --emit graph,op"), [names, "graph,opencl", "graph,opt"]);
    assert_eq!(at("ninc inspect net.nin --emit opt:fold_c"), [names, "fold_constants"]);
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
    // Words of the language, arguments, and words that these may be given.
    for (word, what) in [
        ("repeat", "a word of the language: Repeats statements"),
        ("kernel", "an argument of `conv`"),
        ("momentum", "`sgd`"),
        ("reflect", "`mode = reflect`"),
        ("none", "In signatures"),
    ] {
        let text = said(&ninc(&["help", word]));
        assert!(text.contains(what), "{word}: {text}");
    }
    let both = said(&ninc(&["help", "train"]));
    assert!(both.contains("Usage: ninc train") && both.contains("How the network is trained."), "{both}");
    assert!(said(&ninc(&["help", "one_cycle"])).contains("a value of `schedule` in `train`"));
    assert!(said(&ninc(&["help", "shape"])).contains("nin,wrong"));
    let unknown = ninc(&["help", "unknown-nam"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `unknown-name`?"));
}

/// Every word of the text of a model that the language gives has its explanation.
#[test]
fn help_knows_every_word_of_model_files() {
    let explained = said(&proposals("help", ""));
    let known: HashSet<&str> = explained.lines().collect();
    for (path, text) in crate::front::files("models", "nin") {
        let outline = front::outline::outline(&text);
        let blocks: Vec<&str> = outline.items.iter().filter_map(|i| i.name).map(|n| &text[n.range()]).collect();
        for word in &outline.words {
            let ours = matches!(word.role, Role::Item | Role::Keyword | Role::Function | Role::Argument | Role::Key);
            let caller = word.caller.map(|caller| outline.words[caller].text(&text));
            let own = blocks.contains(&word.text(&text)) || caller.is_some_and(|caller| blocks.contains(&caller));
            assert!(!ours || own || known.contains(word.text(&text)), "{}: {}", path.display(), word.text(&text));
        }
    }
    for word in front::syntax::KEYWORDS.iter().chain(&["data", "train", "nin", "stretch", "inverted", "stride"]) {
        assert!(known.contains(word), "{word}");
    }
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
