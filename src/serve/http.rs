//! Connections: one thread accepts them and speaks HTTP with all, within the limits of the server.

use super::log::{Log, Written};
use super::metrics::Metrics;
use super::queue::Queue;
use super::refusal::Refusal;
use super::routes::{self, Shared};
use super::stream::Watched;
use super::{Limits, Network};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ninc_runtime::{Error, Result};
use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};

/// Bytes of a request's head at most.
const HEAD: usize = 64 << 10;
/// Connections that the system may have made when the server is stopped.
const BACKLOG: usize = 4096;
/// Refused connections that are told so at once.
const REFUSED: usize = 64;
/// How long a connection is listened to on which nothing will be answered any more.
const LINGER: Duration = Duration::from_secs(1);

/// Ends a server, from any thread.
#[derive(Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Stop {
        Stop(watch::Sender::new(false))
    }
}

impl Stop {
    /// Lets the server accept nothing more, answer what it has, and end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    async fn stopped(&self) {
        // The sender lives in `self`.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}

/// What a server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Requests for classes that were answered.
    pub requests: u64,
    /// Those of them with results; the others were refused.
    pub good: u64,
    /// Connections that were given up because their clients were too slow when the server ended.
    pub given_up: usize,
}

/// Serves a network until it is stopped.
pub fn serve(listener: TcpListener, network: Arc<dyn Network>, limits: Limits, stop: Stop) -> Result<Served> {
    let failed = |e: std::io::Error| Error::new(format!("cannot serve: {e}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let metrics = Arc::new(Metrics::new());
    let queue = Arc::new(Queue::new(network.clone(), limits.clone(), metrics.clone()));
    let mut workers = Vec::new();
    for i in 0..limits.workers.max(1) {
        let queue = queue.clone();
        let worker = std::thread::Builder::new().name(format!("serve {i}")).spawn(move || queue.work());
        workers.push(worker.map_err(|e| Error::new(format!("cannot start a thread: {e}")))?);
    }
    let (log, written) = match limits.log {
        true => Log::start().map(|(log, written)| (Some(log), Some(written))).map_err(failed)?,
        false => (None, None),
    };
    let shared = Arc::new(Shared {
        network,
        queue: queue.clone(),
        limits,
        metrics: metrics.clone(),
        bodies: AtomicUsize::new(0),
        log,
    });
    let given_up = runtime.block_on(connections(listener, &shared, &stop)).map_err(failed);
    // A worker catches the panics of its work.
    queue.stop();
    workers.into_iter().for_each(|worker| drop(worker.join()));
    drop((runtime, shared));
    written.into_iter().for_each(Written::wait);
    let (requests, good) = metrics.classified();
    Ok(Served { requests, good, given_up: given_up? })
}

/// Accepts connections until the server is stopped, and waits for those that are open. Returns how many were given up.
async fn connections(listener: TcpListener, shared: &Arc<Shared>, stop: &Stop) -> std::io::Result<usize> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let most = shared.limits.connections;
    let (slots, refused) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(REFUSED)));
    let mut stopped = pin!(stop.stopped());
    let (mut closing, mut last) = (false, BACKLOG);
    loop {
        // Who had connected before the stop is still let in.
        let next = poll_fn(|cx| {
            closing = closing || stopped.as_mut().poll(cx).is_ready();
            match listener.poll_accept(cx) {
                Poll::Pending if closing => Poll::Ready(None),
                next => next.map(Some),
            }
        });
        let next = next.await.filter(|_| last > 0);
        last = last.saturating_sub(usize::from(closing));
        let stream = match next {
            None => break,
            Some(Ok((stream, _))) => stream,
            Some(Err(_)) => {
                // The client has gone, or there are no more files: these come back.
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            let (shared, stop) = (shared.clone(), stop.clone());
            tokio::spawn(async move {
                shared.metrics.connections.fetch_add(1, Relaxed);
                connection(stream, &shared, &stop).await;
                shared.metrics.connections.fetch_sub(1, Relaxed);
                drop(slot);
            });
        } else {
            shared.metrics.refused.fetch_add(1, Relaxed);
            if let Ok(slot) = refused.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    let refusal = Refusal::new(503, format!("{most} connections are open already"));
                    let _ = timeout(LINGER, tell(stream, &refusal.with_help("try again later"))).await;
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    shared.queue.hurry();
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    loop {
        let answered = shared.metrics.answers();
        if timeout(shared.limits.patience, slots.acquire_many(all)).await.is_ok() {
            return Ok(0);
        }
        // Work may take its time; a client that takes its answer drop by drop may not.
        if shared.metrics.answering.load(Relaxed) == 0 && shared.metrics.answers() == answered {
            return Ok(most - slots.available_permits());
        }
    }
}

/// Answers the requests of one connection.
async fn connection(stream: TcpStream, shared: &Arc<Shared>, stop: &Stop) {
    // Answers are small, and wait for nothing.
    let _ = stream.set_nodelay(true);
    let patience = shared.limits.patience;
    let mut watched = Watched::new(stream, patience);
    let (begun, unread) = (watched.begun.clone(), Arc::new(AtomicBool::new(false)));
    let asked = AtomicBool::new(false);
    let ended = {
        let service = service_fn(|request| {
            begun.store(false, Relaxed);
            asked.store(true, Relaxed);
            let (shared, unread, begun) = (shared.clone(), unread.clone(), begun.clone());
            async move {
                let answer = routes::answer(shared, request).await;
                // What came meanwhile was the body.
                begun.store(false, Relaxed);
                answer.inspect(|answer| unread.store(answer.headers().contains_key(CONNECTION), Relaxed))
            }
        });
        let mut builder = http1::Builder::new();
        // Who closes its sending side waits for the answer. Who has gone looks the same, and is answered in vain.
        builder.half_close(true).timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(&mut watched), service));
        let mut stopped = pin!(stop.stopped());
        // Runs since the stop.
        let mut last: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if last.is_none() && stopped.as_mut().poll(cx).is_ready() {
                // What has come already is read first.
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                connection.as_mut().graceful_shutdown();
                last = Some(Box::pin(sleep(LINGER)));
            }
            let polled = connection.as_mut().poll(cx);
            match &mut last {
                // The rest of a first request's head is not waited for as long as an answer.
                Some(last) if polled.is_pending() && !asked.load(Relaxed) => last.as_mut().poll(cx).map(Ok),
                _ => polled,
            }
        })
        .await
    };
    let refused = watched.refused;
    let mut stream = watched.into_inner();
    match ended.err().and_then(|e| unasked(&e, refused, begun.load(Relaxed), patience)) {
        Some(refusal) => {
            shared.refused(refusal.status);
            let _ = timeout(LINGER, tell(stream, &refusal)).await;
        }
        None => {
            let _ = stream.shutdown().await;
            if unread.load(Relaxed) {
                let _ = timeout(LINGER, drain(&mut stream)).await;
            }
        }
    }
}

