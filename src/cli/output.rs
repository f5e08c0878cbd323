//! Where texts go, and how a command fails.

use ninc_runtime::Error;
pub use ninc_runtime::words::{counted, grouped};
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub enum Failure {
    Error(Error),
    /// The user called it wrongly.
    Usage(Error),
    /// What is wrong has been shown already.
    Shown,
    /// Stopped by the user.
    Interrupted,
    /// Nobody reads stdout any more.
    Closed,
}

pub type Done<T = ()> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Error(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Error(Error::new(format!("cannot write the result: {e}"))),
        }
    }
}

pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure::Usage(Error::new(message).with_help(help))
}

/// Writes control characters, which names in files may hold and terminals obey, as `\u{1b}`.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(hidden) {
        return text.into();
    }
    let one = |c: char| if hidden(c) { c.escape_unicode().to_string() } else { c.into() };
    text.chars().map(one).collect::<String>().into()
}

/// Whether another process speaks for this one.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// What was said, where another program calls functions of this one and asks for it: [`listen`].
static HEARD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Keeps what is said from now on, for [`heard`], in the place of stdout and stderr.
pub fn listen() {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Takes what was said since the last call.
pub fn heard() -> Vec<String> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(std::mem::take).unwrap_or_default()
}

/// Keeps a text, if anybody listens; several steps may find out the same.
fn kept(text: &str) -> bool {
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(heard) = heard.as_mut() else { return false };
    let text = text.trim_end();
    if !text.is_empty() && !heard.iter().any(|known| known == text) {
        heard.push(text.into());
    }
    true
}

/// Says nothing from now on but errors.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// Prints a result, on stdout.
pub fn print(text: &str) -> Done {
    if HUSHED.load(Ordering::Relaxed) || kept(text) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(visible(text).as_bytes())?;
    out.flush()?;
    Ok(())
}

pub fn line(text: &str) -> Done {
    print(&format!("{text}\n"))
}

/// Prints one JSON object as a line of stdout.
pub fn json(value: &impl serde::Serialize) -> Done {
    line(&serde_json::to_string(value).map_err(|e| Error::new(format!("the result cannot be written as JSON: {e}")))?)
}

/// Tells something, on stderr. Where that is closed there is nobody to tell.
pub fn note(text: &str) {
    coloured(&visible(text));
}

/// Tells the last words of a program that is to end, on stderr: whoever does not read them holds it up for half a
/// second, and nothing is told any more.
pub fn last(text: String) {
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let tell = move || {
        note(&text);
        // Nobody waits any more where it took too long.
        let _ = told.send(());
    };
    // If no thread can be started, the sender is dropped, and the wait below ends at once.
    let _ = std::thread::Builder::new().spawn(tell);
    if heard.recv_timeout(Duration::from_millis(500)).is_err() {
        hush();
    }
}

/// Shows a text with colours, which are control characters, on stderr.
pub fn coloured(text: &str) {
    if HUSHED.load(Ordering::Relaxed) || kept(text) {
        return;
    }
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells something that several steps of a command find out: once.
pub fn note_once(text: &str) {
    coloured_once(&visible(text));
}

/// Shows a text with colours, which several steps of a command find out, once.
pub fn coloured_once(text: &str) {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    if kept(text) {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.iter().any(|s| s == text) {
        coloured(text);
        said.push(text.into());
    }
}

/// Shows an error on stderr, with the way out.
pub fn complain(error: &Error, color: bool) {
    let color = color && HEARD.lock().unwrap_or_else(PoisonError::into_inner).is_none();
    let (red, bold, plain) = if color { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error{plain}{bold}: {}{plain}", visible(&error.message));
    if let Some(help) = &error.help {
        text += &format!("\n  help: {}", visible(help));
    }
    if !kept(&text) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Refuses to write where the same command reads, and to write two results to one place. Outputs come with their
/// options.
pub fn not_read(outputs: &[(&str, &Path)], inputs: &[&Path]) -> Done {
    // What is not there yet goes by its folder.
    let real = |path: &Path| match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), _, _) => real,
        (_, Some(folder), Some(name)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(name)
        }
        _ => path.to_path_buf(),
    };
    // A pipe or a device may be both.
    let file = |path: &Path| path.metadata().map_or(true, |there| there.is_file());
    for (i, (option, out)) in outputs.iter().enumerate().filter(|(_, (_, out))| file(out)) {
        let place = real(out);
        // A file of a folder that is read, or a new one beside those.
        let within = |input: &Path| out.exists() && input.is_dir() && place.starts_with(real(input));
        let problem = match inputs.iter().any(|input| real(input) == place || within(input)) {
            true => "is read by this command too",
            false if outputs[..i].iter().any(|(_, other)| real(other) == place) => "gets two results",
            false => continue,
        };
        return Err(usage(format!("{option} {} {problem}", out.display()), "give another name"));
    }
    Ok(())
}

/// Refuses a file in a folder that is not there, or whose name a folder has: work would be lost at its end.
pub fn has_place(path: &Path) -> Done {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let error = match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Error::new(format!("cannot write {}: there is no folder {}", path.display(), folder.display()))
            .with_help(format!("make it, `mkdir -p {}`, or choose another place", folder.display())),
        None if path.is_dir() => {
            Error::new(format!("cannot write {}: it is a folder", path.display())).with_help("name a file in it")
        }
        None => return Ok(()),
    };
    Err(Failure::Error(error))
}

/// Refuses to replace a file that is there, unless that was asked for.
pub fn not_there(path: &Path, overwrite: bool) -> Done {
    match path.exists() && !overwrite {
        true => Err(usage(format!("{} is there already", path.display()), "`--overwrite` replaces it")),
        false => Ok(()),
    }
}

/// Lays out columns side by side; numbers (`-` where there is none) to the right. The first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, c: usize| row.get(c).cloned().unwrap_or_default();
    let number =
        |text: &str| text.strip_prefix('-').unwrap_or(text).chars().next().is_none_or(|ch| ch.is_ascii_digit());
    let mut text = String::new();
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|r| cell(r, c).chars().count()).max().unwrap_or(0)).collect();
    let right: Vec<bool> = (0..columns).map(|c| c > 0 && rows.iter().skip(1).all(|r| number(&cell(r, c)))).collect();
    for row in rows {
        let mut line = String::new();
        for c in 0..columns {
            let (value, width) = (cell(row, c), widths[c]);
            let gap = if c == 0 { "" } else { "  " };
            line += &if right[c] { format!("{gap}{value:>width$}") } else { format!("{gap}{value:<width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A text as a cell of comma-separated values, in quotes where it needs them (RFC 4180).
pub fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn control_characters_are_shown_as_text() {
        assert_eq!(visible("cat\x1b[2J\r\u{9b}1m\n\tgrün"), "cat\\u{1b}[2J\\u{d}\\u{9b}1m\n\tgrün");
    }
}
