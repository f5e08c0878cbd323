//! Paths and their answers.

use super::body::{Body, Kind};
use super::log::Log;
use super::metrics::Metrics;
use super::queue::Queue;
use super::refusal::Refusal;
use super::{Limits, Meaning, Network};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::header::{RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The page, and how it looks: as pages of `ninc build --target wasm32` do.
const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("../library/web/templates/page.css");
/// Nothing but what this server sends, and pictures that the page was given.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Classes of an answer, unless it is asked for more or fewer.
const TOP: usize = 5;
/// Characters of a path that are shown.
const SHOWN: usize = 200;
/// Seconds after which who was refused may ask again.
const AFTER: u16 = 1;
/// Bytes of a body that large ones, which may come slowly, take no memory from.
const SMALL: usize = 64 << 10;

/// What all connections share.
pub struct Shared {
    pub network: Arc<dyn Network>,
    pub queue: Arc<Queue>,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Bytes of bodies that are in memory.
    pub bodies: AtomicUsize,
    /// Takes a line for each request, if they are wanted.
    pub log: Option<Log>,
}

type Answer = Response<Full<Bytes>>;

impl Shared {
    /// Counts and logs a refusal of what was no request.
    pub fn refused(&self, status: u16) {
        self.metrics.answer("other", status, Duration::ZERO);
        if let Some(log) = &self.log {
            log.say(format!("(no request) {status}"));
        }
    }
}

/// A request that is being received or answered; it may be dropped where its client has gone.
struct Answering<'a>(&'a AtomicUsize);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Answers a request.
pub async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let start = Instant::now();
    shared.metrics.answering.fetch_add(1, Relaxed);
    let _answering = Answering(&shared.metrics.answering);
    let (method, uri) = (request.method().clone(), request.uri());
    // Addresses of proxies have no path.
    let path = if uri.path().is_empty() { uri.to_string() } else { uri.path().to_string() };
    let mut read = request.body().is_end_stream();
    let (known, mut answer) = match route(&method, &path) {
        (known, None) => {
            (known, reply(known, &shared, request, &mut read).await.unwrap_or_else(|refusal| refuse(&refusal)))
        }
        (known, Some(answer)) => (known, answer),
    };
    // What comes of the body is not waited for.
    if !read {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (answer.status().as_u16(), start.elapsed());
    shared.metrics.answer(known, status, took);
    if let Some(log) = &shared.log {
        let path: String = path.chars().take(SHOWN).flat_map(char::escape_default).collect();
        log.say(format!("{method} {path} {status} {:.1} ms", took.as_secs_f64() * 1e3));
    }
    Ok(answer)
}

/// Finds what a request is for, or the answer that there is nothing of the kind.
fn route(method: &Method, path: &str) -> (&'static str, Option<Answer>) {
    let read = ["/", "/model", "/health", "/metrics"].into_iter().find(|known| *known == path);
    let (known, allowed) = match read {
        Some(known) => (known, "GET, HEAD"),
        None if path == "/classify" => ("/classify", "POST"),
        None => {
            let shown: String = path.chars().take(SHOWN).collect();
            let refusal = Refusal::new(404, format!("there is nothing at {shown}"));
            let help = "POST /classify classifies; GET /, /model, /health and /metrics are there";
            return ("other", Some(refuse(&refusal.with_help(help))));
        }
    };
    match allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        true => (known, None),
        false => {
            let refusal = Refusal::new(405, format!("{known} does not take {method}"));
            let mut answer = refuse(&refusal.with_help(format!("it takes {allowed}")));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            (known, Some(answer))
        }
    }
}

/// Answers a request for something that is there; `read` becomes true where its body was received.
async fn reply(known: &str, shared: &Shared, request: Request<Incoming>, read: &mut bool) -> Result<Answer, Refusal> {
    Ok(match known {
        "/" => {
            let page = PAGE.replacen("@style@", STYLE, 1);
            let mut answer = text("text/html; charset=utf-8", page);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            answer
        }
        "/model" => text(JSON, shared.network.about().to_string()),
        "/health" => text(JSON, serde_json::json!({ "status": "ok", "model": shared.network.name() }).to_string()),
        "/metrics" => text("text/plain; version=0.0.4", metrics(shared)),
        _ => text(JSON, classify(shared, request, read).await?),
    })
}

fn metrics(shared: &Shared) -> String {
    shared.metrics.text(shared.queue.waiting(), shared.bodies.load(Relaxed))
}

const JSON: &str = "application/json";