/// What is said to a client whose connection ended before its request had a whole head. An idle connection is closed
/// without a word.
fn unasked(e: &hyper::Error, refused: Option<u16>, begun: bool, patience: Duration) -> Option<Refusal> {
    let refusal = |status, message: &str| Some(Refusal::new(status, message));
    match refused {
        _ if e.is_timeout() && begun => {
            let message = format!("the head of the request did not come within {} seconds", patience.as_secs_f64());
            refusal(408, &message)
        }
        _ if e.is_incomplete_message() && begun => refusal(400, "the request ends before its head does"),
        Some(431) => {
            let message = format!("the head of the request has more than {} KiB or 100 fields", HEAD >> 10);
            refusal(431, &message)
        }
        Some(414) => refusal(414, "the address of the request is too long"),
        Some(status) => {
            let message = format!("this is not a request of HTTP/1.1: {e}");
            // As encrypted ones look.
            let method = message.contains("method");
            let refusal = Refusal::new(status, message);
            let help = "it is spoken here without encryption: an address starts with http://";
            Some(if method { refusal.with_help(help) } else { refusal })
        }
        // HTTP/2, said without asking.
        None if e.is_parse() => refusal(505, "this server speaks HTTP/1.1"),
        None => None,
    }
}

/// Refuses what a client may be sending, and closes the connection.
async fn tell(mut stream: TcpStream, refusal: &Refusal) -> std::io::Result<()> {
    stream.write_all(&routes::plain(refusal)).await?;
    stream.shutdown().await?;
    drain(&mut stream).await
}

/// Reads what a client still sends: a connection that is closed with bytes unread may take the answer with it.
async fn drain(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
