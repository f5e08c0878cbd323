//! `ninc new`: a model file for a folder of pictures.

use super::check;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, usage};
use ninc::front;
use ninc_runtime::Error;
use ninc_runtime::data;
use ninc_runtime::spec::{DataSpec, Resize, Source};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

mod draft;
mod survey;

#[derive(clap::Args)]
pub struct Args {
    /// The folder to write the model into; it is made, and its name becomes the network's
    dir: PathBuf,
    /// The pictures: a folder with a sub-folder for each class, or with parts (train, val, test) that have them
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let name = network_name(&args.dir)?;
    let path = args.dir.join(format!("{name}.nin"));
    if path.exists() {
        return Err(exists(&path));
    }
    let spec = DataSpec::of(Source::Folder { resize: Resize::Stretch });
    // Which files are used depends on names alone, whatever the input's size.
    let sets = data::load(&spec, Some(&args.data), &[3, 8, 8])?;
    let place = between(&args.dir, &args.data);
    let place = place.as_deref().and_then(Path::to_str).map(|place| place.replace('\\', "/"));
    let text = draft::text(&name, place.as_deref(), &sets, &survey::survey(&sets.train)?);
    let file = path.display().to_string();
    let text = front::format(&text).map_err(|d| unfit(&format!("{d:?}")))?;
    let (model, diagnostics) = front::load(&text, &file, &[]);
    let model = model.filter(|_| diagnostics.is_empty()).ok_or_else(|| unfit(&format!("{diagnostics:?}")))?;
    check::say(&model, (&path, &args.data), false, global)?;
    write(&path, &text)?;
    let data = match place {
        Some(_) => String::new(),
        None => format!(" --data {}", quoted(&args.data)),
    };
    let (file, out) = (quoted(&path), quoted(&args.dir.join("out")));
    let report = quoted(&args.dir.join("report.html"));
    output::print(&format!(
        "wrote {}; the next two commands:\n  ninc train {file} --out {out}{data}\n  ninc eval {file} --report \
         {report}{data}\n",
        path.display()
    ))
}

fn exists(path: &Path) -> Failure {
    usage(format!("{} is there already", path.display()), "give another folder, or change that file by hand")
}

/// A fault of this program: the text is its own.
fn unfit(what: &str) -> Failure {
    Error::new(format!("the model file for these pictures is not valid: {what}"))
        .with_help("this is a bug in ninc: please report it")
        .into()
}

/// The folder's name as a name of the language.
fn network_name(dir: &Path) -> Done<String> {
    let whole = std::path::absolute(dir).map_err(|e| Error::file("find", dir, &e))?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
        return Err(usage(
            format!("{} gives the network no name", dir.display()),
            "name a folder with letters or digits: `ninc new flowers --data FOLDER`",
        ));
    }
    let taken =
        ["network", "block", "input", "let", "output", "return", "repeat", "defaults", "as", "true", "false", "nin"];
    let odd = taken.contains(&name.as_str()) || !name.starts_with(|c: char| c.is_ascii_alphabetic());
    Ok(if odd { format!("net_{name}") } else { name })
}

/// The way from one folder to another, which is there; the whole path where they have nothing in common.
fn between(from: &Path, to: &Path) -> Option<PathBuf> {
    let to = fs::canonicalize(to).ok()?;
    // What is not there yet holds no links.
    let whole = std::path::absolute(from).ok()?;
    let there = whole.ancestors().find(|path| path.exists())?;
    let from = fs::canonicalize(there).ok()?.join(whole.strip_prefix(there).ok()?);
    let (from, to): (Vec<Component>, Vec<Component>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if common < 2 {
        return Some(to.iter().collect());
    }
    let up = from[common..].iter().map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to[common..].iter().copied()).collect();
    Some(if way.as_os_str().is_empty() { ".".into() } else { way })
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str) -> Done {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Error::file("write", path, &e).into(),
    })?;
    Ok(file.write_all(text.as_bytes()).map_err(|e| Error::file("write", path, &e))?)
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    crate::cli::command_line::quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_quotes() {
        let name = |dir: &str| network_name(Path::new(dir)).unwrap_or_else(|_| "refused".into());
        assert_eq!(name("a/flowers"), "flowers");
        assert_eq!(name("my flowers-2/"), "my_flowers_2");
        assert_eq!(name("2024"), "net_2024");
        assert_eq!(name("network"), "net_network");
        assert_eq!(name("/"), "refused");
        assert_eq!(name("été"), "net__t_");
        assert_eq!(quoted(Path::new("a/b.nin")), "a/b.nin");
        assert_eq!(quoted(Path::new("it's here")), r"'it'\''s here'");
    }
}
