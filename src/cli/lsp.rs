//! `ninc lsp`: the language server, over stdin and stdout.

use super::output::{Done, Failure};
use lsp_server::{Connection, Message, Notification};
use ninc::lsp::{End, serve};
use ninc_runtime::Error;
use std::io::{self, BufRead, ErrorKind, Read};
use std::thread;

/// The most bytes of a message: many times a file of the largest size.
const MOST: usize = 256 << 20;
/// The most bytes of a line of a message's head.
const MOST_OF_LINE: u64 = 4096;

#[derive(clap::Args)]
pub struct Args {
    /// Speak over stdin and stdout, which it does anyway: some editors say so
    #[arg(long)]
    stdio: bool,
}

pub fn run(_: &Args) -> Done {
    // Whoever sends waits until the message is taken.
    let ((sender, incoming), (outgoing, receiver)) = (crossbeam_channel::bounded(0), crossbeam_channel::bounded(0));
    let connection = Connection { sender: outgoing, receiver: incoming };
    let reader = thread::spawn(move || -> io::Result<()> {
        let mut input = io::stdin().lock();
        while let Some(message) = read(&mut input)? {
            let last = matches!(&message, Message::Notification(Notification { method, .. }) if method == "exit");
            if sender.send(message).is_err() || last {
                break;
            }
        }
        Ok(())
    });
    let writer = thread::spawn(move || {
        let mut output = io::stdout().lock();
        receiver.into_iter().try_for_each(|message: Message| message.write(&mut output))
    });
    let end = serve(&connection);
    drop(connection);
    let written = writer.join().map_err(|_| Failure::Closed)?;
    // Who closed the pipe has read enough.
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
    {
        return Err(Error::new(format!("answers cannot be written: {e}")).into());
    }
    let message = match end {
        // Whoever reads may still wait for input: nothing to wait for.
        End::Unheard => return Err(Failure::Closed),
        End::Orderly => return Ok(()),
        End::Abrupt => "the editor said `exit` without `shutdown`".to_string(),
        End::Silent => match reader.join().map_err(|_| Failure::Closed)? {
            Ok(()) => "the input ended without `shutdown` and `exit`".into(),
            Err(e) => format!("the input is not of the Language Server Protocol: {e}"),
        },
    };
    Err(Error::new(message).with_help("editors start `ninc lsp`; `grammar/editors/README.md` says how").into())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

/// Reads a message; nothing where the input ends before one.
fn read(input: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut size = None;
    loop {
        let mut line = vec![];
        input.by_ref().take(MOST_OF_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let head = line.strip_suffix("\r\n").ok_or_else(|| invalid(format!("a malformed head: {line:?}")))?;
        if head.is_empty() {
            break;
        }
        let parted = head.split_once(": ");
        let (name, value) = parted.ok_or_else(|| invalid(format!("a malformed head: {head:?}")))?;
        if name.eq_ignore_ascii_case("Content-Length") {
            size = Some(value.parse().map_err(|_| invalid(format!("a malformed length: {value:?}")))?);
        }
    }
    let size: usize = size.ok_or_else(|| invalid("a message without `Content-Length`".into()))?;
    if size > MOST {
        return Err(invalid(format!("a message of {size} bytes, where {MOST} are the most")));
    }
    let mut body = vec![0; size];
    input.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(|e| invalid(format!("a message that cannot be read: {e}")))
}
