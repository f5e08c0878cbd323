//! `ninc help`: a command, or else a function, key or setting of the language, or else the code of a diagnostic.

mod words;

use super::completions;
use super::output::{self, Done, usage};
use clap::Command;
use clap_complete::engine::ArgValueCompleter;
use ninc::front::codes;
use ninc::front::suggest;
use words::words;

#[derive(clap::Args)]
pub struct Args {
    /// A command (`train`), a layer (`mlpconv`), another word of model files (`one_cycle`, `stride`, `repeat`), or the
    /// code of a message (`unknown-name`)
    #[arg(add = ArgValueCompleter::new(completions::topics))]
    name: Option<String>,
}

pub fn run(args: &Args, mut command: Command) -> Done {
    command.build();
    let Some(name) = args.name.as_deref() else { return output::print(&command.render_long_help().to_string()) };
    let found = command.find_subcommand_mut(name).map(|command| command.render_long_help().to_string());
    let words = words().into_iter().filter(|(word, _)| *word == name).map(|(_, text)| text);
    let code = codes::explained(name).map(|text| format!("{name}: {text}"));
    let found: Vec<String> = found.into_iter().chain(words).chain(code).collect();
    if !found.is_empty() {
        return output::print(&found.join("\n"));
    }
    let topics = topics(&command);
    let near = suggest::nearest(name, topics.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
    let lists = "`ninc help` lists the commands; layers and codes stand in grammar/README.md";
    Err(usage(format!("there is no command, word or code `{name}`"), near.unwrap_or_else(|| lists.into())))
}

/// What can be asked for: commands, words of the language, codes.
pub fn topics(command: &Command) -> Vec<String> {
    let commands = command.get_subcommands().map(Command::get_name);
    let words: Vec<&str> = words().into_iter().map(|(word, _)| word).collect();
    let codes = codes::ALL.iter().map(|(code, _)| *code);
    commands.chain(words).chain(codes).map(String::from).collect()
}
