//! `ninc help`: a command, or else a function, key or setting of the language, or else the code of a diagnostic.

use super::output::{self, Done, usage};
use clap::Command;
use ninc::front::ast::SectionKind;
use ninc::front::codes;
use ninc::front::described::{self, Described, Key};
use ninc::front::suggest;

#[derive(clap::Args)]
pub struct Args {
    /// A command (`train`), a layer (`mlpconv`), another word of model files (`one_cycle`, `prepare`), or the code of a
    /// message (`unknown-name`)
    name: Option<String>,
}

pub fn run(args: &Args, mut command: Command) -> Done {
    command.build();
    let Some(name) = args.name.as_deref() else { return output::print(&command.render_long_help().to_string()) };
    if let Some(found) = command.find_subcommand_mut(name) {
        return output::print(&found.render_long_help().to_string());
    }
    let words = words();
    let found: Vec<&str> = words.iter().filter(|(word, _)| *word == name).map(|(_, text)| text.as_str()).collect();
    if !found.is_empty() {
        return output::print(&found.join("\n"));
    }
    if let Some(text) = codes::explained(name) {
        return output::print(&format!("{name}: {text}"));
    }
    let commands = command.get_subcommands().map(Command::get_name);
    let all = commands.chain(words.iter().map(|(word, _)| *word)).chain(codes::ALL.iter().map(|(code, _)| *code));
    let near = suggest::nearest(name, all).map(|near| format!("did you mean `{near}`?"));
    let lists = "`ninc help` lists the commands; layers and codes stand in grammar/README.md";
    Err(usage(format!("there is no command, layer or code `{name}`"), near.unwrap_or_else(|| lists.into())))
}

/// The words of the language with what is known of them. A word may have several meanings.
fn words() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = described::layers().iter().map(|f| (f.name, function(f, "a layer"))).collect();
    for (section, name) in [(SectionKind::Data, "data"), (SectionKind::Train, "train")] {
        for key in described::keys(section) {
            all.push((key.name, about(key, &format!("a key of `{name}`"))));
            let what = format!("a value of `{}` in `{name}`", key.name);
            all.extend(key.functions().iter().map(|f| (f.name, function(f, &what))));
        }
    }
    for key in described::settings() {
        all.push((key.name, about(&key, "a setting of layers with weights, and of `defaults`")));
        let what = format!("a value of the setting `{}`", key.name);
        all.extend(key.functions().iter().map(|f| (f.name, function(f, &what))));
    }
    all
}

fn function(f: &Described, what: &str) -> String {
    let mut text = format!("{}\n\n{}: {}\n", f.signature(), what, f.doc);
    let width = f.params.iter().map(|p| p.name.len()).max().unwrap_or(0);
    for param in f.params {
        text += &format!("\n  {:width$}  {} ({})", param.name, param.doc, described::param(param));
    }
    if !f.params.is_empty() {
        text.push('\n');
    }
    if let Some(((least, most), weights)) = f.operands {
        if most > 1 {
            text += &format!(
                "\nIt works on {} values.\n",
                if least == most { least.to_string() } else { format!("{least} to {most}") }
            );
        }
        if weights {
            let names: Vec<&str> = described::settings().iter().map(|key| key.name).collect();
            text += &format!("\nIts weights take the settings {}.\n", names.join(", "));
        }
    }
    text
}

fn about(key: &Key, what: &str) -> String {
    let mut text = format!("{} = …\n\n{what}: {}\nIts value is {}.\n", key.name, key.doc, key.value());
    for f in key.functions() {
        text += &format!("\n  {}\n      {}", f.signature(), f.doc);
    }
    if !key.functions().is_empty() {
        text.push('\n');
    }
    text
}
