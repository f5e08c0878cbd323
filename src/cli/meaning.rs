//! Options that all commands accept, refused where they mean nothing.

use super::output::{Done, usage};
use clap::ArgMatches;
use clap::parser::ValueSource;

/// Options of compiled programs.
const COMPILING: [&str; 8] =
    ["devices", "isas", "algorithms", "precisions", "caches", "time_passes", "no_verify", "no_cache"];

/// Refuses options that the command does not look at, and two results on stdout.
pub fn check(given: &ArgMatches) -> Done {
    let Some((command, given)) = given.subcommand() else { return Ok(()) };
    let typed = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    let unused: &[&str] = match command {
        "weights" => &["set", "emit", "prepare", "resize", "source", "class_names", "open_shape"],
        "new" | "fmt" | "devices" | "lsp" | "completions" | "man" | "help" => {
            &["set", "emit", "prepare", "resize", "source", "class_names", "open_shape", "channels"]
        }
        "check" => &["emit", "prepare", "resize", "source", "class_names", "open_shape"],
        "import" => &["set"],
        "sweep" => &["emit", "prepare", "resize", "source", "class_names", "open_shape"],
        _ => &[],
    };
    let compiles = !matches!(
        command,
        "new" | "check" | "fmt" | "inspect" | "import" | "weights" | "devices" | "lsp" | "completions" | "man" | "help"
    );
    let compiling = COMPILING.iter().filter(|_| !compiles);
    if let Some(id) = unused.iter().chain(compiling).find(|id| typed(id)) {
        let option = option(id);
        let help = match *id {
            _ if command == "sweep" => "leave it out: `ninc train` has it",
            "set" | "emit" => "leave it out",
            _ => "leave it out: it is for commands that compile a network",
        };
        return Err(usage(format!("`ninc {command}` does nothing with {option}"), help));
    }
    let flag = |id: &str| given.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false);
    let folder = given.try_contains_id("output").unwrap_or(false) && typed("output");
    let texts = [("--explain", flag("explain")), ("--emit", typed("emit"))].into_iter().find(|(_, asked)| *asked);
    match texts {
        Some((option, _)) if flag("json") && !(command == "build" && folder) => Err(usage(
            format!("{option} and --json would mix two results on stdout"),
            if command == "build" {
                "give one of them, or a folder for the texts with -o DIR"
            } else {
                "give one of them"
            },
        )),
        _ => Ok(()),
    }
}

/// The option's name as it is typed.
fn option(id: &str) -> String {
    match id {
        "devices" | "isas" | "precisions" | "algorithms" => format!("--{}", &id[..id.len() - 1]),
        "class_names" => "--classes".into(),
        "open_shape" => "--shape".into(),
        other => format!("--{}", other.replace('_', "-")),
    }
}
