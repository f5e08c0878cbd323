//! The server around a network that the test holds in its hands: what waits, what is refused, how it ends.

use super::client::{ask, connect, get, read, request, wait_for};
use ninc::serve::{Body, Images, Limits, Meaning, Network, Refusal, Served, Stop, serve};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A network whose images are bytes, and each its own result. A run says how many images it has, and waits until the
/// test lets it go on.
struct Held {
    runs: Mutex<Sender<usize>>,
    go: Mutex<Receiver<()>>,
    /// Characters around an answer.
    padding: usize,
}

impl Network for Held {
    fn engines(&self) -> usize {
        1
    }

    fn name(&self) -> String {
        "held".into()
    }

    fn about(&self) -> Value {
        json!({ "name": "held" })
    }

    fn read(&self, body: &Body) -> Result<Images, Refusal> {
        assert_ne!(&body.bytes[..], b"panic", "on purpose");
        let names = body.bytes.iter().map(|byte| byte.to_string()).collect();
        Ok(Images { meaning: body.meaning, names, values: body.bytes.iter().map(|&byte| f32::from(byte)).collect() })
    }

    fn run(&self, engine: usize, meaning: Meaning, count: usize, values: &[f32]) -> Result<Vec<f32>, Refusal> {
        assert_eq!((engine, count), (0, values.len()));
        self.runs.lock().unwrap().send(count).unwrap();
        self.go.lock().unwrap().recv().expect("the test goes on");
        let sign = if meaning == Meaning::Prepared { -1.0 } else { 1.0 };
        Ok(values.iter().map(|v| v * sign).collect())
    }

    fn answer(&self, name: &str, results: &[f32], top: usize) -> Result<Value, Refusal> {
        Ok(json!({ "name": name, "result": results[0], "top": top, "padding": " ".repeat(self.padding) }))
    }
}

/// A server in this process.
pub struct Server {
    pub address: SocketAddr,
    pub runs: Receiver<usize>,
    pub go: Sender<()>,
    pub stop: Stop,
    thread: JoinHandle<Served>,
}

pub fn limits() -> Limits {
    Limits {
        batch: 8,
        queue: 100,
        body: 1 << 20,
        bodies: 1 << 24,
        connections: 100,
        patience: Duration::from_secs(600),
        wait: Duration::ZERO,
        workers: 1,
        log: false,
    }
}

pub fn start(limits: Limits) -> Server {
    start_with(limits, 0)
}

fn start_with(limits: Limits, padding: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().unwrap();
    let ((runs, seen), (go, wait), stop) = (channel(), channel(), Stop::default());
    let network = Arc::new(Held { runs: Mutex::new(runs), go: Mutex::new(wait), padding });
    let own = stop.clone();
    let thread = thread::spawn(move || serve(listener, network, limits, own).expect("serves"));
    Server { address, runs: seen, go, stop, thread }
}

impl Server {
    /// Asks from a thread of its own.
    pub fn asks(&self, body: &[u8]) -> JoinHandle<(u16, Value)> {
        let (address, body) = (self.address, body.to_vec());
        thread::spawn(move || {
            let answer = ask(address, "POST", "/classify", "", &body);
            (answer.status, answer.json())
        })
    }

    pub fn end(self) -> Served {
        self.stop.stop();
        self.thread.join().expect("ends")
    }
}

/// The results of an answer.
pub fn results(answer: (u16, Value)) -> Vec<f64> {
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1["results"].as_array().unwrap().iter().map(|image| image["result"].as_f64().unwrap()).collect()
}

#[test]
fn what_waits_is_put_together_and_everybody_gets_their_own() {
    let server = start(Limits { batch: 4, ..limits() });
    let first = server.asks(&[1]);
    assert_eq!(server.runs.recv(), Ok(1));
    let others: Vec<_> = (2..=6).map(|i| server.asks(&[i])).collect();
    wait_for(server.address, "ninc_queue_requests 5");
    (0..3).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(first.join().unwrap()), [1.0]);
    for (i, other) in others.into_iter().enumerate() {
        assert_eq!(results(other.join().unwrap()), [i as f64 + 2.0]);
    }
    assert_eq!(server.runs.iter().take(2).collect::<Vec<_>>(), [4, 1]);
    let metrics = get(server.address, "/metrics").body;
    for line in [
        "ninc_requests_total{path=\"/classify\",status=\"200\"} 6",
        "ninc_batch_images_bucket{le=\"2\"} 2",
        "ninc_batch_images_bucket{le=\"4\"} 3",
        "ninc_batch_images_sum 6",
        "ninc_request_seconds_count 6",
        "ninc_queue_requests 0",
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line} is not in\n{metrics}");
    }
    assert_eq!(server.end(), Served { requests: 6, good: 6, given_up: 0 });
}

