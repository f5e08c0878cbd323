//! Ends: of what a client sends, and of the server while it has work.

use super::client::{connect, read, request, wait_for};
use super::limits::{limits, results, start};
use super::{Serving, get};
use ninc::serve::{Limits, Served};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

/// A client may say that it sends nothing more, and wait for its answer (`nc -N`).
#[test]
fn who_has_sent_all_gets_the_answer() {
    let server = start(limits());
    let mut stream = connect(server.address);
    stream.write_all(&request("POST", "/classify", "", &[7])).expect("sent");
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(server.runs.recv(), Ok(1));
    server.go.send(()).unwrap();
    let answer = read(&mut stream);
    assert_eq!(results((answer.status, answer.json())), [7.0]);
    let whole = request("POST", "/classify", "", &[7; 100]);
    for (cut, says) in [(whole.len() - 1, "before message length reached"), (20, "ends before its head does")] {
        let mut stream = connect(server.address);
        stream.write_all(&whole[..cut]).expect("sent");
        stream.shutdown(Shutdown::Write).expect("open");
        let said = read(&mut stream).refused(400);
        assert!(said.contains(says), "{said}");
    }
    // Who has sent nothing is told nothing.
    let mut stream = connect(server.address);
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(std::io::Read::read(&mut stream, &mut [0; 1]).expect("closed in order"), 0);
    assert_eq!(server.end(), Served { requests: 2, good: 1, given_up: 0 });
}

/// Work that takes longer than clients may take is not given up.
#[test]
fn a_server_that_is_stopped_answers_what_takes_long() {
    let patience = Duration::from_secs(1);
    let server = start(Limits { patience, ..limits() });
    let first = server.asks(&[1]);
    assert_eq!(server.runs.recv(), Ok(1));
    let second = server.asks(&[2]);
    wait_for(server.address, "ninc_queue_requests 1");
    server.stop.stop();
    while TcpStream::connect(server.address).is_ok() {
        thread::yield_now();
    }
    // A shorter time would show less, a longer one nothing more.
    thread::sleep(5 * patience / 2);
    (0..2).for_each(|_| server.go.send(()).unwrap());
    let all = [first, second].map(|one| results(one.join().unwrap())[0]);
    assert_eq!(all, [1.0, 2.0]);
    assert_eq!(server.end(), Served { requests: 2, good: 2, given_up: 0 });
}

/// Nobody comes any more who could share the run that an image waits for.
#[test]
fn a_server_that_is_stopped_waits_for_no_others() {
    let server = start(Limits { wait: Duration::from_secs(6000), ..limits() });
    let one = server.asks(&[1]);
    wait_for(server.address, "ninc_queue_requests 1");
    server.stop.stop();
    server.go.send(()).unwrap();
    assert_eq!(results(one.join().unwrap()), [1.0]);
    assert_eq!(server.end().good, 1);
}

/// Who has asked nothing yet, or not with a whole head, holds the end up for a moment only; who has is answered.
#[test]
fn a_server_that_is_stopped_waits_for_no_heads() {
    let server = start(limits());
    let health = b"GET /health HTTP/1.1\r\n\r\n";
    let [mut half, mut whole, silent] = [0; 3].map(|_| connect(server.address));
    half.write_all(&health[..10]).expect("sent");
    whole.write_all(&health[..10]).expect("sent");
    wait_for(server.address, "ninc_connections 4");
    whole.write_all(&health[10..]).expect("sent");
    server.stop.stop();
    assert_eq!(read(&mut whole).status, 200);
    assert_eq!(server.end(), Served { requests: 0, good: 0, given_up: 0 });
    drop((half, silent));
}

/// The first signal lets a client send the rest of its request, the second does not.
#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    let mut serving = Serving::of("digits", &["--timeout", "86400"]);
    let mut part = connect(serving.address);
    part.write_all(&request("POST", "/classify", "", &[1; 100])[..120]).expect("sent");
    wait_for(serving.address, "ninc_body_bytes 60");
    assert_eq!(get(serving.address, "/health").status, 200);
    serving.signal();
    while TcpStream::connect(serving.address).is_ok() {
        thread::yield_now();
    }
    assert_eq!(serving.process.try_wait().expect("a child"), None);
    let (code, said) = serving.end();
    assert_eq!((code, &said[..]), (Some(130), ""));
}

/// LLVM within a driver has handlers of its own, which would end the program.
#[cfg(unix)]
#[test]
fn a_server_on_a_device_ends_in_order() {
    if !crate::opencl::present() {
        return;
    }
    let serving = Serving::of("digits", &["--device", "opencl"]);
    let bytes = std::fs::read(super::root("tests/data/digit-7.png")).expect("there");
    assert_eq!(super::tops(&serving.classify("", "image/png", &bytes)).len(), 1);
    let whole = request("POST", "/classify", "image/png", &bytes);
    let (begin, rest) = whole.split_at(whole.len() - 10);
    let mut part = connect(serving.address);
    part.write_all(begin).expect("sent");
    wait_for(serving.address, &format!("ninc_body_bytes {}", bytes.len() - 10));
    serving.signal();
    while TcpStream::connect(serving.address).is_ok() {
        thread::yield_now();
    }
    part.write_all(rest).expect("sent");
    assert_eq!(read(&mut part).status, 200);
    let (code, said) = serving.ended();
    assert!(code == Some(0) && said.ends_with("served 2 requests\n"), "{code:?} {said}");
}
