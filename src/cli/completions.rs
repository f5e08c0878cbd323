//! `ninc completions`: what a shell asks while somebody types a command, with names that stand in the files.

mod line;

use super::command_line;
use super::help;
use super::output::{self, Done, usage};
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{self, CompletionCandidate};
use clap_complete::env::Shells;
use ninc::front::analysis::{Analysis, analyse};
use ninc::front::outline::{Role, outline};
use ninc::graph::NodeId;
use ninc::ops::Operator;
use ninc::pipeline::{Emit, Stage};
use ninc_runtime::{Error, opencl};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The variable by which a shell asks.
const VARIABLE: &str = "NINC_COMPLETE";

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

#[derive(clap::Args)]
pub struct Args {
    /// The shell; what is printed belongs into its start file: `source <(ninc completions bash)`
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args) -> Done {
    // These two need more than clap's own texts do: the words of the line without their quotes, and parts of them.
    match args.shell {
        Shell::Bash => return output::print(include_str!("completions/ninc.bash")),
        Shell::Zsh => return output::print(include_str!("completions/ninc.zsh")),
        Shell::Fish | Shell::Elvish | Shell::Powershell => {}
    }
    let name = args.shell.to_possible_value().map_or(String::new(), |value| value.get_name().to_string());
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| usage("this shell is unknown", "take bash"))?;
    let mut text = Vec::new();
    // The word that is typed: whichever `ninc` the shell finds answers.
    let written = shell.write_registration(VARIABLE, "ninc", "ninc", "ninc", &mut text);
    written.map_err(|e| Error::new(format!("the text for the shell cannot be written: {e}")))?;
    output::print(&String::from_utf8_lossy(&text))
}

/// Answers a shell, if one asks, and ends the program.
pub fn answer(command: fn() -> Command, words: &[OsString]) {
    if let (Some(_), Some(line)) = (std::env::var_os(VARIABLE), std::env::var_os("NINC_LINE")) {
        let breaks = std::env::var("NINC_BREAKS").unwrap_or_default();
        print!("{}", bash(command(), &line::read(&line.to_string_lossy(), &breaks)));
        std::process::exit(0);
    }
    command_line::begin(words.to_vec());
    let here = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(command).var(VARIABLE).try_complete(words.to_vec(), here.as_deref());
    match answered {
        Ok(false) => {}
        Ok(true) => std::process::exit(0),
        Err(e) => e.exit(),
    }
}

/// What bash may put in: in the first line `files` or `names`, then in each a text for what it replaces.
fn bash(mut command: Command, line: &line::Line) -> String {
    let mut words: Vec<OsString> = line.words.iter().map(OsString::from).collect();
    let typed = line.words.last().map_or("", String::as_str);
    // Bash shows the short form.
    let home = std::env::var("HOME").ok().map(|home| format!("{home}/")).filter(|_| typed.starts_with("~/"));
    if let (Some(home), Some(last)) = (&home, words.last_mut()) {
        *last = typed.replacen("~/", home, 1).into();
    }
    command_line::begin(words.clone());
    let (index, here) = (words.len() - 1, std::env::current_dir().ok());
    let candidates = engine::complete(&mut command, words, index, here.as_deref()).unwrap_or_default();
    let option = typed.starts_with("--").then(|| typed.find('=')).flatten().map_or(0, |at| at + 1);
    let is_file = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy();
        let path = value.get(option..).unwrap_or("");
        path.ends_with('/') || candidate.get_help().is_none() && Path::new(path).is_file()
    };
    let files = !candidates.is_empty() && candidates.iter().all(is_file);
    let mut text = String::from(if files { "files\n" } else { "names\n" });
    for candidate in candidates {
        let value = candidate.get_value().to_string_lossy().into_owned();
        let value = home.as_ref().map_or(value.clone(), |home| value.replacen(home.as_str(), "~/", 1));
        // What is there already is nothing to put in.
        let Some(rest) = value.get(line.kept..).filter(|rest| !rest.is_empty()) else { continue };
        // Bash adds the `/` of a folder.
        text += if files { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
        text.push('\n');
    }
    text
}

/// The file among the typed words that ends so; a shell has not put the home folder in yet.
fn typed(ending: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let words = command_line::words().iter().map(|word| match (Path::new(word).strip_prefix("~"), &home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    });
    words.into_iter().filter(|word| word.extension().is_some_and(|e| e == ending)).find(|word| word.is_file())
}

/// The text of the model that is typed.
fn model() -> Option<String> {
    std::fs::read_to_string(typed("nin")?).ok()
}

/// What is known of the model that is typed.
fn analysis() -> Option<Analysis> {
    model().map(|text| analyse(&text, ""))
}

fn matching(current: &OsStr, names: impl IntoIterator<Item = String>, behind: &str) -> Vec<CompletionCandidate> {
    let start = current.to_string_lossy();
    let names: BTreeSet<String> = names.into_iter().filter(|name| name.starts_with(&*start)).collect();
    names.into_iter().map(|name| CompletionCandidate::new(format!("{name}{behind}"))).collect()
}

/// Parameters of the network, for `--set` and `--vary`.
pub fn parameters(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(text) = model() else { return vec![] };
    let outline = outline(&text);
    let network = |item: usize| text[outline.items[item].word.range()] == *"network";
    let words = outline.words.iter().filter(|word| word.role == Role::Parameter && word.item.is_some_and(network));
    matching(current, words.map(|word| word.text(&text).to_string()), "=")
}

/// Named values of the network, for `--dump`.
pub fn values(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(Analysis { graph, layers, .. }) = analysis() else { return vec![] };
    let name = |id: NodeId| graph.node(id).name.clone();
    matching(current, layers.iter().filter_map(|layer| name(layer.value)), "=")
}

/// Named values of the network, for `--maps-of`.
pub fn maps(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(Analysis { graph, layers, .. }) = analysis() else { return vec![] };
    let images = layers.iter().filter(|layer| graph.ty(layer.value).dims.len() == 3);
    matching(current, images.filter_map(|layer| graph.node(layer.value).name.clone()), "")
}

/// Layers and parameters of the network, for `--freeze`.
pub fn patterns(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(Analysis { graph, layers, .. }) = analysis() else { return vec![] };
    let parameter = |id: NodeId| match graph.op(id) {
        Operator::Param(param) if param.trainable => Some(param.name.clone()),
        _ => None,
    };
    let weighted = layers.iter().filter(|layer| !layer.params.is_empty()).map(|layer| layer.name.clone());
    matching(current, weighted.chain(graph.ids().into_iter().filter_map(parameter)), "")
}

/// Commands, words of the language and codes, for `help`.
pub fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    matching(current, help::topics(&super::Cli::command()), "")
}

/// Stages, and passes behind `opt:`, for `--emit`.
pub fn stages(current: &OsStr) -> Vec<CompletionCandidate> {
    let passes = current.to_string_lossy().starts_with("opt:");
    let names: Vec<String> = match passes {
        true => Emit::passes().into_iter().map(|pass| format!("opt:{pass}")).collect(),
        false => Stage::ALL.map(|stage| stage.name().to_string()).into(),
    };
    matching(current, names, "")
}

/// What programs can run on, for `--device`. OpenCL's devices are looked for only where they are asked for.
pub fn devices(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = match current.to_string_lossy().starts_with("opencl") {
        true => opencl::list().unwrap_or_default(),
        false => vec![],
    };
    let numbered = found.iter().map(|device| format!("opencl:{}", device.index));
    matching(current, ["cpu", "interp", "opencl"].map(String::from).into_iter().chain(numbered), "")
}