#[test]
fn a_request_with_many_images_lets_others_through() {
    let server = start(Limits { batch: 2, ..limits() });
    let many = server.asks(&[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(server.runs.recv(), Ok(2));
    let one = server.asks(&[100]);
    wait_for(server.address, "ninc_queue_requests 2");
    // Its image is in the second or third run, of the four.
    (0..3).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(one.join().unwrap()), [100.0]);
    server.go.send(()).unwrap();
    assert_eq!(results(many.join().unwrap()), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    server.end();
}

#[test]
fn plain_and_prepared_images_do_not_share_a_run() {
    let server = start(limits());
    let first = server.asks(&[1]);
    assert_eq!(server.runs.recv(), Ok(1));
    let address = server.address;
    let prepared = thread::spawn(move || ask(address, "POST", "/classify?prepared=true&top=2", "", &[7, 8]).json());
    let plain = server.asks(&[9]);
    wait_for(server.address, "ninc_queue_requests 2");
    (0..3).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(first.join().unwrap()), [1.0]);
    assert_eq!(results(plain.join().unwrap()), [9.0]);
    let prepared = prepared.join().unwrap();
    assert_eq!((prepared["results"][0]["top"].clone(), results((200, prepared))), (json!(2), vec![-7.0, -8.0]));
    server.end();
}

#[test]
fn a_full_queue_refuses_and_what_waits_is_answered() {
    let server = start(Limits { queue: 1, ..limits() });
    let first = server.asks(&[1]);
    assert_eq!(server.runs.recv(), Ok(1));
    let second = server.asks(&[2]);
    wait_for(server.address, "ninc_queue_requests 1");
    let third = ask(server.address, "POST", "/classify", "", &[3]);
    assert!(third.refused(503).contains("1 requests wait already"), "{}", third.body);
    assert!(third.head.contains("retry-after: 1\r\n"), "{}", third.head);
    // Others are answered meanwhile.
    assert_eq!(get(server.address, "/health").json(), json!({ "status": "ok", "model": "held" }));
    (0..2).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(first.join().unwrap()), [1.0]);
    assert_eq!(results(second.join().unwrap()), [2.0]);
    assert_eq!(server.end(), Served { requests: 3, good: 2, given_up: 0 });
}

#[test]
fn a_server_that_is_stopped_answers_what_waits_and_nothing_new() {
    let server = start(limits());
    let idle = connect(server.address);
    let first = server.asks(&[1]);
    assert_eq!(server.runs.recv(), Ok(1));
    let second = server.asks(&[2]);
    wait_for(server.address, "ninc_queue_requests 1");
    server.stop.stop();
    // An idle connection is closed, which shows that it has heard of it.
    let closed = (&idle).read(&mut [0; 1]);
    assert_eq!(closed.expect("closed in order"), 0);
    while TcpStream::connect(server.address).is_ok() {
        thread::yield_now();
    }
    (0..2).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(first.join().unwrap()), [1.0]);
    assert_eq!(results(second.join().unwrap()), [2.0]);
    assert_eq!(server.thread.join().unwrap(), Served { requests: 2, good: 2, given_up: 0 });
}

#[test]
fn slow_clients_are_told_and_let_go() {
    let server = start(Limits { patience: Duration::from_millis(100), ..limits() });
    let mut head = connect(server.address);
    head.write_all(b"POST /classify HTTP/1.1\r\nHost: he").expect("sent");
    assert!(read(&mut head).refused(408).contains("the head of the request did not come within 0.1 seconds"));
    let mut body = connect(server.address);
    body.write_all(&request("POST", "/classify", "", &[1; 1000])[..200]).expect("sent");
    assert!(read(&mut body).refused(408).contains("the body of the request did not come within 0.1 seconds"));
    // Who says nothing is told nothing.
    for mut stream in [head, body, connect(server.address)] {
        assert_eq!(stream.read(&mut [0; 1]).expect("closed in order"), 0);
    }
    assert_eq!(server.end(), Served { requests: 1, good: 0, given_up: 0 });
}

