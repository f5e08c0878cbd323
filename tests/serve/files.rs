//! How many files the system lets the server have open.

use super::Serving;
use super::client::{connect, read};
use std::io::Write;
use std::net::TcpStream;

/// A connection that is kept.
fn kept(serving: &Serving) -> TcpStream {
    let mut stream = connect(serving.address);
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").expect("sent");
    assert_eq!(read(&mut stream).status, 200);
    stream
}

#[test]
fn connections_are_as_many_as_there_may_be_files() {
    let serving = Serving::behind("ulimit -n 44", "digits", &[]);
    let all: Vec<TcpStream> = (0..12).map(|_| kept(&serving)).collect();
    let said = read(&mut connect(serving.address)).refused(503);
    assert!(said.contains("12 connections are open already"), "{said}");
    drop(all);
    let (code, said) = serving.end();
    let note =
        "note: the system allows 44 open files, so there are 12 connections at most, not 256; `ulimit -n` sets it";
    assert!(code == Some(0) && said.contains(note), "{said}");
}

#[test]
fn a_limit_that_may_be_raised_is() {
    let serving = Serving::behind("ulimit -S -n 44", "digits", &[]);
    let all: Vec<TcpStream> = (0..60).map(|_| kept(&serving)).collect();
    drop(all);
    let (code, said) = serving.end();
    assert!(code == Some(0) && !said.contains("open files"), "{said}");
}
