//! A connection whose client must take what it is sent, and gets every refusal with its sentence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection that fails when the client takes nothing for too long.
pub struct Watched {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the client takes nothing.
    timer: Option<Pin<Box<Sleep>>>,
    /// Has the client sent anything since the last answer was made?
    pub begun: Arc<AtomicBool>,
    /// The status of a refusal that hyper made by itself, and that was kept back.
    pub refused: Option<u16>,
}

impl Watched {
    pub fn new(stream: TcpStream, patience: Duration) -> Watched {
        Watched { stream, patience, timer: None, begun: Arc::default(), refused: None }
    }

    /// Returns the connection, which is still open for writing.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Keeps a refusal of hyper's back, since it has no sentence.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        let status = bare(bytes);
        self.refused = status.or(self.refused);
        status.is_some()
    }

    /// Waits no longer than the patience for what a write gives.
    fn watch<T>(&mut self, cx: &mut Context, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Returns the status of an answer without a body: answers of this server have one, those that hyper gives by itself to
/// what is not HTTP have none. It writes each answer by itself.
fn bare(bytes: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(bytes).ok()?.strip_prefix("HTTP/1.")?.strip_suffix("\r\n\r\n")?;
    let empty = head.split("\r\n").any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    empty.then(|| head.split(' ').nth(1)?.parse().ok()).flatten()
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, to: &mut ReadBuf) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, to);
        if to.filled().len() > before {
            self.begun.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keep(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        some: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        if let [only] = some
            && self.keep(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, some);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Leaves the connection open: there may be something to say yet.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
