//! `ninc lsp`: the language server, over stdin and stdout.

use super::output::{Done, Failure};
use lsp_server::Connection;
use ninc::lsp::{End, serve};
use ninc_runtime::Error;

#[derive(clap::Args)]
pub struct Args {
    /// Speak over stdin and stdout, which it does anyway: some editors say so
    #[arg(long)]
    stdio: bool,
}

pub fn run(_: &Args) -> Done {
    let (connection, threads) = Connection::stdio();
    let end = serve(&connection);
    drop(connection);
    let message = match end {
        // Whoever reads may still wait for input: nothing to wait for.
        End::Unheard => return Err(Failure::Closed),
        End::Orderly => {
            return threads.join().map_err(|_| Failure::Closed);
        }
        End::Abrupt => "the editor said `exit` without `shutdown`".to_string(),
        End::Silent => match threads.join() {
            Ok(()) => "the input ended without `shutdown` and `exit`".into(),
            Err(e) => format!("the input is not of the Language Server Protocol: {e}"),
        },
    };
    Err(Error::new(message).with_help("editors start `ninc lsp`; `grammar/editors/README.md` says how").into())
}