#[test]
fn a_client_that_takes_no_answers_is_let_go() {
    let server = start_with(Limits { patience: Duration::from_millis(200), ..limits() }, 1 << 20);
    let mut deaf = connect(server.address);
    for _ in 0..64 {
        server.go.send(()).unwrap();
        // The server closes the connection at some time.
        let _ = deaf.write_all(&request("POST", "/classify", "", &[1]));
    }
    wait_for(server.address, "ninc_connections 1");
    let served = server.end();
    assert!(served.requests < 64, "{served:?}");
}

#[test]
fn connections_beyond_the_most_are_refused() {
    let server = start(Limits { connections: 1, ..limits() });
    let mut one = connect(server.address);
    one.write_all(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n").expect("sent");
    assert_eq!(read(&mut one).status, 200);
    let mut two = connect(server.address);
    assert!(read(&mut two).refused(503).contains("1 connections are open already"));
    one.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("sent");
    assert!(read(&mut one).body.contains("ninc_connections_refused_total 1\n"));
    server.end();
}

#[test]
fn bodies_are_held_within_bounds() {
    let server = start(Limits { body: 300_000, bodies: 450_000, ..limits() });
    let large = ask(server.address, "POST", "/classify", "", &[1; 300_001]);
    assert!(large.refused(413).contains("larger than 300000 bytes"));
    // In pieces, without a length beforehand.
    let mut chunked = connect(server.address);
    chunked.write_all(b"POST /classify HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    for _ in 0..2 {
        chunked.write_all(format!("24a00\r\n{}\r\n", "x".repeat(0x24a00)).as_bytes()).expect("sent");
    }
    assert!(read(&mut chunked).refused(413).contains("larger than 300000 bytes"));
    // A client that has sent a part leaves no room for another.
    let mut part = connect(server.address);
    let whole = request("POST", "/classify", "", &[1; 300_000]);
    part.write_all(&whole[..whole.len() - 10_000]).expect("sent");
    wait_for(server.address, "ninc_body_bytes 290000");
    let other = ask(server.address, "POST", "/classify", "", &[2; 170_000]);
    assert!(other.refused(503).contains("other requests have taken the memory for bodies"));
    // A small one always has room.
    server.go.send(()).unwrap();
    assert_eq!(results(server.asks(&[3]).join().unwrap()), [3.0]);
    drop(part);
    wait_for(server.address, "ninc_body_bytes 0");
    server.go.send(()).unwrap();
    (0..112).for_each(|_| server.go.send(()).unwrap());
    assert_eq!(results(server.asks(&[2; 900]).join().unwrap()), [2.0; 900]);
    server.end();
}

/// A client that is refused before its body was read gets to read why.
#[test]
fn who_is_refused_early_may_send_the_rest() {
    let server = start(limits());
    for (path, kind, status) in [("/classify?a=b", "", 400), ("/classify", "video/mp4", 415), ("/x", "", 404)] {
        let mut stream = connect(server.address);
        stream.write_all(&request("POST", path, kind, &[1; 8 << 20])).expect("taken");
        let answer = read(&mut stream);
        answer.refused(status);
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    // A request that was read leaves the connection open.
    let mut stream = connect(server.address);
    for _ in 0..2 {
        stream.write_all(&request("POST", "/classify", "", &[1; 1025])).expect("sent");
        assert!(read(&mut stream).refused(413).contains("1025 images, and a request may have 1024"));
    }
    server.end();
}

#[test]
fn a_failure_of_one_request_is_its_own() {
    let server = start(limits());
    server.go.send(()).unwrap();
    let broken = ask(server.address, "POST", "/classify", "", b"panic");
    assert!(broken.refused(500).contains("a bug in ninc"));
    assert_eq!(results(server.asks(&[5]).join().unwrap()), [5.0]);
    // A client that goes away leaves the others alone.
    let mut gone = connect(server.address);
    gone.write_all(&request("POST", "/classify", "", &[1; 100])[..120]).expect("sent");
    drop(gone);
    server.go.send(()).unwrap();
    assert_eq!(results(server.asks(&[6]).join().unwrap()), [6.0]);
    assert_eq!(server.end().good, 2);
}
