//! `ninc fmt`: the one layout.

use super::model_file::text;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use ninc::front;
use ninc::front::diag::render;
use ninc_runtime::store::{System, write_atomically};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that would change, and fail if there are any
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let mut bad = false;
    for path in &args.files {
        let text = text(path)?;
        match front::format(&text) {
            Ok(formatted) if formatted == text => {}
            Ok(_) if args.check => {
                output::line(&path.display().to_string())?;
                bad = true;
            }
            Ok(formatted) => write_atomically(path, formatted.as_bytes(), &System)?,
            Err(diagnostics) => {
                let file = path.display().to_string();
                output::coloured(render(&diagnostics, &text, &file, global.color_stderr()).trim_end());
                bad = true;
            }
        }
    }
    if bad { Err(Failure::Shown) } else { Ok(()) }
}
