//! `ninc completions`: what a shell asks while somebody types a command, with names that stand in the files.

use super::command_line;
use super::output::{self, Done, usage};
use clap::{Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use ninc::front::analysis::{Analysis, analyse};
use ninc::front::outline::{Role, outline};
use ninc::graph::NodeId;
use ninc::ops::Operator;
use ninc_runtime::Error;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

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
pub fn answer(command: fn() -> Command, words: Vec<OsString>) {
    let here = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(command).var(VARIABLE).try_complete(words, here.as_deref());
    match answered {
        Ok(false) => {}
        Ok(true) => std::process::exit(0),
        Err(e) => e.exit(),
    }
}

/// The file among the typed words that ends so.
fn typed(ending: &str) -> Option<PathBuf> {
    let words = command_line::words().iter().map(PathBuf::from);
    words.filter(|word| word.extension().is_some_and(|e| e == ending)).find(|word| word.is_file())
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
