//! `ninc man`: a page of the manual for each command, for packages.

use super::output::{self, Done, counted};
use clap::Command;
use ninc_runtime::Error;
use ninc_runtime::store::{System, write_atomically};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The folder for the pages; `man -l DIR/ninc.1` shows one
    folder: PathBuf,
}

pub fn run(args: &Args, mut command: Command) -> Done {
    let failed = |e: std::io::Error| Error::new(format!("{} cannot be made: {e}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    command.build();
    let mut count = 0;
    page(&command, "ninc", &args.folder, &mut count)?;
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        page(one, &format!("ninc-{}", one.get_name()), &args.folder, &mut count)?;
    }
    output::note(&format!("{}: {}", args.folder.display(), counted(count, "page")));
    Ok(())
}

fn page(command: &Command, name: &str, folder: &Path, count: &mut usize) -> Done {
    let mut text = Vec::new();
    let manual = format!("ninc {}", env!("CARGO_PKG_VERSION"));
    // No date, so that pages are reproducible.
    let named = command.clone().version(env!("CARGO_PKG_VERSION"));
    let made = clap_mangen::Man::new(named).title(name.to_uppercase()).source(manual).date("").render(&mut text);
    made.map_err(|e| Error::new(format!("the page of {name} cannot be made: {e}")))?;
    write_atomically(&folder.join(format!("{name}.1")), &text, &System)?;
    *count += 1;
    Ok(())
}
