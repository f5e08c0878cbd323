//! `ninc check`: all diagnostics, nothing else.

use super::model_file::text;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use ninc::front;
use ninc::front::diag::{has_errors, render, to_json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// One list of all diagnostics on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let mut bad = false;
    let mut all = Vec::new();
    for path in &args.files {
        let text = match text(path) {
            Ok(text) => text,
            Err(Failure::Error(e)) => {
                output::complain(&e, global.color_stderr());
                bad = true;
                continue;
            }
            Err(other) => return Err(other),
        };
        let file = path.display().to_string();
        let (_, diagnostics) = front::load(&text, &file, &global.set);
        bad |= has_errors(&diagnostics);
        if args.json {
            all.extend(to_json(&diagnostics, &text, &file).as_array().cloned().unwrap_or_default());
        } else if !diagnostics.is_empty() {
            output::note(render(&diagnostics, &text, &file, global.color_stderr()).trim_end());
        }
    }
    if args.json {
        output::json(&all)?;
    }
    if bad { Err(Failure::Shown) } else { Ok(()) }
}