fn text(kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let headers: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    headers.into_iter().for_each(|(name, value)| {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    });
    answer
}

/// Makes the answer that refuses.
fn refuse(refusal: &Refusal) -> Answer {
    let mut answer = text(JSON, refusal.json().to_string());
    *answer.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if refusal.status == 503 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(AFTER));
    }
    answer
}

/// A refusal as the bytes of a whole answer, for a client that has not sent a whole head.
pub fn plain(refusal: &Refusal) -> Vec<u8> {
    let body = refusal.json().to_string();
    let reason = StatusCode::from_u16(refusal.status).ok().and_then(|status| status.canonical_reason());
    let (status, reason, length) = (refusal.status, reason.unwrap_or_default(), body.len());
    let again = if status == 503 { format!("retry-after: {AFTER}\r\n") } else { String::new() };
    let head = format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n{again}");
    format!("{head}connection: close\r\n\r\n{body}").into_bytes()
}

/// What the query of `/classify` asks for.
fn asked(query: Option<&str>) -> Result<(usize, Meaning), Refusal> {
    let (mut top, mut meaning) = (TOP, Meaning::Plain);
    for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        let wrong =
            || Refusal::new(400, format!("the query has {part:?}")).with_help("?top=K and ?prepared=true are known");
        match part.split_once('=').ok_or_else(wrong)? {
            ("top", count) => {
                let number = || Refusal::new(400, format!("?top={count} is not a whole number from 1"));
                top = count.parse().ok().filter(|&count| count > 0).ok_or_else(number)?;
            }
            ("prepared", "true") => meaning = Meaning::Prepared,
            ("prepared", "false") => meaning = Meaning::Plain,
            _ => return Err(wrong()),
        }
    }
    Ok((top, meaning))
}

/// Bytes of bodies that count as long as they are in memory.
struct Held<'a> {
    all: &'a AtomicUsize,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize, most: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        match self.all.fetch_add(bytes, Relaxed) + bytes > most && self.bytes > SMALL {
            true => Err(Refusal::new(503, "other requests have taken the memory for bodies")
                .with_help("ask again after the seconds of Retry-After")),
            false => Ok(()),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

async fn classify(shared: &Shared, request: Request<Incoming>, read: &mut bool) -> Result<String, Refusal> {
    let limits = &shared.limits;
    let (top, meaning) = asked(request.uri().query())?;
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Refusal::new(415, "the body is compressed (Content-Encoding)").with_help("send it as it is"));
    }
    // A type that nobody reads needs no body.
    Kind::of(content_type.as_ref(), &[])?;
    let mut held = Held { all: &shared.bodies, bytes: 0 };
    let reading = whole(request.into_body(), limits, &mut held);
    let bytes = timeout(limits.patience, reading).await.unwrap_or_else(|_| {
        let patience = limits.patience.as_secs_f64();
        Err(Refusal::new(408, format!("the body of the request did not come within {patience} seconds")))
    })?;
    *read = true;
    if bytes.is_empty() {
        return Err(Refusal::new(400, "the request has no body").with_help("send a picture or an array as its body"));
    }
    let body = Body { kind: Kind::of(content_type.as_ref(), &bytes)?, meaning, bytes };
    let answer = shared.queue.submit(body, top)?;
    answer.await.unwrap_or_else(|_| Err(Refusal::new(500, "the server lost this request, which is a bug in ninc")))
}

/// What is wrong with a body that does not come whole.
fn broken(e: hyper::Error) -> Refusal {
    let source = std::iter::successors(e.source(), |e| (*e).source()).last();
    let what = source.map_or_else(|| e.to_string(), ToString::to_string);
    Refusal::new(400, format!("the body of the request is broken: {what}"))
}

/// Receives a body, as long as it stays within the limits.
async fn whole(mut body: Incoming, limits: &Limits, held: &mut Held<'_>) -> Result<Bytes, Refusal> {
    let declared = body.size_hint();
    let too_large = || {
        Refusal::new(413, format!("the body is larger than {} bytes", limits.body))
            .with_help("make the picture smaller; `ninc serve --limit` sets the limit")
    };
    if declared.lower() > limits.body as u64 {
        return Err(too_large());
    }
    // A copy: what was received in small pieces would hold on to the larger buffers that they came in.
    let mut bytes = Vec::with_capacity(usize::try_from(declared.lower()).unwrap_or(0).min(1 << 16));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.body {
            return Err(too_large());
        }
        held.add(data.len(), limits.bodies)?;
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from(bytes))
}
